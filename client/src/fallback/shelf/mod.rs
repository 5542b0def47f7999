//! Reports in a store of keys and values.
//!
//! A [`Shelf`] owns how a report is laid out there: its value, bit for bit where older controllers look for it; an entry beside it that says
//! how new it is and holds its findings; chunks, where it is too large for one value; a tombstone, where it was deleted. Every change is one
//! transaction that compares what was read, so that two writers never mix, and an acknowledged report is replaced only by a whole one.
//!
//! It decides nothing between stores, and it raises no sequence: what is older than what stands here, was written before it, or lies below a
//! tombstone, is answered as such. State keys are read for the time of a scan, never written.

mod chunks;
mod damage;
mod dating;
mod gob;
pub(crate) mod gzip;
mod header;
mod layout;
mod list;
mod many;
mod metadata;
mod read;
mod sweep;
mod tombstones;
mod write;

use std::sync::Arc;

use super::store::{Condition, Entry, KeyValue, Revision, StoreError};
use crate::reports::kept::Lost;
use crate::reports::{ReportKey, Version};

pub use layout::Layout;
pub use list::{Listed, LoosePiece, Page, ShelfStats, Strays};
pub use read::{Head, Held, Holding, Lookup, Origin, Within};
pub use tombstones::ShelfTombstone;

/// How often a change is tried again when somebody else was faster.
const ATTEMPTS: usize = 16;

/// Small values that are read at once.
const AT_ONCE: usize = 64;

/// Bytes of one piece of a value that NeuVector splits.
const PIECE: usize = 512 * 1024 - 1;

/// Reports on a store of keys and values.
#[derive(Clone)]
pub struct Shelf {
    store: Arc<dyn KeyValue>,
    layout: Layout,
}

/// What became of a report that was to be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It stands in the store, under the version that it was given.
    Stored,
    /// A newer one stands there, or one that nobody dates and that may be newer; nothing changed.
    Superseded(Version),
    /// An earlier scan stands there that was written later, under this sequence; nothing changed. In between the report may have been deleted
    /// in another store, and what was written before that must not replace what was written after it.
    Crossed(i64),
    /// It was deleted under this greater sequence; nothing changed.
    Buried(i64),
}

/// What became of a report that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burial {
    /// Whether there was a copy that is gone now.
    pub removed: bool,
    /// The sequence of a copy that is not older than the tombstone, and is still there.
    pub survivor: Option<i64>,
}

/// A report that was deleted: no copy of it with a sequence below this one is visible, in any store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tombstone {
    /// The report.
    pub key: ReportKey,
    /// The sequence of the deletion.
    pub sequence: i64,
}

/// Why a shelf did not do what it was asked to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ShelfError {
    /// The store did not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Pieces of the value are missing: it is being written by an older controller, or was never finished.
    #[error("{key} is incomplete in {store}: {reason}")]
    Incomplete {
        /// The report.
        key: ReportKey,
        /// The store.
        store: String,
        /// What is missing.
        reason: String,
    },
    /// The entry beside the value, or what it refers to, cannot be read here. It is left alone.
    #[error("{key} is damaged in {store}: {reason}")]
    Damaged {
        /// The report.
        key: ReportKey,
        /// The store.
        store: String,
        /// What is wrong.
        reason: String,
    },
    /// What the writer of the report gives beside the payload could not be read again, so the report is not stored.
    #[error("{key} cannot be kept: {lost}")]
    Unkept {
        /// The report.
        key: ReportKey,
        /// What is too much.
        lost: Lost,
    },
    /// Others were faster time and again.
    #[error("{key} in {store} is written by others all the time")]
    Contended {
        /// The report.
        key: ReportKey,
        /// The store.
        store: String,
    },
}

impl ShelfError {
    /// Whether the store answered, and what stands there of the report cannot be read.
    pub(crate) fn is_of_the_report(&self) -> bool {
        matches!(self, Self::Incomplete { .. } | Self::Damaged { .. })
    }
}

impl Shelf {
    /// Reports on `store`, laid out as `layout` says.
    #[must_use]
    pub fn new(store: Arc<dyn KeyValue>, layout: Layout) -> Self {
        Self { store, layout }
    }

    pub(crate) fn store(&self) -> Arc<dyn KeyValue> {
        Arc::clone(&self.store)
    }

    /// The same layout on another store.
    pub(crate) fn on(&self, store: Arc<dyn KeyValue>) -> Self {
        Self { store, layout: self.layout.clone() }
    }

    /// The store's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.store.name()
    }

    async fn read(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, ShelfError> {
        Ok(self.store.get(keys).await?)
    }

    async fn read_one(&self, key: String) -> Result<Option<Entry>, ShelfError> {
        Ok(self.store.get(&[key]).await?.pop().flatten())
    }

    fn damaged(&self, key: &ReportKey, reason: impl Into<String>) -> ShelfError {
        ShelfError::Damaged { key: key.clone(), store: self.name().into(), reason: reason.into() }
    }

    fn incomplete(&self, key: &ReportKey, reason: impl Into<String>) -> ShelfError {
        ShelfError::Incomplete { key: key.clone(), store: self.name().into(), reason: reason.into() }
    }

    fn contended(&self, key: &ReportKey) -> ShelfError {
        ShelfError::Contended { key: key.clone(), store: self.name().into() }
    }
}

/// The condition that a key is still as it was read.
fn as_read(revision: Option<Revision>) -> Condition {
    revision.map_or(Condition::Absent, Condition::Unchanged)
}
