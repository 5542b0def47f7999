//! What to do about a data directory that cannot be used: the second half of the sentence that an operator reads.
//!
//! Only what is met in practice has advice; the rest is told as the system tells it.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rusqlite::ErrorCode;

/// For a failure with a file or directory.
pub(crate) fn of_io(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => {
            "; no writable volume is mounted there: mount one, or choose another --data".to_owned()
        }
        ErrorKind::PermissionDenied => owner(path),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "; the volume is full: grow it, or remove from it what is not Larder's".to_owned()
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "; it is no directory: choose another --data".to_owned()
        }
        _ => String::new(),
    }
}

/// For a failure of SQLite.
pub(crate) fn of_sqlite(error: &rusqlite::Error) -> &'static str {
    // IOERR_SHMOPEN, _SHMSIZE, _SHMLOCK and _SHMMAP: the index of a log that cannot be shared.
    if matches!(crate::error::extended_code(error), Some(4618 | 4874 | 5130 | 5386)) {
        return "; the file system has no shared memory for a write-ahead log: use a volume of block storage, or, slower, \
                --journal rollback";
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "; the volume is full: grow it, or remove from it what is not Larder's",
        Some(ErrorCode::NotADatabase) => {
            "; the file is something else: choose another --data, or put a backup in its place"
        }
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
            "; the volume has to be writable for this process, and every file in it its own"
        }
        Some(ErrorCode::SystemIoFailure) => {
            "; the volume fails: look at its storage, and at the system's log"
        }
        _ => "",
    }
}

/// Who we are, and whose the directory is.
fn owner(path: &Path) -> String {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let us = format!("this process is user {user}, group {group}");
    let whose = path.ancestors().find_map(|it| it.metadata().ok().map(|metadata| (it, metadata)));
    let Some((place, metadata)) = whose else { return format!("; {us}") };
    format!(
        "; {us}, and {} belongs to user {}, group {}, mode {:04o}: set fsGroup: {group} on the pod, or chown the volume",
        place.display(),
        metadata.uid(),
        metadata.gid(),
        metadata.mode() & 0o7777,
    )
}
