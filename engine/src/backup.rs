//! Copies of the running database.
//!
//! The writer copies a few pages between groups with SQLite's backup API. What it commits meanwhile goes into the
//! copy too, because it is the same connection (<https://sqlite.org/backup.html>); so a backup holds no snapshot, the
//! log stays short, and the copy is the database as of its last page.

use larder_wire::{Error, Kind, code};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::oneshot;

use crate::directory;
use crate::error::classify;
use crate::queries::StopReason;
use crate::writer::{Session, Writer};

/// A finished copy in the data directory; removed when this is dropped.
#[derive(Debug)]
pub struct BackupFile {
    path: PathBuf,
    bytes: u64,
    seq: u64,
}

impl BackupFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The last commit that it holds.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

impl Drop for BackupFile {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "a temporary copy could not be removed");
    }
}

/// Pages copied at a time: about a millisecond, which a waiting write does not notice.
const PAGES_PER_STEP: i32 = 256;

impl Writer {
    /// Copies the database, letting writes through between the steps.
    pub(crate) fn back_up(
        &mut self,
        answer: &oneshot::Sender<Result<BackupFile, Error>>,
    ) -> Result<BackupFile, Error> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = self.shared.directory.temporary().join(format!("backup-{number}.db"));
        let session = self.session()?;
        self.check_room(&session)?;
        let copied = self.copy(&session, &path, answer);
        if copied.is_err() {
            remove(&path);
        }
        copied?;
        Ok(BackupFile { bytes: directory::size(&path), seq: session.last_commit(), path })
    }

    fn check_room(&self, session: &Session) -> Result<(), Error> {
        let needed = session.bytes().map_err(|error| classify(&error))?;
        match directory::free_bytes(self.shared.directory.path()) {
            Some(free) if free < needed => {
                let message = format!("a copy takes {needed} bytes of disk, {free} are free");
                Err(Error::new(Kind::Full, "SQLITE_FULL", message).retryable())
            }
            _ => Ok(()),
        }
    }

    fn copy(
        &mut self,
        session: &Rc<Session>,
        path: &Path,
        answer: &oneshot::Sender<Result<BackupFile, Error>>,
    ) -> Result<(), Error> {
        let failed = |error: rusqlite::Error| classify(&error);
        let mut target = Connection::open(path).map_err(failed)?;
        // The copy means nothing until it is whole, so it needs neither journal nor sync.
        target.pragma_update_and_check(None, "journal_mode", "off", |_| Ok(())).map_err(failed)?;
        target.pragma_update(None, "synchronous", "off").map_err(failed)?;
        let backup = Backup::new(session.connection(), &mut target).map_err(failed)?;
        loop {
            let step = backup.step(PAGES_PER_STEP).map_err(failed)?;
            if step == StepResult::Done {
                return Ok(());
            }
            if answer.is_closed() {
                return Err(StopReason::Abandoned.error());
            }
            self.let_others_in();
            if !Rc::ptr_eq(&self.session()?, session) || self.is_wanted_elsewhere() {
                return Err(StopReason::Draining.error());
            }
        }
    }
}

/// An uploaded file is not a database that can take the place of this one.
pub(crate) fn refused(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, code::RESTORE_REFUSED, message)
}
