//! Why the index could not answer or could not be kept.

use super::varint::Malformed;
use crate::database::DatabaseError;

/// Why the index could not answer or could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The database did not do what it was asked to.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A block of the index is damaged. [`super::Index::rebuild`] makes the index anew from the reports.
    #[error("block {first:#x} of index segment {segment} is damaged: {reason}")]
    Block {
        /// The segment.
        segment: i64,
        /// The number of the block's first vulnerability.
        first: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The findings of a report are damaged.
    #[error("the findings of report {report} are damaged: {reason}")]
    Findings {
        /// The report's id in the database.
        report: i64,
        /// What is wrong.
        reason: String,
    },
    /// A row does not have the form that it should have.
    #[error("the database's answer is not what the schema says: {0}")]
    Shape(&'static str),
    /// Others changed the same part of the index again and again.
    #[error("others kept changing the index; try again later")]
    Contended,
    /// The name of a vulnerability is not in the database.
    #[error("the vulnerability with the number {0:#x} has no name")]
    Nameless(u64),
    /// The cursor belongs to another question.
    #[error("the cursor does not belong to this question")]
    Cursor,
    /// zstd could not be set up.
    #[error("cannot compress: {0}")]
    Compression(#[from] std::io::Error),
}

impl IndexError {
    pub(crate) fn block(segment: i64, first: u64) -> impl FnOnce(Malformed) -> Self {
        move |Malformed(reason)| Self::Block { segment, first, reason }
    }
}
