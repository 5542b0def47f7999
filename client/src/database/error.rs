//! Why a database did not do what it was asked to.

use larder_wire::{Applied, Kind};

/// Why a database did not do what it was asked to, told apart by what the caller does next.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Nothing was done, since nobody was there: another store can take it.
    #[error("cannot reach the database: {0}")]
    Unreachable(String),
    /// No answer came: a write may have been done, or not.
    #[error("the database did not answer: {0}")]
    Unanswered(String),
    /// The database says why it does not serve the request. A write was not done unless `applied` says otherwise.
    #[error("{error}")]
    Refused {
        /// What it says.
        error: Box<larder_wire::Error>,
        /// Whether the write was done.
        applied: Applied,
    },
    /// What came is no answer of a database.
    #[error("the database's answer is broken: {0}")]
    Broken(String),
}

impl DatabaseError {
    /// A refusal that changed nothing.
    #[must_use]
    pub fn refused(error: larder_wire::Error) -> Self {
        Self::Refused { error: Box::new(error), applied: Applied::No }
    }

    /// What kind of refusal it is, if it is one.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Refused { error, .. } => Some(error.kind),
            _ => None,
        }
    }

    /// Whether the request itself is what is wrong, so that every database would refuse it. Anything else is the database's state:
    /// another store can take what this one does not.
    #[must_use]
    pub fn blames_the_request(&self) -> bool {
        matches!(
            self.kind(),
            Some(Kind::Invalid | Kind::Constraint | Kind::Expectation | Kind::TooLarge | Kind::Mismatch)
        )
    }

    /// Whether the same request may succeed a little later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Unanswered(_) | Self::Broken(_) => true,
            Self::Refused { error, .. } => error.retryable,
        }
    }

    /// Whether the changes that were asked for are no longer remembered.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.kind() == Some(Kind::Gone)
    }
}
