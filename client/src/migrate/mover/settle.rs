//! Bringing a batch over: write, read back, compare, confirm the lead, remove.
//!
//! What is removed here was seen there just before, under the stamps that the two rules of [`super::super::depot`] speak of.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::stream::Load;
use super::{Halt, Pass};
use crate::migrate::decision::{Because, Decision, Offer, Skip, decide};
use crate::migrate::depot::{Arrival, Depot, Parcel, Tombstone, Written};
use crate::reports::{ReportKey, Version};

/// How often a report is looked at again that is crossed by others time and again.
const ATTEMPTS: usize = 3;

/// A copy that can go.
struct Removal<S> {
    key: ReportKey,
    stamp: S,
    because: Because,
    was_there: bool,
    begun: Instant,
}

impl<F: Depot, T: Depot> Pass<F, T> {
    /// Brings a batch over. What was crossed by an earlier scan is looked at again, knowing of that.
    pub(super) async fn settle(self: Arc<Self>, batch: Vec<Load<F::Stamp>>) -> Result<(), Halt> {
        for (key, over) in self.settle_once(batch).await? {
            self.settle_crossed(&key, over).await?;
        }
        Ok(())
    }

    async fn settle_crossed(&self, key: &ReportKey, mut over: Version) -> Result<(), Halt> {
        for _ in 0..ATTEMPTS {
            let begun = Instant::now();
            let Some((parcel, tombstone, stamp)) = self.read(key, self.pace.largest).await? else {
                return Ok(());
            };
            // One at a time, and no share of the memory: those who hold all of it may be waiting for this batch to end.
            let parcel = Parcel { over: Some(over), ..parcel };
            match self.settle_once(vec![Load { parcel, tombstone, stamp, share: None, begun }]).await?.pop() {
                Some((_, seen)) => over = seen,
                None => return Ok(()),
            }
        }
        self.changed();
        Ok(())
    }

    async fn settle_once(&self, batch: Vec<Load<F::Stamp>>) -> Result<Vec<(ReportKey, Version)>, Halt> {
        self.turn().await?;
        let batch = self.without_future(batch);
        let batch = self.bury_beside(batch).await?;
        let (mut parcels, mut offers) = (Vec::new(), Vec::new());
        for Load { parcel, tombstone, stamp, share, begun } in batch {
            let offer = Offer { version: parcel.version(), tombstone, undated: parcel.is_undated() };
            offers.push((parcel.report.key.clone(), offer, stamp, share, begun));
            parcels.push(parcel);
        }
        let arrivals = self.to.bring(parcels).await.map_err(|it| self.there_failed(it))?;
        let (mut removals, mut crossed) = (Vec::new(), Vec::new());
        for ((key, offer, stamp, _share, begun), Arrival { written, there }) in
            offers.into_iter().zip(arrivals)
        {
            let was_there = written == Written::Renewed;
            match (decide(&offer, &there), written, there.version) {
                (_, Written::Undecodable(fault), _) => self.skip(&key, Skip::Undecodable, fault),
                (Decision::Remove(because), ..) => {
                    removals.push(Removal { key, stamp, because, was_there, begun });
                }
                (Decision::Leave(_), Written::Refused(reason), _) => self.skip(&key, Skip::Refused, reason),
                (Decision::Leave(Skip::Crossed), _, Some(over)) => crossed.push((key, over)),
                (Decision::Leave(skip), ..) => {
                    self.skip(&key, skip, format!("{} has {there}", self.to.name()));
                }
            }
        }
        self.remove(removals).await?;
        Ok(crossed)
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
    async fn bury_beside(&self, mut batch: Vec<Load<F::Stamp>>) -> Result<Vec<Load<F::Stamp>>, Halt> {
        let beside = |load: &Load<F::Stamp>| {
            load.tombstone.map(|sequence| Tombstone { key: load.parcel.report.key.clone(), sequence })
        };
        let tombstones: Vec<_> = batch.iter().filter_map(beside).collect();
        if tombstones.is_empty() {
            return Ok(batch);
        }
        for (tombstone, refused) in tombstones.iter().zip(self.bury_there(&tombstones).await?) {
            if let Some(reason) = refused {
                batch.retain(|load| load.parcel.report.key != tombstone.key);
                self.skip(&tombstone.key, Skip::Refused, reason);
            }
        }
        Ok(batch)
    }

    /// Removes what can go, if we still lead.
    async fn remove(&self, removals: Vec<Removal<F::Stamp>>) -> Result<(), Halt> {
        if removals.is_empty() {
            return Ok(());
        }
        self.leadership.confirm().await?;
        for removals in removals.chunks(self.pace.removers.max(1)) {
            let these: Vec<_> = removals.iter().map(|it| (it.key.clone(), it.stamp.clone())).collect();
            for (it, removed) in removals.iter().zip(self.from.remove_all(&these).await) {
                match removed.map_err(|error| self.here_failed(error))? {
                    true => self.gone(it.because, it.was_there, it.begun),
                    false => self.changed(),
                }
            }
        }
        Ok(())
    }
}
