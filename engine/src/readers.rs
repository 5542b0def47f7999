//! Reads: a pool of read-only connections and the threads that step through rows on them.
//!
//! All statements of one read see one snapshot. Rows go to a [`ReadSink`] as they are stepped, so a result of any
//! length takes the memory of what the sink holds back. Admission is asynchronous, and so is waiting; a connection
//! never leaves its thread while it works, and one that comes back in the middle of something is closed.

use larder_wire::{Args, Column, Error, Kind, Row, Statement, code};
use scheduled_thread_pool::ScheduledThreadPool;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connection::{self, Guarded};
use crate::crew::Crew;
use crate::options::Options;
use crate::policy::Access;
use crate::queries::{ActiveQuery, Phase, Queries, Slot, StopReason};
use crate::statement::{self, CurrentRow};
use crate::watchdog::Watchdog;

/// What to read.
pub struct Read {
    /// The statements, in order.
    pub statements: Vec<Statement>,
    /// Whether a statement that fails before its first row ends the whole read, or is told as failed among the others.
    pub all_or_nothing: bool,
    /// The entry in the list of what is under way, which carries deadline and cancellation.
    pub query: Arc<ActiveQuery>,
}

/// Takes what a read finds, on the thread that finds it. It may block while its own reader is slow.
pub trait ReadSink: Send {
    /// The rows of statement `index` begin.
    ///
    /// # Errors
    /// Nobody reads any more. The sink has told the query's control why.
    fn columns(&mut self, index: usize, columns: &[Column]) -> Result<(), SinkClosed>;
    /// A row.
    ///
    /// # Errors
    /// As for [`ReadSink::columns`].
    fn row(&mut self, row: &dyn Row) -> Result<(), SinkClosed>;
    /// The rows of a statement end, after `seconds`.
    ///
    /// # Errors
    /// As for [`ReadSink::columns`].
    fn end(&mut self, rows: u64, seconds: f64) -> Result<(), SinkClosed>;
    /// Statement `index` failed before its first row, in a read that is not all or nothing.
    ///
    /// # Errors
    /// As for [`ReadSink::columns`].
    fn failed(&mut self, index: usize, error: &Error) -> Result<(), SinkClosed>;
    /// The read ended; the snapshot is released.
    fn finish(self: Box<Self>, result: Result<ReadSummary, Error>);
}

/// Nobody takes rows any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the result is not read any more")]
pub struct SinkClosed;

/// What a read that succeeded has to say.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadSummary {
    /// Every commit up to this one was seen.
    pub seq: u64,
    /// Rows of all statements.
    pub rows: u64,
}

type Pool = r2d2::Pool<ReaderManager>;

/// The read side of an engine.
pub(crate) struct Readers {
    shared: Arc<Shared>,
    admission: Arc<Semaphore>,
    crew: Arc<Crew<Job>>,
    waiting: AtomicUsize,
    max_waiting: usize,
}

struct Shared {
    manager: ReaderManager,
    /// Held for reading while a connection is in use, so that holding it for writing means that none is.
    pool: RwLock<Pool>,
    committed: Arc<AtomicU64>,
    /// Reads that wait for the pool's lock, which is given to whoever comes first.
    entering: AtomicUsize,
}

impl Shared {
    fn enter(&self) -> RwLockReadGuard<'_, Pool> {
        if let Ok(pool) = self.pool.try_read() {
            return pool;
        }
        let _entering = Waiting::enter(&self.entering);
        self.pool.read().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Job {
    read: Read,
    sink: Box<dyn ReadSink>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.crew.end();
    }
}

impl Readers {
    /// Starts the threads. Connections are opened as they are needed. `committed` is the number of the last commit.
    pub(crate) fn start(
        path: PathBuf,
        options: &Options,
        watchdog: &Arc<Watchdog>,
        committed: Arc<AtomicU64>,
    ) -> std::io::Result<Self> {
        let manager = ReaderManager { path, options: options.clone(), watchdog: Arc::clone(watchdog) };
        let pool = RwLock::new(manager.pool());
        let shared = Arc::new(Shared { manager, pool, committed, entering: AtomicUsize::new(0) });
        let theirs = Arc::clone(&shared);
        let crew = Crew::start(options.readers, move |job| serve(&theirs, job))?;
        watchdog.watch(&crew, Crew::rescue);
        let admission = Arc::new(Semaphore::new(options.readers));
        Ok(Self { shared, admission, crew, waiting: AtomicUsize::new(0), max_waiting: options.read_queue })
    }

    /// Waits for a connection and hands the read to its thread.
    pub(crate) async fn submit(&self, read: Read, sink: Box<dyn ReadSink>) {
        match self.admit(&read.query).await {
            Ok(permit) => {
                if let Err(job) = self.crew.give(Job { read, sink, _permit: permit }) {
                    job.sink.finish(Err(StopReason::Draining.error()));
                }
            }
            Err(error) => sink.finish(Err(error)),
        }
    }

    async fn admit(&self, query: &ActiveQuery) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(permit) = Arc::clone(&self.admission).try_acquire_owned() {
            return Ok(permit);
        }
        let waiting = Waiting::enter(&self.waiting);
        if waiting.before >= self.max_waiting {
            return Err(busy(format!("{} reads wait already", waiting.before)));
        }
        let deadline = tokio::time::Instant::from_std(query.control.deadline());
        let admitted = Arc::clone(&self.admission).acquire_owned();
        let mut admitted = std::pin::pin!(admitted);
        loop {
            tokio::select! {
                permit = &mut admitted => return permit.map_err(|_| StopReason::Draining.error()),
                reason = query.control.stopped() => return Err(reason.error()),
                () = tokio::time::sleep_until(deadline) => {
                    return Err(busy(format!("all {} connections were in use until the deadline", self.size())));
                }
                () = tokio::time::sleep(PATIENCE) => query.make_room(PATIENCE),
            }
        }
    }

    /// Closes every connection; none is opened until the guard is dropped. Reads that run are sent away, those that
    /// wait go on afterwards.
    pub(crate) fn pause(&self, queries: &Queries) -> Paused<'_> {
        let mut pool = self.wait_for_readers(queries, Duration::ZERO);
        *pool = self.shared.manager.pool();
        Paused { _pool: pool }
    }

    /// Keeps readers away until the guard is dropped, and their connections open. Reads that run have `grace`, and those that
    /// waited before have their turn first.
    pub(crate) fn exclude(&self, queries: &Queries, grace: Duration) -> Alone<'_> {
        let begun = Instant::now();
        while self.shared.entering.load(Ordering::Acquire) > 0 && begun.elapsed() < COURTESY {
            std::thread::yield_now();
        }
        if let Ok(pool) = self.shared.pool.try_write() {
            return Alone { _pool: pool };
        }
        Alone { _pool: self.wait_for_readers(queries, grace) }
    }

    /// Waits until no connection is in use. A read may begin until the lock is asked for, so looking once for those that
    /// have to go would miss it.
    fn wait_for_readers(&self, queries: &Queries, grace: Duration) -> RwLockWriteGuard<'_, Pool> {
        let waits = AtomicBool::new(true);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while waits.load(Ordering::Acquire) {
                    queries.evict(grace);
                    std::thread::sleep(EVICTION_PERIOD);
                }
            });
            let pool = self.shared.pool.write().unwrap_or_else(PoisonError::into_inner);
            waits.store(false, Ordering::Release);
            pool
        })
    }

    /// While this lives, [`Readers::pause`] waits: for a connection that is none of the pool's.
    pub(crate) fn occupy(&self) -> Occupied<'_> {
        Occupied { _pool: self.shared.enter() }
    }

    pub(crate) fn size(&self) -> usize {
        self.shared.manager.options.readers
    }

    pub(crate) fn in_use(&self) -> usize {
        self.size() - self.admission.available_permits()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A caller that does not read is borne with for longer only as long as nobody else waits.
const PATIENCE: Duration = Duration::from_secs(1);

fn busy(message: String) -> Error {
    Error::new(Kind::Busy, code::QUEUE_FULL, message).retryable()
}

/// While this lives, no reader has a connection.
pub(crate) struct Paused<'p> {
    _pool: RwLockWriteGuard<'p, Pool>,
}

/// While this lives, no reader works.
pub(crate) struct Alone<'p> {
    _pool: RwLockWriteGuard<'p, Pool>,
}

/// How long a writer that comes back at once lets readers pass that waited for it.
const COURTESY: Duration = Duration::from_millis(10);

/// How often a read that began in the last moment is looked for.
const EVICTION_PERIOD: Duration = Duration::from_millis(5);

/// While this lives, readers are not paused.
pub(crate) struct Occupied<'p> {
    _pool: RwLockReadGuard<'p, Pool>,
}

/// Counts those that wait.
struct Waiting<'w> {
    counter: &'w AtomicUsize,
    before: usize,
}

impl<'w> Waiting<'w> {
    fn enter(counter: &'w AtomicUsize) -> Self {
        Self { counter, before: counter.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs one read on a connection of the pool.
fn serve(shared: &Shared, mut job: Job) {
    let result = {
        let pool = shared.enter();
        match pool.get() {
            Ok(mut guarded) => {
                let run = || run(&mut guarded, &shared.committed, &job.read, job.sink.as_mut());
                // The caller gets an answer whatever happens, and the connection goes back only if it is clean.
                let result = catch_unwind(AssertUnwindSafe(run));
                result.unwrap_or_else(|_| Err(crate::error::after_panic(&guarded.connection)))
            }
            Err(error) => Err(cannot_open(&error)),
        }
    };
    job.sink.finish(result);
}

fn cannot_open(error: &r2d2::Error) -> Error {
    Error::new(Kind::Unavailable, "SQLITE_CANTOPEN", format!("the database cannot be opened: {error}"))
        .retryable()
}

/// Runs all statements of a read on one snapshot.
fn run(
    guarded: &mut Guarded,
    committed: &AtomicU64,
    read: &Read,
    sink: &mut dyn ReadSink,
) -> Result<ReadSummary, Error> {
    let query = &read.query;
    if let Some(reason) = query.control.stop_reason() {
        return Err(reason.error());
    }
    query.enter(Phase::Running);
    // Read before the snapshot is taken: the snapshot holds this commit, and perhaps later ones.
    let seq = committed.load(Ordering::Acquire);
    let _control = guarded.slot.install(Arc::clone(&query.control));
    query.holds_snapshot(true);
    let result = in_one_snapshot(guarded, read, |guarded| {
        let mut rows = 0;
        for (index, statement) in read.statements.iter().enumerate() {
            let mut cursor = Progress { query, rows_before: rows, rows: 0, begun: false };
            let result = run_statement(guarded, &mut cursor, statement, index, sink);
            rows += cursor.rows;
            match result.map_err(|error| error.in_statement(index)) {
                Ok(()) => {}
                Err(error)
                    if read.all_or_nothing || cursor.begun || query.control.stop_reason().is_some() =>
                {
                    return Err(error);
                }
                Err(error) => sink.failed(index, &error).map_err(|closed| stopped(closed, query))?,
            }
        }
        Ok(ReadSummary { seq, rows })
    });
    query.holds_snapshot(false);
    result
}

/// A single execution of a single statement is a snapshot by itself.
fn in_one_snapshot<T>(
    guarded: &Guarded,
    read: &Read,
    run: impl FnOnce(&Guarded) -> Result<T, Error>,
) -> Result<T, Error> {
    let single = matches!(&read.statements[..], [one] if matches!(one.args, Args::One(_)));
    if single {
        return run(guarded);
    }
    // Not by way of the cache of compiled statements: whoever sends the same text would get them unjudged.
    let server_sql = |sql| {
        let run = || guarded.connection.execute_batch(sql);
        guarded.recorder.trusted(run).map_err(|error| crate::error::classify(&error))
    };
    server_sql("BEGIN")?;
    let result = run(guarded);
    // Where this fails, the connection is found to be in a transaction and is closed.
    server_sql("COMMIT")?;
    result
}

/// How far one statement of a read has come.
struct Progress<'q> {
    query: &'q ActiveQuery,
    rows_before: u64,
    rows: u64,
    /// Whether the sink has been given anything of it.
    begun: bool,
}

fn run_statement(
    guarded: &Guarded,
    progress: &mut Progress<'_>,
    statement: &Statement,
    index: usize,
    sink: &mut dyn ReadSink,
) -> Result<(), Error> {
    let started = Instant::now();
    let query = progress.query;
    let closed = |closed| stopped(closed, query);
    let (mut compiled, _) = statement::compile(&guarded.connection, &guarded.recorder, &statement.sql)?;
    let mut columns = statement::columns(&compiled);
    let width = columns.len();
    for bindings in statement.args.sets() {
        statement::bind(&mut compiled, bindings)?;
        let mut cursor = compiled.raw_query();
        while let Some(row) = cursor.next().map_err(|error| statement::failed(&error, &query.control))? {
            let row = CurrentRow::new(row, width);
            if !progress.begun {
                statement::infer_types(&mut columns, &row);
                sink.columns(index, &columns).map_err(closed)?;
                progress.begun = true;
            }
            sink.row(&row).map_err(closed)?;
            progress.rows += 1;
            if progress.rows.is_multiple_of(ROWS_BETWEEN_NOTES) {
                query.count_rows(progress.rows_before + progress.rows);
            }
        }
    }
    if !progress.begun {
        sink.columns(index, &columns).map_err(closed)?;
        progress.begun = true;
    }
    statement::check_expectation(statement.expect_rows, progress.rows)?;
    sink.end(progress.rows, started.elapsed().as_secs_f64()).map_err(closed)
}

const ROWS_BETWEEN_NOTES: u64 = 1024;

fn stopped(SinkClosed: SinkClosed, query: &ActiveQuery) -> Error {
    query.control.stop_reason().unwrap_or(StopReason::Abandoned).error()
}

/// Opens read-only connections for the pool.
#[derive(Clone)]
struct ReaderManager {
    path: PathBuf,
    options: Options,
    watchdog: Arc<Watchdog>,
}

impl ReaderManager {
    fn pool(&self) -> Pool {
        let opener = ScheduledThreadPool::builder().num_threads(1).thread_name_pattern("larder-open").build();
        r2d2::Pool::builder()
            .max_size(u32::try_from(self.options.readers).unwrap_or(u32::MAX))
            .min_idle(Some(0))
            .test_on_check_out(false)
            .max_lifetime(None)
            .idle_timeout(None)
            .connection_timeout(CONNECT_TIMEOUT)
            .error_handler(Box::new(r2d2::NopErrorHandler))
            .thread_pool(Arc::new(opener))
            .build_unchecked(self.clone())
    }
}

/// Admission sees to it that nobody waits for a connection; this is for one that cannot be opened.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl r2d2::ManageConnection for ReaderManager {
    type Connection = Guarded;
    type Error = rusqlite::Error;

    fn connect(&self) -> rusqlite::Result<Guarded> {
        let guarded = connection::open_reader(&self.path, &self.options, Access::Read)?;
        self.watchdog.watch(&guarded.slot, Slot::interrupt_if_due);
        Ok(guarded)
    }

    fn is_valid(&self, _guarded: &mut Guarded) -> rusqlite::Result<()> {
        Ok(())
    }

    /// One that is still in a transaction or in the middle of a statement would hold its snapshot for ever.
    fn has_broken(&self, guarded: &mut Guarded) -> bool {
        !guarded.connection.is_autocommit() || guarded.connection.is_busy()
    }
}
