//! Members that announce themselves under `larder/member/<id>` in a store of keys and values.
//!
//! An entry carries a heartbeat that its owner counts up. Clocks are not compared: who reads it takes a member for gone when its heartbeat
//! has not changed for the time to live *while the reader was looking*, so a reader that just began takes everybody for alive.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{Member, Roster, RosterError};
use crate::fallback::{Condition, Entry, KeyValue, Mode, Operation, StoreError};

/// Entries in one reading.
const PAGE: usize = 1000;
/// An entry is removed by the others when its owner has been gone for so many times to live.
const REMEMBERED: u32 = 20;

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// What it runs.
    pub version: String,
    /// How it is set.
    pub mode: Mode,
    /// Counts up.
    #[serde(default)]
    pub heartbeat: u64,
}

/// Reads announcements.
pub struct Announcements {
    store: Arc<dyn KeyValue>,
    prefix: String,
    ttl: Duration,
    seen: Mutex<BTreeMap<String, Seen>>,
}

struct Seen {
    value: Bytes,
    since: Instant,
}

impl Announcements {
    /// Reads the announcements under `prefix` (as `larder/member/`); who is silent for `ttl` is gone.
    pub fn new(store: Arc<dyn KeyValue>, prefix: impl Into<String>, ttl: Duration) -> Self {
        Self { store, prefix: prefix.into(), ttl, seen: Mutex::default() }
    }

    /// Every entry, by the name of its owner, and for how long it has been seen unchanged.
    async fn observe(&self) -> Result<Vec<(String, Entry, Duration)>, StoreError> {
        let entries = self.entries().await?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|id, _| entries.contains_key(id));
        let silence = |id: &String, entry: &Entry| {
            let now = Instant::now();
            let known =
                seen.entry(id.clone()).or_insert_with(|| Seen { value: entry.value.clone(), since: now });
            if known.value != entry.value {
                *known = Seen { value: entry.value.clone(), since: now };
            }
            now - known.since
        };
        let mut silence = silence;
        Ok(entries
            .into_iter()
            .map(|(id, entry)| {
                let silent = silence(&id, &entry);
                (id, entry, silent)
            })
            .collect())
    }

    async fn entries(&self) -> Result<BTreeMap<String, Entry>, StoreError> {
        let mut entries = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let listed = self.store.list(&self.prefix, after.as_deref(), PAGE).await?;
            let keys: Vec<_> = listed.into_iter().map(|it| it.key).collect();
            let Some(last) = keys.last().cloned() else { return Ok(entries) };
            for (key, entry) in keys.iter().zip(self.store.get(&keys).await?) {
                if let (Some(id), Some(entry)) = (key.strip_prefix(&self.prefix), entry) {
                    entries.insert(id.to_owned(), entry);
                }
            }
            after = Some(last);
        }
    }

    /// Removes the entries of those who are long gone.
    async fn sweep(&self) -> Result<(), StoreError> {
        for (id, entry, silent) in self.observe().await? {
            if silent >= self.ttl * REMEMBERED {
                let key = format!("{}{id}", self.prefix);
                let condition = Condition::Unchanged(entry.revision);
                self.store.commit(vec![Operation::Delete { key, condition }]).await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Roster for Announcements {
    async fn members(&self) -> Result<Vec<Member>, RosterError> {
        let observed = self.observe().await.map_err(|error| RosterError(error.to_string()))?;
        Ok(observed.into_iter().map(|(id, entry, silent)| member(id, &entry, silent < self.ttl)).collect())
    }
}

/// An entry that cannot be read is a member of which nothing is known.
fn member(id: String, entry: &Entry, alive: bool) -> Member {
    let said = serde_json::from_slice::<Announcement>(&entry.value).ok();
    let (version, mode) = said.map(|said| (said.version, said.mode)).unzip();
    Member { id, version, mode, alive }
}

/// Announces a member until it is dropped, or stopped.
pub struct Announcer {
    mode: watch::Sender<Mode>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Announcer {
    /// Announces the member `id` to those who read `announcements`, several times in their time to live.
    pub fn start(announcements: Announcements, id: &str, said: Announcement) -> Self {
        let (mode, stop) = (watch::Sender::new(said.mode), watch::Sender::new(false));
        let key = format!("{}{id}", announcements.prefix);
        let task = tokio::spawn(announce(announcements, key, said, mode.subscribe(), stop.subscribe()));
        Self { mode, stop, task }
    }

    /// Announces another setting, at once.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Takes the announcement back, so that nobody waits until it is too old.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        // It fails only if it was aborted with the runtime.
        drop((&mut self.task).await);
    }
}

/// The task sees it and takes the announcement back; nobody waits for that.
impl Drop for Announcer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

async fn announce(
    announcements: Announcements,
    key: String,
    mut said: Announcement,
    mut mode: watch::Receiver<Mode>,
    mut stop: watch::Receiver<bool>,
) {
    let (store, ttl) = (&announcements.store, announcements.ttl);
    let mut turns = interval(ttl / 4);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            Ok(()) = mode.changed() => {}
            _ = turns.tick() => {}
        }
        said.mode = *mode.borrow_and_update();
        said.heartbeat += 1;
        let value = Bytes::from(serde_json::to_vec(&said).unwrap_or_default());
        let put = Operation::Put { key: key.clone(), value, condition: Condition::Any };
        // A beat that fails is made up for by the next; whoever misses all of them takes us for gone and keeps the gate as we leave it.
        let beat = async { store.commit(vec![put]).await.is_ok() && announcements.sweep().await.is_ok() };
        drop(timeout(ttl, beat).await);
    }
    let delete = Operation::Delete { key, condition: Condition::Any };
    drop(timeout(ttl, store.commit(vec![delete])).await);
}
