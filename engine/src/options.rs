//! What an engine can be told. Everything that bounds memory, time or disk is here.

use std::path::PathBuf;
use std::time::Duration;

/// What makes a commit whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Journal {
    /// A write-ahead log: reads run beside the writer, and a commit is one sync.
    #[default]
    WriteAhead,
    /// A rollback journal, for file systems that cannot carry a log: reads wait while a group of writes is under way and it
    /// waits for them, and a commit is several syncs.
    Rollback,
}

/// How an engine is set up. [`Options::new`] has the defaults of `larder serve`.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory; created if missing, with access for the owner only.
    pub directory: PathBuf,
    /// How commits are made whole.
    pub journal: Journal,
    /// Read connections, and thereby reads at the same time.
    pub readers: usize,
    /// Writes that may wait for the writer.
    pub write_queue: usize,
    /// Writes that may share one commit.
    pub max_group: usize,
    /// Reads that may wait for a connection.
    pub read_queue: usize,
    /// The database may not grow beyond this many bytes.
    pub max_database_bytes: Option<u64>,
    /// The longest value, row or SQL text, in bytes.
    pub max_value_bytes: usize,
    /// The longest result of a write that returns rows, in bytes.
    pub max_returned_bytes: usize,
    /// All memory that SQLite may take, in bytes; the process has one SQLite, so one limit.
    pub heap_bytes: u64,
    /// Page cache of the writer, in bytes.
    pub writer_cache_bytes: usize,
    /// Page cache of each reader, in bytes.
    pub reader_cache_bytes: usize,
    /// Beyond this many bytes of write-ahead log, readers that hold it are sent away.
    pub wal_limit_bytes: u64,
    /// The age up to which a reader is spared while the log is between half its limit and the limit.
    pub snapshot_grace: Duration,
    /// How long an idempotency key is remembered.
    pub idempotency_ttl: Duration,
    /// How many changes a watcher can be behind.
    pub feed_length: usize,
}

impl Options {
    /// The defaults, for a database in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            journal: Journal::default(),
            readers: 16,
            write_queue: 1024,
            max_group: 256,
            read_queue: 256,
            max_database_bytes: None,
            max_value_bytes: 16 << 20,
            max_returned_bytes: 16 << 20,
            heap_bytes: 256 << 20,
            writer_cache_bytes: 8 << 20,
            reader_cache_bytes: 512 << 10,
            wal_limit_bytes: 64 << 20,
            snapshot_grace: Duration::from_secs(1),
            idempotency_ttl: Duration::from_secs(24 * 60 * 60),
            feed_length: 16 * 1024,
        }
    }
}
