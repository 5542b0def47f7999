//! A store in a directory: one file a key, for one machine or a volume that several share.
//!
//! Several processes may use it at one time: whoever reads holds a shared lock, whoever writes an exclusive one. It needs a
//! file system that locks and that renames atomically, which rules out NFS without locks. A directory that was a store and
//! is none any more, such as a volume that is not mounted, is unreachable and not empty.

mod journal;
mod layout;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::RwLock;

use super::{Entry, KeyValue, Limits, Listed, Operation, StoreError, transaction};
use journal::{Fault, State};
use layout::Layout;

/// How long others may keep the lock, unless it is said otherwise.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the disk may take.
const DISK: Duration = Duration::from_secs(60);
/// How often a lock is tried that another process holds.
const PAUSE: Duration = Duration::from_millis(2);
/// No transaction has this revision.
const NONE: u64 = u64::MAX;

/// Keys and values in the files of a directory.
#[derive(Clone, Debug)]
pub struct Directory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    layout: Layout,
    name: String,
    /// How long others may keep the lock.
    patience: Duration,
    /// The order among the tasks of this process: the lock of the file is between processes.
    turn: Arc<RwLock<()>>,
    /// The last transaction that this process knows to be in its place.
    applied: AtomicU64,
}

#[derive(Clone, Copy)]
enum Access {
    Read,
    Write,
}

impl Directory {
    /// Opens the store in a directory, which is made if it does not exist. What a crash left half done is done with the first call. Who finds
    /// a store there waits for nobody.
    ///
    /// # Errors
    /// There was none, and none could be made.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_with_patience(path, PATIENCE)
    }

    /// As [`Directory::open`], with another time than ten seconds for which others may keep it locked before a call fails.
    ///
    /// # Errors
    /// As for [`Directory::open`].
    pub fn open_with_patience(path: impl Into<PathBuf>, patience: Duration) -> Result<Self, StoreError> {
        let layout = Layout::new(path.into());
        let name = layout.root().display().to_string();
        let (turn, applied) = (Arc::default(), AtomicU64::new(NONE));
        let shared = Shared { layout, name, patience, turn, applied };
        if !shared.layout.state().exists() {
            journal::make_room(&shared.layout).map_err(|error| shared.error(error))?;
            let _lock = shared.lock(Access::Write, Instant::now() + patience)?;
            journal::found(&shared.layout).map_err(|error| shared.error(error))?;
        }
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Does something with the files on a thread that may wait for them. It runs to its end even if the caller leaves.
    async fn blocking<T: Send + 'static>(
        &self,
        access: Access,
        work: impl FnOnce(&Shared, State) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let deadline = Instant::now() + shared.patience;
        let turn = async {
            match access {
                Access::Read => (Some(Arc::clone(&shared.turn).read_owned().await), None),
                Access::Write => (None, Some(Arc::clone(&shared.turn).write_owned().await)),
            }
        };
        let turn = tokio::time::timeout(shared.patience, turn).await.map_err(|_| self.shared.busy())?;
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let (_lock, state) = shared.locked(access, deadline)?;
            work(&shared, state)
        });
        let worked = tokio::time::timeout(DISK, work).await;
        let worked =
            worked.map_err(|_| self.shared.unanswered(format!("the disk takes more than {DISK:?}")))?;
        worked.map_err(|error| self.shared.unanswered(error))?
    }
}

impl Shared {
    /// Locks, and sees to it that the last transaction is in its place.
    fn locked(&self, access: Access, deadline: Instant) -> Result<(File, State), StoreError> {
        let lock = self.lock(access, deadline)?;
        let state = self.state()?;
        if state.revision == self.applied.load(Ordering::Acquire) {
            return Ok((lock, state));
        }
        drop(lock);
        let lock = self.lock(Access::Write, deadline)?;
        let state = self.state()?;
        journal::apply(&self.layout, &state).map_err(|error| self.error(error))?;
        journal::clear_arrivals(&self.layout).map_err(|error| self.error(error))?;
        self.applied.store(state.revision, Ordering::Release);
        Ok((lock, state))
    }

    fn lock(&self, access: Access, deadline: Instant) -> Result<File, StoreError> {
        let file =
            File::options().append(true).open(self.layout.lock()).map_err(|error| self.error(error))?;
        loop {
            let tried = match access {
                Access::Read => file.try_lock_shared(),
                Access::Write => file.try_lock(),
            };
            match tried {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(self.busy()),
                Err(TryLockError::Error(error)) => return Err(self.error(error)),
            }
        }
    }

    fn state(&self) -> Result<State, StoreError> {
        journal::read_state(&self.layout).map_err(|error| self.error(error))
    }

    fn holds(&self, operation: &Operation) -> Result<bool, StoreError> {
        let revision = journal::revision(&self.layout, operation.key()).map_err(|error| self.error(error))?;
        Ok(operation.condition().holds(revision))
    }

    fn commit(&self, state: &State, operations: &[Operation]) -> Result<bool, StoreError> {
        for operation in operations {
            if !self.holds(operation)? {
                return Ok(false);
            }
        }
        let revision = state.revision + 1;
        match journal::write(&self.layout, revision, operations) {
            Ok(()) => self.applied.store(revision, Ordering::Release),
            Err(Fault::Before(error)) => return Err(self.error(error)),
            Err(Fault::After(error)) => return Err(self.unanswered(error)),
        }
        Ok(true)
    }

    /// The keys of a page. No more of them are held than the page has.
    fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> io::Result<Vec<Listed>> {
        let mut page = BTreeMap::new();
        self.layout.each_key(&mut |key| {
            if key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after) {
                page.insert(key, ());
                if page.len() > limit {
                    page.pop_last();
                }
            }
        })?;
        Ok(page.into_keys().map(|key| Listed { key, revision: None }).collect())
    }

    /// Nothing was done. What is full or wrong with a value is for somebody to look at; the rest may come back by itself.
    fn error(&self, error: io::Error) -> StoreError {
        use io::ErrorKind::{FileTooLarge, InvalidData, QuotaExceeded, StorageFull};
        let (store, reason) = (self.name.clone(), error.to_string());
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge | InvalidData => StoreError::Refused { store, reason },
            _ => StoreError::Unreachable { store, reason },
        }
    }

    fn busy(&self) -> StoreError {
        let reason = format!("others keep it locked for {:?}", self.patience);
        StoreError::Unreachable { store: self.name.clone(), reason }
    }

    fn unanswered(&self, reason: impl std::fmt::Display) -> StoreError {
        StoreError::Unanswered { store: self.name.clone(), reason: reason.to_string() }
    }
}

#[async_trait]
impl KeyValue for Directory {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn limits(&self) -> Limits {
        Limits { value: 64 << 20, operations: 1024, transaction: 128 << 20 }
    }

    fn weight(&self, operation: &Operation) -> usize {
        let value = if let Operation::Put { value, .. } = operation { value.len() } else { 0 };
        operation.key().len() + value
    }

    fn snapshot(&self) -> usize {
        usize::MAX
    }

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, StoreError> {
        transaction::check_keys(self, keys)?;
        let keys = keys.to_vec();
        let read = move |shared: &Shared, _| {
            let read = |key: &String| journal::read(&shared.layout, key).map_err(|error| shared.error(error));
            keys.iter().map(read).collect()
        };
        self.blocking(Access::Read, read).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        let list = move |shared: &Shared, _| {
            shared.page(&prefix, after.as_deref(), limit).map_err(|error| shared.error(error))
        };
        self.blocking(Access::Read, list).await
    }

    async fn commit(&self, operations: Vec<Operation>) -> Result<bool, StoreError> {
        transaction::check(self, &operations)?;
        self.blocking(Access::Write, move |shared, state| shared.commit(&state, &operations)).await
    }
}

#[cfg(test)]
mod tests;
