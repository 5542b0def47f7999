//! The keys of one report: value, entry and tombstone.
//!
//! A store answers for several keys, but not always from one moment. What does not fit together is read again until it stands still; only
//! then it counts as written by somebody who knows nothing of the entry beside the value.

use bytes::Bytes;
use jiff::Timestamp;

use super::damage::Damage;
use super::dating::Dating;
use super::metadata::{Extras, Metadata, Place, digest};
use super::read::{Holding, Origin};
use super::{ATTEMPTS, PIECE, Shelf, ShelfError};
use crate::fallback::store::{Entry, Revision};
use crate::reports::{ReportKey, Version, version};

/// Keys that are read together: value, entry, tombstone.
pub(super) const KEYS: usize = 3;

/// The keys of one report, as they fit together.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) value: Option<Entry>,
    pub(super) metadata: Option<(Metadata, Revision)>,
    pub(super) tombstone: Option<(i64, Revision)>,
    /// The version of the copy and whose it is, if there is one.
    pub(super) copy: Option<(Version, Origin)>,
    /// When the copy says that it was scanned, if that cannot be.
    pub(super) ahead: Option<Timestamp>,
    /// What could not be read, if it is to be replaced.
    pub(super) damage: Damage,
}

impl Header {
    /// A value of which nothing else is known yet.
    pub(super) fn of(value: Option<Entry>) -> Self {
        Self { value, metadata: None, tombstone: None, copy: None, ahead: None, damage: Damage::default() }
    }

    /// Whether value and entry belong together, as they do unless they were read at different moments or somebody else wrote the value.
    pub(super) fn fits(&self) -> bool {
        match (&self.value, &self.metadata) {
            (None, None) => true,
            (None, Some(_)) | (Some(_), None) => false,
            (Some(value), Some((metadata, _))) => belongs(metadata, &value.value),
        }
    }

    pub(super) fn revisions(&self) -> (Option<Revision>, Option<Revision>) {
        (self.value.as_ref().map(|it| it.revision), self.metadata_revision())
    }

    /// Bytes of the payload, as far as they are known without reading it all.
    pub(super) fn size(&self, origin: Origin, holding: &Holding) -> usize {
        let value = self.value.as_ref().map_or(0, |it| it.value.len());
        match (&self.metadata, origin) {
            (Some((metadata, _)), Origin::Larder) => metadata.size,
            _ if value == PIECE => PIECE * (1 + holding.pieces.len()),
            _ => value,
        }
    }

    /// Whether the copy that stands there may be one of this payload, as far as its first value tells.
    pub(super) fn carries(&self, payload: &Bytes) -> bool {
        match (&self.metadata, &self.value, self.copy) {
            (Some((metadata, _)), _, Some((_, Origin::Larder))) => metadata.sha256 == digest(payload),
            (_, Some(value), _) => payload.starts_with(&value.value),
            _ => true,
        }
    }

    pub(super) fn chunked(&self) -> bool {
        matches!(&self.metadata, Some((Metadata { place: Place::Chunks { .. }, .. }, _)))
    }

    /// Takes the value for one that somebody wrote alone, given its states. It stands after what it was written over: an entry that is still
    /// there, and a tombstone, since a deletion takes the value with it. What nobody dates is of 1970, as all clocks have it that are wrong.
    pub(super) fn found_foreign(&mut self, states: &[Option<Entry>]) {
        let value = self.value.as_ref().map_or(&[][..], |it| &it.value);
        let (scanned_at, ahead) = match Dating::of(value, states.iter().flatten().map(|it| &*it.value)) {
            Dating::Known(time) => (time, None),
            Dating::Ahead(time) => (Timestamp::UNIX_EPOCH, Some(time)),
            Dating::Unknown => (Timestamp::UNIX_EPOCH, None),
        };
        let above = |sequence: i64| sequence.saturating_add(1);
        let written_over =
            self.metadata.as_ref().map_or(0, |(metadata, _)| above(metadata.version().sequence));
        let deleted = self.tombstone().map_or(0, above);
        let sequence = version::earliest(scanned_at).max(written_over).max(deleted);
        self.copy = Some((Version::new(scanned_at, sequence), Origin::Foreign));
        self.ahead = ahead;
    }

    pub(super) fn tombstone(&self) -> Option<i64> {
        self.tombstone.map(|it| it.0)
    }

    /// Every generation of chunks that the entry refers to.
    pub(super) fn generations(&self) -> Vec<(String, usize)> {
        let Some((metadata, _)) = &self.metadata else { return Vec::new() };
        let payload = match &metadata.place {
            Place::Chunks { generation, count, .. } => Some((generation.clone(), *count)),
            Place::Value => None,
        };
        let extras = match &metadata.extras {
            Some(Extras::Chunks { generation, count }) => Some((generation.clone(), *count)),
            _ => None,
        };
        payload.into_iter().chain(extras).collect()
    }
}

fn belongs(metadata: &Metadata, value: &Bytes) -> bool {
    match &metadata.place {
        Place::Value => value.len() == metadata.size && digest(value) == metadata.sha256,
        Place::Chunks { generation, head, .. } => value == generation.as_bytes() || digest(value) == *head,
    }
}

impl Shelf {
    /// The keys of a report, read until they fit or stand still. A value that somebody wrote alone is looked at again after its states were
    /// read, so that it is not taken for as new as the next one.
    pub(super) async fn header(&self, key: &ReportKey) -> Result<Header, ShelfError> {
        let states = self.layout.states(key);
        let (at_once, all_at_once) =
            (self.store.snapshot() >= KEYS, self.store.snapshot() >= KEYS + states.len());
        let mut before = None;
        for _ in 0..ATTEMPTS {
            let mut header = self.read_header(key).await?;
            let stood: Option<Vec<Option<Entry>>> = before
                .take()
                .and_then(|(revisions, states)| (revisions == header.revisions()).then_some(states));
            match (&header.value, &header.metadata, stood) {
                (Some(_), Some((metadata, _)), _) if header.fits() => {
                    header.copy = Some((metadata.version(), Origin::Larder));
                }
                (None, _, stood) if at_once || header.fits() || stood.is_some() => {}
                (Some(_), _, Some(states)) => header.found_foreign(&states),
                (value, ..) => {
                    if all_at_once
                        && value.is_some()
                        && let Some(header) = self.header_at_once(key).await?
                    {
                        return Ok(header);
                    }
                    let read = match value {
                        Some(_) if !states.is_empty() => self.read(&states).await?,
                        _ => Vec::new(),
                    };
                    before = Some((header.revisions(), read));
                    continue;
                }
            }
            return Ok(header);
        }
        Err(self.contended(key))
    }

    async fn read_header(&self, key: &ReportKey) -> Result<Header, ShelfError> {
        let entries = self.read_names(key).await?;
        self.parse_header(key, entries)
    }

    /// Value, entry and tombstone as they stand there.
    pub(super) async fn read_names(&self, key: &ReportKey) -> Result<[Option<Entry>; KEYS], ShelfError> {
        let mut entries = self.read(&self.names(key)).await?.into_iter();
        Ok(std::array::from_fn(|_| entries.next().flatten()))
    }

    /// The keys of a header.
    pub(super) fn names(&self, key: &ReportKey) -> [String; KEYS] {
        [self.layout.data(key), self.layout.metadata(key), self.layout.tombstone(key)]
    }

    /// A header out of the values of its keys.
    pub(super) fn parse_header(
        &self,
        key: &ReportKey,
        [value, metadata, tombstone]: [Option<Entry>; KEYS],
    ) -> Result<Header, ShelfError> {
        let damaged = |reason| self.damaged(key, reason);
        let mut header = Header::of(value);
        if let Some(Entry { value, revision }) = metadata {
            header.metadata = Some((Metadata::parse(&value).map_err(damaged)?, revision));
        }
        if let Some(Entry { value, revision }) = tombstone {
            header.tombstone = Some((super::tombstones::parse(&value).map_err(damaged)?, revision));
        }
        Ok(header)
    }
}
