//! Two stores on a stage: what happens between a look at the shelf and a look at the primary is written down, not left to luck.
//!
//! A [`Stage`] runs one [`Scene`] whenever the facade turns from the shelf to the primary, and one whenever it turns back. Scenes move reports and
//! tombstones as movers do, step by step, on the real shelf and the primary in memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use larder_client::fallback::shelf::{Burial, Lookup, Placed, Tombstone};
use larder_client::fallback::{
    Entry, Kept, KeptStream, KeyValue, Layout, Limits, Listed, Listing, Memory, Mode, Operation, Primary,
    PrimaryError, PrimaryStats, Reports, ReportsOptions, Shelf, StoreError,
};
use larder_client::migrate::Parcel;
use larder_client::reports::{Clock, Encoding, Mark, Report, ReportKey, Told, Version};

use crate::primary::MemoryPrimary;

/// What movers do in between.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scene {
    /// Nothing.
    Quiet,
    /// A report goes from the primary to the shelf, where that may be.
    Out(&'static str),
    /// It goes from the shelf to the primary.
    Home(&'static str),
    /// A tombstone goes from the primary to the shelf.
    StoneOut(&'static str),
    /// It goes from the shelf to the primary.
    StoneHome(&'static str),
}

/// Which store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Shelf,
    Primary,
}

/// Both stores, and what is to happen.
pub(crate) struct Stage {
    pub(crate) store: Arc<Memory>,
    /// The shelf as movers see it.
    pub(crate) shelf: Shelf,
    pub(crate) primary: MemoryPrimary,
    script: Mutex<Script>,
    calls: [AtomicU64; 2],
}

struct Script {
    turn: Turn,
    to_primary: VecDeque<Scene>,
    to_shelf: VecDeque<Scene>,
    /// Whether scenes are played again and again.
    endless: bool,
}

pub(crate) fn key(name: &str) -> ReportKey {
    ReportKey::new(name).expect("a key")
}

pub(crate) fn report(name: &str, second: i64) -> Report {
    Report {
        key: key(name),
        scanned_at: jiff::Timestamp::from_second(second).expect("in range"),
        scanner_version: "3".into(),
        encoding: Encoding::Opaque,
        payload: format!("{name} {second}").into(),
        asset: Default::default(),
        findings: None,
        checks: None,
    }
}

impl Stage {
    pub(crate) fn new() -> Arc<Self> {
        let store = Arc::new(Memory::new());
        let shelf = Shelf::new(Arc::clone(&store) as Arc<dyn KeyValue>, Layout::NeuVector);
        let script = Script {
            turn: Turn::Shelf,
            to_primary: VecDeque::new(),
            to_shelf: VecDeque::new(),
            endless: false,
        };
        let (primary, calls) = (MemoryPrimary::default(), Default::default());
        Arc::new(Self { store, shelf, primary, script: Mutex::new(script), calls })
    }

    /// A controller that calls these stores, and has done so before.
    pub(crate) async fn controller(self: &Arc<Self>, mode: Mode) -> Reports {
        let reports = self.newcomer(mode);
        assert!(reports.get(&key("workload/none")).await.expect("answers").is_none());
        reports
    }

    /// A controller that has not called anybody yet. Its clock stands at the beginning of time.
    pub(crate) fn newcomer(self: &Arc<Self>, mode: Mode) -> Reports {
        let clock = Clock::driven(1, Arc::default());
        let shelf = Shelf::new(Arc::new(OnStage(Arc::clone(self))), Layout::NeuVector);
        let options = ReportsOptions { mode, ..ReportsOptions::default() };
        Reports::new(Some(Arc::new(OnStage(Arc::clone(self)))), shelf, Arc::new(clock), || true, options)
    }

    /// What happens before each look at the primary that follows on one at the shelf, and before each that follows the other way round.
    pub(crate) fn play(&self, to_primary: &[Scene], to_shelf: &[Scene]) {
        let mut script = self.script.lock().expect("nobody panics with it");
        script.turn = Turn::Shelf;
        (script.to_primary, script.to_shelf) =
            (to_primary.iter().copied().collect(), to_shelf.iter().copied().collect());
        script.endless = false;
        self.calls.iter().for_each(|it| it.store(0, Ordering::Relaxed));
    }

    /// The same, again and again.
    pub(crate) fn play_for_ever(&self, to_primary: &[Scene], to_shelf: &[Scene]) {
        self.play(to_primary, to_shelf);
        self.script.lock().expect("nobody panics with it").endless = true;
    }

    /// Calls to the shelf's store and to the primary since the play began.
    pub(crate) fn calls(&self) -> [u64; 2] {
        [0, 1].map(|it: usize| self.calls[it].load(Ordering::Relaxed))
    }

    async fn turn(&self, to: Turn) {
        self.calls[usize::from(to == Turn::Primary)].fetch_add(1, Ordering::Relaxed);
        let scene = {
            let mut script = self.script.lock().expect("nobody panics with it");
            if script.turn == to {
                return;
            }
            script.turn = to;
            let endless = script.endless;
            let scenes = if to == Turn::Primary { &mut script.to_primary } else { &mut script.to_shelf };
            let scene = scenes.pop_front();
            scenes.extend(scene.filter(|_| endless));
            scene.unwrap_or(Scene::Quiet)
        };
        self.act(scene).await;
    }

    pub(crate) async fn act(&self, scene: Scene) {
        match scene {
            Scene::Quiet => {}
            Scene::Out(name) => self.out(&key(name)).await,
            Scene::Home(name) => self.home(&key(name)).await,
            Scene::StoneOut(name) => self.stone_out(&key(name)).await,
            Scene::StoneHome(name) => self.stone_home(&key(name)).await,
        }
    }

    async fn out(&self, key: &ReportKey) {
        let Some((kept, stamp)) = self.primary.stamped(key) else { return };
        self.shelf.put(&kept.report, kept.version.sequence).await.expect("memory answers");
        assert!(self.primary.remove(key, stamp), "nobody else is here");
    }

    async fn home(&self, key: &ReportKey) {
        let Some(held) = self.shelf.get(key).await.expect("memory answers").copy else { return };
        self.primary.bring(&Parcel::new(held.report, held.version.sequence));
        assert!(self.shelf.remove(&held.holding).await.expect("memory answers"), "nobody else is here");
    }

    async fn stone_out(&self, key: &ReportKey) {
        let (sealed, _) = self.primary.sealed(None, 100);
        let Some((_, sequence, seal)) = sealed.into_iter().find(|it| it.0 == *key) else { return };
        let tombstone = Tombstone { key: key.clone(), sequence };
        self.shelf.bury(&tombstone).await.expect("memory answers");
        assert!(self.primary.unbury(key, seal), "nobody else is here");
    }

    async fn stone_home(&self, key: &ReportKey) {
        let page = self.shelf.tombstones(key.as_str(), None, 100).await.expect("memory answers");
        let Some(stone) = page.items.into_iter().find(|it| it.tombstone.key == *key) else { return };
        self.primary.bury_one(key, stone.tombstone.sequence);
        assert!(self.shelf.remove_tombstone(&stone).await.expect("memory answers"), "nobody else is here");
    }
}

/// One of the stores, as the facade calls it.
struct OnStage(Arc<Stage>);

#[async_trait]
impl KeyValue for OnStage {
    fn name(&self) -> &str {
        self.0.store.name()
    }

    fn limits(&self) -> Limits {
        self.0.store.limits()
    }

    fn weight(&self, operation: &Operation) -> usize {
        self.0.store.weight(operation)
    }

    fn snapshot(&self) -> usize {
        self.0.store.snapshot()
    }

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, StoreError> {
        self.0.turn(Turn::Shelf).await;
        self.0.store.get(keys).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        self.0.turn(Turn::Shelf).await;
        self.0.store.list(prefix, after, limit).await
    }

    async fn commit(&self, operations: Vec<Operation>) -> Result<bool, StoreError> {
        self.0.turn(Turn::Shelf).await;
        self.0.store.commit(operations).await
    }
}

#[async_trait]
impl Primary for OnStage {
    fn name(&self) -> &str {
        Primary::name(&self.0.primary)
    }

    async fn probe(&self) -> Result<(), PrimaryError> {
        self.0.primary.probe().await
    }

    async fn put(
        &self,
        reports: &[(&Report, i64)],
        since: Option<Mark>,
    ) -> Result<Told<Vec<Placed>>, PrimaryError> {
        self.0.turn(Turn::Primary).await;
        self.0.primary.put(reports, since).await
    }

    async fn get(&self, key: &ReportKey, since: Option<Mark>) -> Result<Told<Lookup<Kept>>, PrimaryError> {
        self.0.turn(Turn::Primary).await;
        Primary::get(&self.0.primary, key, since).await
    }

    async fn head(
        &self,
        key: &ReportKey,
        since: Option<Mark>,
    ) -> Result<Told<Lookup<Version>>, PrimaryError> {
        self.0.turn(Turn::Primary).await;
        self.0.primary.head(key, since).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
        beside: &[ReportKey],
        since: Option<Mark>,
    ) -> Result<Told<Listing>, PrimaryError> {
        self.0.turn(Turn::Primary).await;
        Primary::list(&self.0.primary, prefix, after, limit, beside, since).await
    }

    async fn stream(&self, keys: &[ReportKey]) -> Result<Box<dyn KeptStream>, PrimaryError> {
        self.0.turn(Turn::Primary).await;
        self.0.primary.stream(keys).await
    }

    async fn bury(
        &self,
        tombstones: &[Tombstone],
        since: Option<Mark>,
    ) -> Result<Told<Vec<Burial>>, PrimaryError> {
        self.0.turn(Turn::Primary).await;
        self.0.primary.bury(tombstones, since).await
    }

    async fn stats(&self) -> Result<PrimaryStats, PrimaryError> {
        self.0.primary.stats().await
    }
}
