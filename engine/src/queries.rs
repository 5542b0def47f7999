//! What is under way: who asked, since when, and how it can be stopped.
//!
//! A [`Control`] belongs to one request. The connection that runs it looks at the control every thousand
//! instructions of SQLite's machine; a few long operations (`count(*)` of a large table, say) never get there, so a
//! [`crate::watchdog`] also interrupts connections whose request should have ended. It does so under the lock that
//! installs and removes the control, so that no interrupt ever reaches the next request.

use larder_wire::{Error, Kind, code};
use rusqlite::InterruptHandle;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

use crate::crew;
use crate::sync::lock;

/// Why a request was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StopReason {
    /// Its time was up.
    Deadline = 1,
    /// An operator cancelled it.
    Cancelled = 2,
    /// Nobody is there to read the answer.
    Abandoned = 3,
    /// Its snapshot kept the write-ahead log from being emptied.
    Evicted = 4,
    /// Its caller did not read the answer for too long.
    Stalled = 5,
    /// The server is stopping.
    Draining = 6,
}

impl StopReason {
    fn from_u8(value: u8) -> Option<Self> {
        use StopReason::{Abandoned, Cancelled, Deadline, Draining, Evicted, Stalled};
        [Deadline, Cancelled, Abandoned, Evicted, Stalled, Draining].into_iter().find(|it| *it as u8 == value)
    }

    /// The error that the caller gets.
    #[must_use]
    pub fn error(self) -> Error {
        let (kind, code, message) = match self {
            Self::Deadline => (Kind::Deadline, code::DEADLINE, "the request took longer than its deadline"),
            Self::Cancelled => (Kind::Deadline, code::CANCELLED, "the request was cancelled by an operator"),
            Self::Abandoned => (Kind::Deadline, code::CANCELLED, "the caller went away"),
            Self::Evicted => (
                Kind::Unavailable,
                code::SNAPSHOT_EVICTED,
                "the read was ended because its snapshot kept the write-ahead log growing",
            ),
            Self::Stalled => (Kind::Deadline, code::DEADLINE, "the answer was not read for too long"),
            Self::Draining => (Kind::Unavailable, code::DRAINING, "the server is stopping"),
        };
        let error = Error::new(kind, code, message);
        if self == Self::Cancelled { error } else { error.retryable() }
    }
}

/// Stops one request: at its deadline, or before.
#[derive(Debug)]
pub struct Control {
    deadline: Instant,
    stop: AtomicU8,
    stopped: Notify,
}

impl Control {
    /// A control whose request ends at `deadline` at the latest.
    #[must_use]
    pub fn until(deadline: Instant) -> Arc<Self> {
        Arc::new(Self { deadline, stop: AtomicU8::new(0), stopped: Notify::new() })
    }

    /// Ends the request, for the first reason that is given.
    pub fn stop(&self, reason: StopReason) {
        let first = self.stop.compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if first {
            self.stopped.notify_waiters();
            self.stopped.notify_one();
        }
    }

    /// Why the request has to end, if it has to.
    #[must_use]
    pub fn stop_reason(&self) -> Option<StopReason> {
        let stop = StopReason::from_u8(self.stop.load(Ordering::Acquire));
        if stop.is_none() && Instant::now() >= self.deadline {
            self.stop(StopReason::Deadline);
            return Some(StopReason::Deadline);
        }
        stop
    }

    /// Ends when [`Control::stop`] is called; a deadline that passes is the waiter's own to watch.
    pub async fn stopped(&self) -> StopReason {
        loop {
            let notified = self.stopped.notified();
            if let Some(reason) = StopReason::from_u8(self.stop.load(Ordering::Acquire)) {
                return reason;
            }
            notified.await;
        }
    }

    /// When the request ends at the latest.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `/execute` and its kin.
    Write,
    /// `/query` and its kin.
    Read,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// It waits for a connection.
    Queued = 0,
    /// It runs.
    Running = 1,
    /// It waits for its caller to read.
    Sending = 2,
}

/// A request that is under way. It leaves the list when this is dropped.
#[derive(Debug)]
pub struct ActiveQuery {
    /// Stops it.
    pub control: Arc<Control>,
    id: u64,
    operation: Operation,
    identity: Arc<str>,
    sql: String,
    started: Instant,
    phase: AtomicU8,
    /// Milliseconds after `started` at which the snapshot was taken plus one; 0 without one.
    snapshot: AtomicU64,
    /// Milliseconds after `started` at which the request last began to wait for its caller.
    sending_since: AtomicU64,
    rows: AtomicU64,
    queries: Weak<Queries>,
}

/// A line of the list of what is under way.
#[derive(Clone, Debug)]
pub struct QueryInfo {
    /// Names it in [`crate::Engine::cancel`].
    pub id: u64,
    /// What it does.
    pub operation: Operation,
    /// Who asked.
    pub identity: Arc<str>,
    /// The beginning of its first statement.
    pub sql: String,
    /// How long ago it came.
    pub age: Duration,
    /// How far it has come.
    pub phase: Phase,
    /// Rows that it has read so far.
    pub rows: u64,
}

impl ActiveQuery {
    /// Notes how far the request has come.
    pub fn enter(&self, phase: Phase) {
        if phase == Phase::Sending {
            crew::about_to_wait();
            self.sending_since.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
        }
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// For one that waits while others hold every connection: ends those whose callers have not read for `patience`.
    pub(crate) fn make_room(&self, patience: Duration) {
        if let Some(queries) = self.queries.upgrade() {
            queries.end_stalled(patience);
        }
    }

    /// How long the caller has not read, if the request waits for it.
    fn stalled_for(&self) -> Option<Duration> {
        let since = Duration::from_millis(self.sending_since.load(Ordering::Relaxed));
        (self.phase() == Phase::Sending).then(|| self.started.elapsed().saturating_sub(since))
    }

    /// Notes how many rows were read.
    pub fn count_rows(&self, rows: u64) {
        self.rows.store(rows, Ordering::Relaxed);
    }

    /// The identity that asked.
    #[must_use]
    pub fn identity(&self) -> &Arc<str> {
        &self.identity
    }

    /// When the request came.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn holds_snapshot(&self, holds: bool) {
        let since = if holds { self.started.elapsed().as_millis() as u64 + 1 } else { 0 };
        self.snapshot.store(since, Ordering::Release);
    }

    fn snapshot_age(&self) -> Option<Duration> {
        let since = self.snapshot.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.started.elapsed().saturating_sub(Duration::from_millis(since)))
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Queued,
            1 => Phase::Running,
            _ => Phase::Sending,
        }
    }

    fn info(&self) -> QueryInfo {
        QueryInfo {
            id: self.id,
            operation: self.operation,
            identity: Arc::clone(&self.identity),
            sql: self.sql.clone(),
            age: self.started.elapsed(),
            phase: self.phase(),
            rows: self.rows.load(Ordering::Relaxed),
        }
    }
}

impl Drop for ActiveQuery {
    fn drop(&mut self) {
        if let Some(queries) = self.queries.upgrade() {
            lock(&queries.active).remove(&self.id);
        }
    }
}

/// All requests that are under way.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    next: AtomicU64,
    active: Mutex<BTreeMap<u64, Weak<ActiveQuery>>>,
}

/// How much of the SQL the list shows.
const SHOWN_SQL: usize = 200;

impl Queries {
    pub(crate) fn begin(
        self: &Arc<Self>,
        operation: Operation,
        identity: Arc<str>,
        sql: &str,
        deadline: Instant,
    ) -> Arc<ActiveQuery> {
        let query = Arc::new(ActiveQuery {
            control: Control::until(deadline),
            id: self.next.fetch_add(1, Ordering::Relaxed) + 1,
            operation,
            identity,
            sql: sql[..sql.floor_char_boundary(SHOWN_SQL)].to_owned(),
            started: Instant::now(),
            phase: AtomicU8::new(Phase::Queued as u8),
            snapshot: AtomicU64::new(0),
            sending_since: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            queries: Arc::downgrade(self),
        });
        lock(&self.active).insert(query.id, Arc::downgrade(&query));
        query
    }

    /// The requests, outside the lock: dropping the last reference to one takes it.
    fn all(&self) -> Vec<Arc<ActiveQuery>> {
        lock(&self.active).values().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn list(&self) -> Vec<QueryInfo> {
        self.all().iter().map(|query| query.info()).collect()
    }

    pub(crate) fn cancel(&self, id: u64) -> bool {
        let found = lock(&self.active).get(&id).and_then(Weak::upgrade);
        found.inspect(|query| query.control.stop(StopReason::Cancelled)).is_some()
    }

    pub(crate) fn stop_all(&self, reason: StopReason) {
        self.all().iter().for_each(|query| query.control.stop(reason));
    }

    /// Ends the reads whose callers do not read, and those whose snapshot is older than `grace`. Says how many.
    pub(crate) fn evict(&self, grace: Duration) -> usize {
        let blocks = |query: &Arc<ActiveQuery>| {
            let age = query.snapshot_age();
            let limit = if query.phase() == Phase::Sending { grace.min(STALL_GRACE) } else { grace };
            query.control.stop_reason().is_none() && age.is_some_and(|age| age >= limit)
        };
        let evicted: Vec<_> = self.all().into_iter().filter(blocks).collect();
        evicted.iter().for_each(|query| query.control.stop(StopReason::Evicted));
        evicted.len()
    }

    /// Ends the reads whose callers have not read for `patience`.
    fn end_stalled(&self, patience: Duration) {
        let is_stalled =
            |query: &Arc<ActiveQuery>| query.stalled_for().is_some_and(|stalled| stalled >= patience);
        let stalled = self.all().into_iter().filter(is_stalled);
        stalled.for_each(|query| query.control.stop(StopReason::Stalled));
    }

    /// The age of the oldest snapshot that is held.
    pub(crate) fn oldest_snapshot(&self) -> Option<Duration> {
        self.all().iter().filter_map(|query| query.snapshot_age()).max()
    }
}

/// A caller that has not taken the next chunk within this time is slow, not just scheduled out.
const STALL_GRACE: Duration = Duration::from_millis(100);

/// The place of the control of the request that a connection runs now.
pub(crate) struct Slot {
    current: Mutex<Option<Arc<Control>>>,
    interrupt: InterruptHandle,
}

impl Slot {
    pub(crate) fn new(interrupt: InterruptHandle) -> Arc<Self> {
        Arc::new(Self { current: Mutex::new(None), interrupt })
    }

    /// Puts the connection under this control until the guard is dropped.
    pub(crate) fn install(&self, control: Arc<Control>) -> Installed<'_> {
        *lock(&self.current) = Some(control);
        Installed(self)
    }

    /// Whether the request that runs now has to end.
    pub(crate) fn should_stop(&self) -> bool {
        lock(&self.current).as_ref().is_some_and(|control| control.stop_reason().is_some())
    }

    /// For the watchdog: ends what does not notice that it has to end.
    pub(crate) fn interrupt_if_due(&self) {
        let current = lock(&self.current);
        if current.as_ref().is_some_and(|control| control.stop_reason().is_some()) {
            self.interrupt.interrupt();
        }
    }
}

pub(crate) struct Installed<'s>(&'s Slot);

impl Drop for Installed<'_> {
    fn drop(&mut self) {
        *lock(&self.0.current) = None;
    }
}
