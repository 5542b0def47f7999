//! A store of keys and values that compares before it swaps: what Consul, etcd, a directory and memory have in common.

use async_trait::async_trait;
use bytes::Bytes;

use crate::http::CallError;

/// The state of one key, as the store counts: Consul's `ModifyIndex`, etcd's `mod_revision`. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// A value with the revision that it was read at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// When it was written.
    pub revision: Revision,
}

/// A key of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The whole key.
    pub key: String,
    /// When it was written, if the store says so in a listing.
    pub revision: Option<Revision>,
}

/// What must hold of a key for an operation to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Any,
    /// The key does not exist.
    Absent,
    /// The key exists, and was not written since.
    Unchanged(Revision),
}

impl Condition {
    /// Whether it holds of a key that was written at `revision`, if there is one.
    #[must_use]
    pub fn holds(self, revision: Option<Revision>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => revision.is_none(),
            Self::Unchanged(expected) => revision == Some(expected),
        }
    }
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes a value.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Bytes,
        /// What must hold.
        condition: Condition,
    },
    /// Removes a key. Under [`Condition::Any`] it need not exist.
    Delete {
        /// The key.
        key: String,
        /// What must hold.
        condition: Condition,
    },
    /// Changes nothing; what must hold must hold for the others to be done.
    Check {
        /// The key.
        key: String,
        /// What must hold.
        condition: Condition,
    },
}

impl Operation {
    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } | Self::Check { key, .. } => key,
        }
    }

    /// What must hold of the key.
    #[must_use]
    pub fn condition(&self) -> Condition {
        match self {
            Self::Put { condition, .. } | Self::Delete { condition, .. } | Self::Check { condition, .. } => {
                *condition
            }
        }
    }
}

/// What a store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in a value.
    pub value: usize,
    /// Operations in a transaction.
    pub operations: usize,
    /// Bytes in a transaction of several operations, as [`KeyValue::weight`] counts them. A single operation goes by `value`.
    pub transaction: usize,
}

/// Why a store did not do what it was asked to. A condition that did not hold is no error.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection came about; nothing was done.
    #[error("cannot reach {store}: {reason}")]
    Unreachable {
        /// The store, as a person would find it: its address or path.
        store: String,
        /// What stood in the way.
        reason: String,
    },
    /// No answer came, or it says that the store has no leader: a change may have been done.
    #[error("{store} did not answer: {reason}")]
    Unanswered {
        /// The store.
        store: String,
        /// What stood in the way.
        reason: String,
    },
    /// The store does not take it: too large, not permitted, full.
    #[error("{store} refused: {reason}")]
    Refused {
        /// The store.
        store: String,
        /// What it said.
        reason: String,
    },
}

impl StoreError {
    /// What a call that failed means to somebody who keeps keys and values in `store`.
    pub(super) fn of_call(error: CallError, store: String) -> Self {
        match error {
            CallError::Unreachable(reason) => Self::Unreachable { store, reason: reason.to_string() },
            CallError::Unanswered(reason) => Self::Unanswered { store, reason: reason.to_string() },
            CallError::TooLong => Self::Unanswered { store, reason: "its answer is too long".to_owned() },
            CallError::Unsendable(error) => Self::Refused { store, reason: error.to_string() },
        }
    }
}

/// Keys by what is likely to stand there.
#[derive(Clone, Copy, Debug)]
pub struct Sorted<'k> {
    /// Large values.
    pub large: &'k [String],
    /// Small values.
    pub small: &'k [String],
    /// Small values if any, but mostly there is none.
    pub rare: &'k [String],
}

impl Sorted<'_> {
    /// All keys, in the order of their kinds.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        [self.large, self.small, self.rare].concat()
    }
}

/// A store of keys and values. Keys are text without NUL; a prefix is text, whatever the store thinks of slashes.
///
/// Every implementation passes the same suite of tests against the real server.
#[async_trait]
pub trait KeyValue: Send + Sync + 'static {
    /// The store, as a person would find it. No secret is in it.
    fn name(&self) -> &str;

    /// What the store takes.
    fn limits(&self) -> Limits;

    /// What an operation counts in a transaction.
    fn weight(&self, operation: &Operation) -> usize;

    /// How many keys [`KeyValue::get`] reads from one moment.
    fn snapshot(&self) -> usize {
        1
    }

    /// The values of some keys, in their order; `None` where there is none.
    /// As fresh as the store can be: what was written before the call is seen.
    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, StoreError>;

    /// How many keys [`KeyValue::get_large`] reads from one moment.
    fn snapshot_of_large(&self) -> usize {
        self.snapshot()
    }

    /// As [`KeyValue::get`], the values of keys of three kinds behind one another: a store that gives large values in a cheaper way may do so
    /// for those. `None` if they cannot be read together so: then they are to be read in another way.
    async fn get_large(&self, keys: Sorted<'_>) -> Result<Option<Vec<Option<Entry>>>, StoreError> {
        self.get(&keys.all()).await.map(Some)
    }

    /// The keys that begin with `prefix` and come behind `after`, in the order of their bytes, `limit` at most. Fewer than
    /// `limit` are the last ones.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, StoreError>;

    /// Does all operations, or none of them if a condition does not hold: then it answers `false`.
    ///
    /// A transaction beyond [`KeyValue::limits`], or with a key in it twice, is refused.
    async fn commit(&self, operations: Vec<Operation>) -> Result<bool, StoreError>;
}
