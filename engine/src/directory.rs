//! The data directory: its files, its lock, its permissions. One process at a time works in it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::advice;
use crate::options::Journal;
use crate::volume::{FileSystem, Nature};

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works in the directory.
    #[error(
        "the data directory {directory} is in use by {holder}: stop that process, or choose another --data"
    )]
    Locked {
        /// The directory.
        directory: PathBuf,
        /// What the lock file says of the other process.
        holder: String,
    },
    /// A file or directory cannot be used.
    #[error("cannot {action} {path}: {source}{}", advice::of_io(path, source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("cannot open the database {path}: {source}{}", advice::of_sqlite(source))]
    Database {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The SQLite that is compiled in has a defect that loses data.
    #[error("SQLite {0} can corrupt a database in WAL mode (fixed in 3.51.3): build Larder with a newer one")]
    SqliteTooOld(&'static str),
    /// The file system cannot do what the write-ahead log needs.
    #[error(
        "{path} is on a file system without shared memory for a write-ahead log (SQLite chose {mode}): use a volume of block \
         storage, or, slower, --journal rollback"
    )]
    NoWal {
        /// The database file.
        path: PathBuf,
        /// The journal mode that SQLite fell back to.
        mode: String,
    },
    /// The file system is one on which a write-ahead log may come apart.
    #[error(
        "the data directory {directory} is on {file_system}, where a write-ahead log is not safe: use a volume of block storage, \
         or, slower, --journal rollback"
    )]
    Remote {
        /// The directory.
        directory: PathBuf,
        /// What the file system is called.
        file_system: String,
    },
}

/// A locked data directory.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    file_system: FileSystem,
    _lock: File,
}

/// Databases that were replaced by a restore begin with this.
const KEPT_PREFIX: &str = "before-restore-";

impl Directory {
    /// Creates the directory if it is missing, takes the lock and removes what an interrupted backup or restore left.
    pub(crate) fn open(path: &Path, journal: Journal) -> Result<Self, OpenError> {
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { action, path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("create", path))?;
        // SQLite is told to follow no link, wherever in the path; a link to the directory is the operator's own.
        let path = fs::canonicalize(path).map_err(io("find", path))?;
        let file_system = FileSystem::of(&path);
        if journal == Journal::WriteAhead && file_system.nature == Nature::Remote {
            return Err(OpenError::Remote { directory: path, file_system: file_system.name.into_owned() });
        }
        let lock = lock(&path)?;
        let directory = Self { path, file_system, _lock: lock };
        let temporary = directory.temporary();
        match fs::remove_dir_all(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io("empty", &temporary)(error));
            }
            _ => DirBuilder::new().mode(0o700).create(&temporary).map_err(io("create", &temporary))?,
        }
        directory.restrict().map_err(io("restrict access to", &directory.database()))?;
        directory.remove_second_names().map_err(io("remove a second name of", &directory.database()))?;
        Ok(directory)
    }

    /// A restore that was cut short before it changed anything has left the open database a second name. SQLite must not
    /// meet a database under two names, since its log goes by the name (<https://sqlite.org/howtocorrupt.html>, 2.4).
    fn remove_second_names(&self) -> io::Result<()> {
        let database = fs::metadata(self.database())?;
        if database.nlink() == 1 {
            return Ok(());
        }
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let is_kept = entry.file_name().to_string_lossy().starts_with(KEPT_PREFIX);
            if is_kept && entry.metadata()?.ino() == database.ino() {
                fs::remove_file(entry.path())?;
            }
        }
        sync(&self.path)
    }

    /// The name under which a database stays that is replaced after commit `last`. Commit numbers are never used
    /// twice, so neither is the name.
    pub(crate) fn kept(&self, last: u64) -> PathBuf {
        self.path.join(format!("{KEPT_PREFIX}{last}.db"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file_system(&self) -> &FileSystem {
        &self.file_system
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("larder.db")
    }

    pub(crate) fn wal(&self) -> PathBuf {
        self.path.join("larder.db-wal")
    }

    /// For files that mean nothing after a restart.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Whether the last process ended without closing the database.
    pub(crate) fn was_left_open(&self) -> bool {
        size(&self.wal()) > 0 || size(&self.path.join("larder.db-journal")) > 0
    }

    /// SQLite gives `-wal` and `-shm` the mode of the database file, so that is the one to create first.
    fn restrict(&self) -> io::Result<()> {
        let database = self.database();
        OpenOptions::new().create(true).append(true).mode(0o600).open(&database)?;
        fs::set_permissions(&database, fs::Permissions::from_mode(0o600))
    }
}

/// Length of a file, 0 if it is not there.
pub(crate) fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |it| it.len())
}

/// Makes a file durable, or renames and removals in a directory.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join("larder.lock");
    let io = |action| {
        let path = path.clone();
        move |source| OpenError::Io { action, path, source }
    };
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io("open"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let read = Read::by_ref(&mut file).take(256).read_to_string(&mut holder);
            let holder = match (read, holder.trim()) {
                (Ok(_), text) if !text.is_empty() => text.to_owned(),
                _ => "another process".to_owned(),
            };
            return Err(OpenError::Locked { directory: directory.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
    }
    let write_holder = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        writeln!(file, "process {} on {host}", std::process::id())
    };
    write_holder(&mut file).map_err(io("write"))?;
    Ok(file)
}

/// Bytes that this process may still write where `path` is.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// All bytes of the volume that `path` is on.
pub(crate) fn volume_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_blocks.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_database_has_one_name() {
        let place = tempfile::tempdir().expect("a directory");
        let database =
            Directory::open(place.path(), Journal::WriteAhead).expect("a data directory").database();
        let [second, replaced] = [5, 6].map(|last| place.path().join(format!("{KEPT_PREFIX}{last}.db")));
        fs::hard_link(&database, &second).expect("a link");
        fs::write(&replaced, "an earlier database").expect("a file");
        let directory = Directory::open(place.path(), Journal::WriteAhead).expect("a data directory");
        assert!(!second.exists() && replaced.exists() && directory.database().exists());
    }
}
