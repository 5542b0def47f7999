//! Deletions: a tombstone in place of the report, in one transaction.

use std::future::Future;

use serde::{Deserialize, Serialize};

use super::header::Header;
use super::layout::Named;
use super::read::Holding;
use super::{AT_ONCE, ATTEMPTS, Burial, Page, Shelf, ShelfError, Tombstone, as_read};
use crate::fallback::store::{Condition, Operation, Revision};
use crate::reports::ReportKey;

/// Tombstones that are looked at in one go.
const LISTED: usize = 1000;

/// The entry, as JSON.
#[derive(Serialize, Deserialize)]
struct Stone {
    sequence: i64,
    deleted_at: String,
}

/// A tombstone that was listed, with what is needed to remove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShelfTombstone {
    /// The deletion.
    pub tombstone: Tombstone,
    /// When it was made, by the clock of whoever made it.
    pub deleted_at: jiff::Timestamp,
    revision: Revision,
}

/// The sequence that a tombstone's entry says.
pub(super) fn parse(json: &[u8]) -> Result<i64, String> {
    Ok(stone(json)?.0)
}

fn stone(json: &[u8]) -> Result<(i64, jiff::Timestamp), String> {
    let stone: Stone = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let deleted_at = stone.deleted_at.parse().map_err(|error: jiff::Error| error.to_string())?;
    Ok((stone.sequence, deleted_at))
}

impl Shelf {
    /// Deletes every copy of a report whose sequence is below `sequence`, and keeps that for the copies that other stores may hold. A copy
    /// that is not older survives, and is told of.
    ///
    /// # Errors
    /// After an error it may be deleted, or not.
    pub async fn bury(&self, tombstone: &Tombstone) -> Result<Burial, ShelfError> {
        self.bury_found(tombstone, || self.header(&tombstone.key)).await
    }

    /// As [`Shelf::bury`], also where an entry or a tombstone stands that cannot be read: it is replaced. For whoever means this report and means it now.
    ///
    /// # Errors
    /// As for [`Shelf::bury`].
    pub async fn bury_even_damaged(&self, tombstone: &Tombstone) -> Result<Burial, ShelfError> {
        self.bury_found(tombstone, || self.header_to_bury(&tombstone.key)).await
    }

    async fn bury_found<F>(&self, tombstone: &Tombstone, find: impl Fn() -> F) -> Result<Burial, ShelfError>
    where
        F: Future<Output = Result<Header, ShelfError>>,
    {
        let key = &tombstone.key;
        for _ in 0..ATTEMPTS {
            let header = find().await?;
            let sequence = header.tombstone().map_or(tombstone.sequence, |it| it.max(tombstone.sequence));
            let survivor = header.copy.map(|it| it.0.sequence).filter(|it| *it >= sequence);
            let mut operations = vec![self.stone(key, sequence, header.tombstone_revision())];
            let holding = Holding {
                key: key.clone(),
                value: header.value.as_ref().map(|it| it.revision),
                metadata: header.metadata_revision(),
                pieces: Vec::new(),
                chunks: Vec::new(),
            };
            let mut pieces =
                if survivor.is_none() { self.pieces_beside(key, &header).await? } else { Vec::new() };
            operations.extend(match survivor {
                None => self.removal(&holding),
                Some(_) => self.unchanged(&holding),
            });
            self.remove_with(&mut operations, &mut pieces);
            if self.store.commit(operations).await? {
                if survivor.is_none() {
                    self.clear(key, pieces, &header.generations()).await;
                }
                return Ok(Burial { removed: header.copy.is_some() && survivor.is_none(), survivor });
            }
        }
        Err(self.contended(key))
    }

    fn stone(&self, key: &ReportKey, sequence: i64, before: Option<Revision>) -> Operation {
        let stone = Stone { sequence, deleted_at: jiff::Timestamp::now().to_string() };
        let value = serde_json::to_vec(&stone).expect("text and numbers are JSON");
        Operation::Put { key: self.layout.tombstone(key), value: value.into(), condition: as_read(before) }
    }

    fn unchanged(&self, holding: &Holding) -> Vec<Operation> {
        let check = |it| match it {
            Operation::Delete { key, condition } => Operation::Check { key, condition },
            other => other,
        };
        self.removal(holding).into_iter().map(check).collect()
    }

    /// Clears away what a report leaves that was deleted or replaced: pieces that nobody wrote since, and its chunks.
    pub(super) async fn clear(
        &self,
        key: &ReportKey,
        pieces: Vec<(String, Revision)>,
        generations: &[(String, usize)],
    ) {
        for (key, revision) in pieces {
            let delete = Operation::Delete { key, condition: Condition::Unchanged(revision) };
            if let Err(error) = self.store.commit(vec![delete]).await {
                tracing::debug!(store = self.name(), %error, "a piece of an earlier report stays");
            }
        }
        self.discard(self.chunk_keys(key, generations)).await;
    }

    /// The tombstones of reports whose key begins with `prefix` and comes behind `after`, in order, `limit` at most.
    ///
    /// # Errors
    /// A tombstone that cannot be read is [`ShelfError::Damaged`].
    pub async fn tombstones(
        &self,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
    ) -> Result<Page<ShelfTombstone>, ShelfError> {
        let (page, damaged) = self.tombstones_as_they_are(prefix, after, limit).await?;
        damaged.first().map_or(Ok(page), |(key, reason)| Err(self.damaged(key, reason)))
    }

    /// As [`Shelf::tombstones`], with those that cannot be read told apart, and why.
    pub(crate) async fn tombstones_as_they_are(
        &self,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
    ) -> Result<(Page<ShelfTombstone>, Vec<(ReportKey, String)>), ShelfError> {
        let range = self.layout.tombstones();
        let Some(raw) = range.prefix(prefix) else { return Ok(Default::default()) };
        let mut after = after.map(|it| self.layout.tombstone(it));
        let named = |raw: &str| match range.name(raw) {
            Named::Report(key) => Some(key),
            _ => None,
        };
        let (keys, next) = loop {
            let listed = self.store.list(&raw, after.as_deref(), limit).await?;
            let last = listed.iter().rev().find_map(|it| named(&it.key));
            let (is_last, behind) = (listed.len() < limit, listed.last().map(|it| it.key.clone()));
            // Behind a page of what names no report there may be tombstones.
            if is_last || last.is_some() {
                break (listed.into_iter().map(|it| it.key).collect::<Vec<_>>(), last.filter(|_| !is_last));
            }
            after = behind;
        };
        let (mut items, mut damaged) = (Vec::with_capacity(keys.len()), Vec::new());
        for keys in keys.chunks(AT_ONCE) {
            for (entry, raw) in self.read(keys).await?.into_iter().zip(keys) {
                let (Some(entry), Some(key)) = (entry, named(raw)) else { continue };
                let (sequence, deleted_at) = match stone(&entry.value) {
                    Ok(stone) => stone,
                    Err(reason) => {
                        damaged.push((key, reason));
                        continue;
                    }
                };
                let tombstone = Tombstone { key, sequence };
                items.push(ShelfTombstone { tombstone, deleted_at, revision: entry.revision });
            }
        }
        Ok((Page { items, next }, damaged))
    }

    /// Removes the tombstones that were made before `before`, by the clocks of those who made them, and says how many. One that was made anew
    /// meanwhile stays, as does one that cannot be read.
    ///
    /// A tombstone hides copies that turn up later: those of a primary, as long as there is one that may come back with what it held before; and
    /// those that a call brings which was under way, for which a day is much. So this is for a shelf that has no primary beside it; where there
    /// is one, a mover brings the tombstones there, and forgets them there in time.
    ///
    /// # Errors
    /// The store did not answer; what was removed until then stays removed.
    pub async fn forget_tombstones(&self, before: jiff::Timestamp) -> Result<usize, ShelfError> {
        let (mut forgotten, mut after) = (0, None);
        loop {
            let (page, _) = self.tombstones_as_they_are("", after.as_ref(), LISTED).await?;
            for it in page.items.iter().filter(|it| it.deleted_at < before) {
                forgotten += usize::from(self.remove_tombstone(it).await?);
            }
            after = page.next;
            if after.is_none() {
                return Ok(forgotten);
            }
        }
    }

    /// Removes a tombstone, unless it has changed since it was listed.
    ///
    /// # Errors
    /// After an error it may be gone, or not.
    pub async fn remove_tombstone(&self, it: &ShelfTombstone) -> Result<bool, ShelfError> {
        let key = self.layout.tombstone(&it.tombstone.key);
        let delete = Operation::Delete { key, condition: Condition::Unchanged(it.revision) };
        Ok(self.store.commit(vec![delete]).await?)
    }
}
