//! Objects and their history in a SQL database.
//!
//! Every write takes the next revision inside the database's own transaction, so revisions come in the order of commits, whichever process
//! writes. What a write replaced is kept in a log of changes for a while: from it come watches, and lists of a past revision.
//!
//! A revision is the time in microseconds, or one more than the one before, whichever is greater. So a database that is restored from an old copy
//! goes on above everything that the lost history gave, without having to know of it; and a revision that is not in the log was given by another
//! history, and is expired. Nothing else has to be noted about histories.
//!
//! All SQL on objects stands here (that on the results which are kept beside them stands in [`results`](crate::results)), and is written so that PostgreSQL could take it (its columns of keys would be `COLLATE "C"`); `json_each` and the unary
//! plus that guides SQLite's planner are the exceptions.

mod body;
mod compaction;
mod core;
mod current;
mod error;
mod key;
mod list;
mod log;
mod pulse;
mod row;
mod select;
mod selection;
mod sql;
mod terms;
mod write;

use std::sync::Arc;
use std::time::Duration;

use larder_client::database::Database;
use larder_client::schema;
use larder_client::wire::{Request, Statement};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

pub use body::{Json, Stored};
pub(crate) use core::Core;
pub(crate) use current::Current;
pub use error::StoreError;
pub(crate) use error::damaged;
pub use key::Key;
pub use list::{At, List, ListQuery, Packed, Page};
pub(crate) use log::{Kept, Logged};
pub(crate) use row::{Row, number};
pub use selection::{Requirement, Selection, Test};
pub(crate) use sql::Sql;

use crate::object::Object;

/// A revision: what clients know as `resourceVersion`. Decimal, never 0, never given twice, never backwards.
pub type Revision = u64;

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
    open: Arc<Open>,
}

/// A store until its last clone is dropped.
struct Open {
    core: Arc<Core>,
    tasks: [AbortHandle; 2],
}

impl Drop for Open {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// How long is waited for a revision that nobody has written yet (Kubernetes' `blockTimeout` of its watch cache).
const PATIENCE: Duration = Duration::from_secs(3);

/// How often who waits looks even if nothing calls him.
const LOOK: Duration = Duration::from_millis(250);

impl Store {
    /// Opens the store; makes its tables, and takes care that revisions go on above every revision that was ever given, even if the
    /// database was restored from a copy.
    ///
    /// # Errors
    /// The database is away, or of a newer version.
    pub async fn open(database: Arc<dyn Database>, options: StoreOptions) -> Result<Self, StoreError> {
        schema::prepare(&*database).await?;
        let core = Arc::new(Core::new(database, options));
        core.begin().await?;
        let pulse = tokio::spawn(pulse::follow(Arc::clone(&core)));
        let compaction = tokio::spawn(compaction::run(Arc::clone(&core)));
        let tasks = [pulse.abort_handle(), compaction.abort_handle()];
        Ok(Self { open: Arc::new(Open { core, tasks }) })
    }

    /// The latest revision.
    ///
    /// # Errors
    /// The database is away.
    pub async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(self.core().standing(0).await?.latest)
    }

    /// Waits up to three seconds for a revision to be written.
    ///
    /// # Errors
    /// [`StoreError::Future`] if it was not.
    pub async fn wait_for(&self, revision: Revision) -> Result<(), StoreError> {
        self.core().wait_for(revision).await
    }

    /// The object under a key. `resource` is [`Resource::id`](crate::registry::Resource::id), here and below.
    ///
    /// # Errors
    /// The database is away: that is never `None`.
    pub async fn get(&self, resource: &str, key: &Key) -> Result<Option<Stored>, StoreError> {
        self.core().get(resource, key).await
    }

    /// Stores a new object.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is one under its key.
    pub async fn create(&self, resource: &str, draft: &Draft) -> Result<Stored, StoreError> {
        self.core().create(resource, draft).await
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
        self.core().update(resource, draft, expected).await
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
        self.core().delete(resource, key, expected).await
    }

    /// Lists objects in the order of their keys, as they come out of the database: memory does not grow with the list.
    ///
    /// # Errors
    /// [`StoreError::Expired`] and [`StoreError::Future`] where that moment cannot be shown.
    pub async fn list(&self, resource: &str, query: &ListQuery) -> Result<List, StoreError> {
        self.core().list(resource, query, false).await
    }

    /// A page of a list.
    ///
    /// # Errors
    /// As for [`Store::list`].
    pub async fn page(&self, resource: &str, query: &ListQuery) -> Result<Page, StoreError> {
        self.packed_page(resource, query).await?.unpack()
    }

    /// As [`Store::page`], for who wants the JSON of its objects and nothing else.
    ///
    /// # Errors
    /// As for [`Store::list`].
    pub async fn packed_page(&self, resource: &str, query: &ListQuery) -> Result<Page<Packed>, StoreError> {
        self.core().page(resource, query).await
    }

    /// Forgets the changes that need not be remembered any more. The store does so from time to time by itself.
    ///
    /// # Errors
    /// The database is away.
    pub async fn compact(&self) -> Result<(), StoreError> {
        self.core().compact().await
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.open.core
    }
}

impl Core {
    async fn wait_for(&self, revision: Revision) -> Result<(), StoreError> {
        let deadline = Instant::now() + PATIENCE;
        let mut pulse = self.pulse();
        loop {
            pulse.borrow_and_update();
            let current = self.standing(0).await?.latest;
            if current >= revision {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(StoreError::Future { asked: revision, current });
            }
            // Whichever comes first: both mean to look again.
            let _ = timeout_at(deadline.min(Instant::now() + LOOK), pulse.changed()).await;
        }
    }

    async fn get(&self, resource: &str, key: &Key) -> Result<Option<Stored>, StoreError> {
        let select = "SELECT revision, version, body FROM object WHERE resource = ? AND key = ?";
        let statement = Statement::with(select, [resource.into(), key.to_string().into()]);
        let response = self.database.query(&Request::new([statement])).await?;
        let Some(row) = response.results.into_iter().flat_map(|it| it.rows).next() else { return Ok(None) };
        let mut row = row::Row::from(row);
        let (revision, version) = (row.revision()?, row.text()?.into());
        Ok(Some(Stored { key: key.clone(), revision, version, rest: body::unpack(&row.bytes()?)? }))
    }
}
