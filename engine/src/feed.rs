//! Which tables changed in which commit: a ring of the last changes, in memory, that any number of watchers read at
//! their own pace. A watcher that falls behind the ring is told so; it costs the writer nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

use crate::sync::lock;

/// What one commit changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The number of the commit.
    pub seq: u64,
    /// The tables, without double ones.
    pub tables: Vec<Arc<str>>,
    /// Whether the schema changed.
    pub schema: bool,
}

/// Why changes cannot be given without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("changes after {wanted} cannot be told: the feed reaches from {oldest} to {newest}")]
pub struct WatchError {
    /// After which commit changes were asked for.
    pub wanted: u64,
    /// After which commit they are known.
    pub oldest: u64,
    /// The last commit.
    pub newest: u64,
}

/// The changes of this process.
#[derive(Debug)]
pub struct Feed {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
    length: usize,
}

#[derive(Debug)]
struct Ring {
    changes: VecDeque<Arc<Change>>,
    /// Changes after this commit are all in the ring.
    floor: u64,
}

impl Feed {
    pub(crate) fn new(seq: u64, length: usize) -> Self {
        let ring = Mutex::new(Ring { changes: VecDeque::new(), floor: seq });
        Self { ring, newest: watch::Sender::new(seq), length }
    }

    /// Adds a commit. Called by the writer, in the order of `seq`.
    pub(crate) fn publish(&self, change: Change) {
        let seq = change.seq;
        let mut ring = lock(&self.ring);
        ring.changes.push_back(Arc::new(change));
        if ring.changes.len() > self.length
            && let Some(dropped) = ring.changes.pop_front()
        {
            ring.floor = dropped.seq;
        }
        drop(ring);
        self.newest.send_replace(seq);
    }

    /// Forgets everything: the database is another one, whose commits are numbered from `seq`.
    pub(crate) fn reset(&self, seq: u64) {
        let mut ring = lock(&self.ring);
        ring.changes.clear();
        ring.floor = seq;
        drop(ring);
        self.newest.send_replace(seq);
    }

    /// Watches the changes after commit `from`; those to come, without `from`.
    ///
    /// # Errors
    /// The feed does not reach back to `from`, or has not come that far.
    pub fn subscribe(self: &Arc<Self>, from: Option<u64>) -> Result<Subscription, WatchError> {
        let newest = self.newest.subscribe();
        let ring = lock(&self.ring);
        let last = ring.changes.back().map_or(ring.floor, |it| it.seq);
        let next = from.unwrap_or(last);
        if next < ring.floor || next > last {
            return Err(WatchError { wanted: next, oldest: ring.floor, newest: last });
        }
        drop(ring);
        Ok(Subscription { feed: Arc::clone(self), newest, seen: next })
    }

    fn after(&self, seen: u64) -> Result<Vec<Arc<Change>>, WatchError> {
        let ring = lock(&self.ring);
        if seen < ring.floor {
            let newest = ring.changes.back().map_or(ring.floor, |it| it.seq);
            return Err(WatchError { wanted: seen, oldest: ring.floor, newest });
        }
        let start = ring.changes.partition_point(|it| it.seq <= seen);
        Ok(ring.changes.iter().skip(start).take(BATCH).cloned().collect())
    }
}

/// Changes that a watcher is given at once.
const BATCH: usize = 256;

/// One watcher's place in the feed.
#[derive(Debug)]
pub struct Subscription {
    feed: Arc<Feed>,
    newest: watch::Receiver<u64>,
    seen: u64,
}

impl Subscription {
    /// The commit up to which changes were given.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Waits for changes and gives the next ones, in order; `None` when the engine has ended.
    ///
    /// # Errors
    /// The watcher was too slow: the feed has moved on.
    pub async fn next(&mut self) -> Result<Option<Vec<Arc<Change>>>, WatchError> {
        loop {
            self.newest.borrow_and_update();
            let changes = self.feed.after(self.seen)?;
            if let Some(last) = changes.last() {
                self.seen = last.seq;
                return Ok(Some(changes));
            }
            if self.newest.changed().await.is_err() {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(seq: u64) -> Change {
        Change { seq, tables: vec!["t".into()], schema: false }
    }

    #[test]
    fn a_watcher_sees_every_change_once_or_learns_that_it_cannot() {
        let feed = Arc::new(Feed::new(10, 3));
        assert_eq!(
            feed.subscribe(Some(9)).map(|_| ()),
            Err(WatchError { wanted: 9, oldest: 10, newest: 10 })
        );
        assert_eq!(
            feed.subscribe(Some(11)).map(|_| ()),
            Err(WatchError { wanted: 11, oldest: 10, newest: 10 })
        );
        let early = feed.subscribe(Some(10)).expect("a subscription");
        (11..=15).for_each(|seq| feed.publish(change(seq)));
        assert_eq!(
            feed.after(early.seen).map(|_| ()),
            Err(WatchError { wanted: 10, oldest: 12, newest: 15 })
        );
        let seqs = |seen| feed.after(seen).map(|it| it.iter().map(|change| change.seq).collect::<Vec<_>>());
        assert_eq!(seqs(12), Ok(vec![13, 14, 15]));
        assert_eq!(seqs(14), Ok(vec![15]));
        assert_eq!(seqs(15), Ok(vec![]));
    }
}
