//! Following the changes of a resource: every change once, in order, to each watcher at its own pace.
//!
//! One task follows the database and keeps the latest changes in a ring of bounded size. A watcher holds a position, not a queue: who is slow
//! costs nothing, reads from the database what has left the ring, and is ended once the history no longer reaches back to it.

use std::sync::Arc;

use crate::store::{Revision, Selection, Store, StoreError, Stored};

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Behind this revision.
    Revision(Revision),
    /// With everything there is, at this revision or a later one, then what changes.
    Present(Option<Revision>),
    /// With what changes from now on.
    Now,
}

/// One change of one object. Shared by all watchers.
pub struct Change {
    /// The object before, if there was one.
    pub before: Option<Stored>,
    /// The object after, if there is one.
    pub after: Option<Stored>,
    /// The revision of this change.
    pub revision: Revision,
}

/// What a watcher is told. A change that moves an object into the selection is `Added`, out of it `Deleted`.
#[derive(Clone)]
pub enum Event {
    /// There is an object that was not there, or not selected.
    Added(Arc<Told>),
    /// It was changed.
    Modified(Arc<Told>),
    /// It was deleted, or is no longer selected: the object as it was, with the revision of the change.
    Deleted(Arc<Told>),
    /// Everything that there was has been told; everything up to this revision.
    InitialEnd(Revision),
}

/// An object of an event, and its encodings, made once for all watchers that want the same.
pub struct Told {
    /// The object; `revision` is what the event has to show.
    pub stored: Stored,
}

impl Told {
    /// The event's bytes in one representation (`GROUP/VERSION` and form), encoded by whoever needs it first.
    pub fn encoded(&self, representation: &str, encode: impl FnOnce(&Stored) -> Vec<u8>) -> bytes::Bytes {
        let _ = representation;
        encode(&self.stored).into()
    }
}

/// Follows the changes of all resources. Clones are one and the same.
#[derive(Clone)]
pub struct Watches {
    store: Store,
}

impl Watches {
    /// Begins to follow `store`; ends when the last clone and the last watch are dropped.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Watches a resource.
    ///
    /// # Errors
    /// [`StoreError::Expired`], [`StoreError::Future`], or the database is away.
    pub async fn watch(&self, resource: &str, selection: Selection, from: From) -> Result<Watch, StoreError> {
        let _ = (&self.store, resource, selection, from);
        todo!()
    }
}

/// A watch. Dropping it ends it.
pub struct Watch {}

impl Watch {
    /// The next event.
    ///
    /// # Errors
    /// [`StoreError::Expired`] if the history no longer reaches back to this watch; the watch is over.
    pub async fn next(&mut self) -> Result<Event, StoreError> {
        todo!()
    }

    /// The revision up to which everything was told, for a bookmark. Meant to be asked while [`Watch::next`] waits.
    #[must_use]
    pub fn told(&self) -> Revision {
        todo!()
    }
}
