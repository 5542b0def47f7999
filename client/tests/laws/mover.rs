//! The real migrator and the real evacuation at work in a schedule: between the real shelf and a primary in memory, over the wires of one controller,
//! without a lead that anybody else respects. Whoever drops one kills it where it is.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use larder_client::fallback::{Kept, Shelf};
use larder_client::migrate::GateState;
use larder_client::migrate::leadership::Always;
use larder_client::migrate::{
    Arrival, Departure, Depot, DepotError, Evacuation, Found, Grave, Graves, Halt, Holding, Migrator, Mover,
    Outcome, Pace, Page, Parcel, Standing, There, Tombstone, Written,
};
use larder_client::reports::ReportKey;
use tokio::sync::watch;

use crate::primary::MemoryPrimary;
use crate::wire::WiredPrimary;

/// Small batches, so that a few reports are many steps.
const PACE: Pace = Pace {
    page: 2,
    readers: 2,
    batches: 2,
    removers: 2,
    batch_reports: 2,
    batch_bytes: 2048,
    in_flight: 8192,
    large: 2048,
    largest: 1 << 20,
    patience: std::time::Duration::ZERO,
    ahead: std::time::Duration::from_secs(3600),
    retention: std::time::Duration::from_secs(24 * 3600),
    // Clocks are driven here, and none of a sweep.
    draft: std::time::Duration::MAX,
};

/// Moves what is on the shelf into the primary.
pub(crate) async fn bring_home(
    shelf: Shelf,
    primary: Arc<WiredPrimary<MemoryPrimary>>,
    gate: watch::Receiver<GateState>,
) -> Result<Outcome, Halt> {
    let mover = Mover::new(Arc::new(shelf), primary, Arc::new(Always::default()), gate);
    Migrator::new(mover.at(PACE)).run_once().await
}

/// Moves what is in the primary onto the shelf. `left` says whether anybody may write to the primary.
pub(crate) async fn take_out(
    shelf: Shelf,
    primary: Arc<WiredPrimary<MemoryPrimary>>,
    left: watch::Receiver<GateState>,
) -> Result<(Outcome, Departure), Halt> {
    let lead = Arc::new(Always::default());
    let mover = Mover::new(primary, Arc::new(shelf), lead, GateState::always_open());
    Evacuation::new(Migrator::new(mover.at(PACE)), left).run_once().await
}

fn parcel(kept: Kept) -> Parcel {
    Parcel::new(kept.report, kept.version.sequence)
}

#[async_trait]
impl Depot for WiredPrimary<MemoryPrimary> {
    type Stamp = u64;
    type Seal = u64;

    fn name(&self) -> &str {
        "a primary in memory"
    }

    async fn list(&self, from: Option<&str>, limit: usize) -> Result<Page, DepotError> {
        let from = from.map(str::to_owned);
        self.depot_call("list", move |primary| {
            let (keys, next) = primary.keys(from.as_deref(), limit);
            Page { keys, next, ..Page::default() }
        })
        .await
    }

    async fn read(&self, key: &ReportKey, limit: usize) -> Result<Found<u64>, DepotError> {
        let key = key.clone();
        self.depot_call("read", move |primary| match primary.stamped(&key) {
            None => Found::Absent,
            Some((kept, _)) if kept.report.payload.len() > limit => {
                Found::Large(kept.report.payload.len() as u64)
            }
            Some((kept, stamp)) => {
                let tombstone = primary.tombstone(&key);
                Found::Report { parcel: Box::new(parcel(kept)), tombstone, stamp }
            }
        })
        .await
    }

    async fn bring(&self, parcels: Vec<Parcel>) -> Result<Vec<Arrival>, DepotError> {
        let sent = parcels.clone();
        let bring = move |primary: &MemoryPrimary| sent.iter().map(|it| primary.bring(it)).collect();
        let written: Vec<Written> = self.depot_call("bring", bring).await?;
        let look = move |primary: &MemoryPrimary| {
            let there = |sent: &Parcel| {
                let back = primary.stamped(&sent.report.key).map(|it| parcel(it.0));
                There {
                    version: back.as_ref().map(Parcel::version),
                    tombstone: primary.tombstone(&sent.report.key),
                    same: back.is_some_and(|back| sent.is_same(&back)),
                    undated: false,
                }
            };
            parcels.iter().map(there).collect::<Vec<_>>()
        };
        let there = self.depot_call("read back", look).await?;
        Ok(written.into_iter().zip(there).map(|(written, there)| Arrival { written, there }).collect())
    }

    async fn look(&self, keys: &[ReportKey]) -> Result<Vec<Standing>, DepotError> {
        let keys = keys.to_vec();
        self.depot_call("look", move |primary| {
            let standing = |key: &ReportKey| Standing {
                holding: primary.stamped(key).map_or(Holding::Nothing, |it| Holding::Report(it.0.version)),
                tombstone: primary.tombstone(key),
            };
            keys.iter().map(standing).collect()
        })
        .await
    }

    async fn remove(&self, key: &ReportKey, stamp: &u64) -> Result<bool, DepotError> {
        let (key, stamp) = (key.clone(), *stamp);
        self.depot_call("remove", move |primary| primary.remove(&key, stamp)).await
    }

    async fn tombstones(&self, from: Option<&str>, limit: usize) -> Result<Graves<u64>, DepotError> {
        let from = from.map(str::to_owned);
        self.depot_call("tombstones", move |primary| {
            let (sealed, next) = primary.sealed(from.as_deref(), limit);
            // None is old enough to be forgotten.
            let grave = |(key, sequence, seal)| Grave {
                tombstone: Tombstone { key, sequence },
                since: Timestamp::now(),
                seal,
            };
            Graves { graves: sealed.into_iter().map(grave).collect(), strange: Vec::new(), next }
        })
        .await
    }

    async fn bury(&self, tombstones: &[Tombstone]) -> Result<Vec<Option<String>>, DepotError> {
        let tombstones = tombstones.to_vec();
        self.depot_call("bury", move |primary| {
            tombstones.iter().map(|it| primary.bury_one(&it.key, it.sequence)).map(|_| None).collect()
        })
        .await
    }

    async fn unbury(&self, key: &ReportKey, seal: &u64) -> Result<bool, DepotError> {
        let (key, seal) = (key.clone(), *seal);
        self.depot_call("unbury", move |primary| primary.unbury(&key, seal)).await
    }
}
