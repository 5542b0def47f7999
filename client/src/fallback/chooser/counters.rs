//! What happened, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::answer::Store;
use super::{BreakerState, Reports};

/// What happened since the start, for whoever shows metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Reports that were read from or written to the primary.
    pub primary: u64,
    /// Reports that were read from or written to the fallback.
    pub fallback: u64,
    /// Puts that the fallback took because the primary failed or was known to be away.
    pub failovers: u64,
    /// Calls to the primary that failed for no fault of the caller.
    pub primary_failures: u64,
    /// Puts that changed nothing, since a newer report was there.
    pub superseded: u64,
    /// Puts that were made anew above a tombstone or an earlier scan that was written later, as by a clock that is ahead.
    pub raised: u64,
    /// Older copies that were removed from the fallback after a put to the primary.
    pub stale_removed: u64,
    /// Times that both stores were asked once more, since a report had left the primary between the two answers, or none knew.
    pub asked_again: u64,
    /// Answers that were given while a store was away.
    pub incomplete: u64,
    /// Calls that could not be answered.
    pub unavailable: u64,
    /// How often the breaker has opened.
    pub breaker_opened: u64,
    /// What the breaker does now.
    pub breaker: BreakerState,
    /// How often the breaker of the fallback has opened.
    pub fallback_breaker_opened: u64,
    /// What the breaker of the fallback does now.
    pub fallback_breaker: BreakerState,
}

#[derive(Debug, Default)]
pub(super) struct Counting {
    primary: AtomicU64,
    fallback: AtomicU64,
    failovers: AtomicU64,
    primary_failures: AtomicU64,
    superseded: AtomicU64,
    raised: AtomicU64,
    stale_removed: AtomicU64,
    asked_again: AtomicU64,
    incomplete: AtomicU64,
    unavailable: AtomicU64,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counting {
    pub(super) fn answered(&self, store: Store, complete: bool) {
        add(if store == Store::Primary { &self.primary } else { &self.fallback });
        if !complete {
            add(&self.incomplete);
        }
    }

    pub(super) fn failed_over(&self) {
        add(&self.failovers);
    }

    pub(super) fn primary_failed(&self) {
        add(&self.primary_failures);
    }

    pub(super) fn superseded(&self) {
        add(&self.superseded);
    }

    pub(super) fn raised(&self) {
        add(&self.raised);
    }

    pub(super) fn stale_removed(&self) {
        add(&self.stale_removed);
    }

    pub(super) fn asked_again(&self) {
        add(&self.asked_again);
    }

    pub(super) fn unavailable(&self) {
        add(&self.unavailable);
    }
}

impl Reports {
    /// What happened until now.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let (it, get) = (&self.room.counters, |counter: &AtomicU64| counter.load(Ordering::Relaxed));
        Counters {
            primary: get(&it.primary),
            fallback: get(&it.fallback),
            failovers: get(&it.failovers),
            primary_failures: get(&it.primary_failures),
            superseded: get(&it.superseded),
            raised: get(&it.raised),
            stale_removed: get(&it.stale_removed),
            asked_again: get(&it.asked_again),
            incomplete: get(&it.incomplete),
            unavailable: get(&it.unavailable),
            breaker_opened: self.room.breaker.opened(),
            breaker: self.room.breaker.state(),
            fallback_breaker_opened: self.room.guard.breaker().opened(),
            fallback_breaker: self.room.guard.breaker().state(),
        }
    }
}
