//! What others may know of the writer's thread without asking it: whether it moves, and whether it may write.

use larder_wire::{Error, Kind, code};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::sync::lock;

/// What others may know of the writer.
#[derive(Debug)]
pub(crate) struct WriterState {
    started: Instant,
    suspended: Mutex<Option<String>>,
    /// Milliseconds after `started` at which the thread last came by.
    beat: AtomicU64,
}

impl WriterState {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), suspended: Mutex::new(None), beat: AtomicU64::new(0) }
    }

    pub(crate) fn beat(&self) {
        self.beat.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long the thread has been at the same thing.
    pub(crate) fn silent_for(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.beat.load(Ordering::Relaxed)))
    }

    /// Why writing is suspended, if it is.
    pub(crate) fn suspended(&self) -> Option<String> {
        lock(&self.suspended).clone()
    }

    pub(crate) fn suspend(&self, reason: String) {
        tracing::error!(reason, "writing is suspended");
        *lock(&self.suspended) = Some(reason);
    }

    pub(crate) fn resume(&self) {
        tracing::info!("writing goes on");
        *lock(&self.suspended) = None;
    }

    /// What a write is told meanwhile.
    pub(crate) fn refusal(&self) -> Error {
        let reason = self.suspended().unwrap_or_else(|| "the writer has ended".to_owned());
        let message =
            format!("writing is suspended until the database was opened anew and checked: {reason}");
        Error::new(Kind::Unavailable, code::WRITER_SUSPENDED, message).retryable()
    }
}
