//! Entries and tombstones that cannot be read, and how a report gets rid of them: by a newer scan that is put, or by being deleted.
//!
//! Both are made by somebody who means this report and means it now. A mover does not know that, and leaves alone what it cannot read. So does
//! everybody where a later release wrote the entry: that is not damaged.

use super::header::Header;
use super::metadata::Metadata;
use super::{ATTEMPTS, Shelf, ShelfError, tombstones};
use crate::fallback::store::{Entry, Revision};
use crate::reports::ReportKey;

/// The revisions of what stands there and cannot be read.
#[derive(Debug, Default)]
pub(super) struct Damage {
    pub(super) metadata: Option<Revision>,
    pub(super) tombstone: Option<Revision>,
}

impl Damage {
    fn is_any(&self) -> bool {
        self.metadata.or(self.tombstone).is_some()
    }
}

impl Header {
    /// When the entry was written, whatever it says.
    pub(super) fn metadata_revision(&self) -> Option<Revision> {
        self.metadata.as_ref().map(|it| it.1).or(self.damage.metadata)
    }

    /// When the tombstone was written, whatever it says.
    pub(super) fn tombstone_revision(&self) -> Option<Revision> {
        self.tombstone.map(|it| it.1).or(self.damage.tombstone)
    }
}

impl Shelf {
    /// As [`Shelf::header`], also where the entry cannot be read. The value is then taken for one that somebody wrote alone, and what it or its
    /// state say is compared with what is to be put.
    pub(super) async fn header_to_put(&self, key: &ReportKey) -> Result<Header, ShelfError> {
        let header = self.header_to_bury(key).await?;
        // What was deleted is not known: only a deletion of all makes an end of that.
        if header.damage.tombstone.is_some() {
            return Err(self.damaged(key, "its tombstone cannot be read"));
        }
        Ok(header)
    }

    /// As [`Shelf::header`], also where entry or tombstone cannot be read.
    pub(super) async fn header_to_bury(&self, key: &ReportKey) -> Result<Header, ShelfError> {
        for _ in 0..ATTEMPTS {
            match self.header(key).await {
                Err(ShelfError::Damaged { .. }) => {}
                header => return header,
            }
            let header = self.damaged_header(key).await?;
            // Else somebody has put a whole report there since.
            if header.damage.is_any() {
                return Ok(header);
            }
        }
        Err(self.contended(key))
    }

    async fn damaged_header(&self, key: &ReportKey) -> Result<Header, ShelfError> {
        let [value, metadata, tombstone] = self.read_names(key).await?;
        let later = |entry: &Entry| Metadata::later_form(&entry.value);
        if let Some(form) = metadata.as_ref().and_then(later) {
            return Err(self.damaged(key, form));
        }
        let (mut damage, mut header) = (Damage::default(), Header::of(value));
        if let Some(entry) = metadata {
            match Metadata::parse(&entry.value) {
                Ok(metadata) => header.metadata = Some((metadata, entry.revision)),
                Err(_) => damage.metadata = Some(entry.revision),
            }
        }
        if let Some(entry) = tombstone {
            match tombstones::parse(&entry.value) {
                Ok(sequence) => header.tombstone = Some((sequence, entry.revision)),
                Err(_) => damage.tombstone = Some(entry.revision),
            }
        }
        header.damage = damage;
        if header.value.is_some() {
            let states = self.layout.states(key);
            let states = if states.is_empty() { Vec::new() } else { self.read(&states).await? };
            header.found_foreign(&states);
        }
        Ok(header)
    }
}
