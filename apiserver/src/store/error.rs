//! Why the store did not do what it was asked to.

use larder_client::database::DatabaseError;
use larder_client::schema::SchemaError;
use larder_client::wire::{self, Kind};

use super::Revision;

/// Why the store did not do what it was asked to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// There is an object under that key already.
    #[error("it exists already")]
    Exists,
    /// The object is not there, or not of the revision that was expected. Read it again.
    #[error("it was changed meanwhile")]
    Changed,
    /// The history does not reach back that far, or it is not the one that the revision was given in.
    #[error("too old resource version: {asked} ({oldest})")]
    Expired {
        /// The revision that was asked for.
        asked: Revision,
        /// The oldest that is remembered.
        oldest: Revision,
    },
    /// Nobody has written that revision yet.
    #[error("Too large resource version: {asked}, current: {current}")]
    Future {
        /// The revision that was asked for.
        asked: Revision,
        /// The latest.
        current: Revision,
    },
    /// The object does not fit.
    #[error("{0}")]
    TooLarge(String),
    /// What is stored cannot be read.
    #[error("the stored object cannot be read: {0}")]
    Damaged(String),
    /// The database is away, full, or refuses.
    #[error(transparent)]
    Database(DatabaseError),
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        match error.kind() {
            Some(Kind::TooLarge) => Self::TooLarge(error.to_string()),
            _ => Self::Database(error),
        }
    }
}

impl From<SchemaError> for StoreError {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Database(error) => error.into(),
            other => {
                let refusal = wire::Error::new(Kind::Internal, "SCHEMA_UNUSABLE", other.to_string());
                Self::Database(DatabaseError::refused(refusal))
            }
        }
    }
}

/// What stands in the database is nothing that this store writes.
pub(crate) fn damaged(what: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(what.to_string())
}
