//! Objects and their history in a SQL database.
//!
//! Every write takes the next revision inside the database's own transaction, so revisions come in the order of commits, whichever process
//! writes. What a write replaced is kept in a log of changes for a while: from it come watches, and lists of a past revision.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder_client::database::{Database, DatabaseError};

use crate::object::Object;

/// A revision: what clients know as `resourceVersion`. Decimal, never 0, never given twice, never backwards.
pub type Revision = u64;

/// Where an object is, within its resource. Keys are ordered as Kubernetes orders them: by the bytes of `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Empty for cluster-wide resources.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// An object as it is to be stored.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Where.
    pub key: Key,
    /// `metadata.uid`.
    pub uid: String,
    /// The version that it was validated under: `v1alpha2`.
    pub version: String,
    /// The whole object; `apiVersion`, `kind` and `metadata.resourceVersion` are left out when it is stored and put in when it is read.
    pub object: Object,
    /// The values of selectable fields, by their path joined with dots.
    pub fields: Vec<(String, String)>,
}

/// An object as it is stored. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Where.
    pub key: Key,
    /// When it was last written.
    pub revision: Revision,
    /// The version that it was written under.
    pub version: Arc<str>,
    /// The JSON behind `{"apiVersion":"…","kind":"…","metadata":{"resourceVersion":"…",`, to the end.
    pub rest: Bytes,
}

impl Stored {
    /// Appends the object as JSON of an API version (`GROUP/VERSION`) and a kind, without parsing it.
    pub fn write_json(&self, api_version: &str, kind: &str, out: &mut Vec<u8>) {
        let _ = (api_version, kind, out);
        todo!()
    }

    /// The object, parsed, with `apiVersion`, `kind` and `metadata.resourceVersion`.
    ///
    /// # Errors
    /// What is stored is no JSON: the database is damaged.
    pub fn object(&self, api_version: &str, kind: &str) -> Result<Object, StoreError> {
        let _ = (api_version, kind);
        todo!()
    }
}

/// Which objects of a resource are meant.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only this name.
    pub name: Option<String>,
    /// All of these.
    pub labels: Vec<Requirement>,
    /// All of these: path, whether it has to be equal, value.
    pub fields: Vec<(String, bool, String)>,
}

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// What is required of it.
    pub test: Test,
}

/// What a label selector requires of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// It is there and has one of these values.
    In(Vec<String>),
    /// It is not there, or has none of these.
    NotIn(Vec<String>),
    /// It is there.
    Exists,
    /// It is not there.
    Absent,
    /// It is there, an integer, and greater.
    Greater(i64),
    /// It is there, an integer, and less.
    Less(i64),
}

/// Which moment a list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The present.
    Latest,
    /// This revision.
    Exactly(Revision),
    /// This revision or a later one; waits for it up to three seconds.
    AtLeast(Revision),
}

/// A list that is asked for.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Which objects.
    pub selection: Selection,
    /// When.
    pub at: At,
    /// Behind this key.
    pub after: Option<Key>,
    /// At most this many; a page may be shorter where its objects are large.
    pub limit: Option<usize>,
}

/// A list, as it comes. All of it is of one revision.
pub struct List {
    /// That revision.
    pub revision: Revision,
    rows: (),
}

impl List {
    /// The next object; `None` at the end.
    ///
    /// # Errors
    /// The database went away: what came is not the whole list.
    pub async fn next(&mut self) -> Result<Option<Stored>, StoreError> {
        let _ = self.rows;
        todo!()
    }
}

/// A page of a list, in memory.
pub struct Page {
    /// The revision that it is of.
    pub revision: Revision,
    /// The objects.
    pub items: Vec<Stored>,
    /// The last key of the page, if more follow.
    pub next: Option<Key>,
    /// How many follow, where there is no selector to count by.
    pub remaining: Option<u64>,
}

/// Why the store did not do what it was asked to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// There is an object under that key already.
    #[error("it exists already")]
    Exists,
    /// The object is not there, or not of the revision that was expected. Read it again.
    #[error("it was changed meanwhile")]
    Changed,
    /// The history does not reach back that far.
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
    Database(#[from] DatabaseError),
}

/// Settings of a store.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// How long changes are remembered at least.
    pub history: Duration,
    /// How many changes are remembered at least.
    pub changes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { history: Duration::from_secs(300), changes: 10_000 }
    }
}

/// Objects in a database. Clones are one and the same.
#[derive(Clone)]
pub struct Store {
    database: Arc<dyn Database>,
}

impl Store {
    /// Opens the store; makes its tables, and takes care that revisions go on above every revision that was ever given, even if the
    /// database was restored from a copy.
    ///
    /// # Errors
    /// The database is away, or of a newer version.
    pub async fn open(database: Arc<dyn Database>, options: StoreOptions) -> Result<Self, StoreError> {
        let _ = (database, options);
        todo!()
    }

    /// The latest revision.
    ///
    /// # Errors
    /// The database is away.
    pub async fn revision(&self) -> Result<Revision, StoreError> {
        let _ = &self.database;
        todo!()
    }

    /// Waits up to three seconds for a revision to be written.
    ///
    /// # Errors
    /// [`StoreError::Future`] if it was not.
    pub async fn wait_for(&self, revision: Revision) -> Result<(), StoreError> {
        let _ = revision;
        todo!()
    }

    /// The object under a key. `resource` is [`Resource::id`](crate::registry::Resource::id), here and below.
    ///
    /// # Errors
    /// The database is away: that is never `None`.
    pub async fn get(&self, resource: &str, key: &Key) -> Result<Option<Stored>, StoreError> {
        let _ = (resource, key);
        todo!()
    }

    /// Stores a new object.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is one under its key.
    pub async fn create(&self, resource: &str, draft: &Draft) -> Result<Stored, StoreError> {
        let _ = (resource, draft);
        todo!()
    }

    /// Replaces the object of revision `expected`.
    ///
    /// # Errors
    /// [`StoreError::Changed`] if that is not what stands there.
    pub async fn update(
        &self,
        resource: &str,
        draft: &Draft,
        expected: Revision,
    ) -> Result<Stored, StoreError> {
        let _ = (resource, draft, expected);
        todo!()
    }

    /// Deletes the object of revision `expected`; returns the revision of the deletion.
    ///
    /// # Errors
    /// [`StoreError::Changed`] if that is not what stands there.
    pub async fn delete(
        &self,
        resource: &str,
        key: &Key,
        expected: Revision,
    ) -> Result<Revision, StoreError> {
        let _ = (resource, key, expected);
        todo!()
    }

    /// Lists objects in the order of their keys, as they come out of the database: memory does not grow with the list.
    ///
    /// # Errors
    /// [`StoreError::Expired`] and [`StoreError::Future`] where that moment cannot be shown.
    pub async fn list(&self, resource: &str, query: &ListQuery) -> Result<List, StoreError> {
        let _ = (resource, query);
        todo!()
    }

    /// A page of a list.
    ///
    /// # Errors
    /// As for [`Store::list`].
    pub async fn page(&self, resource: &str, query: &ListQuery) -> Result<Page, StoreError> {
        let _ = (resource, query);
        todo!()
    }
}
