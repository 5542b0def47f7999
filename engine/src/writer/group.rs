//! Group commit: requests that wait together share one transaction and one fsync, and none can tell.
//!
//! Each but the first runs under a savepoint of its own. Some failures take more than the savepoint with them: an interrupted
//! write, a full disk, `OR ROLLBACK` and `RAISE(ROLLBACK)` end the whole transaction. The neighbours are then
//! run again, each in a transaction of its own, in their order; so is everybody if the shared COMMIT fails in a way that
//! has certainly changed nothing. An acknowledged request is on disk; a refused one has left no trace; and where the
//! disk has not said which, the answer is "unknown".

use larder_wire::{Applied as Effect, Error, Kind};
use rusqlite::ffi as codes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::apply::{Applied, Outcome, Touched};
use super::{Command, Failure, Job, Session, Writer};
use crate::directory;
use crate::error::{classify, primary_code};
use crate::feed::Change;

/// Requests in one transaction, in their order, each with what became of it.
struct Group {
    members: Vec<(Job, Result<Applied, Error>)>,
    begun: Instant,
}

impl Group {
    fn new() -> Self {
        Self { members: Vec::new(), begun: Instant::now() }
    }

    fn has_something_to_commit(&self) -> bool {
        self.members.iter().any(|(_, outcome)| outcome.as_ref().is_ok_and(|it| it.touched.anything))
    }

    fn into_jobs(self) -> impl Iterator<Item = Job> {
        self.members.into_iter().map(|(job, _)| job)
    }
}

impl Writer {
    /// Runs `first` and whatever waits behind it, as one group.
    pub(super) fn run_group(&mut self, first: Job) {
        let shared = Arc::clone(&self.shared);
        let _alone = shared.alone();
        let mut group = Group::new();
        let mut next = Some(first);
        while let Some(job) = next {
            self.shared.telemetry.queued(job.write.query.started().elapsed());
            group = self.add(group, job);
            let has_room = group.members.len() < self.shared.options.max_group;
            next = if has_room && group.begun.elapsed() < GATHERING { self.next_write() } else { None };
        }
        self.commit(group);
    }

    fn next_write(&mut self) -> Option<Job> {
        match self.queue.try_recv().ok()? {
            Command::Write(job) => Some(job),
            other => {
                self.postponed.push_back(other);
                None
            }
        }
    }

    /// Runs a request inside the group's transaction. Gives back the group, or the new one that follows if
    /// the transaction was lost.
    fn add(&mut self, mut group: Group, mut job: Job) -> Group {
        if job.reply.is_closed() {
            // Nobody waits for it and it has not begun, so it does not begin.
            return group;
        }
        loop {
            let session = match self.begin() {
                Ok(session) => session,
                Err(error) => {
                    job.refuse(error);
                    return group;
                }
            };
            let max_returned = self.shared.options.max_returned_bytes;
            let is_first = group.members.iter().all(|(_, outcome)| outcome.is_err());
            // One request must not end the thread that all others need.
            let applied = catch_unwind(AssertUnwindSafe(|| session.apply(&job, max_returned, is_first)));
            match applied.unwrap_or_else(|_| session.recover()) {
                Outcome::Done(applied) => {
                    group.members.push((job, Ok(applied)));
                    return group;
                }
                Outcome::Refused(error) => {
                    group.members.push((job, Err(error)));
                    return group;
                }
                Outcome::Lost { statement, error } => {
                    // Neighbours may have changed the schema, and what was compiled since then was judged by that.
                    session.forget_compiled();
                    self.make_room_if_full(&session, &error);
                    self.shared.telemetry.replayed(group.members.len());
                    let neighbours = std::mem::replace(&mut group, Group::new());
                    neighbours.into_jobs().for_each(|neighbour| self.run_alone(neighbour));
                    if job.write.atomic || job.known_failures.insert(statement, error.clone()).is_some() {
                        job.refuse(error);
                        return group;
                    }
                }
            }
        }
    }

    /// Runs a request in a transaction of its own.
    fn run_alone(&mut self, job: Job) {
        let group = self.add(Group::new(), job);
        self.commit(group);
    }

    /// The open session, inside a transaction.
    fn begin(&self) -> Result<Rc<Session>, Error> {
        let session = self.session()?;
        if !session.in_transaction() {
            session.server_sql("BEGIN IMMEDIATE").map_err(|error| classify(&error))?;
        }
        Ok(session)
    }

    fn commit(&mut self, group: Group) {
        let Some(session) = self.session.clone() else {
            return group.into_jobs().for_each(|job| job.refuse(self.shared.writer.refusal()));
        };
        let executed = group.begun.elapsed();
        let started = Instant::now();
        let number = session.number();
        let committed = if group.has_something_to_commit() {
            let reserved = session.trusted(|connection| number.reserve(connection));
            reserved.and_then(|number| session.server_sql("COMMIT").map(|()| number.next()))
        } else if session.in_transaction() {
            session.server_sql("COMMIT").map(|()| number)
        } else {
            Ok(number)
        };
        match committed {
            Ok(number) => {
                session.continue_from(number);
                self.shared.telemetry.group(group.members.len(), executed, started.elapsed());
                self.acknowledge(group, number.last);
            }
            Err(error) => return self.commit_failed(&session, group, &error),
        }
        if let Err(error) = session.after_group(&self.shared.queries, &*self.shared.telemetry) {
            self.look_into(&error, "a checkpoint");
        }
    }

    /// Tells everybody, watchers included: the commit is on disk.
    fn acknowledge(&self, group: Group, seq: u64) {
        let mut touched = Touched::default();
        let mut answers = Vec::with_capacity(group.members.len());
        for (job, outcome) in group.members {
            let result = outcome.map(|applied| {
                touched.merge(applied.touched);
                let seq = if applied.answer.replayed { applied.answer.seq } else { seq };
                super::WriteAnswer { seq, ..applied.answer }
            });
            answers.push((job, result.map_err(Failure::without_effect)));
        }
        self.shared.set_committed(seq);
        if touched.anything {
            let tables = touched.tables.into_iter().collect();
            self.shared.feed.publish(Change { seq, tables, schema: touched.schema });
        }
        answers.into_iter().for_each(|(job, result)| job.answer(result));
    }

    /// Whoever asks next finds the room in the log that was taken by what is in the database now.
    fn make_room_if_full(&mut self, session: &Session, error: &Error) {
        let free = || directory::free_bytes(self.shared.directory.path());
        if error.kind != Kind::Full || session.in_transaction() || free().is_some_and(|it| it > FULL_BELOW) {
            return;
        }
        if let Err(error) = session.make_room(&*self.shared.telemetry) {
            self.look_into(&error, "emptying the log of a full disk");
        }
    }

    fn commit_failed(&mut self, session: &Rc<Session>, group: Group, error: &rusqlite::Error) {
        session.roll_back();
        session.forget_compiled();
        if !left_no_trace(error) {
            self.doubt(error);
            return answer_doubtfully(group, error);
        }
        self.make_room_if_full(session, &classify(error));
        if group.members.len() > 1 {
            self.shared.telemetry.replayed(group.members.len());
            return group.into_jobs().for_each(|job| self.run_alone(job));
        }
        if primary_code(error) == Some(codes::SQLITE_NOMEM) {
            // Memory may have run out behind the last frame, which a crash before the next commit would bring to light.
            return answer_doubtfully(group, error);
        }
        for (job, outcome) in group.members {
            job.refuse(outcome.err().unwrap_or_else(|| classify(error)));
        }
    }
}

/// The first of a group waits for the last, so after this long nobody joins any more.
const GATHERING: Duration = Duration::from_millis(20);

/// Less free disk than this is a full one; with more, it is the quota that is reached.
const FULL_BELOW: u64 = 16 << 20;

/// Whether a COMMIT that failed so has certainly not reached the disk. A disk that is full is noticed while frames are
/// written, before the one that makes them count; anything that fails later, above all fsync, leaves doubt.
fn left_no_trace(error: &rusqlite::Error) -> bool {
    matches!(
        primary_code(error),
        Some(
            codes::SQLITE_FULL
                | codes::SQLITE_BUSY
                | codes::SQLITE_LOCKED
                | codes::SQLITE_CONSTRAINT
                | codes::SQLITE_INTERRUPT
                | codes::SQLITE_NOMEM
                | codes::SQLITE_ERROR
        )
    )
}

/// Those that failed before the COMMIT have certainly done nothing.
fn answer_doubtfully(group: Group, error: &rusqlite::Error) {
    for (job, outcome) in group.members {
        let failure = match outcome {
            // What is answered from memory may be the answer to a neighbour in this very group.
            Ok(applied) if applied.touched.anything || applied.answer.replayed => {
                Failure { error: classify(error), applied: Effect::Unknown }
            }
            Ok(_) => Failure::without_effect(classify(error)),
            Err(error) => Failure::without_effect(error),
        };
        job.answer(Err(failure));
    }
}
