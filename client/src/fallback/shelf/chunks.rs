//! Values that are too large for one key: in chunks of our own, and in pieces as NeuVector splits them.
//!
//! Chunks are written under the name of a generation that nothing refers to yet; the entry beside the value makes them count. Pieces are
//! either a foreign value or a copy for older controllers, and never the truth about a report of ours.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;

use super::header::Header;
use super::{LoosePiece, PIECE, Shelf, ShelfError, as_read, gzip};
use crate::fallback::store::{Condition, Listed, Operation, Revision};
use crate::reports::gzip::GzipError;
use crate::reports::{ReportKey, version};

/// Pieces that a value may have: as many as the largest payload needs.
pub(super) const PIECES: usize = (64 << 20) / PIECE + 1;
/// Values that are read at once.
const AT_ONCE: usize = 8;

/// A name that no generation had before; its first part says when it was made, by this machine's clock. The report's own sequence does not: one
/// that is moved here was written long ago.
pub(super) fn fresh_generation() -> String {
    let now = version::earliest(Timestamp::now());
    format!("{now:016x}-{:016x}", RandomState::new().hash_one(now))
}

/// The microsecond since 1970 at which a generation was made.
pub(super) fn made_at(generation: &str) -> Option<i64> {
    let (made, _) = generation.split_once('-')?;
    i64::from_str_radix(made, 16).ok().map(version::microsecond)
}

impl Shelf {
    /// Bytes of a chunk: what the store takes in one value, and in one change that carries a condition.
    fn chunk_size(&self, key: &ReportKey, generation: &str) -> usize {
        let limits = self.store.limits();
        let probe =
            |bytes: usize| self.put_operation(self.layout.chunk(key, generation, PIECES), vec![0; bytes]);
        let (empty, kilobyte) = (self.store.weight(&probe(0)), self.store.weight(&probe(1024)));
        let fits = limits.transaction.saturating_sub(empty) / (kilobyte - empty).max(1) * 1024;
        limits.value.min(fits).max(1)
    }

    fn put_operation(&self, key: String, value: Vec<u8>) -> Operation {
        Operation::Put { key, value: value.into(), condition: Condition::Absent }
    }

    /// Writes bytes as chunks of a new generation and says how many they are.
    pub(super) async fn write_chunks(
        &self,
        key: &ReportKey,
        generation: &str,
        bytes: &Bytes,
    ) -> Result<usize, ShelfError> {
        let size = self.chunk_size(key, generation);
        for (number, start) in (0..bytes.len()).step_by(size).enumerate() {
            let value = bytes.slice(start..bytes.len().min(start + size));
            let key = self.layout.chunk(key, generation, number);
            self.store.commit(vec![Operation::Put { key, value, condition: Condition::Any }]).await?;
        }
        Ok(bytes.len().div_ceil(size))
    }

    pub(super) async fn read_chunks(
        &self,
        key: &ReportKey,
        generation: &str,
        count: usize,
    ) -> Result<Bytes, ShelfError> {
        let keys: Vec<_> = (0..count).map(|number| self.layout.chunk(key, generation, number)).collect();
        let mut payload = BytesMut::new();
        for keys in keys.chunks(AT_ONCE) {
            for (entry, key_of_chunk) in self.read(keys).await?.into_iter().zip(keys) {
                let entry = entry.ok_or_else(|| self.damaged(key, format!("{key_of_chunk} is gone")))?;
                payload.extend_from_slice(&entry.value);
            }
        }
        Ok(payload.freeze())
    }

    /// Deletes keys that nothing refers to. What does not succeed is left to the sweep.
    pub(super) async fn discard(&self, keys: impl IntoIterator<Item = String>) {
        let delete = |key| Operation::Delete { key, condition: Condition::Any };
        let deletes: Vec<_> = keys.into_iter().map(delete).collect();
        for deletes in deletes.chunks(self.store.limits().operations.max(1)) {
            if let Err(error) = self.store.commit(deletes.to_vec()).await {
                tracing::debug!(store = self.name(), %error, "chunks that nothing refers to stay for the sweep");
                return;
            }
        }
    }

    pub(super) fn chunk_keys(&self, key: &ReportKey, generations: &[(String, usize)]) -> Vec<String> {
        let of = |(generation, count): &(String, usize)| {
            (0..*count).map(|number| self.layout.chunk(key, generation, number)).collect::<Vec<_>>()
        };
        generations.iter().flat_map(of).collect()
    }

    /// The value that begins with the full piece `first`: up to where its gzip stream ends, so that the tail of a longer report that stood
    /// here before does not count.
    pub(super) async fn read_pieces(&self, key: &ReportKey, first: &Bytes) -> Result<Bytes, ShelfError> {
        let data = self.layout.data(key);
        let mut payload = BytesMut::from(first.as_ref());
        for number in 1..=PIECES {
            let Some(piece) = self.read_one(format!("{data}/{number}")).await? else { break };
            payload.extend_from_slice(&piece.value);
            if piece.value.len() != PIECE {
                break;
            }
        }
        match gzip::end(&payload) {
            Some(Ok(end)) => {
                let end = end.div_ceil(PIECE) * PIECE;
                payload.truncate(end);
                Ok(payload.freeze())
            }
            Some(Err(GzipError::Incomplete)) => {
                Err(self.incomplete(key, "its gzip stream goes on behind the last piece"))
            }
            Some(Err(_)) if payload.len() > PIECE => {
                Err(self.incomplete(key, "its pieces do not belong together"))
            }
            Some(Err(_)) | None => Ok(payload.freeze()),
        }
    }

    /// The pieces that stand behind a value, whether they belong to it or not.
    pub(super) async fn pieces_beside(
        &self,
        key: &ReportKey,
        header: &Header,
    ) -> Result<Vec<(String, Revision)>, ShelfError> {
        let full = header.value.as_ref().is_some_and(|it| it.value.len() == PIECE);
        if !self.layout.in_pieces(key) || !(full || header.chunked()) {
            return Ok(Vec::new());
        }
        let prefix = format!("{}/", self.layout.data(key));
        let listed = self.store.list(&prefix, None, 2 * PIECES).await?;
        let mut pieces = Vec::with_capacity(listed.len());
        for piece in listed.into_iter().filter(|it| is_number(it.key.strip_prefix(&prefix))) {
            if let Some(revision) = self.revision(&piece).await? {
                pieces.push((piece.key, revision));
            }
        }
        Ok(pieces)
    }

    /// The revision of a key that was listed.
    pub(super) async fn revision(&self, listed: &Listed) -> Result<Option<Revision>, ShelfError> {
        match listed.revision {
            Some(revision) => Ok(Some(revision)),
            None => Ok(self.read_one(listed.key.clone()).await?.map(|it| it.revision)),
        }
    }

    /// Puts a copy in pieces for older controllers, in place of the generation's name that stands at the value. Whoever touched the keys
    /// since keeps what he wrote: the copy is a courtesy, and every step of it compares.
    pub(super) async fn copy_in_pieces(
        &self,
        key: &ReportKey,
        generation: &str,
        payload: &Bytes,
        before: &[(String, Revision)],
    ) -> Result<bool, ShelfError> {
        let data = self.layout.data(key);
        let marker = self.store.get(std::slice::from_ref(&data)).await?.pop().flatten();
        let Some(marker) = marker.filter(|it| it.value == generation.as_bytes()) else { return Ok(false) };
        let mut pieces = payload.chunks(PIECE).enumerate();
        let first = pieces.next().map(|(_, it)| payload.slice_ref(it)).unwrap_or_default();
        let (mut written, mut copied) = (Vec::new(), true);
        for (number, piece) in pieces {
            let raw = format!("{data}/{number}");
            let condition = as_read(before.iter().find(|it| it.0 == raw).map(|it| it.1));
            let put = Operation::Put { key: raw.clone(), value: payload.slice_ref(piece), condition };
            copied = self.store.commit(vec![put]).await?;
            if !copied {
                break;
            }
            written.push(LoosePiece { key: key.clone(), raw });
        }
        let condition = Condition::Unchanged(marker.revision);
        let put = Operation::Put { key: data, value: first, condition };
        if copied && self.store.commit(vec![put]).await? {
            return Ok(true);
        }
        // Whoever removed the report meanwhile did not know of these.
        for piece in &written {
            self.remove_piece(piece).await?;
        }
        Ok(false)
    }
}

fn is_number(text: Option<&str>) -> bool {
    text.is_some_and(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()))
}
