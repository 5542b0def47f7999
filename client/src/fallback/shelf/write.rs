//! Putting and removing one report: read, compare, swap.

use bytes::Bytes;

use super::chunks::fresh_generation;
use super::header::Header;
use super::metadata::{self, Extras, Metadata, Place, digest};
use super::read::Holding;
use super::{ATTEMPTS, PIECE, Placed, Shelf, ShelfError, as_read};
use crate::fallback::store::{Condition, Operation, Revision};
use crate::reports::{Report, ReportKey, Version};

/// What has been written of a report while it is put: chunks under generations that nothing refers to yet.
#[derive(Default)]
struct Draft {
    payload: Option<(String, usize)>,
    extras: Option<Extras>,
    /// Every generation that was begun, for when it comes to nothing.
    begun: Vec<(String, usize)>,
    /// The first chunk of each, as it was written: if the sweep took one for forgotten, the swap fails.
    first: Vec<Operation>,
}

/// Who puts a report.
#[derive(Clone, Copy)]
enum By {
    /// Somebody who has just written it.
    Writer,
    /// Somebody who brings it from another store; it may replace the version `over` although that was written later.
    Mover { over: Option<Version> },
}

impl Shelf {
    /// Puts a report under its time and `sequence`, unless what is newer or was written later stands here or it lies below a tombstone. Once this answers
    /// [`Placed::Stored`], the report is wholly there; whatever else happens, the one before it is or stays. An entry that cannot be read is replaced
    /// if the value beside it does not say that it is newer.
    ///
    /// # Errors
    /// After [`StoreError::Unanswered`](super::super::StoreError::Unanswered) the report may be there or not; the same put can be repeated.
    pub async fn put(&self, report: &Report, sequence: i64) -> Result<Placed, ShelfError> {
        self.put_as(report, sequence, By::Writer).await
    }

    /// As [`Shelf::put`], of a report that comes from another store and may replace the version `over` although that was written later.
    ///
    /// # Errors
    /// As for [`Shelf::put`].
    pub async fn put_moved(
        &self,
        report: &Report,
        sequence: i64,
        over: Option<Version>,
    ) -> Result<Placed, ShelfError> {
        self.put_as(report, sequence, By::Mover { over }).await
    }

    async fn put_as(&self, report: &Report, sequence: i64, by: By) -> Result<Placed, ShelfError> {
        let mut draft = Draft::default();
        let placed = self.place(report, sequence, by, &mut draft).await;
        // A put that nobody answered may have been done: its chunks may be referred to, and are left to the sweep.
        if matches!(placed, Ok(Placed::Superseded(_) | Placed::Crossed(_) | Placed::Buried(_))) {
            self.discard(self.chunk_keys(&report.key, &draft.begun)).await;
        }
        placed
    }

    async fn place(
        &self,
        report: &Report,
        sequence: i64,
        by: By,
        draft: &mut Draft,
    ) -> Result<Placed, ShelfError> {
        let version = Version::new(report.scanned_at, sequence);
        for _ in 0..ATTEMPTS {
            let header = match by {
                By::Writer => self.header_to_put(&report.key).await?,
                By::Mover { .. } => self.header(&report.key).await?,
            };
            match standing(&header, version, by, &report.payload) {
                Some(Placed::Superseded(_)) if header.damage.metadata.is_some() => {
                    return Err(self.damaged(&report.key, "its entry cannot be read, and it may be newer"));
                }
                Some(placed) => return Ok(placed),
                None => {}
            }
            self.draft_extras(report, draft).await?;
            let pieces = self.pieces_beside(&report.key, &header).await?;
            let mut stale = self.stale_pieces(&report.key, &pieces, report.payload.len());
            let stored = match self.in_one(report, sequence, &header, draft) {
                Some(mut operations) => {
                    self.remove_with(&mut operations, &mut stale);
                    self.store.commit(operations).await?
                }
                None => self.in_chunks(report, sequence, &header, draft, &pieces, &mut stale).await?,
            };
            if stored {
                self.clear(&report.key, stale, &header.generations()).await;
                return Ok(Placed::Stored);
            }
        }
        self.discard(self.chunk_keys(&report.key, &draft.begun)).await;
        Err(self.contended(&report.key))
    }

    async fn draft_extras(&self, report: &Report, draft: &mut Draft) -> Result<(), ShelfError> {
        if draft.extras.is_some() {
            return Ok(());
        }
        let unkept = |lost| ShelfError::Unkept { key: report.key.clone(), lost };
        let Some(packed) = metadata::pack(report).map_err(unkept)? else { return Ok(()) };
        draft.extras = match metadata::inline(&packed) {
            Some(inline) => Some(inline),
            None => {
                let (generation, count) = self.draft_chunks(&report.key, &packed.into(), draft).await?;
                Some(Extras::Chunks { generation, count })
            }
        };
        Ok(())
    }

    /// The transaction that puts the payload as one value, if it fits.
    fn in_one(
        &self,
        report: &Report,
        sequence: i64,
        header: &Header,
        draft: &Draft,
    ) -> Option<Vec<Operation>> {
        // A value of just this length is taken for the first piece of a longer one by older controllers.
        let ambiguous = self.layout.in_pieces(&report.key) && report.payload.len() == PIECE;
        if ambiguous || draft.payload.is_some() || report.payload.len() > self.store.limits().value {
            return None;
        }
        let metadata = Metadata::new(report, sequence, Place::Value, draft.extras.clone());
        let mut operations = self.swap(&report.key, header, report.payload.clone(), &metadata);
        operations.extend(draft.first.iter().cloned());
        self.fits(&operations).then_some(operations)
    }

    /// Puts the payload as chunks: the moment at which it counts is the swap of the entry.
    async fn in_chunks(
        &self,
        report: &Report,
        sequence: i64,
        header: &Header,
        draft: &mut Draft,
        pieces: &[(String, Revision)],
        stale: &mut Vec<(String, Revision)>,
    ) -> Result<bool, ShelfError> {
        let (generation, count) = match &draft.payload {
            Some(payload) => payload.clone(),
            None => self.draft_chunks(&report.key, &report.payload, draft).await?,
        };
        draft.payload = Some((generation.clone(), count));
        let head = digest(&report.payload[..report.payload.len().min(PIECE)]);
        let place = Place::Chunks { generation: generation.clone(), count, head };
        let metadata = Metadata::new(report, sequence, place, draft.extras.clone());
        let mut operations = self.swap(&report.key, header, Bytes::from(generation.clone()), &metadata);
        operations.extend(draft.first.iter().cloned());
        self.remove_with(&mut operations, stale);
        if !self.store.commit(operations).await? {
            return Ok(false);
        }
        if self.layout.in_pieces(&report.key) {
            let copied = self.copy_in_pieces(&report.key, &generation, &report.payload, pieces).await;
            if let Err(error) = copied {
                tracing::debug!(key = %report.key, store = self.name(), %error, "no copy for older controllers");
            }
        }
        Ok(true)
    }

    /// Writes bytes as chunks of a new generation, and notes them.
    async fn draft_chunks(
        &self,
        key: &ReportKey,
        bytes: &Bytes,
        draft: &mut Draft,
    ) -> Result<(String, usize), ShelfError> {
        let generation = fresh_generation();
        let count = self.write_chunks(key, &generation, bytes).await?;
        draft.begun.push((generation.clone(), count));
        let first = self.layout.chunk(key, &generation, 0);
        let entry = self.read_one(first.clone()).await?;
        let revision = entry.ok_or_else(|| self.contended(key))?.revision;
        draft.first.push(Operation::Check { key: first, condition: Condition::Unchanged(revision) });
        Ok((generation, count))
    }

    /// The pieces of a longer value that stood here before.
    fn stale_pieces(
        &self,
        key: &ReportKey,
        pieces: &[(String, Revision)],
        length: usize,
    ) -> Vec<(String, Revision)> {
        let data = self.layout.data(key);
        let number = |raw: &str| raw.strip_prefix(&data)?.strip_prefix('/')?.parse::<usize>().ok();
        let count = length.div_ceil(PIECE);
        pieces.iter().filter(|(raw, _)| number(raw).is_some_and(|it| it >= count)).cloned().collect()
    }

    /// Removes pieces in a transaction that makes them stale, as many as it has room for, so that none of them stays behind when nobody is left to
    /// clear it away; leaves the others in `pieces`.
    pub(super) fn remove_with(&self, operations: &mut Vec<Operation>, pieces: &mut Vec<(String, Revision)>) {
        while let Some((key, revision)) = pieces.pop() {
            let condition = Condition::Unchanged(revision);
            operations.push(Operation::Delete { key: key.clone(), condition });
            if !self.fits(operations) {
                operations.pop();
                return pieces.push((key, revision));
            }
        }
    }

    /// The transaction that puts a value and its entry in place of what was read.
    fn swap(&self, key: &ReportKey, header: &Header, value: Bytes, metadata: &Metadata) -> Vec<Operation> {
        let tombstone = as_read(header.tombstone_revision());
        vec![
            Operation::Check { key: self.layout.tombstone(key), condition: tombstone },
            Operation::Put {
                key: self.layout.data(key),
                value,
                condition: as_read(header.value.as_ref().map(|it| it.revision)),
            },
            Operation::Put {
                key: self.layout.metadata(key),
                value: metadata.to_json().into(),
                condition: as_read(header.metadata_revision()),
            },
        ]
    }

    pub(super) fn fits(&self, operations: &[Operation]) -> bool {
        let limits = self.store.limits();
        let weight: usize = operations.iter().map(|it| self.store.weight(it)).sum();
        operations.len() <= limits.operations && weight <= limits.transaction
    }

    /// Removes exactly the copy that was read, with all its keys; no tombstone is left. `false` if it has changed since.
    ///
    /// # Errors
    /// After an error it may be gone, or not.
    pub async fn remove(&self, holding: &Holding) -> Result<bool, ShelfError> {
        let mut operations: Vec<_> = self.removal(holding);
        let mut pieces = holding.pieces.iter().map(|(key, revision)| Operation::Delete {
            key: key.clone(),
            condition: Condition::Unchanged(*revision),
        });
        while operations.len() < self.store.limits().operations {
            let Some(piece) = pieces.next() else { break };
            operations.push(piece);
        }
        if !self.store.commit(operations).await? {
            return Ok(false);
        }
        for piece in pieces {
            self.store.commit(vec![piece]).await?;
        }
        self.discard(holding.chunks.iter().cloned()).await;
        Ok(true)
    }

    /// The operations that remove value and entry as they were read.
    pub(super) fn removal(&self, holding: &Holding) -> Vec<Operation> {
        let keys = [
            (self.layout.data(&holding.key), holding.value),
            (self.layout.metadata(&holding.key), holding.metadata),
        ];
        let remove = |(key, revision)| match revision {
            Some(revision) => Operation::Delete { key, condition: Condition::Unchanged(revision) },
            None => Operation::Check { key, condition: Condition::Absent },
        };
        keys.map(remove).into()
    }
}

/// What a put is answered without writing anything.
fn standing(header: &Header, version: Version, by: By, payload: &Bytes) -> Option<Placed> {
    if let Some(sequence) = header.tombstone().filter(|it| *it > version.sequence) {
        return Some(Placed::Buried(sequence));
    }
    let (standing, origin) = header.copy.filter(|it| Some(it.0.sequence) >= header.tombstone())?;
    // The same version is written once more: who holds the revision of the copy that stands there shall not remove what was found here.
    // Something else under the same version is what an older controller wrote before it told so; it is not overwritten.
    let is_another = standing == version && !header.carries(payload);
    if is_another || (standing != version && !origin.yields(standing, version)) {
        return Some(Placed::Superseded(standing));
    }
    let may_cross = matches!(by, By::Mover { over } if over == Some(standing));
    let crosses = standing.sequence > version.sequence && !may_cross;
    crosses.then_some(Placed::Crossed(standing.sequence))
}
