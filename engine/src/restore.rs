//! Putting another database file in the place of the open one: an uploaded backup, or a copy without gaps.
//!
//! The new file is checked first. Then the log is emptied, every connection closed, and the file renamed over the
//! old one, which stays under another name if the caller wants it; a crash at any instant finds one or the other,
//! whole. If the new file cannot be opened after all, the old one comes back.

use larder_wire::{Error, Kind, code};
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::backup::refused;
use crate::bookkeeping::CommitNumber;
use crate::connection;
use crate::directory;
use crate::error::classify;
use crate::integrity;
use crate::telemetry::CheckpointOutcome;
use crate::wal::Mode;
use crate::writer::{Session, Writer};

/// Checks that a file is a sound SQLite database. Takes as long as reading it.
///
/// # Errors
/// It is not, and why.
pub(crate) fn check(path: &Path) -> Result<(), Error> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let not_sound =
        |error: rusqlite::Error| refused(format!("the file is not a sound SQLite database: {error}"));
    let connection = Connection::open_with_flags(path, flags).map_err(not_sound)?;
    connection.pragma_update(None, "cell_size_check", 1).map_err(not_sound)?;
    connection.pragma_update(None, "trusted_schema", 0).map_err(not_sound)?;
    let damage = integrity::full_check(&connection).map_err(not_sound)?;
    if !damage.is_empty() {
        return Err(refused(format!("the file is damaged: {}", damage.join("; "))));
    }
    // One file, not a file and its log.
    connection.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(())).map_err(not_sound)
}

impl Writer {
    /// Replaces the database by a file that was [`check`]ed. The old one stays in the data directory. Says where.
    pub(crate) fn restore(&mut self, file: &Path) -> Result<PathBuf, Error> {
        let last = self.session()?.last_commit();
        let kept = self.shared.directory.kept(last);
        self.replace(file, Some(&kept))?;
        let session = self.session()?;
        let shared = std::sync::Arc::clone(&self.shared);
        let _alone = shared.alone();
        let raised = session.trusted(|connection| CommitNumber::raise(connection, last));
        let number = raised.map_err(|error| self.failed(&error, "numbering the restored database"))?;
        session.continue_from(number);
        self.shared.set_committed(number.last);
        self.shared.feed.reset(number.last);
        Ok(kept)
    }

    /// Rewrites the database without gaps. The copy is made beside it, so that the log stays short.
    pub(crate) fn vacuum(&mut self) -> Result<(), Error> {
        let copy = self.shared.directory.temporary().join("vacuum.db");
        let session = self.session()?;
        let number = session.number();
        let made = session.vacuum_into(&copy).map_err(|error| classify(&error));
        drop(session);
        let result = made.and_then(|()| self.replace(&copy, None));
        if result.is_err() {
            let _ = fs::remove_file(&copy);
        }
        result?;
        self.session()?.continue_from(number);
        Ok(())
    }

    /// Puts `file` in the place of the database, and keeps the old one as `kept`.
    fn replace(&mut self, file: &Path, kept: Option<&Path>) -> Result<(), Error> {
        let shared = std::sync::Arc::clone(&self.shared);
        let session = self.session()?;
        sync_file(file).map_err(|error| disk_failed("sync the new file", &error))?;
        let _paused = shared.readers.pause(&shared.queries);
        self.empty_log(&session)?;
        drop(session);
        let database = shared.directory.database();
        // A second name for the old file until the new one has proved that it opens.
        let fallback = kept.map_or_else(|| shared.directory.temporary().join("replaced.db"), Path::to_owned);
        fs::hard_link(&database, &fallback).map_err(|error| disk_failed("keep the old file", &error))?;
        let closed = self.close_session();
        let opened = closed.and_then(|()| {
            swap(&database, file).map_err(|error| disk_failed("put the new file in place", &error))?;
            self.open_again()
        });
        if let Err(error) = opened {
            self.bring_back(&fallback, &error)?;
            return Err(error);
        }
        if kept.is_none() {
            let _ = fs::remove_file(&fallback);
        }
        directory::sync(shared.directory.path())
            .map_err(|error| disk_failed("sync the data directory", &error))
    }

    /// The old file gets its name back, if it has lost it.
    fn bring_back(&mut self, fallback: &Path, error: &Error) -> Result<(), Error> {
        tracing::error!(%error, "the new database does not open: the old one comes back");
        fs::rename(fallback, self.shared.directory.database())
            .map_err(|error| disk_failed("bring the old file back", &error))?;
        // Renaming one name of a file to another of the same file leaves both.
        let _ = fs::remove_file(fallback);
        if self.session().is_ok() {
            return Ok(());
        }
        let opened = self.open_again();
        opened.inspect_err(|error| {
            self.shared.writer.suspend(format!("the old database does not open: {error}"))
        })
    }

    /// Everything that is committed has to be in the database file before it changes its name.
    fn empty_log(&mut self, session: &Session) -> Result<(), Error> {
        for _ in 0..EMPTYING_ATTEMPTS {
            let moved = session.checkpoint(Mode::Truncate, &*self.shared.telemetry);
            let moved = moved.map_err(|error| self.failed(&error, "a checkpoint"))?;
            if moved.outcome == CheckpointOutcome::Complete {
                return Ok(());
            }
        }
        Err(Error::new(Kind::Unavailable, "SQLITE_BUSY", "readers hold the write-ahead log; try again")
            .retryable())
    }

    fn open_again(&mut self) -> Result<(), Error> {
        let shared = &self.shared;
        let open = connection::open_writer(&shared.directory, &shared.options)
            .map_err(|error| Error::new(Kind::Internal, code::INTERNAL, error.to_string()))?;
        let session = Session::new(open, shared).map_err(|error| classify(&error))?;
        self.set_session(Some(Rc::new(session)));
        Ok(())
    }

    /// Closes the writer's own connection; a backup that still reads from it stands in the way.
    fn close_session(&mut self) -> Result<(), Error> {
        let session = self.session()?;
        self.set_session(None);
        match Rc::try_unwrap(session) {
            Ok(session) => {
                drop(session);
                Ok(())
            }
            Err(shared) => {
                self.set_session(Some(shared));
                Err(Error::new(Kind::Unavailable, "SQLITE_BUSY", "a backup is under way; try again")
                    .retryable())
            }
        }
    }
}

/// Each waits for as long as the busy timeout.
const EMPTYING_ATTEMPTS: u32 = 20;

fn swap(database: &Path, file: &Path) -> io::Result<()> {
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(file, database)?;
    match database.parent() {
        Some(directory) => directory::sync(directory),
        None => Ok(()),
    }
}

fn sync_file(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn disk_failed(action: &str, error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Full,
        _ => Kind::Internal,
    };
    Error::new(kind, code::INTERNAL, format!("cannot {action}: {error}"))
}
