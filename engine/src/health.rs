//! How the engine is: for probes and for people.

use std::time::Duration;

use crate::integrity::IntegrityStatus;
use crate::options::Journal;
use crate::volume::FileSystem;

/// The parts that have to work, each with what is wrong with it, if anything.
#[derive(Clone, Debug)]
pub struct Health {
    /// The writer runs and trusts its disk.
    pub writer: Result<(), String>,
    /// Reads are answered.
    pub reader: Result<(), String>,
    /// The data directory can be used. A disk that is full is not ill: reads go on.
    pub disk: Result<(), String>,
    /// The write-ahead log is within its limit.
    pub wal: Result<(), String>,
    /// The database was not found damaged.
    pub integrity: Result<(), String>,
}

impl Health {
    /// Each part with its name.
    pub fn parts(&self) -> [(&'static str, &Result<(), String>); 5] {
        [
            ("writer", &self.writer),
            ("reader", &self.reader),
            ("disk", &self.disk),
            ("wal", &self.wal),
            ("integrity", &self.integrity),
        ]
    }

    /// Whether every part works.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.parts().iter().all(|(_, result)| result.is_ok())
    }
}

/// Figures of the moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// The last commit.
    pub seq: u64,
    /// Length of the database file in bytes.
    pub database_bytes: u64,
    /// Length of the write-ahead log file in bytes.
    pub wal_bytes: u64,
    /// Frames of the log that hold data.
    pub wal_frames: u32,
    /// Bytes that the disk still takes, where the system says.
    pub free_bytes: Option<u64>,
    /// What the data directory is on.
    pub file_system: FileSystem,
    /// How commits are made whole.
    pub journal: Journal,
    /// Bytes that SQLite holds in memory.
    pub heap_bytes: i64,
    /// Writes that wait.
    pub write_queue: usize,
    /// Reads that wait for a connection.
    pub read_queue: usize,
    /// Read connections in use.
    pub readers_in_use: usize,
    /// Read connections in all.
    pub readers: usize,
    /// The age of the oldest snapshot that a read holds.
    pub oldest_snapshot: Option<Duration>,
    /// Why writing is suspended, if it is.
    pub suspended: Option<String>,
    /// What is known of the soundness of the database.
    pub integrity: IntegrityStatus,
    /// Whether the last process ended without closing the database.
    pub recovered: bool,
}
