//! Following the changes of a resource: every change once, in order, to each watcher at its own pace.
//!
//! One task follows the database and keeps the latest changes in a ring of bounded size. A watcher holds a position, not a queue: who is slow
//! costs nothing, reads from the database what has left the ring, and is ended once the history no longer reaches back to it.

mod change;
mod follow;
mod ring;
mod watcher;

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::AbortHandle;

pub use change::{Change, Event, Told};
pub use ring::Capacity;
pub use watcher::Watch;

use crate::store::{Revision, Selection, Store, StoreError};
use ring::Ring;

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

/// Follows the changes of all resources. Clones are one and the same.
#[derive(Clone)]
pub struct Watches {
    following: Arc<Following>,
}

/// Watches that ask the database at once. More than these wait for each other here, since a database turns away whom it has no room for: all
/// informers of a cluster begin anew together after a restart.
const ASKING: usize = 32;

/// What all watches of a process share, until the last of them is gone.
struct Following {
    store: Store,
    ring: Arc<Ring>,
    /// How many watch.
    watchers: watch::Sender<usize>,
    asking: Semaphore,
    task: AbortHandle,
}

impl Following {
    /// A turn to ask the database.
    async fn turn(&self) -> SemaphorePermit<'_> {
        self.asking.acquire().await.expect("nobody closes it")
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watches {
    /// Begins to follow `store`; ends when the last clone and the last watch are dropped. Has to be called in a runtime.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self::with_capacity(store, Capacity::default())
    }

    /// As [`Watches::new`], with another bound on memory.
    #[must_use]
    pub fn with_capacity(store: Store, capacity: Capacity) -> Self {
        let (ring, watchers) = (Arc::new(Ring::new(capacity)), watch::Sender::new(0));
        let follow = follow::follow(Arc::clone(store.core()), Arc::clone(&ring), watchers.subscribe());
        let task = tokio::spawn(follow).abort_handle();
        Self {
            following: Arc::new(Following { store, ring, watchers, asking: Semaphore::new(ASKING), task }),
        }
    }

    /// Watches a resource. A revision that nobody has given yet is waited for.
    ///
    /// # Errors
    /// [`StoreError::Expired`], [`StoreError::Future`] (of [`From::Present`]), or the database is away.
    pub async fn watch(&self, resource: &str, selection: Selection, from: From) -> Result<Watch, StoreError> {
        Watch::begin(Place::new(Arc::clone(&self.following)), resource, selection, from).await
    }
}

/// A place among those who watch, counted as long as it is held.
struct Place(Arc<Following>);

impl Place {
    fn new(following: Arc<Following>) -> Self {
        following.watchers.send_modify(|count| *count += 1);
        Self(following)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.watchers.send_modify(|count| *count -= 1);
    }
}
