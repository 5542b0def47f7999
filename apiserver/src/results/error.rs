//! Why a question was not answered.

use larder_client::database::DatabaseError;

use crate::store::{Revision, StoreError};

/// Why a question was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ResultsError {
    /// The rows could not be made up to the present in time. Ask again: they are a little further.
    #[error(
        "the results are those of revision {reached}, and {asked} is the latest: {behind} changes are missing"
    )]
    Behind {
        /// The latest revision when the question was asked.
        asked: Revision,
        /// Up to which revision rows were made.
        reached: Revision,
        /// The changes in between.
        behind: u64,
    },
    /// All rows are being made anew, which was not done in time. Ask again.
    #[error("the results are being made anew: {walked} of {objects} objects are done")]
    Incomplete {
        /// Objects that were gone through.
        walked: u64,
        /// All objects.
        objects: u64,
    },
    /// This is not what a page before said, or what the page before of another question said.
    #[error("this is not where a page of this question ended")]
    Cursor,
    /// More texts than a question takes.
    #[error("a question takes at most {0} values")]
    TooMany(usize),
    /// The database is away, or refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DatabaseError> for ResultsError {
    fn from(error: DatabaseError) -> Self {
        Self::Store(error.into())
    }
}
