//! The wire between one controller and the two stores: every call takes some turns there and back, and may be cut.
//!
//! A cut before the request is `Unreachable`; one after it is `Unanswered`, where the request was applied, was not, or is applied later, when its
//! caller has long gone on.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use larder_client::fallback::shelf::{Burial, Lookup, Placed, Tombstone};
use larder_client::fallback::{
    Entry, Kept, KeptStream, KeyValue, Limits, Listed, Listing, Operation, Primary, PrimaryError,
    PrimaryStats, StoreError,
};
use larder_client::migrate::DepotError;
use larder_client::reports::{Mark, Report, ReportKey, Told, Version};
use tokio::time::sleep;

use crate::log::note;
use crate::random::Random;

/// How a wire is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Every call arrives, and its answer.
    Fair,
    /// No call arrives.
    Cut,
    /// Anything may happen.
    Stormy,
    /// Calls arrive nowhere, and no answer ever comes.
    Silent,
}

/// Requests that were sent and have not arrived yet.
type Underway = Arc<Mutex<Vec<Pin<Box<dyn Future<Output = ()> + Send>>>>>;

/// One wire.
#[derive(Clone)]
pub(crate) struct Wire {
    state: Arc<Mutex<(Weather, Random)>>,
    underway: Underway,
    /// How long a call takes, each way, in a test of time.
    latency: Arc<Mutex<Duration>>,
}

#[derive(Debug)]
enum Fate {
    Arrives,
    Unreachable,
    Lost,
    Applied,
    Late,
    Never,
}

/// What a cut looks like to the caller.
enum Cut {
    Unreachable,
    Unanswered,
}

impl Wire {
    pub(crate) fn new(random: Random, underway: Underway) -> Self {
        let state = Arc::new(Mutex::new((Weather::Fair, random)));
        Self { state, underway, latency: Arc::default() }
    }

    /// A wire on which calls take their time.
    pub(crate) fn slow(latency: Duration) -> Self {
        let wire = Self::new(Random::new(0), Underway::default());
        wire.take(latency);
        wire
    }

    pub(crate) fn set(&self, weather: Weather) {
        self.state.lock().expect("nobody panics with it").0 = weather;
    }

    /// Has every call take so long each way from now on.
    pub(crate) fn take(&self, latency: Duration) {
        *self.latency.lock().expect("nobody panics with it") = latency;
    }

    pub(crate) fn weather(&self) -> Weather {
        self.state.lock().expect("nobody panics with it").0
    }

    fn fate(&self) -> Fate {
        let mut state = self.state.lock().expect("nobody panics with it");
        match state.0 {
            Weather::Fair => Fate::Arrives,
            Weather::Cut => Fate::Unreachable,
            Weather::Silent => Fate::Never,
            Weather::Stormy => match state.1.below(10) {
                0..4 => Fate::Arrives,
                4 | 5 => Fate::Unreachable,
                6 => Fate::Lost,
                7 | 8 => Fate::Applied,
                _ => Fate::Late,
            },
        }
    }

    /// Some turns that others have meanwhile.
    async fn travel(&self) {
        let latency = *self.latency.lock().expect("nobody panics with it");
        if !latency.is_zero() {
            return sleep(latency).await;
        }
        let turns = self.state.lock().expect("nobody panics with it").1.below(3);
        for _ in 0..=turns {
            turn().await;
        }
    }

    async fn call<T: std::fmt::Debug + 'static>(
        &self,
        what: String,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Cut> {
        self.travel().await;
        let fate = self.fate();
        note(|| format!("  {fate:?}: {what}"));
        let answer = match fate {
            Fate::Unreachable => return Err(Cut::Unreachable),
            Fate::Never => std::future::pending().await,
            Fate::Lost => None,
            Fate::Late => {
                let late = Box::pin(async move { drop(call.await) });
                self.underway.lock().expect("nobody panics with it").push(late);
                None
            }
            Fate::Arrives | Fate::Applied => Some(call.await),
        };
        note(|| format!("      {answer:?}").chars().take(300).collect());
        self.travel().await;
        match (fate, answer) {
            (Fate::Arrives, Some(answer)) => Ok(answer),
            _ => Err(Cut::Unanswered),
        }
    }
}

/// Lets others go on.
async fn turn() {
    let mut passed = false;
    poll_fn(|context| {
        if std::mem::replace(&mut passed, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A store of keys and values behind a wire.
pub(crate) struct WiredKeyValue {
    pub(crate) store: Arc<dyn KeyValue>,
    pub(crate) wire: Wire,
    /// Whether every key is read at a time of its own.
    pub(crate) torn: bool,
}

impl WiredKeyValue {
    fn cut(&self, cut: Cut) -> StoreError {
        let (store, reason) = (self.store.name().to_owned(), "the wire is cut".to_owned());
        match cut {
            Cut::Unreachable => StoreError::Unreachable { store, reason },
            Cut::Unanswered => StoreError::Unanswered { store, reason },
        }
    }
}

#[async_trait]
impl KeyValue for WiredKeyValue {
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
        if self.torn { 1 } else { self.store.snapshot() }
    }

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, StoreError> {
        let mut entries = Vec::with_capacity(keys.len());
        for keys in keys.chunks(self.snapshot()) {
            let (store, keys) = (Arc::clone(&self.store), keys.to_vec());
            let read = self.wire.call(format!("get {keys:?}"), async move { store.get(&keys).await }).await;
            entries.extend(read.map_err(|cut| self.cut(cut))??);
        }
        Ok(entries)
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let (store, prefix, after) = (Arc::clone(&self.store), prefix.to_owned(), after.map(str::to_owned));
        let call = async move { store.list(&prefix, after.as_deref(), limit).await };
        let mut listed = self.wire.call("list".into(), call).await.map_err(|cut| self.cut(cut))??;
        // As Consul lists keys.
        listed.iter_mut().for_each(|it| it.revision = None);
        Ok(listed)
    }

    async fn commit(&self, operations: Vec<Operation>) -> Result<bool, StoreError> {
        let store = Arc::clone(&self.store);
        let what = format!("commit {operations:?}").chars().take(900).collect();
        self.wire
            .call(what, async move { store.commit(operations).await })
            .await
            .map_err(|cut| self.cut(cut))?
    }
}

/// A primary behind a wire.
pub(crate) struct WiredPrimary<P> {
    pub(crate) primary: Arc<P>,
    pub(crate) wire: Wire,
}

impl<P: Primary> WiredPrimary<P> {
    async fn call<T: std::fmt::Debug + Send + 'static, F>(
        &self,
        what: &str,
        call: impl FnOnce(Arc<P>) -> F,
    ) -> Result<T, PrimaryError>
    where
        F: Future<Output = Result<T, PrimaryError>> + Send + 'static,
    {
        let answer = self.wire.call(what.into(), call(Arc::clone(&self.primary))).await;
        answer.unwrap_or_else(|cut| {
            Err(match cut {
                Cut::Unreachable => PrimaryError::Unreachable("the wire is cut".into()),
                Cut::Unanswered => PrimaryError::Unanswered("the wire is cut".into()),
            })
        })
    }
}

impl<P: Primary> WiredPrimary<P> {
    /// A call of a mover.
    pub(crate) async fn depot_call<T: std::fmt::Debug + Send + 'static>(
        &self,
        what: &str,
        call: impl FnOnce(&P) -> T + Send + 'static,
    ) -> Result<T, DepotError> {
        let primary = Arc::clone(&self.primary);
        let call = self.wire.call(format!("mover {what}"), async move { call(&primary) });
        call.await.map_err(|_| DepotError::Away("the wire is cut".into()))
    }
}

#[async_trait]
impl<P: Primary> Primary for WiredPrimary<P> {
    fn name(&self) -> &str {
        self.primary.name()
    }

    async fn probe(&self) -> Result<(), PrimaryError> {
        self.call("primary probe", |primary| async move { primary.probe().await }).await
    }

    async fn put(
        &self,
        reports: &[(&Report, i64)],
        since: Option<Mark>,
    ) -> Result<Told<Vec<Placed>>, PrimaryError> {
        let reports: Vec<_> =
            reports.iter().map(|(report, sequence)| ((*report).clone(), *sequence)).collect();
        self.call("primary put", |primary| async move {
            let reports: Vec<_> = reports.iter().map(|(report, sequence)| (report, *sequence)).collect();
            primary.put(&reports, since).await
        })
        .await
    }

    async fn get(&self, key: &ReportKey, since: Option<Mark>) -> Result<Told<Lookup<Kept>>, PrimaryError> {
        let key = key.clone();
        self.call("primary get", |primary| async move { primary.get(&key, since).await }).await
    }

    async fn head(
        &self,
        key: &ReportKey,
        since: Option<Mark>,
    ) -> Result<Told<Lookup<Version>>, PrimaryError> {
        let key = key.clone();
        self.call("primary head", |primary| async move { primary.head(&key, since).await }).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
        beside: &[ReportKey],
        since: Option<Mark>,
    ) -> Result<Told<Listing>, PrimaryError> {
        let (prefix, after, beside) = (prefix.to_owned(), after.cloned(), beside.to_vec());
        self.call("primary list", |primary| async move {
            primary.list(&prefix, after.as_ref(), limit, &beside, since).await
        })
        .await
    }

    async fn stream(&self, keys: &[ReportKey]) -> Result<Box<dyn KeptStream>, PrimaryError> {
        let keys = keys.to_vec();
        let stream =
            self.call("primary stream", |primary| async move { Ok(Opened(primary.stream(&keys).await?)) });
        let Opened(stream) = stream.await?;
        Ok(Box::new(WiredStream { stream, wire: self.wire.clone() }))
    }

    async fn bury(
        &self,
        tombstones: &[Tombstone],
        since: Option<Mark>,
    ) -> Result<Told<Vec<Burial>>, PrimaryError> {
        let tombstones = tombstones.to_vec();
        self.call("primary bury", |primary| async move { primary.bury(&tombstones, since).await }).await
    }

    async fn stats(&self) -> Result<PrimaryStats, PrimaryError> {
        self.call("primary stats", |primary| async move { primary.stats().await }).await
    }
}

struct Opened(Box<dyn KeptStream>);

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a stream")
    }
}

struct WiredStream {
    stream: Box<dyn KeptStream>,
    wire: Wire,
}

#[async_trait]
impl KeptStream for WiredStream {
    async fn next(&mut self) -> Result<Option<Kept>, PrimaryError> {
        self.wire.travel().await;
        match self.wire.fate() {
            Fate::Arrives => self.stream.next().await,
            _ => Err(PrimaryError::Unanswered("the wire is cut".into())),
        }
    }
}
