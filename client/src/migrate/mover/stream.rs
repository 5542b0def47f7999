//! From the list to batches: keys are listed page by page, several reports read at a time, and put together until a batch is full.
//!
//! Every stage hands on through a bounded channel, and what was read counts against [`Pace::in_flight`](super::Pace) until it is settled. A
//! single report may be as large as [`Pace::large`](super::Pace) here; larger ones are left for the end.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Halt, Pass};
use crate::migrate::decision::Skip;
use crate::migrate::depot::{Depot, DepotError, Found, Parcel};
use crate::migrate::progress::Skipped;
use crate::reports::ReportKey;

/// Reports that are asked for by one call, at most.
const AT_ONCE: usize = 16;
/// Keys that wait to be read.
const KEYS: usize = 256;

/// A report that was read and waits to be brought over.
pub(super) struct Load<S> {
    pub(super) parcel: Parcel,
    pub(super) tombstone: Option<i64>,
    pub(super) stamp: S,
    /// Its share of what may be in memory, until it is settled.
    pub(super) share: Option<OwnedSemaphorePermit>,
    /// When it was asked for.
    pub(super) begun: Instant,
}

/// A report that was read, without its share of the memory.
type Loose<S> = (Parcel, Option<i64>, S);

type Queue<T> = Arc<Mutex<mpsc::Receiver<T>>>;

/// Moves every report that is not too large to share memory with others.
pub(super) async fn run<F: Depot, T: Depot>(pass: &Arc<Pass<F, T>>) -> Result<(), Halt> {
    let (keys, waiting) = mpsc::channel(KEYS);
    let (loads, read) = mpsc::channel(pass.pace.readers);
    let waiting = Arc::new(Mutex::new(waiting));
    let mut stages = JoinSet::new();
    stages.spawn(list(Arc::clone(pass), keys));
    for _ in 0..pass.pace.readers.div_ceil(at_once(pass)) {
        stages.spawn(read_all(Arc::clone(pass), Arc::clone(&waiting), loads.clone()));
    }
    drop(loads);
    stages.spawn(settle_all(Arc::clone(pass), read));
    // The first failure ends all stages: they are dropped with the set.
    while let Some(ended) = stages.join_next().await {
        finished(ended)?;
    }
    Ok(())
}

/// What a task returned. A panic goes on in whoever waits for it.
fn finished(ended: Result<Result<(), Halt>, tokio::task::JoinError>) -> Result<(), Halt> {
    match ended {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // It ends by being aborted only together with this task.
        Err(_) => Ok(()),
    }
}

async fn list<F: Depot, T: Depot>(pass: Arc<Pass<F, T>>, keys: mpsc::Sender<ReportKey>) -> Result<(), Halt> {
    let mut next = None;
    loop {
        let page =
            pass.from.list(next.as_deref(), pass.pace.page).await.map_err(|it| pass.here_failed(it))?;
        pass.progress.send_modify(|it| {
            it.total += (page.keys.len() + page.strange.len()) as u64 + page.more_strange;
            it.listed = page.next.is_none();
            for (key, detail) in page.strange {
                it.skip(Skipped { key, skip: Skip::Undecodable, detail });
            }
            it.skip_unnamed(Skip::Undecodable, page.more_strange);
        });
        for key in page.keys {
            if keys.send(key).await.is_err() {
                return Ok(());
            }
        }
        match page.next {
            Some(from) => next = Some(from),
            None => return Ok(()),
        }
    }
}

async fn read_all<F: Depot, T: Depot>(
    pass: Arc<Pass<F, T>>,
    keys: Queue<ReportKey>,
    loads: mpsc::Sender<Load<F::Stamp>>,
) -> Result<(), Halt> {
    let mut few = Vec::new();
    while keys.lock().await.recv_many(&mut few, at_once(&pass)).await > 0 {
        let begun = Instant::now();
        let found = pass.from.read_all(&few, pass.pace.large).await;
        for (key, found) in few.drain(..).zip(found) {
            if let Some(found) = pass.found(&key, found, pass.pace.large)?
                && loads.send(pass.load(found, begun).await).await.is_err()
            {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reports that are asked for by one call.
fn at_once<F: Depot, T: Depot>(pass: &Pass<F, T>) -> usize {
    pass.pace.readers.clamp(1, AT_ONCE)
}

async fn settle_all<F: Depot, T: Depot>(
    pass: Arc<Pass<F, T>>,
    mut loads: mpsc::Receiver<Load<F::Stamp>>,
) -> Result<(), Halt> {
    let mut running = JoinSet::new();
    while let Some(batch) = next_batch(&pass, &mut loads).await {
        while running.len() >= pass.pace.batches {
            running.join_next().await.map_or(Ok(()), finished)?;
        }
        running.spawn(Arc::clone(&pass).settle(batch));
    }
    while let Some(ended) = running.join_next().await {
        finished(ended)?;
    }
    Ok(())
}

/// Waits until a batch is full, or nothing more comes.
async fn next_batch<F: Depot, T: Depot>(
    pass: &Pass<F, T>,
    loads: &mut mpsc::Receiver<Load<F::Stamp>>,
) -> Option<Vec<Load<F::Stamp>>> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while batch.len() < pass.pace.batch_reports && bytes < pass.pace.batch_bytes {
        let Some(load) = loads.recv().await else { break };
        bytes += load.parcel.size();
        batch.push(load);
    }
    (!batch.is_empty()).then_some(batch)
}

impl<F: Depot, T: Depot> Pass<F, T> {
    /// Reads a report. `None` if there is nothing to move under the key, now or at all.
    pub(super) async fn read(&self, key: &ReportKey, limit: usize) -> Result<Option<Loose<F::Stamp>>, Halt> {
        let found = self.from.read(key, limit).await;
        self.found(key, found, limit)
    }

    fn found(
        &self,
        key: &ReportKey,
        found: Result<Found<F::Stamp>, DepotError>,
        limit: usize,
    ) -> Result<Option<Loose<F::Stamp>>, Halt> {
        let found = match found {
            Err(DepotError::Refused(reason)) => Found::Unreadable(Skip::Refused, reason),
            other => other.map_err(|it| self.here_failed(it))?,
        };
        match found {
            // Somebody else moved or deleted it.
            Found::Absent => self.changed_before_it_was_read(),
            Found::Large(size) if limit >= self.pace.largest => {
                self.skip(key, Skip::Oversize, format!("it has {size} bytes"));
            }
            Found::Large(_) => self.rest(|rest| rest.large.push(key.clone())),
            Found::Unreadable(skip, detail) => self.skip(key, skip, detail),
            Found::Report { parcel, tombstone, stamp } => {
                return Ok(Some((*parcel, tombstone, stamp)));
            }
        }
        Ok(None)
    }

    /// Waits for a share of the memory for what was read.
    async fn load(&self, (parcel, tombstone, stamp): Loose<F::Stamp>, begun: Instant) -> Load<F::Stamp> {
        // A single report above the whole budget takes all of it. The semaphore is never closed.
        let bytes = u32::try_from(parcel.size().min(self.pace.in_flight)).unwrap_or(u32::MAX);
        let share = Arc::clone(&self.in_flight).acquire_many_owned(bytes).await.expect("never closed");
        self.progress.send_modify(|it| it.bytes += parcel.size() as u64);
        Load { parcel, tombstone, stamp, share: Some(share), begun }
    }

    fn changed_before_it_was_read(&self) {
        self.progress.send_modify(|it| it.total -= 1);
    }

    /// Moves the large reports, one at a time.
    pub(super) async fn move_large(self: &Arc<Self>) -> Result<(), Halt> {
        for key in self.rest(|rest| std::mem::take(&mut rest.large)) {
            let begun = Instant::now();
            if let Some(found) = self.read(&key, self.pace.largest).await? {
                let load = self.load(found, begun).await;
                Arc::clone(self).settle(vec![load]).await?;
            }
        }
        Ok(())
    }
}
