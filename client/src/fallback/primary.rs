//! What the facade asks of the primary: the store that reports belong in.
//!
//! Every change is guarded by what the primary holds, and none of them raises a sequence: a request that comes late, after its caller gave
//! up, does nothing that its sequence does not cover. Whoever wants to be newer asks again with a greater one.
//!
//! Every answer that says what stands under a key is of one moment, and says too which keys *left* the primary since an earlier one that the
//! caller names: their report or their tombstone was taken out without a newer report, or a tombstone of at least that sequence, in its place.
//! What is put over something or deleted does not leave; what a mover removes does.

use async_trait::async_trait;

use super::shelf::{Burial, Lookup, Page, Placed, Tombstone};
use crate::reports::{Mark, Report, ReportKey, Told, Version};

/// A report with the version that it stands under.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The report.
    pub report: Report,
    /// How new it is.
    pub version: Version,
}

/// A page of what the primary holds, and what it holds of some keys besides.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The versions, in the order of the keys.
    pub page: Page<(ReportKey, Version)>,
    /// What stands under the keys that were asked for by name, in their order.
    pub beside: Vec<Lookup<Version>>,
}

/// How much the primary holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrimaryStats {
    /// Reports.
    pub reports: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// The newest scan.
    pub newest: Option<jiff::Timestamp>,
}

/// Why the primary did not do what it was asked to, told apart by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrimaryError {
    /// Nobody was there; nothing was done.
    #[error("{0}")]
    Unreachable(String),
    /// No answer came; it may have been done, now or a little later.
    #[error("{0}")]
    Unanswered(String),
    /// It is there and cannot do it now: full, busy, not ready. Another store can.
    #[error("{0}")]
    Unwell(String),
    /// What stands under the key cannot be read. Everything else can.
    #[error("{0}")]
    Unreadable(String),
    /// The request is at fault; no store would take it.
    #[error("{0}")]
    Rejected(String),
}

/// The store that reports belong in.
#[async_trait]
pub trait Primary: Send + Sync + 'static {
    /// The primary, as a person would find it.
    fn name(&self) -> &str;

    /// Whether it answers and its schema is ready.
    async fn probe(&self) -> Result<(), PrimaryError>;

    /// Puts reports with their sequences; each is answered on its own. Where a newer one stands, an earlier scan that
    /// was written later, or a tombstone of a greater sequence, nothing changes.
    async fn put(
        &self,
        reports: &[(&Report, i64)],
        since: Option<Mark>,
    ) -> Result<Told<Vec<Placed>>, PrimaryError>;

    /// The report under a key and the tombstone beside it.
    async fn get(&self, key: &ReportKey, since: Option<Mark>) -> Result<Told<Lookup<Kept>>, PrimaryError>;

    /// As [`Primary::get`], without the report.
    async fn head(&self, key: &ReportKey, since: Option<Mark>)
    -> Result<Told<Lookup<Version>>, PrimaryError>;

    /// The versions of reports whose key begins with `prefix` and comes behind `after`, in order, `limit` at most; and what stands under the
    /// keys `beside`, which are of the same range.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
        beside: &[ReportKey],
        since: Option<Mark>,
    ) -> Result<Told<Listing>, PrimaryError>;

    /// The reports under some keys, in the order of keys as they come; a key without a report is passed over.
    async fn stream(&self, keys: &[ReportKey]) -> Result<Box<dyn KeptStream>, PrimaryError>;

    /// Deletes copies whose sequence is below that of their tombstone, and keeps the tombstones, of two under one key the later.
    async fn bury(
        &self,
        tombstones: &[Tombstone],
        since: Option<Mark>,
    ) -> Result<Told<Vec<Burial>>, PrimaryError>;

    /// How much it holds.
    async fn stats(&self) -> Result<PrimaryStats, PrimaryError>;
}

/// Reports as they come.
#[async_trait]
pub trait KeptStream: Send {
    /// The next one; `None` once all came.
    async fn next(&mut self) -> Result<Option<Kept>, PrimaryError>;
}
