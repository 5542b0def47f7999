//! The one thread that changes the database.
//!
//! Requests come through a bounded queue. Those that wait together share one transaction and one fsync
//! ([`group`]); each is answered when its fate is certain. Between groups the thread checkpoints, forgets old
//! idempotency keys, and runs maintenance. When the disk has failed to say whether a commit is durable, it stops
//! writing until the database was opened anew and checked ([`suspend`]).

mod apply;
mod group;
mod session;
mod suspend;

use crate::bookkeeping::FORGOTTEN_AT_ONCE;
pub use crate::bookkeeping::Idempotency;
pub(crate) use session::Session;
use suspend::Retry;

use crossbeam_channel::{RecvTimeoutError, TryRecvError};
use larder_wire::{Applied, Error, Kind, Role, Statement, StatementResult, code};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

use crate::connection::Guarded;
use crate::queries::{ActiveQuery, StopReason};
use crate::shared::Shared;
use crate::telemetry::CheckpointOutcome;
use crate::wal::Mode;

/// What to write, and for whom.
pub struct Write {
    /// The statements, in order.
    pub statements: Vec<Statement>,
    /// All or nothing, or each statement for itself.
    pub atomic: bool,
    /// What the caller may do.
    pub role: Role,
    /// The entry in the list of what is under way, which carries deadline and cancellation.
    pub query: Arc<ActiveQuery>,
    /// The name under which a repetition is recognised.
    pub idempotency: Option<Idempotency>,
}

/// What a write did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriteAnswer {
    /// One for each statement. None has failed if the write was atomic.
    pub results: Vec<Result<StatementResult, Error>>,
    /// The commit that the write is part of.
    pub seq: u64,
    /// Whether this is the first answer, given again.
    #[serde(skip)]
    pub replayed: bool,
}

/// Why a write failed, and whether it did something all the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What went wrong.
    pub error: Error,
    /// Whether anything was done.
    pub applied: Applied,
}

impl Failure {
    /// A failure that changed nothing.
    #[must_use]
    pub fn without_effect(error: Error) -> Self {
        Self { error, applied: Applied::No }
    }
}

/// Work that needs the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// Move the write-ahead log into the database and cut it to nothing.
    Checkpoint,
    /// Let SQLite look after its statistics (`PRAGMA optimize`).
    Optimize,
    /// Rewrite the database without gaps.
    Vacuum,
}

/// What the writer's thread is asked.
pub(crate) enum Command {
    Write(Job),
    Task(Task),
    Stop,
}

pub(crate) type Task = Box<dyn FnOnce(&mut Writer) + Send>;

/// A write that waits for its answer.
pub(crate) struct Job {
    pub(crate) write: Write,
    pub(crate) reply: oneshot::Sender<Result<WriteAnswer, Failure>>,
    /// Statements, of a write that is not atomic, that were found to take the whole transaction with them.
    pub(crate) known_failures: BTreeMap<usize, Error>,
}

impl Job {
    pub(crate) fn new(write: Write, reply: oneshot::Sender<Result<WriteAnswer, Failure>>) -> Self {
        Self { write, reply, known_failures: BTreeMap::new() }
    }

    fn answer(self, result: Result<WriteAnswer, Failure>) {
        // Where the caller has left, nobody minds.
        let _ = self.reply.send(result);
    }

    fn refuse(self, error: Error) {
        self.answer(Err(Failure::without_effect(error)));
    }
}

/// The writer's side of the queue.
pub(crate) type Queue = crossbeam_channel::Receiver<Command>;

/// The thread's own state.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    queue: Queue,
    /// `None` while writing is suspended. Counted, since a backup reads from it between groups.
    session: Option<Rc<Session>>,
    /// Commands that came while a group was gathered and are not part of one.
    postponed: VecDeque<Command>,
    housekept: Instant,
    /// While writing is suspended: when to open the database anew.
    retry: Retry,
}

/// How long the thread stays awake after a command.
const AWAKE: Duration = Duration::from_micros(100);
/// How long the queue has to be empty for the thread to look after other things.
const IDLE: Duration = Duration::from_millis(500);
/// How often old idempotency keys are forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

impl Writer {
    /// The body of the thread: runs until it is told to stop or nobody can ask any more.
    pub(crate) fn run(shared: Arc<Shared>, queue: Queue, guarded: Guarded) {
        let session = Session::new(guarded, &shared);
        let mut writer = match session {
            Ok(session) => Self {
                shared,
                queue,
                session: Some(Rc::new(session)),
                postponed: VecDeque::new(),
                housekept: Instant::now(),
                retry: Retry::default(),
            },
            Err(error) => {
                shared.writer.suspend(format!("the writer could not start: {error}"));
                return;
            }
        };
        loop {
            writer.shared.writer.beat();
            match writer.next_command() {
                Ok(Command::Write(job)) => writer.run_group(job),
                Ok(Command::Task(task)) => task(&mut writer),
                Err(RecvTimeoutError::Timeout) => writer.idle(),
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
            writer.housekeep_when_due();
        }
        writer.close();
    }

    /// The next command. Falling asleep and being woken takes as long as a commit on a fast disk, so the thread
    /// looks a while longer before it sleeps; whoever wants the core has it meanwhile.
    fn next_command(&mut self) -> Result<Command, RecvTimeoutError> {
        if let Some(command) = self.postponed.pop_front() {
            return Ok(command);
        }
        let asleep_at = Instant::now() + AWAKE;
        while Instant::now() < asleep_at {
            match self.queue.try_recv() {
                Ok(command) => return Ok(command),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => std::thread::yield_now(),
            }
        }
        self.queue.recv_timeout(IDLE)
    }

    /// The open database.
    ///
    /// # Errors
    /// Writing is suspended.
    pub(crate) fn session(&self) -> Result<Rc<Session>, Error> {
        self.session.clone().ok_or_else(|| self.shared.writer.refusal())
    }

    /// After the database was closed or opened again.
    pub(crate) fn set_session(&mut self, session: Option<Rc<Session>>) {
        self.session = session;
    }

    /// Looks after the database.
    pub(crate) fn maintain(&mut self, what: Maintenance) -> Result<(), Error> {
        match what {
            Maintenance::Checkpoint => {
                let done = self.session()?.checkpoint(Mode::Truncate, &*self.shared.telemetry);
                let done = done.map_err(|error| self.failed(&error, "a checkpoint"))?;
                if done.outcome == CheckpointOutcome::Complete {
                    return Ok(());
                }
                let message =
                    format!("readers still need {} of {} frames", done.frames - done.moved, done.frames);
                Err(Error::new(Kind::Unavailable, "SQLITE_BUSY", message).retryable())
            }
            Maintenance::Optimize => {
                let shared = Arc::clone(&self.shared);
                let _alone = shared.alone();
                let done = self.session()?.optimize();
                done.map_err(|error| self.failed(&error, "optimizing"))
            }
            Maintenance::Vacuum => self.vacuum(),
        }
    }

    /// Runs what waits in the queue, for work that takes long and lets others in between.
    pub(crate) fn let_others_in(&mut self) {
        self.shared.writer.beat();
        match self.queue.try_recv() {
            Ok(Command::Write(job)) => self.run_group(job),
            Ok(command) => self.postponed.push_back(command),
            Err(_) => {}
        }
    }

    /// Whether somebody wants the thread to do something that is not a write.
    pub(crate) fn is_wanted_elsewhere(&self) -> bool {
        self.postponed.iter().any(|command| matches!(command, Command::Stop))
    }

    fn idle(&mut self) {
        if self.session.is_none() {
            return self.resume_when_possible();
        }
        self.checkpoint_when_idle();
    }

    fn checkpoint_when_idle(&mut self) {
        let Some(session) = &self.session else { return };
        if let Err(error) = session.checkpoint_idle(&*self.shared.telemetry) {
            self.look_into(&error, "an idle checkpoint");
        }
    }

    /// Whether or not somebody writes all the time.
    fn housekeep_when_due(&mut self) {
        let ttl = self.shared.options.idempotency_ttl;
        if self.housekept.elapsed() < HOUSEKEEPING.min(ttl) {
            return;
        }
        let Some(session) = &self.session else { return };
        let shared = Arc::clone(&self.shared);
        let _alone = shared.alone();
        match session.forget_keys(ttl) {
            // There may be more, which have to wait for others no longer than these did.
            Ok(FORGOTTEN_AT_ONCE) => return,
            Ok(count) => tracing::debug!(count, "forgot idempotency keys"),
            Err(error) => self.look_into(&error, "forgetting idempotency keys"),
        }
        self.housekept = Instant::now();
    }

    /// Ends cleanly: what is in the queue is refused, the log is moved into the database, and the database closed.
    fn close(mut self) {
        while let Ok(command) = self.queue.try_recv() {
            if let Command::Write(job) = command {
                job.refuse(StopReason::Draining.error());
            }
        }
        // The last connection that closes removes the log, and only one that can write is able to.
        let _paused = self.shared.readers.pause(&self.shared.queries);
        if let Some(session) = self.session.take() {
            session.settle(&*self.shared.telemetry);
        }
    }
}

/// The error of a write that found the queue full.
pub(crate) fn queue_full(length: usize) -> Error {
    Error::new(Kind::Busy, code::QUEUE_FULL, format!("{length} writes wait already")).retryable()
}
