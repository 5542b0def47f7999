//! SQLite's result codes, classified once: what they are called, what kind of failure they are, and whether
//! trying again may help (<https://sqlite.org/rescode.html>).

use larder_wire::{Error, Kind, code};
use rusqlite::Error as Sqlite;
use rusqlite::ffi;

/// Turns what `rusqlite` returns into what callers see.
pub(crate) fn classify(error: &Sqlite) -> Error {
    match error {
        Sqlite::SqliteFailure(failure, message) => {
            let fallback = || failure.to_string();
            from_code(failure.extended_code, message.clone().unwrap_or_else(fallback))
        }
        Sqlite::SqlInputError { error, msg, offset, .. } => {
            let offset = usize::try_from(*offset).ok();
            Error { offset, ..from_code(error.extended_code, msg.clone()) }
        }
        Sqlite::MultipleStatement => invalid("more than one statement in one string: send them as an array"),
        Sqlite::NulError(_) => invalid("the SQL contains a NUL byte"),
        Sqlite::InvalidParameterCount(given, expected) => Error::new(
            Kind::Invalid,
            code::PARAMETER_COUNT,
            format!("{given} arguments are given, {expected} are expected"),
        ),
        other => Error::new(Kind::Internal, code::INTERNAL, other.to_string()),
    }
}

fn invalid(message: &str) -> Error {
    Error::new(Kind::Invalid, "SQLITE_ERROR", message)
}

/// The extended result code, where SQLite gave one.
pub(crate) fn extended_code(error: &Sqlite) -> Option<i32> {
    match error {
        Sqlite::SqliteFailure(failure, _) | Sqlite::SqlInputError { error: failure, .. } => {
            Some(failure.extended_code)
        }
        _ => None,
    }
}

/// The primary code is the low byte of the extended one.
pub(crate) fn primary_code(error: &Sqlite) -> Option<i32> {
    extended_code(error).map(|code| code & 0xff)
}

/// What to say of a panic. Where memory runs out while a row is read, `rusqlite` has no other way to tell.
pub(crate) fn after_panic(connection: &rusqlite::Connection) -> Error {
    if crate::ffi::last_error(connection) & 0xff == ffi::SQLITE_NOMEM {
        return from_code(ffi::SQLITE_NOMEM, "a row does not fit into the memory that is left".to_owned());
    }
    Error::new(Kind::Internal, code::INTERNAL, "the request failed in a way that was not foreseen")
}

fn from_code(extended: i32, message: String) -> Error {
    let primary = extended & 0xff;
    let (kind, retryable) = match primary {
        ffi::SQLITE_ERROR | ffi::SQLITE_MISMATCH | ffi::SQLITE_RANGE => (Kind::Invalid, false),
        ffi::SQLITE_AUTH | ffi::SQLITE_READONLY | ffi::SQLITE_PERM => (Kind::Denied, false),
        ffi::SQLITE_CONSTRAINT => (Kind::Constraint, false),
        ffi::SQLITE_INTERRUPT => (Kind::Deadline, true),
        ffi::SQLITE_TOOBIG => (Kind::TooLarge, false),
        ffi::SQLITE_FULL => (Kind::Full, true),
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED | ffi::SQLITE_SCHEMA | ffi::SQLITE_NOMEM => {
            (Kind::Unavailable, true)
        }
        ffi::SQLITE_IOERR if extended == ffi::SQLITE_IOERR_SHMSIZE => (Kind::Full, true),
        _ => (Kind::Internal, false),
    };
    Error { retryable, ..Error::new(kind, name(extended), message) }
}

/// SQLite's name of a result code; of an extended code that is not listed, the name of its primary code.
pub(crate) fn name(extended: i32) -> &'static str {
    let find = |wanted: i32| NAMES.iter().find(|(code, _)| *code == wanted).map(|(_, name)| *name);
    find(extended).or_else(|| find(extended & 0xff)).unwrap_or("SQLITE_UNKNOWN")
}

macro_rules! names {
    ($($name:ident),* $(,)?) => { &[$((ffi::$name, stringify!($name))),*] };
}

const NAMES: &[(i32, &str)] = names![
    SQLITE_ERROR,
    SQLITE_INTERNAL,
    SQLITE_PERM,
    SQLITE_ABORT,
    SQLITE_BUSY,
    SQLITE_LOCKED,
    SQLITE_NOMEM,
    SQLITE_READONLY,
    SQLITE_INTERRUPT,
    SQLITE_IOERR,
    SQLITE_CORRUPT,
    SQLITE_NOTFOUND,
    SQLITE_FULL,
    SQLITE_CANTOPEN,
    SQLITE_PROTOCOL,
    SQLITE_EMPTY,
    SQLITE_SCHEMA,
    SQLITE_TOOBIG,
    SQLITE_CONSTRAINT,
    SQLITE_MISMATCH,
    SQLITE_MISUSE,
    SQLITE_NOLFS,
    SQLITE_AUTH,
    SQLITE_FORMAT,
    SQLITE_RANGE,
    SQLITE_NOTADB,
    SQLITE_ERROR_MISSING_COLLSEQ,
    SQLITE_ERROR_RETRY,
    SQLITE_ERROR_SNAPSHOT,
    SQLITE_ABORT_ROLLBACK,
    SQLITE_BUSY_RECOVERY,
    SQLITE_BUSY_SNAPSHOT,
    SQLITE_BUSY_TIMEOUT,
    SQLITE_LOCKED_SHAREDCACHE,
    SQLITE_LOCKED_VTAB,
    SQLITE_READONLY_RECOVERY,
    SQLITE_READONLY_CANTLOCK,
    SQLITE_READONLY_ROLLBACK,
    SQLITE_READONLY_DBMOVED,
    SQLITE_READONLY_CANTINIT,
    SQLITE_READONLY_DIRECTORY,
    SQLITE_IOERR_READ,
    SQLITE_IOERR_SHORT_READ,
    SQLITE_IOERR_WRITE,
    SQLITE_IOERR_FSYNC,
    SQLITE_IOERR_DIR_FSYNC,
    SQLITE_IOERR_TRUNCATE,
    SQLITE_IOERR_FSTAT,
    SQLITE_IOERR_UNLOCK,
    SQLITE_IOERR_RDLOCK,
    SQLITE_IOERR_DELETE,
    SQLITE_IOERR_NOMEM,
    SQLITE_IOERR_ACCESS,
    SQLITE_IOERR_LOCK,
    SQLITE_IOERR_CLOSE,
    SQLITE_IOERR_SHMOPEN,
    SQLITE_IOERR_SHMSIZE,
    SQLITE_IOERR_SHMLOCK,
    SQLITE_IOERR_SHMMAP,
    SQLITE_IOERR_SEEK,
    SQLITE_IOERR_DELETE_NOENT,
    SQLITE_IOERR_MMAP,
    SQLITE_IOERR_CORRUPTFS,
    SQLITE_CORRUPT_VTAB,
    SQLITE_CORRUPT_SEQUENCE,
    SQLITE_CORRUPT_INDEX,
    SQLITE_CANTOPEN_NOTEMPDIR,
    SQLITE_CANTOPEN_ISDIR,
    SQLITE_CANTOPEN_FULLPATH,
    SQLITE_CONSTRAINT_CHECK,
    SQLITE_CONSTRAINT_COMMITHOOK,
    SQLITE_CONSTRAINT_FOREIGNKEY,
    SQLITE_CONSTRAINT_FUNCTION,
    SQLITE_CONSTRAINT_NOTNULL,
    SQLITE_CONSTRAINT_PRIMARYKEY,
    SQLITE_CONSTRAINT_TRIGGER,
    SQLITE_CONSTRAINT_UNIQUE,
    SQLITE_CONSTRAINT_VTAB,
    SQLITE_CONSTRAINT_ROWID,
    SQLITE_CONSTRAINT_PINNED,
    SQLITE_CONSTRAINT_DATATYPE,
    SQLITE_AUTH_USER,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_names_and_kinds() {
        for (code, name, kind) in [
            (1, "SQLITE_ERROR", Kind::Invalid),
            (2067, "SQLITE_CONSTRAINT_UNIQUE", Kind::Constraint),
            (1555, "SQLITE_CONSTRAINT_PRIMARYKEY", Kind::Constraint),
            (787, "SQLITE_CONSTRAINT_FOREIGNKEY", Kind::Constraint),
            (13, "SQLITE_FULL", Kind::Full),
            (1034, "SQLITE_IOERR_FSYNC", Kind::Internal),
            (4874, "SQLITE_IOERR_SHMSIZE", Kind::Full),
            (23, "SQLITE_AUTH", Kind::Denied),
            (18, "SQLITE_TOOBIG", Kind::TooLarge),
            (19 | (99 << 8), "SQLITE_CONSTRAINT", Kind::Constraint),
            (200, "SQLITE_UNKNOWN", Kind::Internal),
        ] {
            let error = from_code(code, "m".to_owned());
            assert_eq!((error.code.as_ref(), error.kind), (name, kind), "code {code}");
        }
    }
}
