//! What a mover asks of the two stores between which it moves reports.
//!
//! Narrow on purpose: the store of reports in SQL and the shelf on keys and values are both a [`Depot`], so that bringing reports home and
//! taking them away again is one piece of code, and so that the laws can be proved on doubles.
//!
//! Two rules carry the safety when two movers work at once, in the same direction or in opposite ones, and however long one of them slept
//! between two steps:
//!
//! 1. *A write renews the stamp.* [`Depot::bring`] and [`Depot::bury`] give what they were given a new stamp (a tombstone: a new seal) also where the very same version
//!    stands already. Otherwise one mover could remove here what another has just found there, and the other remove there what the
//!    first has just found here: each would have verified a copy, and none would be left.
//! 2. *A removal names the stamp.* [`Depot::remove`] and [`Depot::unbury`] do nothing unless the stamp is the one that was read.
//!
//! A depot that is a [`Primary`](crate::fallback::Primary) notes the key in the very transaction in which it removes a report or a tombstone: whoever
//! reads both stores meanwhile learns by it that he has to look again.

use async_trait::async_trait;
use futures_util::future::join_all;
use jiff::Timestamp;

use super::decision::{Skip, There};
use crate::fallback::shelf::{LoosePiece, Origin, gzip};
use crate::reports::{Report, ReportKey, Version};

/// A report under way, with the sequence that it keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Parcel {
    /// The report.
    pub report: Report,
    /// The sequence of the write that was acknowledged to a controller.
    pub sequence: i64,
    /// What it may replace although that was written later: see [`Depot::bring`].
    pub over: Option<Version>,
    /// Whether it was written by somebody who says nothing of it, as older controllers do. Then a broken payload may be half of something, and
    /// no depot takes it: see [`Written::Undecodable`].
    pub is_foreign: bool,
}

impl Parcel {
    /// A report with its sequence.
    #[must_use]
    pub fn new(report: Report, sequence: i64) -> Self {
        Self { report, sequence, over: None, is_foreign: false }
    }

    /// Which version this is.
    #[must_use]
    pub fn version(&self) -> Version {
        Version::new(self.report.scanned_at, self.sequence)
    }

    /// Whether it gives way to a newer version where it stands.
    #[must_use]
    pub fn yields(&self, to: Version) -> bool {
        let origin = if self.is_foreign { Origin::Foreign } else { Origin::Larder };
        origin.yields(self.version(), to)
    }

    /// Whether nobody knows when it was scanned.
    #[must_use]
    pub fn is_undated(&self) -> bool {
        self.is_foreign && self.report.scanned_at == Timestamp::UNIX_EPOCH
    }

    /// Why nobody takes it: it is foreign, and begins as a gzip stream that cannot be read. All of it is unpacked to find that out.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        if self.is_foreign { gzip::fault(&self.report.payload) } else { None }
    }

    /// Bytes of the payload.
    #[must_use]
    pub fn size(&self) -> usize {
        self.report.payload.len()
    }

    /// Whether `back` is this, bit for bit, payload and metadata.
    #[must_use]
    pub fn is_same(&self, back: &Self) -> bool {
        let (sent, got) = (&self.report, &back.report);
        self.version() == back.version()
            && sent.key == got.key
            && sent.encoding == got.encoding
            && sent.scanner_version == got.scanner_version
            && sent.asset == got.asset
            && sent.payload == got.payload
            && sent.findings == got.findings
            && sent.checks == got.checks
    }
}

/// Keys of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Reports, in the order of the listing.
    pub keys: Vec<ReportKey>,
    /// What stands among the reports and is none: its name, and why.
    pub strange: Vec<(String, String)>,
    /// How much more of that there is.
    pub more_strange: u64,
    /// Where the next page begins; `None` behind the last.
    pub next: Option<String>,
}

/// What a depot holds under a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Found<S> {
    /// Nothing.
    Absent,
    /// A report.
    Report {
        /// The report.
        parcel: Box<Parcel>,
        /// The tombstone of the same depot, read together with the report or after it.
        tombstone: Option<i64>,
        /// What [`Depot::remove`] compares.
        stamp: S,
    },
    /// A report of more bytes than were asked for.
    Large(u64),
    /// Something that cannot be moved as it is.
    Unreadable(Skip, String),
}

/// What is known of a key without reading its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// No report.
    Nothing,
    /// A report of this version.
    Report(Version),
    /// Something of which nobody can say the version.
    Unreadable,
}

/// What stands under a key: a report, and the tombstone beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The report.
    pub holding: Holding,
    /// The tombstone's sequence.
    pub tombstone: Option<i64>,
}

impl Standing {
    /// Whether a report or its deletion stands there.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.tombstone.is_some() || matches!(self.holding, Holding::Report(_))
    }
}

/// What a write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The report stands now.
    Stored,
    /// This version stood already; it has a new stamp now.
    Renewed,
    /// Nothing: a newer version stands, or a tombstone suppresses it.
    Outdated,
    /// The depot does not take it, and says why.
    Refused(String),
    /// Nothing: it is foreign and has a [fault](Parcel::fault).
    Undecodable(String),
}

/// What came of a report that was brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// What the write did.
    pub written: Written,
    /// What was read back after it.
    pub there: There,
}

/// A mark that everything of lower sequence under the key is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The report that was deleted.
    pub key: ReportKey,
    /// The sequence of the deletion.
    pub sequence: i64,
}

/// A tombstone as a depot holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grave<S> {
    /// The tombstone.
    pub tombstone: Tombstone,
    /// When this depot last took it.
    pub since: Timestamp,
    /// What [`Depot::unbury`] compares.
    pub seal: S,
}

/// Tombstones of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graves<S> {
    /// The tombstones.
    pub graves: Vec<Grave<S>>,
    /// What stands among them and cannot be read: the report, and why.
    pub strange: Vec<(ReportKey, String)>,
    /// Where the next page begins; `None` behind the last.
    pub next: Option<String>,
}

/// Why a depot did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DepotError {
    /// It could not be reached or did not answer: what was asked for may have been done. Trying again later may help.
    #[error("{0}")]
    Away(String),
    /// It does not do this, whoever asks and how often.
    #[error("{0}")]
    Refused(String),
}

impl DepotError {
    /// The error, with the depot's name before it unless it says whose it is.
    #[must_use]
    pub fn named(&self, depot: &str) -> String {
        let reason = self.to_string();
        if reason.contains(depot) { reason } else { format!("{depot}: {reason}") }
    }
}

/// A store that reports are moved out of and into. See the module for the two rules that every implementation keeps.
#[async_trait]
pub trait Depot: Send + Sync + 'static {
    /// What tells one state of a key from every other state that it ever had.
    type Stamp: Clone + Send + Sync + 'static;

    /// The same of a tombstone.
    type Seal: Clone + Send + Sync + 'static;

    /// The depot, as a person would find it.
    fn name(&self) -> &str;

    /// About `limit` keys of reports, from where a page before said that the next begins.
    async fn list(&self, from: Option<&str>, limit: usize) -> Result<Page, DepotError>;

    /// A report of `limit` bytes at most. What is larger is told without holding it in memory, as far as the depot can.
    async fn read(&self, key: &ReportKey, limit: usize) -> Result<Found<Self::Stamp>, DepotError>;

    /// As [`Depot::read`], several reports in their order.
    async fn read_all(
        &self,
        keys: &[ReportKey],
        limit: usize,
    ) -> Vec<Result<Found<Self::Stamp>, DepotError>> {
        join_all(keys.iter().map(|key| self.read(key, limit))).await
    }

    /// Writes reports with the sequences that they have, each wholly or not at all, durably; then reads them back from where they were written
    /// to, and compares payloads and metadata bit for bit. The answers are in the order of `parcels`; one that is refused does
    /// not stop the others. What is foreign and has a [fault](Parcel::fault) is not written.
    ///
    /// A report is not written where a newer version stands or a tombstone of greater sequence, nor where something else stands under its
    /// version. Nor is it where an earlier scan stands that was written *later*, unless that is exactly the version in [`Parcel::over`]: the
    /// report may have been deleted in between, in another store, and then only the later write is alive. Whoever has seen that version and
    /// finds the report alive afterwards knows better.
    ///
    /// What is read back of the tombstone is read together with the report or after it.
    async fn bring(&self, parcels: Vec<Parcel>) -> Result<Vec<Arrival>, DepotError>;

    /// What stands under some keys, without payloads.
    async fn look(&self, keys: &[ReportKey]) -> Result<Vec<Standing>, DepotError>;

    /// Removes a report if its stamp is still this; says whether it did.
    async fn remove(&self, key: &ReportKey, stamp: &Self::Stamp) -> Result<bool, DepotError>;

    /// As [`Depot::remove`], several reports in their order.
    async fn remove_all(&self, removals: &[(ReportKey, Self::Stamp)]) -> Vec<Result<bool, DepotError>> {
        join_all(removals.iter().map(|(key, stamp)| self.remove(key, stamp))).await
    }

    /// About `limit` tombstones, from where a page before said that the next begins.
    async fn tombstones(&self, from: Option<&str>, limit: usize) -> Result<Graves<Self::Seal>, DepotError>;

    /// Takes tombstones: of two under one key the greater stays, with a new seal, and reports of lower sequence are gone. Says in their order why one
    /// is refused, which does not stop the others.
    async fn bury(&self, tombstones: &[Tombstone]) -> Result<Vec<Option<String>>, DepotError>;

    /// Removes a tombstone if its seal is still this; says whether it did.
    async fn unbury(&self, key: &ReportKey, seal: &Self::Seal) -> Result<bool, DepotError>;

    /// Clears away what writers left behind that ended in the midst of a large report which they had begun before `before`. Nothing depends on it
    /// but room.
    async fn sweep(&self, before: Timestamp) -> Result<(), DepotError> {
        let _ = before;
        Ok(())
    }

    /// Pieces of values whose first piece is gone. Most depots have none.
    async fn loose_pieces(&self) -> Result<Vec<LoosePiece>, DepotError> {
        Ok(Vec::new())
    }

    /// Removes a piece, unless its first piece came back; says whether it did.
    async fn remove_piece(&self, _: &LoosePiece) -> Result<bool, DepotError> {
        Ok(false)
    }
}
