//! The few calls of SQLite that `rusqlite` does not wrap. The only `unsafe` in Larder.
#![expect(unsafe_code, reason = "sqlite3_* functions that rusqlite has no safe form of")]

use rusqlite::{Connection, ffi};
use std::ffi::c_int;

/// Bounds the memory of all connections of this process: beyond 60 % caches are given back, beyond the limit
/// allocations fail (<https://sqlite.org/c3ref/hard_heap_limit64.html>).
pub(crate) fn limit_heap(bytes: u64) {
    let hard = i64::try_from(bytes).unwrap_or(i64::MAX);
    // SAFETY: both functions only store a number, and may be called at any time from any thread.
    unsafe {
        ffi::sqlite3_soft_heap_limit64(hard / 10 * 6);
        ffi::sqlite3_hard_heap_limit64(hard);
    }
}

/// Bytes that SQLite holds in this process.
pub(crate) fn heap_used() -> i64 {
    // SAFETY: reads a counter.
    unsafe { ffi::sqlite3_memory_used() }
}

/// Whether the open transaction violates deferred foreign keys, so that its COMMIT would fail
/// (`SQLITE_DBSTATUS_DEFERRED_FKS`, <https://sqlite.org/c3ref/c_dbstatus_options.html>).
pub(crate) fn has_deferred_violations(connection: &Connection) -> bool {
    // SAFETY: the handle lives as long as `connection`, which no other thread uses during the call.
    unsafe { status(connection.handle(), ffi::SQLITE_DBSTATUS_DEFERRED_FKS) != 0 }
}

/// Counts the pages that the connection has read from disk since it was opened. The function may only be called
/// from the connection's own progress handler: there the connection lives, and its thread is the one that calls.
pub(crate) fn page_counter(connection: &Connection) -> impl Fn() -> u64 + Send + 'static {
    // SAFETY: taking the handle does nothing; see above for its use.
    let handle = Handle(unsafe { connection.handle() });
    move || {
        let handle = &handle;
        // SAFETY: by the condition above the handle is open and no other thread is using it.
        unsafe { status(handle.0, ffi::SQLITE_DBSTATUS_CACHE_MISS) }.try_into().unwrap_or(0)
    }
}

/// A connection's handle, on its way into that connection's own callback.
struct Handle(*mut ffi::sqlite3);

// SAFETY: the callback that holds it moves between threads only together with its connection.
unsafe impl Send for Handle {}

/// # Safety
/// The handle is open and not in use by another thread.
unsafe fn status(handle: *mut ffi::sqlite3, op: c_int) -> c_int {
    let (mut current, mut highest) = (0, 0);
    // SAFETY: the handle is good by this function's own condition, the out-pointers for the duration of the call.
    unsafe { ffi::sqlite3_db_status(handle, op, &raw mut current, &raw mut highest, 0) };
    current
}

/// Forgets the rowid of the last insert, which otherwise one caller would see of another's.
pub(crate) fn reset_last_insert_rowid(connection: &Connection) {
    // SAFETY: the handle lives as long as `connection`, which no other thread uses during the call.
    unsafe { ffi::sqlite3_set_last_insert_rowid(connection.handle(), 0) };
}
