//! Changes as watchers see them, and what is made of one for all of them: the objects, unpacked, and their encodings.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;

use crate::store::{Kept, Key, Logged, Revision, Selection, StoreError, Stored};

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
///
/// Two events of one change that differ in kind have two of these, so an encoding may hold the kind too.
pub struct Told {
    /// The object; `revision` is what the event has to show.
    pub stored: Stored,
    encodings: Mutex<Vec<Encoding>>,
    account: Option<Arc<Account>>,
}

/// The bytes of one representation, once somebody has made them.
type Encoding = (Box<str>, Arc<OnceLock<Bytes>>);

/// Representations of one object that are kept. There are some four; who makes up more encodes for himself.
const REPRESENTATIONS: usize = 16;

impl Told {
    /// An object that is told to one watcher alone.
    #[must_use]
    pub fn new(stored: Stored) -> Self {
        Self { stored, encodings: Mutex::default(), account: None }
    }

    /// The event's bytes in one representation (`GROUP/VERSION` and form), encoded by whoever needs it first.
    pub fn encoded(&self, representation: &str, encode: impl FnOnce(&Stored) -> Vec<u8>) -> Bytes {
        let Some(slot) = self.slot(representation) else { return encode(&self.stored).into() };
        let mut made = 0;
        let bytes = slot.get_or_init(|| {
            let bytes = Bytes::from(encode(&self.stored));
            made = bytes.len();
            bytes
        });
        if let Some(account) = self.account.as_ref().filter(|_| made > 0) {
            account.add(made);
        }
        bytes.clone()
    }

    fn slot(&self, representation: &str) -> Option<Arc<OnceLock<Bytes>>> {
        let mut encodings = self.encodings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, slot)) = encodings.iter().find(|(name, _)| **name == *representation) {
            return Some(Arc::clone(slot));
        }
        if encodings.len() == REPRESENTATIONS {
            return None;
        }
        let slot = Arc::default();
        encodings.push((representation.into(), Arc::clone(&slot)));
        Some(slot)
    }
}

/// One change of one object. Shared by all watchers.
pub struct Change {
    logged: Logged,
    added: OnceLock<Arc<Told>>,
    modified: OnceLock<Arc<Told>>,
    deleted: OnceLock<Arc<Told>>,
    account: Arc<Account>,
}

impl Change {
    /// A change that counts towards `total` until it is [`Change::release`]d.
    pub(super) fn new(logged: Logged, total: &Arc<AtomicUsize>) -> Self {
        let account = Arc::new(Account { total: Arc::clone(total), bytes: Mutex::new(Some(0)) });
        account.add([&logged.before, &logged.after].into_iter().flatten().map(Kept::size).sum());
        let (added, modified, deleted) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { logged, added, modified, deleted, account }
    }

    /// The revision of this change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.logged.revision
    }

    /// The resource that was changed; empty if it is the mark of a process that began.
    pub(super) fn resource(&self) -> &str {
        &self.logged.resource
    }

    /// What a watcher of this selection is told, if anything.
    pub(super) fn event(&self, selection: &Selection) -> Result<Option<Event>, StoreError> {
        let Logged { key, before, after, .. } = &self.logged;
        if !selection.covers(key) {
            return Ok(None);
        }
        let selected = |kept: &Option<Kept>| {
            kept.as_ref().filter(|it| !selection.needs_terms() || selection.accepts(key, &it.terms)).is_some()
        };
        Ok(match (selected(before), selected(after)) {
            (false, true) => Some(Event::Added(self.told(&self.added, after, key)?)),
            (true, true) => Some(Event::Modified(self.told(&self.modified, after, key)?)),
            (true, false) => Some(Event::Deleted(self.told(&self.deleted, before, key)?)),
            (false, false) => None,
        })
    }

    fn told(
        &self,
        slot: &OnceLock<Arc<Told>>,
        kept: &Option<Kept>,
        key: &Key,
    ) -> Result<Arc<Told>, StoreError> {
        if let Some(told) = slot.get() {
            return Ok(Arc::clone(told));
        }
        let Some(kept) = kept else { return Err(StoreError::Damaged("a change of nothing".to_owned())) };
        let stored = kept.unpack(key, self.revision())?;
        let length = stored.rest.len();
        let account = Some(Arc::clone(&self.account));
        let told = Arc::new(Told { stored, encodings: Mutex::default(), account });
        // Two watchers may unpack at the same time; one of the two is kept.
        if slot.set(Arc::clone(&told)).is_ok() {
            self.account.add(length);
            return Ok(told);
        }
        Ok(slot.get().map_or(told, Arc::clone))
    }

    /// Counts no more.
    pub(super) fn release(&self) {
        self.account.close();
    }
}

/// What a change takes of the memory that all changes may take together.
struct Account {
    total: Arc<AtomicUsize>,
    /// `None` once it counts no more.
    bytes: Mutex<Option<usize>>,
}

impl Account {
    fn add(&self, more: usize) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = &mut *bytes {
            *bytes += more;
            self.total.fetch_add(more, Ordering::Relaxed);
        }
    }

    fn close(&self) {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.total.fetch_sub(bytes.unwrap_or(0), Ordering::Relaxed);
    }
}
