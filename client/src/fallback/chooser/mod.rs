//! [`Reports`]: what a controller calls. It asks two stores, the primary and the shelf, and the newest visible report wins.
//!
//! It owns which store is written to (the mode, the gate, the breaker), how the answers of two stores become one, and what may be said while
//! one of them is away. It moves nothing: what was written to the shelf is brought home by [`crate::migrate`], and every call here is made
//! so that what is moved meanwhile, in either direction or in both, is not missed: [`window`] has the rule.
//!
//! Sequences are raised here and nowhere else: where a store answers that a report lies below a tombstone or was written before
//! what stands there, the put is made anew with a greater one. So a request that comes late, after its caller gave up, brings nothing back.

mod answer;
mod counters;
mod delete;
mod hurry;
mod list;
mod many;
mod mode;
mod read;
mod stats;
mod sweep;
mod window;
mod write;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::breaker::{Breaker, BreakerOptions, BreakerState, Outcome};
use super::guarded::Guarded;
use super::primary::{Primary, PrimaryError};
use super::shelf::Shelf;
use super::store::KeyValue;
use crate::reports::Clock;

pub use answer::{Answered, Deleted, ListAnswer, Put, PutAnswer, ReportsError, Store, Swept};
pub use counters::Counters;
pub use many::ReportsStream;
pub use mode::{Gate, Mode, ModeError};
pub use stats::Stats;
pub use sweep::Cleared;

/// Settings of [`Reports`].
#[derive(Clone, Copy, Debug)]
pub struct ReportsOptions {
    /// Which store is written to, at first.
    pub mode: Mode,
    /// How long a call to the primary may take before the fallback is asked; a second for each 8 MiB of payload comes on top.
    pub deadline: Duration,
    /// How long a put into the primary may wait for the fallback, to learn whether a stale copy or a tombstone stands there, and to remove the
    /// former afterwards.
    pub tidying: Duration,
    /// How long a get waits for the fallback before it takes what the primary has, and says that not every store has answered.
    pub hurry: Duration,
    /// How long one call to the fallback may take that reads.
    pub patience: Duration,
    /// When the primary is given up for a while.
    pub breaker: BreakerOptions,
    /// When the fallback is given up for a while.
    pub fallback_breaker: BreakerOptions,
}

impl Default for ReportsOptions {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            deadline: Duration::from_secs(3),
            tidying: Duration::from_millis(500),
            hurry: Duration::from_secs(1),
            patience: Duration::from_secs(3),
            breaker: BreakerOptions::default(),
            // It is all there is while the primary is away: it is tried again soon.
            fallback_breaker: BreakerOptions {
                longest_pause: Duration::from_secs(1),
                ..BreakerOptions::default()
            },
        }
    }
}

/// Reports, wherever they are. Clones are one and the same.
#[derive(Clone)]
pub struct Reports {
    room: Arc<Room>,
}

struct Room {
    primary: Option<Arc<dyn Primary>>,
    /// The shelf, behind a breaker.
    shelf: Shelf,
    guard: Arc<Guarded>,
    /// The shelf as it was given.
    given: Shelf,
    clock: Arc<Clock>,
    gate: Box<dyn Gate>,
    options: ReportsOptions,
    epoch: mode::Epochs,
    breaker: Breaker,
    mark: window::LastMark,
    counters: Arc<counters::Counting>,
}

impl Reports {
    /// Reports in `primary` and on `shelf`. Without a primary everything is on the shelf. The gate says whether every controller knows the
    /// primary; `clock` is the one that all writes of this process take their sequences from.
    #[must_use]
    pub fn new(
        primary: Option<Arc<dyn Primary>>,
        shelf: Shelf,
        clock: Arc<Clock>,
        gate: impl Gate,
        options: ReportsOptions,
    ) -> Self {
        let guard = Arc::new(Guarded::new(shelf.store(), options.fallback_breaker, options.patience));
        let room = Room {
            primary,
            shelf: shelf.on(Arc::clone(&guard) as Arc<dyn KeyValue>),
            guard,
            given: shelf,
            clock,
            gate: Box::new(gate),
            options,
            epoch: mode::Epochs::new(options.mode),
            breaker: Breaker::new(options.breaker),
            mark: window::LastMark::default(),
            counters: Arc::default(),
        };
        Self { room: Arc::new(room) }
    }

    /// The shelf, as it was given.
    #[must_use]
    #[expect(clippy::misnamed_getters, reason = "the breaker is for calls of this one alone")]
    pub fn shelf(&self) -> &Shelf {
        &self.room.given
    }

    /// Takes the word of a caller who has tried to reach the primary in vain: it is not waited for until it answers.
    pub fn primary_is_away(&self, reason: impl Into<String>) {
        if let Some(primary) = &self.room.primary {
            let error = PrimaryError::Unreachable(reason.into());
            self.tell_breaker(primary, Outcome::Unreachable, Some(&error));
        }
    }

    /// What the breaker does with calls to the primary.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        self.room.breaker.state()
    }

    /// The primary, if there is one and the breaker lets calls through.
    fn primary(&self) -> Result<&Arc<dyn Primary>, Away> {
        let primary = self.room.primary.as_ref().ok_or(Away::None)?;
        if self.room.breaker.lets_through() { Ok(primary) } else { Err(Away::Open) }
    }

    /// Whether a store that may hold reports did not answer, given why the primary did not.
    fn is_missed(&self, away: &Away) -> bool {
        !matches!(away, Away::None)
    }

    /// Asks the primary, for a bounded time, and tells the breaker how it went. What is wrong with the request itself is the caller's.
    async fn ask<'p, T, F>(&'p self, bytes: usize, call: impl FnOnce(&'p dyn Primary) -> F) -> Result<T, Away>
    where
        F: Future<Output = Result<T, PrimaryError>>,
    {
        let primary = self.primary()?;
        let deadline = self.room.options.deadline + Duration::from_secs((bytes >> 23) as u64);
        let answer = timeout(deadline, call(primary.as_ref())).await;
        let answer = answer
            .unwrap_or_else(|_| Err(PrimaryError::Unanswered(format!("no answer within {deadline:?}"))));
        let outcome = match &answer {
            Ok(_) | Err(PrimaryError::Rejected(_) | PrimaryError::Unreadable(_)) => Outcome::Answered,
            Err(PrimaryError::Unreachable(_)) => Outcome::Unreachable,
            Err(PrimaryError::Unanswered(_) | PrimaryError::Unwell(_)) => Outcome::Failed,
        };
        self.tell_breaker(primary, outcome, answer.as_ref().err());
        answer.map_err(Away::Failed)
    }

    fn tell_breaker(&self, primary: &Arc<dyn Primary>, outcome: Outcome, error: Option<&PrimaryError>) {
        if outcome != Outcome::Answered {
            self.room.counters.primary_failed();
        }
        let probed = Arc::clone(primary);
        let probe = move || {
            let probed = Arc::clone(&probed);
            async move {
                let answer = probed.probe().await;
                if answer.is_ok() {
                    tracing::info!(primary = probed.name(), "the primary is back");
                }
                answer.is_ok()
            }
        };
        // Failures before this one are counted, not logged: this is the line that tells of an outage.
        if self.room.breaker.record(outcome, probe)
            && let Some(error) = error
        {
            tracing::warn!(primary = primary.name(), %error, "the primary is away; the fallback takes over");
        }
    }
}

/// Why the primary has no say in an answer.
#[derive(Clone, Debug)]
enum Away {
    /// There is none.
    None,
    /// The breaker is open.
    Open,
    /// It was asked in vain, or refused.
    Failed(PrimaryError),
    /// It answered, and what was asked for left it whenever the shelf had been asked before: nobody knows where it is.
    Restless,
}

impl Away {
    /// As a person is told; `None` if it is not away: there is none, or it has answered.
    fn reason(&self) -> Option<String> {
        match self {
            Self::None | Self::Restless => None,
            Self::Open => Some("the primary did not answer lately".to_owned()),
            Self::Failed(error) => Some(error.to_string()),
        }
    }

    /// Whether what was asked for may have been done, or may be a little later.
    fn is_undecided(&self) -> bool {
        matches!(self, Self::Failed(PrimaryError::Unanswered(_)) | Self::Restless)
    }

    /// What the caller did wrong, if it was he.
    fn rejection(&self) -> Option<ReportsError> {
        match self {
            Self::Failed(PrimaryError::Rejected(reason)) => Some(ReportsError::Rejected(reason.clone())),
            _ => None,
        }
    }
}
