//! Opening connections. The writer's is the only one that can write; readers' cannot, three times over: opened
//! read-only, `query_only`, and judged by an authorizer that allows reading alone.

use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::directory::{Directory, OpenError};
use crate::options::{Journal, Options};
use crate::policy::{self, Access, Recorder};
use crate::queries::Slot;
use crate::{crew, ffi, functions};

/// A connection with what guards it.
pub(crate) struct Guarded {
    pub(crate) connection: Connection,
    pub(crate) recorder: Recorder,
    pub(crate) slot: Arc<Slot>,
}

/// The newest release that can lose committed data in WAL mode is 3.51.2 (<https://sqlite.org/wal.html#walresetbug>).
const MINIMUM_VERSION: i32 = 3_051_003;

/// How often a statement looks at its control, in instructions: about every 20 µs.
const INSTRUCTIONS_BETWEEN_CHECKS: i32 = 1000;

/// Opens the writer's connection, recovering what an earlier process left.
pub(crate) fn open_writer(directory: &Directory, options: &Options) -> Result<Guarded, OpenError> {
    if rusqlite::version_number() < MINIMUM_VERSION {
        return Err(OpenError::SqliteTooOld(rusqlite::version()));
    }
    let path = directory.database();
    let failed = |source| OpenError::Database { path: path.clone(), source };
    ffi::limit_heap(options.heap_bytes);
    ffi::return_freed_memory();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(&path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    let mode = set_journal(&connection, options.journal).map_err(failed)?;
    if options.journal == Journal::WriteAhead && mode != "wal" {
        return Err(OpenError::NoWal { path, mode });
    }
    set_up_writer(&connection, options).map_err(failed)?;
    guard(connection, Access::Write, options).map_err(failed)
}

/// Says which mode SQLite then has: it falls back without an error where it can have no log.
fn set_journal(connection: &Connection, journal: Journal) -> rusqlite::Result<String> {
    let set_mode =
        |mode| connection.pragma_update_and_check(None, "journal_mode", mode, |row| row.get::<_, String>(0));
    if journal == Journal::WriteAhead {
        return set_mode("wal");
    }
    // A log that is there is moved into the database, without the shared memory that the file system may not have
    // (<https://sqlite.org/wal.html#noshm>). Cutting the journal is synced, while unlinking it, the default, is not.
    set(connection, "locking_mode", "EXCLUSIVE")?;
    let mode = set_mode("truncate")?;
    set(connection, "locking_mode", "NORMAL")?;
    // The lock is given up by the first statement that reads.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(mode)
}

/// Only a checkpoint that waits for readers ever needs it.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_millis(250);

fn set_up_writer(connection: &Connection, options: &Options) -> rusqlite::Result<()> {
    set(connection, "synchronous", "FULL")?;
    set(connection, "foreign_keys", 1)?;
    set(connection, "cache_size", -kib(options.writer_cache_bytes))?;
    set(connection, "journal_size_limit", i64::try_from(options.wal_limit_bytes).unwrap_or(i64::MAX))?;
    // The writer checkpoints between groups, see `wal`.
    set(connection, "wal_autocheckpoint", 0)?;
    set_quota(connection, options)
}

/// Sets the quota, in pages of the database's own size.
fn set_quota(connection: &Connection, options: &Options) -> rusqlite::Result<()> {
    let Some(bytes) = options.max_database_bytes else { return Ok(()) };
    let page_size: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    set(connection, "max_page_count", (i64::try_from(bytes).unwrap_or(i64::MAX) / page_size).max(1))
}

/// Opens a connection that can only read.
pub(crate) fn open_reader(path: &Path, options: &Options, access: Access) -> rusqlite::Result<Guarded> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    set(&connection, "query_only", 1)?;
    set(&connection, "cache_size", -kib(options.reader_cache_bytes))?;
    guard(connection, access, options)
}

fn guard(mut connection: Connection, access: Access, options: &Options) -> rusqlite::Result<Guarded> {
    // Sorting spills into memory that the heap limit bounds, never into files outside the data directory.
    set(&connection, "temp_store", "MEMORY")?;
    set(&connection, "mmap_size", 0)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    functions::install(&connection, options.max_value_bytes)?;
    let slot = Slot::new(connection.get_interrupt_handle());
    let watched = Arc::clone(&slot);
    connection.progress_handler(
        INSTRUCTIONS_BETWEEN_CHECKS,
        Some(move || {
            crew::still_running();
            watched.should_stop()
        }),
    )?;
    let recorder = policy::harden(&mut connection, access, options)?;
    Ok(Guarded { connection, recorder, slot })
}

/// Compiled statements that each connection keeps.
pub(crate) const CACHED_STATEMENTS: usize = 128;

/// Sets a PRAGMA; some answer with a row, which says nothing new.
pub(crate) fn set(connection: &Connection, name: &str, value: impl rusqlite::ToSql) -> rusqlite::Result<()> {
    connection.pragma_update(None, name, value)
}

/// SQLite takes a negative cache size in KiB.
fn kib(bytes: usize) -> i64 {
    i64::try_from(bytes / 1024).unwrap_or(i64::MAX)
}
