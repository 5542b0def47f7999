//! The task of a server that keeps result rows near the present.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::extractor::{Extractor, Step};
use super::questions::Questions;
use crate::store::Store;

/// Keeps result rows near the present, until the last clone is dropped.
#[derive(Clone)]
pub struct Results {
    keeping: Arc<Keeping>,
}

struct Keeping {
    /// Held, so that the feed that wakes the task goes on.
    _store: Store,
    extractor: Arc<Extractor>,
    task: AbortHandle,
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How far the rows were when this process last looked, at most a second ago where the database is there. For metrics: nothing is read for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// How much younger the latest change is than the latest of which rows were made.
    pub behind: Duration,
    /// Whether all rows are being made anew.
    pub anew: bool,
    /// Rows that this process has written.
    pub rows: u64,
    /// How often an object had more results than are kept.
    pub cut: u64,
}

/// How often it looks even if nothing calls it.
const LOOK: Duration = Duration::from_secs(1);
/// The longest pause while the database is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between two batches it leaves the database to others, so many times as long as the batch took: while somebody writes, otherwise as long. Who asks does not
/// wait for that.
const SHARE: u32 = 9;
/// But never longer than this.
const LONGEST_REST: Duration = Duration::from_secs(1);

impl Results {
    /// Begins to keep the rows of `store`. Has to be called in a runtime. Any number of processes may do so.
    #[must_use]
    pub fn keep(store: &Store) -> Self {
        let extractor = Arc::new(Extractor::new(Arc::clone(store.core())));
        let task = tokio::spawn(run(Arc::clone(&extractor))).abort_handle();
        Self { keeping: Arc::new(Keeping { _store: store.clone(), extractor, task }) }
    }

    /// Questions on the same rows.
    #[must_use]
    pub fn questions(&self) -> Questions {
        Questions::sharing(Arc::clone(&self.keeping.extractor))
    }

    /// How far the rows are.
    #[must_use]
    pub fn lag(&self) -> Lag {
        let seen = &self.keeping.extractor.seen;
        let of = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
        let (revision, anew) = (of(&seen.revision), of(&seen.anew) != 0);
        // Revisions are microseconds. Of what was never made it is not known since when it is missing.
        let behind = if revision == 0 { 0 } else { of(&seen.latest).saturating_sub(revision) };
        Lag { behind: Duration::from_micros(behind), anew, rows: of(&seen.rows), cut: of(&seen.cut) }
    }
}

/// Makes rows whenever something is new.
async fn run(extractor: Arc<Extractor>) {
    let mut pulse = extractor.core.pulse();
    let mut pause = Duration::ZERO;
    loop {
        pulse.borrow_and_update();
        let began = Instant::now();
        match extractor.step().await {
            Ok(Step::Further) => {
                pause = Duration::ZERO;
                let share = if pulse.has_changed().unwrap_or(false) { SHARE } else { 1 };
                tokio::time::sleep((began.elapsed() * share).min(LONGEST_REST)).await;
            }
            Ok(Step::Current) => {
                pause = Duration::ZERO;
                // To look is right whoever called, and if nobody did.
                let _ = timeout(LOOK, pulse.changed()).await;
            }
            Err(error) => {
                tracing::debug!(%error, "result rows cannot be made for now");
                pause = (pause * 2).clamp(Duration::from_millis(50), LONGEST_PAUSE);
                tokio::time::sleep(pause).await;
            }
        }
    }
}
