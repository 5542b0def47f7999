//! When the disk has failed to say whether data is durable, writing stops. A file that failed an fsync cannot be trusted
//! through the handles that saw it fail: the kernel may have dropped the pages and call them clean
//! (<https://wiki.postgresql.org/wiki/Fsync_Errors>). So every connection is closed, the database is opened anew,
//! its log is written into it again and synced, and it is checked; only then writing goes on.

use larder_wire::Error;
use std::fs;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Session, Writer};
use crate::connection;
use crate::directory;
use crate::error::{classify, primary_code};
use crate::integrity;
use crate::telemetry::CheckpointOutcome;
use crate::wal::Mode;

/// When to try again: soon, then ever later.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failures: u32,
    not_before: Option<Instant>,
}

impl Retry {
    fn is_due(&self) -> bool {
        self.not_before.is_none_or(|time| Instant::now() >= time)
    }

    fn postpone(&mut self) {
        const LONGEST: Duration = Duration::from_secs(10);
        let pause = Duration::from_millis(500) * 2_u32.saturating_pow(self.failures);
        self.failures += 1;
        self.not_before = Some(Instant::now() + pause.min(LONGEST));
    }
}

impl Writer {
    /// An error outside of any request: the disk's own errors suspend writing, others are only told.
    pub(super) fn look_into(&mut self, error: &rusqlite::Error, during: &str) {
        match primary_code(error) {
            Some(
                rusqlite::ffi::SQLITE_IOERR | rusqlite::ffi::SQLITE_CORRUPT | rusqlite::ffi::SQLITE_NOTADB,
            ) => {
                self.doubt(error);
            }
            _ => {
                tracing::warn!(%error, during, "failed; it will be tried again")
            }
        }
    }

    /// [`Writer::look_into`], for work that somebody waits for.
    pub(crate) fn failed(&mut self, error: &rusqlite::Error, during: &str) -> Error {
        self.look_into(error, during);
        classify(error)
    }

    /// Stops writing.
    pub(super) fn doubt(&mut self, error: &rusqlite::Error) {
        if let Some(session) = self.session.take() {
            session.abandon();
        }
        self.retry = Retry::default();
        let code = crate::error::extended_code(error).map_or("", crate::error::name);
        self.shared.writer.suspend(format!("{code}: {error}"));
    }

    /// Opens the database anew and goes on if it can be trusted. Reads are sent away for it, so that it is only tried
    /// when the disk syncs again, and ever less often where that was not enough.
    pub(super) fn resume_when_possible(&mut self) {
        if !self.retry.is_due() || !self.disk_syncs() {
            return;
        }
        match self.reopen() {
            Ok(session) => {
                // Nobody was told of a commit in doubt, so watchers have to learn that there may be a gap.
                self.shared.set_committed(session.last_commit());
                self.shared.feed.reset(session.last_commit());
                self.session = Some(Rc::new(session));
                self.shared.writer.resume();
            }
            Err(reason) => {
                self.retry.postpone();
                let known = self.shared.writer.suspended();
                if known.as_deref() != Some(&reason) {
                    self.shared.writer.suspend(reason);
                }
            }
        }
    }

    /// Whether the disk syncs: the log, through a handle of its own, and a new file. Not the database, since closing any
    /// handle of it drops the locks of all (<https://sqlite.org/howtocorrupt.html>, section 2.2).
    fn disk_syncs(&self) -> bool {
        let directory = &self.shared.directory;
        let probe = directory.temporary().join("probe.db");
        let written = fs::write(&probe, "does this disk sync?").and_then(|()| directory::sync(&probe));
        let _ = fs::remove_file(&probe);
        match written.and_then(|()| directory::sync(&directory.wal())) {
            // A full disk is not one that cannot sync.
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::StorageFull) => {
                tracing::debug!(%error, "the disk still cannot sync");
                false
            }
            _ => true,
        }
    }

    fn reopen(&self) -> Result<Session, String> {
        let shared = &self.shared;
        let session = {
            // All handles have to go, the readers' too.
            let _paused = shared.readers.pause(&shared.queries);
            let guarded = connection::open_writer(&shared.directory, &shared.options)
                .map_err(|error| error.to_string())?;
            let session = Session::new(guarded, shared).map_err(|error| error.to_string())?;
            let moved =
                session.checkpoint(Mode::Truncate, &*shared.telemetry).map_err(|error| error.to_string())?;
            if moved.outcome != CheckpointOutcome::Complete {
                return Err(format!("the write-ahead log could not be emptied: {moved:?}"));
            }
            session
        };
        match session.trusted(integrity::quick_check) {
            Ok(damage) if damage.is_empty() => Ok(session),
            Ok(damage) => Err(format!("the database is damaged: {}", damage.join("; "))),
            Err(error) => Err(error.to_string()),
        }
    }
}
