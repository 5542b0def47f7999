//! The objects of one resource, copied back to etcd.
//!
//! Whatever is to be done about an object, both stores are asked how it stands, and etcd is made to look like this one: events say only which.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, timeout};

use super::owners::Owners;
use crate::object::Object;
use crate::registry::Resource;
use crate::store::{Key, Selection, Store, Stored};
use crate::transfer::cluster::ClusterError;
use crate::transfer::entrance::{Entrance, Old};
use crate::transfer::listing::Listing;
use crate::transfer::pace::Pace;
use crate::transfer::progress::{Phase, Tally};
use crate::transfer::{TransferError, shape};
use crate::watch::{Event, From, Watch, Watches};

/// Objects under way at once.
const AT_ONCE: usize = 8;

/// How often a write is tried that others are faster with.
const ATTEMPTS: usize = 8;

/// How long is waited for the last changes, at most.
const CATCHING_UP: Duration = Duration::from_secs(30);

/// Copies one resource back.
pub(super) struct Returner {
    resource: Arc<Resource>,
    pub(super) id: String,
    entrance: Entrance,
    pub(super) store: Store,
    watches: Watches,
    pace: Arc<Pace>,
    tally: Tally,
    /// Nobody shares it; locked, it may stand in what is shared.
    watch: Mutex<Option<Watch>>,
    /// What etcd does not take, and why.
    pub(super) stays: BTreeMap<String, String>,
    owners: Arc<Owners>,
    /// What waits for its owners, and why.
    waits: HashMap<Key, String>,
    /// The versions that kube-apiserver serves.
    served: Vec<String>,
}

/// What a returner shares with the others of its group.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) watches: Watches,
    pub(super) pace: Arc<Pace>,
    pub(super) tally: Tally,
    pub(super) owners: Arc<Owners>,
}

/// How one object ended.
enum Returned {
    Same,
    Written,
    Deleted,
    Stays(String),
    Waits(String),
}

/// An object as it stands here.
enum Here {
    Nothing,
    /// And as it is to stand in etcd.
    Some(Stored, Object),
    Waits(String),
}

impl Returner {
    pub(super) fn new(
        resource: Arc<Resource>,
        served: Vec<String>,
        entrance: Entrance,
        shared: Shared,
    ) -> Self {
        let Shared { store, watches, pace, tally, owners } = shared;
        let (id, stays, waits) = (resource.id(), BTreeMap::new(), HashMap::new());
        let watch = Mutex::default();
        Self { resource, id, entrance, store, watches, pace, tally, watch, stays, owners, waits, served }
    }

    /// Copies everything, and what changes meanwhile; then compares everything that stands in etcd.
    pub(super) async fn pass(&mut self) -> Result<(), TransferError> {
        self.stays.clear();
        let from = From::Revision(self.store.revision().await?);
        self.watch = Mutex::new(Some(self.watches.watch(&self.id, Selection::default(), from).await?));
        let (store, id) = (self.store.clone(), self.id.clone());
        self.tally.begin(&id, Phase::Copying);
        let mut here = Listing::new(&store, &id);
        while let Some(page) = here.next().await? {
            let count = page.len() as u64;
            self.tally.count(|it| it.found += count);
            self.tally.expect(&id, count + here.left());
            for some in page.chunks(AT_ONCE) {
                self.drain().await?;
                self.sync_all(some.iter().map(|it| it.key.clone()).collect(), true).await?;
                self.tally.did(&id, some.len());
            }
        }
        self.tally.begin(&id, Phase::Comparing);
        let entrance = self.entrance.clone();
        let mut there = entrance.pages();
        while let Some(page) = there.next().await? {
            self.tally.expect(&id, page.items.len() as u64 + page.remaining);
            for some in page.items.chunks(AT_ONCE) {
                self.drain().await?;
                self.compare(some).await?;
                self.tally.did(&id, some.len());
            }
        }
        self.drain().await
    }

    /// Reads back what stands in etcd, and puts right what is not as it is here.
    async fn compare(&mut self, some: &[Old]) -> Result<(), TransferError> {
        let mut wrong = Vec::new();
        for old in some {
            match self.here(&old.key).await? {
                Here::Some(stored, object) if is_back(&stored, &object, old) => {}
                _ => wrong.push(old.key.clone()),
            }
        }
        self.sync_all(wrong, false).await
    }

    async fn here(&self, key: &Key) -> Result<Here, TransferError> {
        let Some(stored) = self.store.get(&self.id, key).await? else { return Ok(Here::Nothing) };
        let mut object = shape::outgoing(&self.resource, &stored)?;
        Ok(match self.owners.adopt(&mut object, &key.namespace).await? {
            Ok(()) => Here::Some(stored, object),
            Err(reason) => Here::Waits(reason),
        })
    }

    /// Looks again at what waits for its owners. Returns how much still does.
    pub(super) async fn adopt(&mut self) -> Result<usize, TransferError> {
        let keys: Vec<_> = std::mem::take(&mut self.waits).into_keys().collect();
        for some in keys.chunks(AT_ONCE) {
            self.sync_all(some.to_vec(), false).await?;
        }
        Ok(self.waits.len())
    }

    /// What still waits for its owners waits in vain.
    pub(super) fn abandon(&mut self) {
        for (key, reason) in std::mem::take(&mut self.waits) {
            self.tally.name(&self.id, &key, &reason);
            self.stays.insert(key.to_string(), reason);
        }
    }

    async fn sync_all(&mut self, keys: Vec<Key>, is_new: bool) -> Result<(), TransferError> {
        let synced = keys.iter().map(async |key| self.sync(key, is_new).await);
        let synced = try_join_all(synced).await?;
        for (key, returned) in keys.into_iter().zip(synced) {
            let name = key.to_string();
            self.waits.remove(&key);
            match returned {
                Returned::Stays(reason) => {
                    self.tally.name(&self.id, &name, &reason);
                    self.stays.insert(name, reason);
                    continue;
                }
                Returned::Waits(reason) => {
                    self.waits.insert(key, reason);
                    continue;
                }
                _ => _ = self.stays.remove(&name),
            }
            self.tally.count(|it| match returned {
                Returned::Written => it.copied += 1,
                Returned::Deleted => it.deleted += 1,
                _ => it.same += 1,
            });
        }
        Ok(())
    }

    /// Makes one object in etcd what it is here. One that is thought new there is made without looking first, in its turn.
    async fn sync(&self, key: &Key, is_new: bool) -> Result<Returned, TransferError> {
        if is_new {
            self.pace.turn().await;
        }
        let mut looks = !is_new;
        for _ in 0..ATTEMPTS {
            let here = self.here(key).await?;
            let there = if looks { self.entrance.get(key).await? } else { None };
            looks = true;
            let done = match (here, there) {
                (Here::Waits(reason), _) => return Ok(Returned::Waits(reason)),
                (Here::Nothing, None) => return Ok(Returned::Same),
                (Here::Nothing, Some(old)) => self.release(&old).await?.then_some(Returned::Deleted),
                (Here::Some(stored, object), Some(old)) if is_back(&stored, &object, &old) => {
                    return Ok(Returned::Same);
                }
                // What is being deleted there cannot be kept from it.
                (Here::Some(stored, _), Some(old))
                    if old.object.meta("deletionTimestamp").is_some() && !shape::is_terminating(&stored) =>
                {
                    self.release(&old).await?;
                    None
                }
                (Here::Some(stored, object), there) => {
                    match self.put(&stored, object, there.as_ref()).await {
                        Ok(is_done) => is_done.then_some(Returned::Written),
                        Err(TransferError::Cluster(error)) => return refusal(error).map(Returned::Stays),
                        Err(error) => return Err(error),
                    }
                }
            };
            if let Some(done) = done {
                return Ok(done);
            }
        }
        Err(TransferError::Behind)
    }

    /// Writes an object. `false` if somebody was faster, or if it has to be looked at again.
    async fn put(&self, here: &Stored, object: Object, there: Option<&Old>) -> Result<bool, TransferError> {
        let written = match there {
            None => self.entrance.create(&here.key, object.clone()).await?,
            Some(old) => self.entrance.replace(old, object.clone()).await?,
        };
        let Some(mut written) = written else { return Ok(false) };
        // Whoever writes manages what he writes, here in a version that will be gone. Who does is said afterwards, which is possible only now.
        if shape::is_managed(&written) {
            let mut object = object.clone();
            let managers = shape::managers(&self.resource.group, &self.served, here)?;
            object.metadata_mut().insert("managedFields".to_owned(), managers);
            let Some(again) = self.entrance.replace(&written, object).await? else { return Ok(false) };
            written = again;
        }
        if shape::is_terminating(here) && written.object.meta("deletionTimestamp").is_none() {
            return Ok(self.entrance.delete(&written).await?);
        }
        Ok(shape::is_back(&object, &written))
    }

    /// Removes an object from etcd. `false` if somebody was faster.
    async fn release(&self, old: &Old) -> Result<bool, ClusterError> {
        if !shape::has_finalizers(old) {
            return self.entrance.delete(old).await;
        }
        let patch = json!({"metadata": {"finalizers": Value::Null}});
        match self.entrance.patch(old, patch).await? {
            Some(patched) => self.entrance.delete(&patched).await,
            None => Ok(false),
        }
    }

    fn watch(&mut self) -> Option<&mut Watch> {
        self.watch.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }

    /// Does what the events ask for that have come, without waiting for more.
    async fn drain(&mut self) -> Result<(), TransferError> {
        let mut keys = HashSet::new();
        while let Some(watch) = self.watch()
            && let Some(event) = watch.next().now_or_never()
        {
            keys.extend(key(&event.map_err(TransferError::or_behind)?));
        }
        let keys: Vec<_> = keys.into_iter().collect();
        for some in keys.chunks(AT_ONCE) {
            self.sync_all(some.to_vec(), false).await?;
        }
        Ok(())
    }

    /// Returns once everything that was written here before the call is in etcd.
    pub(super) async fn catch_up(&mut self) -> Result<(), TransferError> {
        let (target, until) = (self.store.revision().await?, Instant::now() + CATCHING_UP);
        loop {
            self.drain().await?;
            let Some(watch) = self.watch() else { return Err(TransferError::Behind) };
            if watch.told() >= target {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(TransferError::Behind);
            }
            // What is told is known a moment later than what happened, also if it happened elsewhere.
            if let Ok(event) = timeout(Duration::from_millis(50), watch.next()).await {
                let key = key(&event.map_err(TransferError::or_behind)?);
                self.sync_all(key.into_iter().collect(), false).await?;
            }
        }
    }
}

/// Whether what stands in etcd is what is to stand there, and managed as here.
fn is_back(stored: &Stored, object: &Object, old: &Old) -> bool {
    let ends = old.object.meta("deletionTimestamp").is_some();
    shape::is_back(object, old) && !shape::is_managed(old) && ends == shape::is_terminating(stored)
}

fn key(event: &Event) -> Option<Key> {
    match event {
        Event::Added(told) | Event::Modified(told) | Event::Deleted(told) => Some(told.stored.key.clone()),
        Event::InitialEnd(_) => None,
    }
}

/// Why etcd does not take an object, if it is about the object; else the error.
fn refusal(error: ClusterError) -> Result<String, TransferError> {
    let ClusterError::Refused { code, status, .. } = &error else { return Err(error.into()) };
    let message = status["message"].as_str().unwrap_or_default();
    let ends = status["details"]["causes"].as_array().into_iter().flatten();
    let ends = ends.into_iter().any(|it| it["reason"] == "NamespaceTerminating");
    let has_no_namespace = *code == 404 && status["details"]["kind"] == "namespaces";
    // etcd's own limit, and that of the messages to it, come as errors of the server.
    let is_too_large = message.contains("too large") || message.contains("larger than max");
    if matches!(code, 400 | 413 | 422) || ends || has_no_namespace || is_too_large {
        return Ok(message.to_owned());
    }
    Err(error.into())
}
