//! The few calls of SQLite that `rusqlite` does not wrap. The only `unsafe` of the engine.
#![expect(unsafe_code, reason = "sqlite3_* functions that rusqlite has no safe form of")]

use rusqlite::{Connection, ffi};
use std::cell::RefCell;
use std::ffi::c_int;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::telemetry::Telemetry;

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

/// Has the C library give long values back to the system when they are freed. By default it learns from the first of
/// them to keep such blocks, in an arena for each thread: sixteen readers then held 1.4 GB while SQLite itself
/// held nothing (<https://man7.org/linux/man-pages/man3/mallopt.3.html>).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn return_freed_memory() {
    const M_MMAP_THRESHOLD: c_int = -3;
    const LONG: c_int = 1 << 20;
    unsafe extern "C" {
        fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }
    // SAFETY: the declaration is that of malloc.h; the function takes the allocator's own lock.
    unsafe { mallopt(M_MMAP_THRESHOLD, LONG) };
}

/// Other C libraries do so by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn return_freed_memory() {}

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

/// The result code of the connection's last call that failed or succeeded.
pub(crate) fn last_error(connection: &Connection) -> c_int {
    // SAFETY: the handle lives as long as `connection`, which no other thread uses during the call.
    unsafe { ffi::sqlite3_errcode(connection.handle()) }
}

/// Forgets the rowid of the last insert, which otherwise one caller would see of another's.
pub(crate) fn reset_last_insert_rowid(connection: &Connection) {
    // SAFETY: the handle lives as long as `connection`, which no other thread uses during the call.
    unsafe { ffi::sqlite3_set_last_insert_rowid(connection.handle(), 0) };
}

thread_local! {
    /// Who is told of syncs on this thread. Only the writer's thread syncs, so only there it is set.
    static OBSERVER: RefCell<Option<Arc<dyn Telemetry>>> = const { RefCell::new(None) };
}

/// The methods of SQLite's own files of one kind, with a stopwatch around `xSync`.
struct Timed {
    methods: ffi::sqlite3_io_methods,
    original: &'static ffi::sqlite3_io_methods,
}

/// The database file can be locked and the log cannot, so they have different methods. Made once, never changed.
static TIMED: [OnceLock<Timed>; 2] = [const { OnceLock::new() }; 2];

unsafe extern "C" fn timed_sync<const KIND: usize>(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let Some(sync) = TIMED[KIND].get().and_then(|timed| timed.original.xSync) else {
        return ffi::SQLITE_INTERNAL;
    };
    let started = Instant::now();
    // SAFETY: SQLite calls this with a file whose methods were replaced, as it would have called the original.
    let result = unsafe { sync(file, flags) };
    OBSERVER.with_borrow(|observer| observer.iter().for_each(|it| it.sync(started.elapsed())));
    result
}

/// Times every sync of the connection's database file and write-ahead log, for `observer`. Called on the thread that
/// uses the connection, when the log is open.
pub(crate) fn time_syncs(connection: &Connection, observer: Arc<dyn Telemetry>) {
    OBSERVER.set(Some(observer));
    replace_sync::<0>(connection, ffi::SQLITE_FCNTL_FILE_POINTER);
    replace_sync::<1>(connection, ffi::SQLITE_FCNTL_JOURNAL_POINTER);
}

fn replace_sync<const KIND: usize>(connection: &Connection, which: c_int) {
    let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
    // SAFETY: the handle lives as long as `connection`; the operation stores a pointer into `file`, which stays good as
    // long as the connection, and is null or without methods if there is no such file. Methods are constants of
    // SQLite. What replaces them lives for ever, and differs in one function that ends in the original.
    unsafe {
        let out = (&raw mut file).cast();
        ffi::sqlite3_file_control(connection.handle(), c"main".as_ptr(), which, out);
        let Some(original) = file.as_ref().and_then(|it| it.pMethods.as_ref::<'static>()) else { return };
        let timed = TIMED[KIND].get_or_init(|| Timed {
            methods: ffi::sqlite3_io_methods { xSync: Some(timed_sync::<KIND>), ..*original },
            original,
        });
        if std::ptr::eq(original, timed.original) {
            (*file).pMethods = &raw const timed.methods;
        }
    }
}
