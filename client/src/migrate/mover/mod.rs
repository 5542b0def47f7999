//! One pass over a depot: every report that can be moved is moved, whatever happens on the way.
//!
//! [`stream`] lists, reads and puts reports together into batches; [`settle`] brings a batch over: write, read back, compare, confirm, remove;
//! [`tombstones`] brings deletions over afterwards, and [`pieces`] clears away what is left of values that are gone. Here is what they share, and the order in which they run.
//!
//! A pass can be dropped at any await and begun again by anybody. It keeps nothing that the depots do not know.

mod pieces;
mod settle;
mod stream;
mod tombstones;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::decision::{Because, Skip};
use super::depot::{Depot, DepotError};
use super::gate::GateState;
use super::leadership::{Leadership, NotLeading};
use super::progress::{Phase, Progress, Skipped};
use super::traffic::Traffic;
use crate::reports::ReportKey;

/// How much is under way at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Keys in one reading of the list.
    pub page: usize,
    /// Reports that are read at a time.
    pub readers: usize,
    /// Batches that are brought over at a time.
    pub batches: usize,
    /// Removals at a time, in each batch.
    pub removers: usize,
    /// Reports in a batch.
    pub batch_reports: usize,
    /// Bytes of payload in a batch, roughly.
    pub batch_bytes: usize,
    /// Bytes of payload that were read and are not settled.
    pub in_flight: usize,
    /// Larger reports go one by one at the end.
    pub large: usize,
    /// Larger reports stay where they are.
    pub largest: usize,
    /// How long a batch waits for live traffic to pause.
    pub patience: Duration,
    /// How far ahead of the clock a scan may be.
    pub ahead: Duration,
    /// How long tombstones are kept by the depot that reports are moved to.
    pub retention: Duration,
    /// A large report that was begun and not finished for so long is taken for given up.
    pub draft: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            page: 10_000,
            readers: 32,
            batches: 2,
            removers: 64,
            batch_reports: 64,
            batch_bytes: 2 << 20,
            in_flight: 8 << 20,
            large: 1 << 20,
            largest: 64 << 20,
            patience: Duration::from_millis(250),
            ahead: Duration::from_hours(1),
            retention: Duration::from_hours(24),
            draft: Duration::from_hours(1),
        }
    }
}

/// Why a pass stopped before its end. What it did up to there is done; the next pass does the rest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// Somebody else leads, or nobody can say who.
    #[error(transparent)]
    NotLeading(#[from] NotLeading),
    /// Not everybody would find what is moved.
    #[error("the gate is {0}")]
    Gate(GateState),
    /// A depot is away or refuses to work.
    #[error("{}", error.named(depot))]
    Depot {
        /// Its name.
        depot: String,
        /// What it said.
        error: DepotError,
    },
}

/// What a pass that went to its end left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Reports that are no longer where they were.
    pub gone: u64,
    /// Reports that cannot be moved, and stay.
    pub skipped: u64,
    /// Reports and tombstones that were changed by others meanwhile: the next pass looks at them.
    pub changed: u64,
}

impl Outcome {
    /// Whether nothing was left.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.skipped == 0 && self.changed == 0
    }
}

/// Moves reports from one depot to another.
pub struct Mover<F: Depot, T: Depot> {
    from: Arc<F>,
    to: Arc<T>,
    leadership: Arc<dyn Leadership>,
    gate: watch::Receiver<GateState>,
    traffic: Traffic,
    pace: Pace,
    progress: watch::Sender<Progress>,
}

/// A mover at work: what is under way, and what is left behind.
struct Pass<F: Depot, T: Depot> {
    from: Arc<F>,
    to: Arc<T>,
    leadership: Arc<dyn Leadership>,
    gate: watch::Receiver<GateState>,
    traffic: Traffic,
    pace: Pace,
    progress: watch::Sender<Progress>,
    in_flight: Arc<Semaphore>,
    rest: Mutex<Rest>,
}

/// Keys that a pass has to come back to. They are few, or the limits on what is read at once would be set wrongly.
#[derive(Default)]
struct Rest {
    large: Vec<ReportKey>,
    skipped: BTreeSet<ReportKey>,
    changed: u64,
}

impl<F: Depot, T: Depot> Mover<F, T> {
    /// A mover. It works only while `gate` is open.
    pub fn new(
        from: Arc<F>,
        to: Arc<T>,
        leadership: Arc<dyn Leadership>,
        gate: watch::Receiver<GateState>,
    ) -> Self {
        let (traffic, pace, progress) = (Traffic::default(), Pace::default(), watch::Sender::default());
        Self { from, to, leadership, gate, traffic, pace, progress }
    }

    /// Steps aside for live calls that are counted in `traffic`.
    #[must_use]
    pub fn yielding_to(mut self, traffic: Traffic) -> Self {
        self.traffic = traffic;
        self
    }

    /// Works at another pace.
    #[must_use]
    pub fn at(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// How far it is, and every change of it.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(super) fn from(&self) -> &F {
        &self.from
    }

    pub(super) fn leadership(&self) -> &dyn Leadership {
        &*self.leadership
    }

    pub(super) fn gate(&self) -> watch::Receiver<GateState> {
        self.gate.clone()
    }

    pub(super) fn publish(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }

    /// Moves everything that can be moved, once.
    ///
    /// # Errors
    /// The pass stopped before its end, see [`Halt`]. Nothing is lost, and the next pass goes on.
    pub async fn pass(&self) -> Result<Outcome, Halt> {
        self.publish(Progress::begin);
        let done = Arc::new(self.start()).run().await;
        self.publish(|it| {
            it.phase = Phase::Idle;
            it.error = done.as_ref().err().map(ToString::to_string);
            it.took = Some(it.elapsed());
            if let Ok(outcome) = &done {
                it.clean = if outcome.is_clean() { Some(Timestamp::now()) } else { it.clean };
            }
        });
        done
    }

    fn start(&self) -> Pass<F, T> {
        Pass {
            from: Arc::clone(&self.from),
            to: Arc::clone(&self.to),
            leadership: Arc::clone(&self.leadership),
            gate: self.gate.clone(),
            traffic: self.traffic.clone(),
            pace: self.pace,
            progress: self.progress.clone(),
            in_flight: Arc::new(Semaphore::new(self.pace.in_flight)),
            rest: Mutex::default(),
        }
    }
}

impl<F: Depot, T: Depot> Pass<F, T> {
    async fn run(self: Arc<Self>) -> Result<Outcome, Halt> {
        stream::run(&self).await?;
        self.enter(Phase::Large);
        self.move_large().await?;
        self.enter(Phase::Tombstones);
        self.move_tombstones().await?;
        self.clear_pieces().await?;
        let changed = self.rest(|rest| rest.changed);
        if changed == 0 {
            self.forget_tombstones().await?;
        }
        self.sweep().await;
        let progress = self.progress.borrow();
        Ok(Outcome { gone: progress.gone(), skipped: progress.left(), changed })
    }

    /// What writers left behind takes room in either depot, and whoever leads clears it away, if not now then after the next pass.
    async fn sweep(&self) {
        if self.leadership.confirm().await.is_err() {
            return;
        }
        let age = SignedDuration::try_from(self.pace.draft).unwrap_or(SignedDuration::MAX);
        let before = Timestamp::now().saturating_sub(age).unwrap_or(Timestamp::MIN);
        for swept in [self.from.sweep(before).await, self.to.sweep(before).await] {
            if let Err(error) = swept {
                tracing::debug!(%error, "what writers left behind stays for now");
            }
        }
    }

    fn rest<R>(&self, with: impl FnOnce(&mut Rest) -> R) -> R {
        with(&mut self.rest.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn enter(&self, phase: Phase) {
        self.progress.send_modify(|it| it.phase = phase);
    }

    /// Steps aside for live traffic, and sees whether the work may go on.
    async fn turn(&self) -> Result<(), Halt> {
        self.traffic.quiet(self.pace.patience).await;
        let gate = self.gate.borrow();
        if gate.is_open() { Ok(()) } else { Err(Halt::Gate(gate.clone())) }
    }

    fn skip(&self, key: &ReportKey, skip: Skip, detail: String) {
        self.rest(|rest| rest.skipped.insert(key.clone()));
        self.progress.send_modify(|it| it.skip(Skipped { key: key.to_string(), skip, detail }));
    }

    fn gone(&self, because: Because, was_there: bool, begun: Instant) {
        self.progress.send_modify(|it| it.count(because, was_there, begun));
    }

    /// Somebody else came in between. That is no failure.
    fn changed(&self) {
        self.rest(|rest| rest.changed += 1);
        self.progress.send_modify(|it| it.changed += 1);
    }

    fn here_failed(&self, error: DepotError) -> Halt {
        Halt::Depot { depot: self.from.name().to_owned(), error }
    }

    fn there_failed(&self, error: DepotError) -> Halt {
        Halt::Depot { depot: self.to.name().to_owned(), error }
    }
}
