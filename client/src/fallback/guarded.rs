//! A store of keys and values that nobody waits for time and again: a breaker in front of it.
//!
//! A store that hangs costs every call its whole time limit. After three in a row, or one that reached nobody, calls fail at once as calls to a
//! store that is away do, until a probe in the background is answered; so an outage is told as one, only sooner. Reads of a few keys have a
//! time limit besides; a write is waited for as long as the store itself thinks right, since giving it up does not undo it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, timeout};

use super::breaker::{Breaker, BreakerOptions, Outcome};
use super::{Entry, KeyValue, Limits, Listed, Operation, Sorted, StoreError};

/// A key that is asked for to see whether the store answers; whether it exists does not matter.
const PROBE: &str = "larder/probe";
/// A call that its caller gave up after this part of the time limit counts as one that was not answered.
const GIVEN_UP: u32 = 10;

/// A store behind a breaker.
pub(super) struct Guarded {
    store: Arc<dyn KeyValue>,
    breaker: Breaker,
    patience: Duration,
}

/// A call that is under way. Dropped before it was answered, it says so to the breaker.
struct Underway<'g> {
    guarded: &'g Guarded,
    begun: Instant,
    is_over: bool,
}

impl Guarded {
    /// Guards a store of which a read takes `patience` at most.
    pub(super) fn new(store: Arc<dyn KeyValue>, options: BreakerOptions, patience: Duration) -> Self {
        Self { store, breaker: Breaker::new(options), patience }
    }

    pub(super) fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        if !self.breaker.lets_through() {
            let (store, reason) = (self.name().to_owned(), "it did not answer lately".to_owned());
            return Err(StoreError::Unreachable { store, reason });
        }
        let mut underway = Underway { guarded: self, begun: Instant::now(), is_over: false };
        let answer = call.await;
        underway.is_over = true;
        self.record(match &answer {
            Ok(_) | Err(StoreError::Refused { .. }) => Outcome::Answered,
            Err(StoreError::Unreachable { .. }) => Outcome::Unreachable,
            Err(StoreError::Unanswered { .. }) => Outcome::Failed,
        });
        answer
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let late = || StoreError::Unanswered {
            store: self.name().to_owned(),
            reason: format!("no answer within {:?}", self.patience),
        };
        self.call(async { timeout(self.patience, call).await.unwrap_or_else(|_| Err(late())) }).await
    }

    fn record(&self, outcome: Outcome) {
        let probed = Arc::clone(&self.store);
        let probe = move || {
            let probed = Arc::clone(&probed);
            async move { matches!(probed.get(&[PROBE.to_owned()]).await, Ok(_) | Err(StoreError::Refused { .. })) }
        };
        if self.breaker.record(outcome, probe) {
            tracing::warn!(
                store = self.name(),
                "the fallback does not answer; it is not waited for until it does"
            );
        }
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        // Where a runtime ends, nobody probes any more.
        let is_alive = tokio::runtime::Handle::try_current().is_ok();
        if !self.is_over && is_alive && self.begun.elapsed() >= self.guarded.patience / GIVEN_UP {
            self.guarded.record(Outcome::Failed);
        }
    }
}

#[async_trait]
impl KeyValue for Guarded {
    fn name(&self) -> &str {
        self.store.name()
    }

    fn limits(&self) -> Limits {
        self.store.limits()
    }

    fn weight(&self, operation: &Operation) -> usize {
        self.store.weight(operation)
    }

    fn snapshot(&self) -> usize {
        self.store.snapshot()
    }

    fn snapshot_of_large(&self) -> usize {
        self.store.snapshot_of_large()
    }

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, StoreError> {
        self.in_time(self.store.get(keys)).await
    }

    async fn get_large(&self, keys: Sorted<'_>) -> Result<Option<Vec<Option<Entry>>>, StoreError> {
        self.in_time(self.store.get_large(keys)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        self.call(self.store.list(prefix, after, limit)).await
    }

    async fn commit(&self, operations: Vec<Operation>) -> Result<bool, StoreError> {
        self.call(self.store.commit(operations)).await
    }
}
