//! The objects of one resource, copied from etcd: all of them, then what changes.
//!
//! Everything is compared with what stands here before it is written, so a pass over what is copied already writes nothing, and beginning again is all
//! that has to be done after an interruption.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use tokio::time::{Duration, Instant, timeout};

use crate::registry::Resource;
use crate::store::{Draft, Key, Revision, Store, StoreError, Stored};
use crate::transfer::decision::{Decision, Here, Opened, decide};
use crate::transfer::entrance::{Entrance, Event, Following, Old};
use crate::transfer::listing::Listing;
use crate::transfer::pace::Pace;
use crate::transfer::progress::{Phase, Tally};
use crate::transfer::{TransferError, shape};

/// Objects under way at once.
const AT_ONCE: usize = 8;

/// Events that are done together.
const TOGETHER: usize = 64;

/// How often a write is tried that others are faster with.
const ATTEMPTS: usize = 8;

/// How long a watch lasts that is to end in a bookmark; kube-apiserver sends it two seconds before.
const SHORT: u64 = 3;

/// How long a watch beside a list lasts.
const LONG: u64 = 300;

/// How long is waited for a bookmark of the present, at most.
const CATCHING_UP: Duration = Duration::from_secs(40);

/// Copies one resource.
pub(super) struct Copier {
    pub(super) resource: Arc<Resource>,
    pub(super) id: String,
    pub(super) entrance: Entrance,
    /// The version that drafts are of.
    version: String,
    store: Store,
    pace: Arc<Pace>,
    tally: Tally,
    /// Everything up to this revision of etcd was copied.
    position: Revision,
    watch: Option<Following>,
    /// What changed since the list began: what it says of these is older.
    touched: HashSet<Key>,
    hasher: RandomState,
    /// What cannot be stored, and why.
    pub(super) stays: BTreeMap<String, String>,
    /// What we wrote since the store was opened.
    written: HashMap<Key, Revision>,
    pub(super) opened: Option<Opened>,
}

impl Copier {
    pub(super) fn new(
        resource: Arc<Resource>,
        version: String,
        entrance: Entrance,
        store: Store,
        (pace, tally): (Arc<Pace>, Tally),
    ) -> Self {
        Self {
            id: resource.id(),
            resource,
            entrance,
            version,
            store,
            pace,
            tally,
            position: 0,
            watch: None,
            touched: HashSet::new(),
            hasher: RandomState::new(),
            stays: BTreeMap::new(),
            written: HashMap::new(),
            opened: None,
        }
    }

    /// Copies everything there is, and what changes meanwhile. With `prunes`, what stands here and not in etcd goes.
    pub(super) async fn pass(&mut self, prunes: bool) -> Result<(), TransferError> {
        self.touched.clear();
        self.stays.clear();
        self.watch = None;
        self.tally.begin(&self.id, Phase::Copying);
        let (entrance, mut seen) = (self.entrance.clone(), HashSet::new());
        let mut pages = entrance.pages();
        while let Some(page) = pages.next().await? {
            if self.watch.is_none() {
                self.position = page.revision;
                self.watch = Some(entrance.watch(self.position, LONG).await?);
            }
            let count = page.items.len() as u64;
            self.tally.count(|it| it.found += count);
            self.tally.expect(&self.id, count + page.remaining);
            for some in page.items.chunks(AT_ONCE) {
                self.drain().await?;
                let fresh = some.iter().filter(|it| !it.is_mark() && !self.touched.contains(&it.key));
                let brought = try_join_all(fresh.map(|it| self.bring(it, true))).await?;
                brought.into_iter().for_each(|it| self.note(it));
                self.tally.did(&self.id, some.len());
                seen.extend(some.iter().filter(|_| prunes).map(|it| self.digest(&it.key)));
            }
        }
        if prunes {
            self.prune(&seen).await?;
        }
        self.drain().await
    }

    /// Stands for a key: a set of a million of these takes 16 MiB. If two keys have the same, something old is not pruned.
    fn digest(&self, key: &Key) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Deletes here what was not seen in etcd, after asking once more.
    async fn prune(&mut self, seen: &HashSet<u64>) -> Result<(), TransferError> {
        let (store, id) = (self.store.clone(), self.id.clone());
        let mut pages = Listing::new(&store, &id);
        while let Some(page) = pages.next().await? {
            self.drain().await?;
            for stored in page.iter().filter(|it| !seen.contains(&self.digest(&it.key))) {
                if !self.touched.contains(&stored.key) && self.entrance.get(&stored.key).await?.is_none() {
                    self.remove(&stored.key, stored).await?;
                }
            }
        }
        Ok(())
    }

    async fn remove(&self, key: &Key, stored: &Stored) -> Result<(), TransferError> {
        match self.store.delete(&self.id, key, stored.revision).await {
            Ok(_) => self.tally.count(|it| it.deleted += 1),
            // Somebody else has it now: another mover, or a client.
            Err(StoreError::Changed) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Does with one object what has to be done.
    async fn bring(&self, old: &Old, paced: bool) -> Result<Brought, TransferError> {
        let draft = shape::draft(&self.resource, &self.version, old);
        for _ in 0..ATTEMPTS {
            let here = self.store.get(&self.id, &old.key).await?;
            let seen = here.as_ref().map(|it| self.here(it, &draft));
            let decision = decide(old, seen, self.opened.as_ref());
            let expected = here.as_ref().map(|it| it.revision);
            let written = match (decision, expected) {
                (Decision::Create, _) => {
                    self.turn(paced).await;
                    self.store.create(&self.id, &draft).await
                }
                (Decision::Update, Some(expected)) => {
                    self.turn(paced).await;
                    self.store.update(&self.id, &draft, expected).await
                }
                _ => return Ok(Brought { key: old.key.clone(), decision, stored: here, stays: None }),
            };
            match written {
                Ok(stored) => {
                    let stored = Some(stored);
                    return Ok(Brought { key: old.key.clone(), decision, stored, stays: None });
                }
                Err(StoreError::Exists | StoreError::Changed) => {}
                Err(StoreError::TooLarge(reason)) => {
                    let stays = Some(reason);
                    return Ok(Brought { key: old.key.clone(), decision, stored: None, stays });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Changed.into())
    }

    fn here(&self, stored: &Stored, draft: &Draft) -> Here {
        let is_ours = self.written.get(&stored.key) == Some(&stored.revision);
        Here { revision: stored.revision, is_same: shape::is_same(draft, stored), is_ours }
    }

    async fn turn(&self, paced: bool) {
        if paced {
            self.pace.turn().await;
        }
    }

    /// Counts what was done.
    fn note(&mut self, brought: Brought) {
        let Brought { key, decision, stored, stays } = brought;
        if let Some(reason) = stays {
            self.tally.name(&self.id, &key, &reason);
            self.stays.insert(key.to_string(), reason);
            return;
        }
        self.stays.remove(&key.to_string());
        match decision {
            Decision::Create | Decision::Update => {
                self.tally.count(|it| it.copied += 1);
                if let Some(stored) = stored.filter(|_| self.opened.is_some()) {
                    self.written.insert(key, stored.revision);
                }
            }
            Decision::Same => self.tally.count(|it| it.same += 1),
            Decision::Overruled => {
                self.tally.count(|it| it.overruled += 1);
                let reason =
                    "written in etcd after Larder had taken over, and changed in Larder since: that stays";
                self.tally.name(&self.id, &key, reason);
            }
            Decision::Succeeded | Decision::Deleted => {}
        }
    }

    /// Does what events ask for, of several on one object what the last one does.
    async fn apply(&mut self, events: Vec<Event>) -> Result<u64, TransferError> {
        let (mut latest, mut position, mut count) = (HashMap::new(), self.position, 0);
        for event in events {
            let (old, is_there) = match event {
                Event::Put(old) => (old, true),
                Event::Gone(old) => (old, false),
                Event::Mark(revision) => {
                    position = position.max(revision);
                    continue;
                }
                Event::Expired => return Err(TransferError::Behind),
            };
            position = position.max(old.revision);
            if !old.is_mark() {
                count += 1;
                latest.insert(old.key.clone(), (old, is_there));
            }
        }
        let done =
            try_join_all(latest.values().map(|(old, is_there)| self.apply_one(old, *is_there))).await?;
        done.into_iter().for_each(|it| self.note(it));
        self.touched.extend(latest.into_keys());
        self.position = position;
        Ok(count)
    }

    async fn apply_one(&self, old: &Old, is_there: bool) -> Result<Brought, TransferError> {
        if is_there {
            return self.bring(old, false).await;
        }
        if let Some(here) = self.store.get(&self.id, &old.key).await?
            && self.goes_too(old, &here)
        {
            self.remove(&old.key, &here).await?;
        }
        Ok(Brought { key: old.key.clone(), decision: Decision::Deleted, stored: None, stays: None })
    }

    /// Whether what was deleted in etcd is deleted here: always before the store is opened, later if no client has written it here.
    fn goes_too(&self, old: &Old, here: &Stored) -> bool {
        let Some(opened) = &self.opened else { return true };
        let is_copy = here.revision < opened.at || self.written.get(&here.key) == Some(&here.revision);
        is_copy && old.revision > opened.behind && !shape::is_released(old)
    }

    /// Does what the events ask for that have come, without waiting for more.
    async fn drain(&mut self) -> Result<(), TransferError> {
        while let Some(watch) = &mut self.watch {
            let (events, is_over) = ready(watch);
            if is_over {
                self.watch = None;
            }
            let is_all = events.len() < TOGETHER;
            self.apply(events).await?;
            if is_over {
                self.watch = Some(self.entrance.watch(self.position, LONG).await?);
            }
            if is_all {
                break;
            }
        }
        Ok(())
    }

    /// Returns once everything that was written in etcd before the call is here.
    pub(super) async fn catch_up(&mut self) -> Result<Revision, TransferError> {
        let (target, until) = (self.entrance.revision().await?, Instant::now() + CATCHING_UP);
        let mut mark = None;
        while self.position < target {
            if Instant::now() > until {
                return Err(TransferError::Behind);
            }
            self.follow(Duration::from_secs(SHORT + 2), Some(target)).await?;
            // Of a resource that nobody writes an old etcd does not say how far it is. So we write.
            if self.position < target && mark.is_none() {
                mark = self.entrance.mark().await?;
            }
        }
        if let Some(mark) = mark {
            self.entrance.delete(&mark).await?;
        }
        self.watch = None;
        Ok(target)
    }

    /// Follows what changes for some time, or until a revision is reached or it is told how far it is. Returns how many changes there were.
    pub(super) async fn follow(
        &mut self,
        time: Duration,
        target: Option<Revision>,
    ) -> Result<u64, TransferError> {
        let (until, mut changes) = (Instant::now() + time, 0);
        let mut watch = self.entrance.watch(self.position, SHORT).await?;
        while Instant::now() < until && target.is_none_or(|it| self.position < it) {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(first) = timeout(left, watch.next()).await else { break };
            let Ok(Some(first)) = first else {
                watch = self.entrance.watch(self.position, SHORT).await?;
                continue;
            };
            let is_mark = matches!(first, Event::Mark(_));
            let (mut events, _) = ready(&mut watch);
            events.insert(0, first);
            changes += self.apply(events).await?;
            if is_mark && target.is_some() {
                break;
            }
        }
        Ok(changes)
    }

    /// From now on this store is right.
    pub(super) fn open(&mut self, opened: Opened) {
        self.opened = Some(opened);
        self.touched.clear();
    }

    /// Begins to follow where everything was copied, if it was.
    pub(super) async fn find_place(&mut self) -> Result<(), TransferError> {
        self.position = match &self.opened {
            Some(opened) if opened.are_originals => opened.behind,
            _ => self.entrance.revision().await?,
        };
        Ok(())
    }

    /// Begins to follow at another revision, of a list.
    pub(super) fn at(&mut self, position: Revision) {
        self.position = position;
    }

    /// Makes sure that an object of etcd is not needed there any more: that it is here, was changed here, or was deleted here. `false` if it has to stay.
    pub(super) async fn is_settled(&mut self, old: &Old) -> Result<bool, TransferError> {
        if old.is_mark() {
            return Ok(true);
        }
        let brought = self.bring(old, true).await?;
        let (decision, stays) = (brought.decision, brought.stays.is_some());
        if decision != Decision::Same {
            self.note(brought);
        }
        if stays {
            return Ok(false);
        }
        if matches!(decision, Decision::Deleted | Decision::Succeeded | Decision::Overruled) {
            return Ok(true);
        }
        // Read back, not remembered.
        let Some(here) = self.store.get(&self.id, &old.key).await? else { return Ok(false) };
        let draft = shape::draft(&self.resource, &self.version, old);
        let is_newer = self.opened.as_ref().is_some_and(|it| here.revision > it.at);
        Ok(is_newer || shape::is_same(&draft, &here))
    }
}

/// The events that have come, and whether the watch is over.
fn ready(watch: &mut Following) -> (Vec<Event>, bool) {
    let mut events = Vec::new();
    while events.len() < TOGETHER {
        match watch.next().now_or_never() {
            None => return (events, false),
            Some(Ok(Some(event))) => events.push(event),
            Some(Ok(None) | Err(_)) => return (events, true),
        }
    }
    (events, false)
}

/// What was done with an object.
struct Brought {
    key: Key,
    decision: Decision,
    stored: Option<Stored>,
    /// Why it cannot be stored.
    stays: Option<String>,
}
