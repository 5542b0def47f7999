//! What the writer, the readers, the checker and the handle have in common. It does nothing by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::directory::Directory;
use crate::feed::Feed;
use crate::integrity::Integrity;
use crate::options::{Journal, Options};
use crate::queries::Queries;
use crate::readers::{Alone, Readers};
use crate::telemetry::Telemetry;
use crate::wal::WalFrames;
use crate::watchdog::Watchdog;
use crate::writer_state::WriterState;

/// The parts of an open engine.
pub(crate) struct Shared {
    pub(crate) directory: Directory,
    pub(crate) options: Options,
    pub(crate) telemetry: Arc<dyn Telemetry>,
    pub(crate) queries: Arc<Queries>,
    pub(crate) readers: Readers,
    pub(crate) feed: Arc<Feed>,
    pub(crate) watchdog: Arc<Watchdog>,
    pub(crate) writer: WriterState,
    pub(crate) integrity: Integrity,
    pub(crate) frames: WalFrames,
    /// The number of the last commit.
    pub(crate) committed: Arc<AtomicU64>,
    pub(crate) closing: AtomicBool,
    /// Whether the last process ended without closing the database.
    pub(crate) recovered: bool,
}

impl Shared {
    pub(crate) fn set_committed(&self, seq: u64) {
        self.committed.store(seq, Ordering::Release);
    }

    /// With a rollback journal nobody reads while somebody writes: as long as the guard lives, no reader works.
    pub(crate) fn alone(&self) -> Option<Alone<'_>> {
        let options = &self.options;
        let is_needed = options.journal == Journal::Rollback;
        is_needed.then(|| self.readers.exclude(&self.queries, options.snapshot_grace))
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}
