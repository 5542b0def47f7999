//! What the engine tells whoever counts: the server's metrics, or nobody.

use std::time::Duration;

/// How a checkpoint ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckpointOutcome {
    /// Every frame was moved into the database.
    Complete,
    /// Readers still needed the rest.
    Partial,
    /// It was blocked.
    Busy,
    /// It failed.
    Failed,
}

/// Receives what the engine does, on the thread that does it: implementations return at once.
pub trait Telemetry: Send + Sync + 'static {
    /// A group of `requests` was committed, after `execute` of work, in `commit`.
    fn group(&self, requests: usize, execute: Duration, commit: Duration) {
        let _ = (requests, execute, commit);
    }
    /// A write waited this long for the writer.
    fn queued(&self, wait: Duration) {
        let _ = wait;
    }
    /// One call of fsync or fdatasync on the write-ahead log or the database took this long.
    fn sync(&self, took: Duration) {
        let _ = took;
    }
    /// A checkpoint ended.
    fn checkpoint(&self, outcome: CheckpointOutcome, took: Duration) {
        let _ = (outcome, took);
    }
    /// Readers were sent away because they held the write-ahead log.
    fn evicted(&self, readers: usize) {
        let _ = readers;
    }
    /// A request in a group lost the whole transaction, and its neighbours were run again.
    fn replayed(&self, neighbours: usize) {
        let _ = neighbours;
    }
}

/// Counts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTelemetry;

impl Telemetry for NoTelemetry {}
