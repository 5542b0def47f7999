//! Chunks that nothing refers to: of writers that were killed before they came to the swap.

use jiff::Timestamp;

use super::chunks::made_at;
use super::{Shelf, ShelfError};

/// Keys that are looked at in one go.
const LISTED: usize = 1000;

impl Shelf {
    /// Deletes the chunks of generations that were begun before `before` and that no entry refers to, and says how many. A writer that
    /// took longer than that finds its chunks gone when it swaps, and fails; nothing refers to what is not there.
    ///
    /// # Errors
    /// The store did not answer; what was deleted until then stays deleted.
    pub async fn sweep(&self, before: Timestamp) -> Result<usize, ShelfError> {
        let mut swept = 0;
        let mut after: Option<String> = None;
        loop {
            let listed = self.store.list(&self.layout.chunks(), after.as_deref(), LISTED).await?;
            let mut forgotten = Vec::new();
            let mut seen = None;
            for it in &listed {
                let Some((key, generation)) = self.layout.of_chunk(&it.key) else { continue };
                if made_at(&generation).is_none_or(|made| made >= before.as_microsecond()) {
                    continue;
                }
                let referred = match &seen {
                    Some((generation_before, referred)) if *generation_before == generation => *referred,
                    _ => self.header(&key).await?.generations().iter().any(|it| it.0 == generation),
                };
                seen = Some((generation, referred));
                if !referred {
                    forgotten.push(it.key.clone());
                }
            }
            swept += forgotten.len();
            // Of each generation the first chunk goes first: the swap checks that it is there.
            self.discard(forgotten).await;
            if listed.len() < LISTED {
                return Ok(swept);
            }
            after = listed.into_iter().next_back().map(|it| it.key);
        }
    }
}
