//! Why a report was not stored or not found, told apart by what the caller does next.

use jiff::Timestamp;

use crate::database::DatabaseError;
use crate::reports::ReportKey;
use crate::reports::kept::Lost;

/// Why something was not done with a report.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReportError {
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The scan lies more than an hour ahead. Stored, it would keep every later one out.
    #[error("report {key} was scanned at {scanned_at}, which is in the future")]
    ClockAhead {
        /// The report.
        key: ReportKey,
        /// When it says that it was scanned.
        scanned_at: Timestamp,
    },
    /// A part of it is larger than is stored.
    #[error("the {what} of report {key} has {size} bytes, and {limit} at most are stored")]
    TooLarge {
        /// The report.
        key: ReportKey,
        /// Which part: `payload`, `findings`, `checks` or the name of a text.
        what: &'static str,
        /// Its bytes.
        size: usize,
        /// The bytes that it may have.
        limit: usize,
    },
    /// What its writer gives beside the payload could not be read again.
    #[error("report {key} cannot be kept: {lost}")]
    Unkept {
        /// The report.
        key: ReportKey,
        /// What is too much.
        lost: Lost,
    },
    /// Others were faster time and again.
    #[error("report {key} is written by others all the time")]
    Contended {
        /// The report.
        key: ReportKey,
    },
    /// Pieces of it, or of another that was written with it, were taken for forgotten while it was written.
    #[error(
        "pieces of report {key}, or of one beside it, were swept while they were written: a clock is wrong, or it took more than an hour"
    )]
    Swept {
        /// The report, or the one beside it.
        key: ReportKey,
    },
    /// What stands in the database is nothing that this client writes.
    #[error("report {key:?} cannot be read: {reason}")]
    Unreadable {
        /// The report, if that is known.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

impl ReportError {
    /// Whether every store would refuse it, because of what is asked.
    #[must_use]
    pub fn blames_the_caller(&self) -> bool {
        match self {
            Self::Database(error) => error.blames_the_request(),
            Self::ClockAhead { .. } | Self::TooLarge { .. } | Self::Unkept { .. } => true,
            Self::Unreadable { .. } | Self::Contended { .. } | Self::Swept { .. } => false,
        }
    }
}
