//! Bounds the lines that callers can cause: a full disk, or a client that is wrong at full speed, would fill another disk with the log.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Twenty lines a second.
#[derive(Default)]
pub(crate) struct LineLimit(Mutex<Lines>);

#[derive(Default)]
struct Lines {
    second: u64,
    written: u32,
    left_out: u64,
}

impl LineLimit {
    const A_SECOND: u32 = 20;

    /// `None` if the line is one too many; else how many were left out before it.
    pub(crate) fn take(&self) -> Option<u64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.second != now {
            *lines = Lines { second: now, written: 0, left_out: lines.left_out };
        }
        if lines.written == Self::A_SECOND {
            lines.left_out += 1;
            return None;
        }
        lines.written += 1;
        Some(std::mem::take(&mut lines.left_out))
    }
}
