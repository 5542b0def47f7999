//! The engine as its callers hold it: opens a data directory, hands requests to the writer and the readers, and ends
//! both in order.

use larder_wire::{Description, Error, Kind, Statement, code};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

use crate::backup::BackupFile;
use crate::connection;
use crate::directory::{self, Directory, OpenError};
use crate::feed::Feed;
use crate::health::{Health, Status};
use crate::integrity::{Integrity, IntegrityStatus};
use crate::options::Options;
use crate::policy::Access;
use crate::queries::{ActiveQuery, Operation, QueryInfo, StopReason};
use crate::readers::{Read, ReadSink, Readers};
use crate::shared::Shared;
use crate::sync::lock;
use crate::telemetry::Telemetry;
use crate::wal::WalFrames;
use crate::watchdog::Watchdog;
use crate::writer::{Command, Failure, Job, Maintenance, Task, Write, WriteAnswer, Writer, queue_full};
use crate::writer_state::WriterState;
use crate::{checkup, ffi, remarks, restore, statement};

/// An open database. All methods may be called from any thread.
pub struct Engine {
    shared: Arc<Shared>,
    commands: crossbeam_channel::Sender<Command>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Opens the data directory, recovers what an earlier process left, and starts the threads. The time that it takes
    /// does not depend on the size of the database. After an unclean stop an integrity check runs in the background.
    ///
    /// # Errors
    /// The directory is in use, cannot be used, or holds no database.
    pub fn open(options: Options, telemetry: Arc<dyn Telemetry>) -> Result<Self, OpenError> {
        let directory = Directory::open(&options.directory, options.journal)?;
        let recovered = directory.was_left_open();
        let guarded = connection::open_writer(&directory, &options)?;
        let path = directory.database();
        let database_failed = |source| OpenError::Database { path: path.clone(), source };
        let seq = crate::bookkeeping::open(&guarded).map_err(database_failed)?;
        let threads_failed =
            |source| OpenError::Io { action: "start threads for", path: path.clone(), source };
        let watchdog = Watchdog::start().map_err(threads_failed)?;
        let committed = Arc::new(AtomicU64::new(seq));
        let readers = Readers::start(path.clone(), &options, &watchdog, Arc::clone(&committed))
            .map_err(threads_failed)?;
        let (commands, queue) = crossbeam_channel::bounded(options.write_queue);
        let shared = Arc::new(Shared {
            feed: Arc::new(Feed::new(seq, options.feed_length)),
            queries: Arc::default(),
            writer: WriterState::new(),
            integrity: Integrity::new(),
            frames: WalFrames::default(),
            closing: AtomicBool::new(false),
            directory,
            options,
            telemetry,
            readers,
            watchdog,
            committed,
            recovered,
        });
        let theirs = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("larder-writer".to_owned())
            .spawn(move || Writer::run(theirs, queue, guarded))
            .map_err(threads_failed)?;
        let engine = Self { shared, commands, writer: Mutex::new(Some(writer)) };
        if recovered {
            engine.check_integrity();
        }
        Ok(engine)
    }

    /// Enters a request into the list of what is under way; it leaves when the entry is dropped.
    #[must_use]
    pub fn begin(
        &self,
        operation: Operation,
        identity: Arc<str>,
        statements: &[Statement],
        deadline: Instant,
    ) -> Arc<ActiveQuery> {
        let sql = statements.first().map_or("", |it| it.sql.as_str());
        self.shared.queries.begin(operation, identity, sql, deadline)
    }

    /// Writes. Once begun, a write runs to its end or its deadline even if the caller drops the future.
    ///
    /// # Errors
    /// The write was not done, or it is not known whether it was: see [`Failure::applied`].
    pub async fn write(&self, write: Write) -> Result<WriteAnswer, Failure> {
        if self.shared.writer.suspended().is_some() {
            return Err(Failure::without_effect(self.shared.writer.refusal()));
        }
        let (reply, answer) = oneshot::channel();
        self.send(Command::Write(Job::new(write, reply))).map_err(Failure::without_effect)?;
        answer.await.unwrap_or_else(|_| Err(writer_lost()))
    }

    /// Reads: the rows go to `sink`, which is told when it is over. Returns as soon as the read has been handed to
    /// a connection.
    pub async fn read(&self, read: Read, sink: Box<dyn ReadSink>) {
        if self.shared.is_closing() {
            return sink.finish(Err(StopReason::Draining.error()));
        }
        self.shared.readers.submit(read, sink).await;
    }

    /// The changes, commit by commit.
    #[must_use]
    pub fn feed(&self) -> &Arc<Feed> {
        &self.shared.feed
    }

    /// What is under way.
    #[must_use]
    pub fn queries(&self) -> Vec<QueryInfo> {
        self.shared.queries.list()
    }

    /// Cancels a request; says whether there was one.
    #[must_use]
    pub fn cancel(&self, id: u64) -> bool {
        self.shared.queries.cancel(id)
    }

    /// Describes statements without running them. Blocks for as long as SQLite compiles.
    ///
    /// # Errors
    /// A statement is wrong or nobody may run it.
    pub fn describe(&self, statements: &[Statement]) -> Result<Vec<Description>, Error> {
        // No other file takes the database's place meanwhile.
        let _occupied = self.shared.readers.occupy();
        let path = self.shared.directory.database();
        // A connection of its own, since it judges by what a write may do; it is opened read-only all the same.
        let guarded = connection::open_reader(&path, &self.shared.options, Access::Write)
            .map_err(|error| crate::error::classify(&error))?;
        let describe = |(index, statement): (usize, &Statement)| {
            statement::describe(&guarded, &statement.sql).map_err(|error| error.in_statement(index))
        };
        statements.iter().enumerate().map(describe).collect()
    }

    /// Looks after the database, between two groups.
    ///
    /// # Errors
    /// It could not be done now.
    pub async fn maintain(&self, what: Maintenance) -> Result<(), Error> {
        self.on_writer(move |writer, _| writer.maintain(what)).await
    }

    /// Makes a copy of the database as of now, in the data directory.
    ///
    /// # Errors
    /// There is no room, or the server is stopping.
    pub async fn back_up(&self) -> Result<BackupFile, Error> {
        self.on_writer(|writer, answer| writer.back_up(answer)).await
    }

    /// A path for a file that is to be restored. What is there at the next start is removed.
    #[must_use]
    pub fn upload_path(&self) -> PathBuf {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.shared.directory.temporary().join(format!("upload-{number}.db"))
    }

    /// Checks whether a file can take the place of the database. Blocks for as long as reading it takes.
    ///
    /// # Errors
    /// It cannot, and why.
    pub fn check_restore(&self, file: &Path) -> Result<(), Error> {
        restore::check(file)
    }

    /// Puts a checked file in the place of the database. Says under which name the old one stays.
    ///
    /// # Errors
    /// The old database stays, and why.
    pub async fn restore(&self, file: PathBuf) -> Result<PathBuf, Error> {
        self.on_writer(move |writer, _| writer.restore(&file)).await
    }

    /// Starts an integrity check in the background; says whether one was started, or runs already.
    pub fn check_integrity(&self) -> bool {
        checkup::start(&self.shared)
    }

    /// Whether everything works, short of reading, which the caller tries for itself.
    #[must_use]
    pub fn health(&self) -> Health {
        let shared = &self.shared;
        let silent = shared.writer.silent_for();
        let writer = match shared.writer.suspended() {
            Some(reason) => Err(reason),
            None if silent > LONGEST_SILENCE => {
                Err(format!("at the same request for {} s", silent.as_secs()))
            }
            None => Ok(()),
        };
        let disk = match directory::free_bytes(shared.directory.path()) {
            Some(_) => Ok(()),
            None => Err("the data directory cannot be reached".to_owned()),
        };
        let wal_bytes = directory::size(&shared.directory.wal());
        let wal = if wal_bytes > 4 * shared.options.wal_limit_bytes {
            Err(format!("{wal_bytes} bytes, the limit is {}", shared.options.wal_limit_bytes))
        } else {
            Ok(())
        };
        let integrity = match shared.integrity.status() {
            IntegrityStatus::Damaged { damage } => Err(damage.join("; ")),
            _ => Ok(()),
        };
        Health { writer, reader: Ok(()), disk, wal, integrity }
    }

    /// What an operator should know although everything works: each with the part that it is about.
    #[must_use]
    pub fn remarks(&self) -> Vec<(&'static str, String)> {
        remarks::of(&self.shared.directory, &self.shared.options)
    }

    /// Figures of the moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let shared = &self.shared;
        Status {
            seq: shared.committed.load(Ordering::Acquire),
            database_bytes: directory::size(&shared.directory.database()),
            wal_bytes: directory::size(&shared.directory.wal()),
            wal_frames: shared.frames.get(),
            free_bytes: directory::free_bytes(shared.directory.path()),
            file_system: shared.directory.file_system().clone(),
            journal: shared.options.journal,
            heap_bytes: ffi::heap_used(),
            write_queue: self.commands.len(),
            read_queue: shared.readers.waiting(),
            readers_in_use: shared.readers.in_use(),
            readers: shared.readers.size(),
            oldest_snapshot: shared.queries.oldest_snapshot(),
            suspended: shared.writer.suspended(),
            integrity: shared.integrity.status(),
            recovered: shared.recovered,
        }
    }

    /// Ends everything in order: reads are stopped, what waits to be written is refused, the log is moved into the
    /// database. Blocks until it is done.
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.queries.stop_all(StopReason::Draining);
        let _ = self.commands.send(Command::Stop);
        let writer = lock(&self.writer).take();
        if writer.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writer ended by a panic");
        }
    }

    /// Whether the writer's thread still runs. If not, nothing can be written until the process starts again.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        lock(&self.writer).as_ref().is_some_and(|thread| !thread.is_finished())
    }

    fn send(&self, command: Command) -> Result<(), Error> {
        use crossbeam_channel::TrySendError;
        if self.shared.is_closing() {
            return Err(StopReason::Draining.error());
        }
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => queue_full(self.shared.options.write_queue),
            TrySendError::Disconnected(_) => StopReason::Draining.error(),
        })
    }

    async fn on_writer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer, &oneshot::Sender<Result<T, Error>>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let task: Task = Box::new(move |writer| {
            let result = work(writer, &reply);
            // Where the caller has left, nobody minds.
            let _ = reply.send(result);
        });
        self.send(Command::Task(task))?;
        answer.await.unwrap_or_else(|_| Err(writer_lost().error))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.shared.is_closing() {
            self.close();
        }
    }
}

/// A statement may run as long as its deadline; a thread that is silent for longer than any sensible one hangs.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

fn writer_lost() -> Failure {
    let error = Error::new(Kind::Internal, code::INTERNAL, "the writer ended before it answered");
    Failure { error, applied: larder_wire::Applied::Unknown }
}
