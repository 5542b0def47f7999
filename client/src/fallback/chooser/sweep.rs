//! Clearing away what nobody needs any more. Nothing depends on it but the room that it takes.

use jiff::{SignedDuration, Timestamp};

use super::{Away, Reports};
use crate::fallback::shelf::ShelfError;

/// A draft that is older is taken for one that nobody goes on with.
const DRAFT: SignedDuration = SignedDuration::from_hours(1);
/// How long a tombstone stands against a copy that a call brings which was under way.
const TOMBSTONE: SignedDuration = SignedDuration::from_hours(24);

/// What was cleared away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Chunks of large values that were never finished.
    pub chunks: usize,
    /// Tombstones.
    pub tombstones: usize,
}

impl Reports {
    /// Clears the shelf of chunks that nothing refers to and that are older than an hour; and, without a primary, of tombstones that are older than a
    /// day. With one, deletions are moved there as reports are, and until then they have to be known. One controller calls this now and
    /// then, such as who leads.
    ///
    /// # Errors
    /// The shelf did not answer; what was cleared until then is.
    pub async fn sweep(&self, now: Timestamp) -> Result<Cleared, ShelfError> {
        let before = |age| now.saturating_sub(age).unwrap_or(Timestamp::MIN);
        let chunks = self.room.shelf.sweep(before(DRAFT)).await?;
        let tombstones = match self.primary() {
            Err(Away::None) => self.room.shelf.forget_tombstones(before(TOMBSTONE)).await?,
            Ok(_) | Err(_) => 0,
        };
        Ok(Cleared { chunks, tombstones })
    }
}
