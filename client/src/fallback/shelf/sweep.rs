//! Chunks that nothing refers to: of writers that were killed before they came to the swap.

use jiff::Timestamp;

use super::chunks::made_at;
use super::{Shelf, ShelfError, as_read};
use crate::fallback::store::{Condition, Operation};
use crate::reports::ReportKey;

/// Keys that are looked at in one go.
const LISTED: usize = 1000;

/// Chunks of one generation, in their order.
struct Generation {
    key: ReportKey,
    name: String,
    chunks: Vec<String>,
}

impl Shelf {
    /// Deletes the chunks of generations that were begun before `before` and that no entry refers to, and says how many. A writer that
    /// took longer than that finds its first chunk gone when it swaps, and fails: either it swaps first, or the sweep deletes first.
    ///
    /// # Errors
    /// The store did not answer; what was deleted until then stays deleted.
    pub async fn sweep(&self, before: Timestamp) -> Result<usize, ShelfError> {
        let mut swept = 0;
        let mut after: Option<String> = None;
        loop {
            let listed = self.store.list(&self.layout.chunks(), after.as_deref(), LISTED).await?;
            let mut generations: Vec<Generation> = Vec::new();
            for it in &listed {
                let Some((key, name)) = self.layout.of_chunk(&it.key) else { continue };
                if made_at(&name).is_none_or(|made| made >= before.as_microsecond()) {
                    continue;
                }
                match generations.last_mut().filter(|it| it.name == name && it.key == key) {
                    Some(generation) => generation.chunks.push(it.key.clone()),
                    None => generations.push(Generation { key, name, chunks: vec![it.key.clone()] }),
                }
            }
            for generation in generations {
                swept += self.forget(generation).await?;
            }
            if listed.len() < LISTED {
                return Ok(swept);
            }
            after = listed.into_iter().next_back().map(|it| it.key);
        }
    }

    /// Deletes a generation that the entry does not refer to: the first chunk together with a look at the entry, the others afterwards.
    async fn forget(&self, generation: Generation) -> Result<usize, ShelfError> {
        let header = match self.header(&generation.key).await {
            // What it refers to is not known.
            Err(error) if error.is_of_the_report() => return Ok(0),
            header => header?,
        };
        if header.generations().iter().any(|it| it.0 == generation.name) {
            return Ok(0);
        }
        // It may be on an earlier page; by it a writer finds out.
        let first = self.layout.chunk(&generation.key, &generation.name, 0);
        let others = generation.chunks.iter().filter(|it| **it != first).cloned();
        let entry = self.layout.metadata(&generation.key);
        let unchanged = Operation::Check { key: entry, condition: as_read(header.metadata_revision()) };
        let delete = Operation::Delete { key: first.clone(), condition: Condition::Any };
        if !self.store.commit(vec![unchanged, delete]).await? {
            return Ok(0);
        }
        self.discard(others).await;
        Ok(generation.chunks.len())
    }
}
