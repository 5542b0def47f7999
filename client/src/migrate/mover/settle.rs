//! Bringing a batch over: write, read back, compare, confirm the lead, remove.
//!
//! What is removed here was seen there just before, under the stamps that the two rules of [`super::super::depot`] speak of.

use std::sync::Arc;

use futures_util::stream::{self, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};

use super::stream::Load;
use super::{Halt, Pass};
use crate::migrate::decision::{Because, Decision, Offer, Skip, There, decide};
use crate::migrate::depot::{Depot, DepotError, Parcel, Recalled, Tombstone, Written};
use crate::reports::ReportKey;

/// A copy that can go.
struct Removal<S> {
    key: ReportKey,
    stamp: S,
    because: Because,
    was_there: bool,
}

impl<F: Depot, T: Depot> Pass<F, T> {
    /// Brings a batch over.
    pub(super) async fn settle(self: Arc<Self>, batch: Vec<Load<F::Stamp>>) -> Result<(), Halt> {
        self.turn().await?;
        let batch = self.without_future(batch);
        self.bury_beside(&batch).await?;
        let (mut parcels, mut others) = (Vec::new(), Vec::new());
        for Load { parcel, tombstone, stamp, share } in batch {
            parcels.push(parcel);
            others.push((tombstone, stamp, share));
        }
        let written = self.write(&parcels).await?;
        let keys: Vec<_> = parcels.iter().map(|it| it.report.key.clone()).collect();
        let recalled = self.to.recall(&keys).await.map_err(|it| self.there_failed(it))?;
        let mut removals = Vec::new();
        for (((parcel, (tombstone, stamp, _)), written), recalled) in
            parcels.iter().zip(&others).zip(written).zip(recalled)
        {
            let was_there = written == Written::Renewed;
            if let Some(because) = self.judge(parcel, *tombstone, written, &recalled) {
                let (key, stamp) = (parcel.report.key.clone(), stamp.clone());
                removals.push(Removal { key, stamp, because, was_there });
            }
        }
        self.remove(removals).await
    }

    /// A scan from the future would win against every scan to come, so it is not spread; unless it is dead, and goes.
    fn without_future(&self, batch: Vec<Load<F::Stamp>>) -> Vec<Load<F::Stamp>> {
        let ahead = SignedDuration::try_from(self.pace.ahead).unwrap_or(SignedDuration::MAX);
        let limit = Timestamp::now().saturating_add(ahead).unwrap_or(Timestamp::MAX);
        let is_dead = |load: &Load<F::Stamp>| load.tombstone.is_some_and(|at| at > load.parcel.sequence);
        let (now, future): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|load| load.parcel.report.scanned_at <= limit || is_dead(load));
        for load in future {
            let report = load.parcel.report;
            self.skip(&report.key, Skip::Future, format!("it was scanned at {}", report.scanned_at));
        }
        now
    }

    /// A tombstone beside a report goes over before it: what it kills there must not win against the report.
    async fn bury_beside(&self, batch: &[Load<F::Stamp>]) -> Result<(), Halt> {
        let beside = |load: &Load<F::Stamp>| {
            load.tombstone.map(|sequence| Tombstone { key: load.parcel.report.key.clone(), sequence })
        };
        let tombstones: Vec<_> = batch.iter().filter_map(beside).collect();
        if tombstones.is_empty() {
            return Ok(());
        }
        self.to.bury(&tombstones).await.map_err(|it| self.there_failed(it))
    }

    /// Writes reports together, and one by one if they are refused together, so that one does not stop the others.
    async fn write(&self, parcels: &[Parcel]) -> Result<Vec<Written>, Halt> {
        match self.to.write(parcels).await {
            Err(DepotError::Refused(reason)) if parcels.len() == 1 => Ok(vec![Written::Refused(reason)]),
            Err(DepotError::Refused(_)) => {
                let mut written = Vec::new();
                for parcel in parcels {
                    written.push(match self.to.write(std::slice::from_ref(parcel)).await {
                        Err(DepotError::Refused(reason)) => Written::Refused(reason),
                        other => other.map_err(|it| self.there_failed(it))?.remove(0),
                    });
                }
                Ok(written)
            }
            other => other.map_err(|it| self.there_failed(it)),
        }
    }

    /// Decides about a report, and names it if it stays.
    fn judge(
        &self,
        parcel: &Parcel,
        tombstone: Option<i64>,
        written: Written,
        recalled: &Recalled,
    ) -> Option<Because> {
        let offer = Offer { version: parcel.version(), tombstone };
        let there = There {
            version: recalled.parcel.as_ref().map(Parcel::version),
            tombstone: recalled.tombstone,
            same: recalled.parcel.as_ref().is_some_and(|back| parcel.is_same(back)),
        };
        match (decide(&offer, &there), written) {
            (Decision::Remove(because), _) => return Some(because),
            (Decision::Leave(_), Written::Refused(reason)) => {
                self.skip(&parcel.report.key, Skip::Refused, reason);
            }
            (Decision::Leave(skip), _) => {
                self.skip(&parcel.report.key, skip, format!("{} has {there:?}", self.to.name()));
            }
        }
        None
    }

    /// Removes what can go, if we still lead.
    async fn remove(&self, removals: Vec<Removal<F::Stamp>>) -> Result<(), Halt> {
        if removals.is_empty() {
            return Ok(());
        }
        self.leadership.confirm().await?;
        stream::iter(removals.into_iter().map(Ok))
            .try_for_each_concurrent(self.pace.removers, |it| async move {
                match self.from.remove(&it.key, &it.stamp).await.map_err(|error| self.here_failed(error))? {
                    true => self.gone(it.because, it.was_there),
                    false => self.changed(),
                }
                Ok(())
            })
            .await
    }
}
