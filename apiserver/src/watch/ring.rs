//! The latest changes, in memory, for all watchers.
//!
//! What is here is a part of the log without gaps: for each resource, every change behind its floor up to the head. The lock is held for moments, and never
//! while anybody waits.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::change::Change;
use crate::store::{Logged, Revision};

/// How much is kept in memory. Who is further behind reads from the database.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Changes at most.
    pub changes: usize,
    /// Bytes that they may take, with all that was made of them for watchers. The latest change is kept whatever it takes.
    pub bytes: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { changes: 8192, bytes: 16 << 20 }
    }
}

/// Changes that a watcher takes at once.
const TAKE: usize = 32;

/// The latest changes.
pub(super) struct Ring {
    capacity: Capacity,
    state: Mutex<State>,
    /// Bytes of all changes here.
    bytes: Arc<AtomicUsize>,
}

struct State {
    /// Counts the histories that were lost.
    history: u64,
    /// Up to this revision the log was read.
    head: Revision,
    /// Every change behind this revision is here.
    floor: Revision,
    all: VecDeque<Arc<Change>>,
    topics: HashMap<Box<str>, Topic>,
}

/// The changes of one resource.
struct Topic {
    changes: VecDeque<Arc<Change>>,
    /// Every change of the resource behind this revision is here.
    floor: Revision,
    /// The head when it was changed last, for whoever waits.
    latest: watch::Sender<Revision>,
}

/// What there is for a watcher.
pub(super) enum Found {
    /// The next changes.
    Changes(Vec<Arc<Change>>),
    /// Nothing up to this revision.
    Nothing(Revision),
    /// The changes behind its position are in the database only.
    Behind,
    /// Its history was lost.
    Lost,
}

impl Ring {
    pub(super) fn new(capacity: Capacity) -> Self {
        let (all, topics) = (VecDeque::new(), HashMap::new());
        let state = State { history: 0, head: 0, floor: 0, all, topics };
        Self { capacity, state: Mutex::new(state), bytes: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The history that watchers which begin now belong to, and who wakes those of a resource.
    pub(super) fn join(&self, resource: &str) -> (u64, watch::Receiver<Revision>) {
        let mut state = self.lock();
        let history = state.history;
        (history, state.topic(resource).latest.subscribe())
    }

    /// Whether a revision was given, if that is known here.
    pub(super) fn knows(&self, revision: Revision) -> bool {
        let state = self.lock();
        let found = state.all.binary_search_by_key(&revision, |it| it.revision());
        found.is_ok() || (revision == state.head && revision != 0)
    }

    /// Up to this revision the log was read.
    pub(super) fn head(&self) -> Revision {
        self.lock().head
    }

    /// What there is for a watcher of a resource behind its position.
    pub(super) fn after(&self, resource: &str, position: Revision, history: u64) -> Found {
        let state = self.lock();
        if state.history != history {
            return Found::Lost;
        }
        let Some(topic) = state.topics.get(resource) else { return Found::Behind };
        if position < topic.floor {
            return Found::Behind;
        }
        let start = topic.changes.partition_point(|it| it.revision() <= position);
        let changes: Vec<_> = topic.changes.range(start..).take(TAKE).cloned().collect();
        if changes.is_empty() { Found::Nothing(state.head.max(position)) } else { Found::Changes(changes) }
    }

    /// Adds the changes that follow the head, up to a new one.
    pub(super) fn append(&self, logged: Vec<Logged>, head: Revision) {
        let mut state = self.lock();
        let mut woken = BTreeMap::new();
        for it in logged {
            let change = Arc::new(Change::new(it, &self.bytes));
            state.all.push_back(Arc::clone(&change));
            if change.resource().is_empty() {
                // The mark of a process that began: what waits for a revision of the future looks whether it was one of the past.
                woken.extend(state.topics.iter().map(|(name, it)| (name.clone(), it.latest.clone())));
                continue;
            }
            let topic = state.topic(change.resource());
            if !woken.contains_key(change.resource()) {
                woken.insert(change.resource().into(), topic.latest.clone());
            }
            topic.changes.push_back(change);
        }
        state.head = head;
        state.trim(self.capacity, &self.bytes);
        drop(state);
        // Those who are woken want the lock.
        for latest in woken.values() {
            latest.send_replace(head);
        }
    }

    /// Goes on behind a revision without having what came before it.
    pub(super) fn skip_to(&self, head: Revision) {
        self.lock().restart(head);
    }

    /// The history was lost: every watcher has to begin anew.
    pub(super) fn lose(&self, head: Revision) {
        let mut state = self.lock();
        state.history += 1;
        state.restart(head);
    }
}

impl State {
    fn topic(&mut self, resource: &str) -> &mut Topic {
        let floor = self.floor;
        // The name is copied only where it is new.
        if !self.topics.contains_key(resource) {
            let topic = Topic { changes: VecDeque::new(), floor, latest: watch::Sender::new(floor) };
            self.topics.insert(resource.into(), topic);
        }
        self.topics.get_mut(resource).expect("it was put in where it was not there")
    }

    fn trim(&mut self, capacity: Capacity, bytes: &AtomicUsize) {
        let is_over = || bytes.load(Ordering::Relaxed) > capacity.bytes;
        while self.all.len() > capacity.changes || (self.all.len() > 1 && is_over()) {
            let Some(oldest) = self.all.pop_front() else { return };
            oldest.release();
            self.floor = oldest.revision();
            if let Some(topic) = self.topics.get_mut(oldest.resource()) {
                topic.changes.pop_front();
                topic.floor = oldest.revision();
            }
        }
    }

    /// Forgets everything, and goes on behind `head`. All look, since what they wait for may have been skipped.
    fn restart(&mut self, head: Revision) {
        self.all.drain(..).for_each(|it| it.release());
        (self.head, self.floor) = (head, head);
        for topic in self.topics.values_mut() {
            topic.changes.clear();
            topic.floor = head;
            topic.latest.send_replace(head);
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.lock().all.drain(..).for_each(|it| it.release());
    }
}
