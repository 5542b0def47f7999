//! What is answered, and what an answer is worth.

use jiff::Timestamp;

use super::Away;
use crate::fallback::primary::PrimaryError;
use crate::fallback::shelf::ShelfError;
use crate::fallback::store::StoreError;
use crate::reports::{Report, ReportKey, Version};

/// One of the two stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Store {
    /// The store that reports belong in.
    Primary,
    /// The shelf.
    Fallback,
}

/// A report that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The report.
    pub report: Report,
    /// The version that it stands under.
    pub version: Version,
    /// The store that it came from.
    pub store: Store,
    /// Whether every store that may hold the report has answered. If not, a newer one or its deletion may be in the one that was away.
    pub complete: bool,
}

/// What became of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored, under this version: whoever gets the report from now on gets this, or a newer one.
    Stored(Version),
    /// The store holds a newer one, of this version, or one that nobody dates and that may be newer; nothing changed.
    Superseded(Version),
}

/// What became of a put, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutAnswer {
    /// What became of it.
    pub put: Put,
    /// The store that took it.
    pub store: Store,
}

/// What became of a delete that succeeded: the report is gone, and no copy of it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Whether a copy was there.
    pub existed: bool,
    /// Whether every store took part. If not, its copy is hidden by the tombstone in the other, and goes when it is back.
    pub complete: bool,
    /// The sequence of the tombstone: copies below it are gone.
    pub sequence: i64,
}

/// What became of a delete of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Reports that were deleted.
    pub deleted: u64,
    /// Whether every store told what it holds. If not, what only the other holds is still there: call again when it is back.
    pub complete: bool,
}

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListAnswer {
    /// Reports in the order of their keys, with their versions. An older controller may have put a newer one over one of these in the
    /// fallback without saying so; [`Reports::get`](super::Reports::get) finds it.
    pub items: Vec<(ReportKey, Version)>,
    /// Keys under which something stands that cannot be read, and why: it may be newer than what the other store has, or deleted. None of them is
    /// among the items.
    pub unreadable: Vec<(ReportKey, String)>,
    /// Where the next page begins: behind this key. `None`: there is none.
    pub next: Option<ReportKey>,
    /// Whether every store has answered. If not, reports that only the other holds are missing. It speaks of all but the unreadable ones.
    pub complete: bool,
}

/// Why a call was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReportsError {
    /// The scan lies more than an hour ahead. Stored, it would keep every later one out.
    #[error("{key} was scanned at {scanned_at}, more than an hour ahead of the clock")]
    ClockAhead {
        /// The report.
        key: ReportKey,
        /// When it says that it was scanned.
        scanned_at: Timestamp,
    },
    /// The payload is too large.
    #[error("the payload of {key} has {size} bytes, and {limit} at most are stored")]
    TooLarge {
        /// The report.
        key: ReportKey,
        /// Its bytes.
        size: usize,
        /// The bytes that it may have.
        limit: usize,
    },
    /// The request is at fault, and no store would take it.
    #[error("{0}")]
    Rejected(String),
    /// Only the primary may be written to, and not every controller knows it yet.
    #[error("only the primary may be written to, and the gate to it is closed")]
    GateClosed,
    /// A store that is needed for the answer is away; or both have answered, and the report moved between them each time.
    #[error("{}", away(.primary.as_deref(), .fallback.as_deref()))]
    Unavailable {
        /// Why the primary did not answer, if it was needed.
        primary: Option<String>,
        /// Why the fallback did not answer, if it was needed.
        fallback: Option<String>,
        /// Whether a change that was asked for may have been made, or may be a little later.
        undecided: bool,
    },
    /// The report in the primary cannot be read, and the fallback has none.
    #[error("{0}")]
    Unreadable(String),
    /// All was read that could be, and a store was away or left something unread meanwhile.
    #[error(
        "a store was away while reports were read, or left some unread: some may be missing or out of date"
    )]
    Incomplete,
    /// The report in the fallback cannot be read or replaced, and the primary has none.
    #[error(transparent)]
    Shelf(ShelfError),
}

fn away(primary: Option<&str>, fallback: Option<&str>) -> String {
    match (primary, fallback) {
        (Some(primary), Some(fallback)) => format!("neither store answers: {primary}; {fallback}"),
        (Some(primary), None) => format!("the primary is away, and only it could tell: {primary}"),
        (None, Some(fallback)) => format!("the fallback is away, and only it could tell: {fallback}"),
        (None, None) => "the report is moved to and fro, or written by others, all the time".to_owned(),
    }
}

impl ReportsError {
    /// Neither store, or not the one that was needed, took a change or gave an answer.
    pub(super) fn unavailable(primary: Option<&Away>, fallback: Option<ShelfError>) -> Self {
        if let (Some(Away::Failed(PrimaryError::Unreadable(reason))), None) = (primary, &fallback) {
            return Self::Unreadable(reason.clone());
        }
        match fallback {
            Some(error @ ShelfError::Unkept { .. }) => Self::Rejected(error.to_string()),
            Some(
                error @ (ShelfError::Damaged { .. }
                | ShelfError::Incomplete { .. }
                | ShelfError::Contended { .. }),
            ) => Self::Shelf(error),
            fallback => Self::Unavailable {
                undecided: primary.is_some_and(Away::is_undecided)
                    || matches!(fallback, Some(ShelfError::Store(StoreError::Unanswered { .. }))),
                primary: primary.and_then(Away::reason),
                fallback: fallback.map(|it| it.to_string()),
            },
        }
    }

    /// As [`ReportsError::unavailable`], where nothing was to be changed.
    pub(super) fn untold(primary: Option<&Away>, fallback: Option<ShelfError>) -> Self {
        match Self::unavailable(primary, fallback) {
            Self::Unavailable { primary, fallback, .. } => {
                Self::Unavailable { primary, fallback, undecided: false }
            }
            other => other,
        }
    }

    /// Whether a change that was asked for may have been made, or may be a little later.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        matches!(self, Self::Unavailable { undecided: true, .. })
    }
}
