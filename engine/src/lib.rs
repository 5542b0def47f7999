//! Larder's embedded SQLite.
//!
//! One thread owns the one connection that writes, commits and checkpoints (`writer`); a pool of read-only
//! connections serves everything else (`readers`). Callers hand over requests by message and never see a
//! connection. SQL from outside is judged by an authorizer (`policy`), runs under a deadline and can be
//! cancelled (`queries`), and what SQLite says when it fails is classified in one place (`error`).
//!
//! The engine knows nothing of HTTP, TLS or reports, and nothing but `ffi` is `unsafe`.

mod advice;
mod backup;
mod bookkeeping;
mod checkup;
mod connection;
mod crew;
mod directory;
mod error;
mod feed;
mod ffi;
pub mod floor;
mod functions;
mod health;
mod integrity;
mod options;
mod policy;
mod queries;
mod readers;
mod remarks;
mod restore;
mod shared;
mod statement;
mod sync;
mod telemetry;
mod volume;
mod wal;
mod watchdog;
mod writer;
mod writer_state;

pub use backup::BackupFile;
pub use directory::OpenError;
pub use feed::{Change, Feed, Subscription, WatchError};
pub use health::{Health, Status};
pub use integrity::IntegrityStatus;
pub use options::{Journal, Options};
pub use queries::{ActiveQuery, Control, Operation, Phase, QueryInfo, StopReason};
pub use readers::{Read, ReadSink, ReadSummary, SinkClosed};
pub use telemetry::{CheckpointOutcome, NoTelemetry, Telemetry};
pub use volume::{FileSystem, Nature};
pub use writer::{Failure, Idempotency, Maintenance, Write, WriteAnswer};

mod engine;
pub use engine::Engine;

/// The version of the SQLite that is compiled in.
#[must_use]
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}
