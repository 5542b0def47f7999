//! Two stores in memory with one law over both: no step of a mover changes what a controller sees.
//!
//! A [`Side`] is a depot. Each of its calls is made of steps, and a step can fail before or after its effect, take effect late, or never
//! return. Between steps a seeded number of turns is given to others, so that a schedule is one number.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use larder_client::migrate::*;
use larder_client::reports::{Asset, Encoding, Report, ReportKey, Version};
use tokio::sync::Notify;

pub(crate) const SHELF: usize = 0;
pub(crate) const PRIMARY: usize = 1;

/// A generator of numbers, after Steele, Lea and Flood (SplitMix64).
#[derive(Debug)]
pub(crate) struct Dice(AtomicU64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A number below `bound`.
    pub(crate) fn roll(&self, bound: u64) -> u64 {
        let state =
            self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) async fn give_way(&self, turns: u64) {
        for _ in 0..self.roll(turns + 1) {
            tokio::task::yield_now().await;
        }
    }
}

/// A copy in a store.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Copy {
    pub(crate) parcel: Parcel,
    pub(crate) fault: Option<Skip>,
    stamp: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stone {
    pub(crate) sequence: i64,
    pub(crate) since: Timestamp,
    stamp: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    pub(crate) copies: BTreeMap<ReportKey, Copy>,
    pub(crate) stones: BTreeMap<ReportKey, Stone>,
}

/// Both stores.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) stores: [Store; 2],
    stamps: u64,
    sequences: i64,
    /// What happened to each key, for whoever has to find out why a law was broken.
    pub(crate) story: Vec<String>,
}

/// What is written to a state, and seen of it.
#[derive(Debug)]
pub(crate) struct World {
    state: Mutex<State>,
    pub(crate) dice: Dice,
}

pub(crate) fn key(name: &str) -> ReportKey {
    ReportKey::new(format!("workload/{name}")).unwrap()
}

pub(crate) fn parcel(name: &str, scanned_at: i64, sequence: i64, size: usize) -> Parcel {
    let mark = format!("{name} {scanned_at} {sequence} ");
    let report = Report {
        key: key(name),
        scanned_at: Timestamp::from_second(scanned_at).unwrap(),
        scanner_version: "3.4".to_owned(),
        encoding: Encoding::GzipGob,
        payload: Bytes::from(mark.bytes().cycle().take(size).collect::<Vec<_>>()),
        asset: Asset { name: name.to_owned(), ..Asset::default() },
        findings: None,
        checks: None,
    };
    Parcel::new(report, sequence)
}

impl State {
    fn stamp(&mut self) -> u64 {
        self.stamps += 1;
        self.stamps
    }

    pub(crate) fn sequence(&mut self) -> i64 {
        self.sequences += 1;
        self.sequences
    }

    pub(crate) fn place(&mut self, side: usize, parcel: Parcel, fault: Option<Skip>) {
        self.sequences = self.sequences.max(parcel.sequence);
        let copy = Copy { stamp: self.stamp(), fault, parcel };
        self.stores[side].copies.insert(copy.parcel.report.key.clone(), copy);
    }

    /// What a controller sees: the newest copy that no tombstone of any store suppresses.
    pub(crate) fn seen(&self, key: &ReportKey) -> Option<&Parcel> {
        let deleted = self.stores.iter().filter_map(|it| it.stones.get(key)).map(|it| it.sequence).max();
        let copies = self.stores.iter().filter_map(|it| it.copies.get(key)).map(|it| &it.parcel);
        copies.filter(|it| deleted.is_none_or(|at| at <= it.sequence)).max_by_key(|it| it.version())
    }

    pub(crate) fn keys(&self) -> Vec<ReportKey> {
        let keys = |it: &Store| {
            [it.copies.keys().cloned().collect::<Vec<_>>(), it.stones.keys().cloned().collect()].concat()
        };
        self.stores.iter().flat_map(keys).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// What stands under each key, in a line.
    fn told(&self) -> BTreeMap<ReportKey, String> {
        let line = |key: &ReportKey| {
            let side = |it: &Store| {
                let copy = it
                    .copies
                    .get(key)
                    .map(|it| (it.parcel.report.scanned_at.as_second(), it.parcel.sequence, it.stamp));
                let stone = it.stones.get(key).map(|it| (it.sequence, it.stamp));
                format!("copy {copy:?} tombstone {stone:?}")
            };
            format!("{key}: shelf {}; primary {}", side(&self.stores[SHELF]), side(&self.stores[PRIMARY]))
        };
        self.keys().into_iter().map(|key| (key.clone(), line(&key))).collect()
    }

    fn tell(&mut self, before: &BTreeMap<ReportKey, String>) {
        for (key, line) in self.told() {
            if before.get(&key) != Some(&line) {
                self.story.push(line);
            }
        }
    }

    /// Everything that a controller sees.
    pub(crate) fn view(&self) -> BTreeMap<ReportKey, Parcel> {
        self.keys().into_iter().filter_map(|key| Some((key.clone(), self.seen(&key)?.clone()))).collect()
    }

    /// A controller's put into one store: never over a newer report, never below a tombstone of that store.
    pub(crate) fn put(&mut self, side: usize, name: &str, scanned_at: i64) {
        let sequence = self.sequence();
        let parcel = parcel(name, scanned_at, sequence, 40);
        let older = |copy: &Copy| copy.parcel.version() < parcel.version();
        if self.stores[side].copies.get(&parcel.report.key).is_none_or(older) {
            self.place(side, parcel, None);
        }
    }

    /// A controller's delete in the stores that it reaches.
    pub(crate) fn delete(&mut self, sides: &[usize], name: &str) {
        let sequence = self.sequence();
        for &side in sides {
            self.bury(side, &Tombstone { key: key(name), sequence }, Timestamp::now());
        }
    }

    pub(crate) fn bury(&mut self, side: usize, tombstone: &Tombstone, since: Timestamp) {
        self.sequences = self.sequences.max(tombstone.sequence);
        let stamp = self.stamp();
        let store = &mut self.stores[side];
        let sequence =
            store.stones.get(&tombstone.key).map_or(i64::MIN, |it| it.sequence).max(tombstone.sequence);
        store.stones.insert(tombstone.key.clone(), Stone { sequence, since, stamp });
        store.copies.retain(|key, copy| *key != tombstone.key || copy.parcel.sequence >= sequence);
    }

    fn write(&mut self, side: usize, parcel: &Parcel) -> Written {
        let key = &parcel.report.key;
        let stamp = self.stamp();
        let store = &mut self.stores[side];
        if store.stones.get(key).is_some_and(|it| it.sequence > parcel.sequence) {
            return Written::Outdated;
        }
        match store.copies.get_mut(key) {
            Some(copy) if copy.parcel.is_same(parcel) => {
                copy.stamp = stamp;
                Written::Renewed
            }
            Some(copy) if copy.parcel.version() >= parcel.version() => Written::Outdated,
            Some(copy)
                if copy.parcel.sequence > parcel.sequence && parcel.over != Some(copy.parcel.version()) =>
            {
                Written::Outdated
            }
            _ => {
                let parcel = Parcel { over: None, ..parcel.clone() };
                store.copies.insert(key.clone(), Copy { parcel, fault: None, stamp });
                Written::Stored
            }
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64, state: State) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(state), dice: Dice::new(seed) })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A step of a mover, which must not change what is seen.
    fn change<R>(&self, effect: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state();
        let before = state.view();
        let was = state.told();
        let result = effect(&mut state);
        state.tell(&was);
        let after = state.view();
        for key in before.keys().chain(after.keys()) {
            let seen = |view: &BTreeMap<ReportKey, Parcel>| view.get(key).map(Parcel::version);
            let story =
                || state.story.iter().filter(|it| it.starts_with(key.as_str())).cloned().collect::<Vec<_>>();
            let (before, after) = (seen(&before), seen(&after));
            assert!(
                before == after,
                "a mover changed what is seen of {key} from {before:?} to {after:?}:\n{}",
                story().join("\n")
            );
        }
        result
    }

    /// A step of a controller.
    pub(crate) fn control(&self, effect: impl FnOnce(&mut State)) {
        let mut state = self.state();
        let was = state.told();
        effect(&mut state);
        state.story.push("a controller:".to_owned());
        state.tell(&was);
    }
}

/// What goes wrong in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails, and nothing was done.
    Before,
    /// It fails, and it was done.
    After,
    /// It fails, and is done some time later.
    Late,
    /// The mover dies before it.
    KilledBefore,
    /// The mover dies after it.
    KilledAfter,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] =
        [Self::Before, Self::After, Self::Late, Self::KilledBefore, Self::KilledAfter];
}

/// The steps of one mover, and the one that fails.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    taken: AtomicU64,
    fails: Option<(u64, Fault)>,
    pub(crate) killed: Notify,
}

impl Steps {
    pub(crate) fn failing(at: u64, fault: Fault) -> Arc<Self> {
        Arc::new(Self { fails: Some((at, fault)), ..Self::default() })
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn next(&self) -> Option<Fault> {
        let step = self.taken.fetch_add(1, Ordering::Relaxed);
        self.fails.filter(|(at, _)| *at == step).map(|(_, fault)| fault)
    }

    async fn die<R>(&self) -> R {
        self.killed.notify_one();
        std::future::pending().await
    }
}

/// One of the stores, as one mover reaches it.
pub(crate) struct Side {
    world: Arc<World>,
    side: usize,
    steps: Arc<Steps>,
    /// Bytes of a report that it takes.
    takes: usize,
}

impl Side {
    pub(crate) fn new(world: &Arc<World>, side: usize, steps: &Arc<Steps>) -> Arc<Self> {
        Arc::new(Self { world: Arc::clone(world), side, steps: Arc::clone(steps), takes: 900 })
    }

    async fn step<R: 'static>(
        &self,
        effect: impl FnOnce(&mut State) -> R + Send + 'static,
    ) -> Result<R, DepotError> {
        let world = &self.world;
        world.dice.give_way(3).await;
        let away = Err(DepotError::Away("a fault".to_owned()));
        match self.steps.next() {
            None => {
                let result = world.change(effect);
                world.dice.give_way(3).await;
                Ok(result)
            }
            Some(Fault::Before) => away,
            Some(Fault::After) => {
                world.change(effect);
                away
            }
            Some(Fault::Late) => {
                let world = Arc::clone(world);
                tokio::spawn(async move {
                    world.dice.give_way(40).await;
                    world.change(effect);
                });
                away
            }
            Some(Fault::KilledBefore) => self.steps.die().await,
            Some(Fault::KilledAfter) => {
                world.change(effect);
                self.steps.die().await
            }
        }
    }
}

/// Keys behind `from`, one more than `limit`.
fn page<V>(
    map: &BTreeMap<ReportKey, V>,
    from: Option<&str>,
    limit: usize,
) -> (Vec<ReportKey>, Option<String>) {
    let mut keys: Vec<_> = map
        .keys()
        .filter(|key| from.is_none_or(|from| key.as_str() >= from))
        .take(limit + 1)
        .cloned()
        .collect();
    let next = if keys.len() > limit { keys.pop().map(|key| key.to_string()) } else { None };
    (keys, next)
}

#[async_trait]
impl Depot for Side {
    type Stamp = u64;
    type Seal = u64;

    fn name(&self) -> &str {
        ["the shelf", "the primary"][self.side]
    }

    async fn list(&self, from: Option<&str>, limit: usize) -> Result<Page, DepotError> {
        let (side, from) = (self.side, from.map(str::to_owned));
        self.step(move |state| {
            let (keys, next) = page(&state.stores[side].copies, from.as_deref(), limit);
            Page { keys, next, ..Page::default() }
        })
        .await
    }

    async fn read(&self, key: &ReportKey, limit: usize) -> Result<Found<u64>, DepotError> {
        let (side, name) = (self.side, key.clone());
        let copy = self.step(move |state| state.stores[side].copies.get(&name).cloned()).await?;
        let (side, name) = (self.side, key.clone());
        let stone = self.step(move |state| state.stores[side].stones.get(&name).copied()).await?;
        Ok(match copy {
            None => Found::Absent,
            Some(Copy { fault: Some(skip), .. }) => Found::Unreadable(skip, "it is made so".to_owned()),
            Some(copy) if copy.parcel.size() > limit => Found::Large(copy.parcel.size() as u64),
            Some(Copy { parcel, stamp, .. }) => {
                Found::Report { parcel: Box::new(parcel), tombstone: stone.map(|it| it.sequence), stamp }
            }
        })
    }

    async fn bring(&self, parcels: Vec<Parcel>) -> Result<Vec<Arrival>, DepotError> {
        let (side, mut written) = (self.side, Vec::new());
        for parcel in &parcels {
            let (takes, parcel) = (self.takes, parcel.clone());
            let write = move |state: &mut State| match parcel.size() > takes {
                true => Written::Refused("it is too large".to_owned()),
                false => state.write(side, &parcel),
            };
            written.push(self.step(write).await?);
        }
        let mut arrivals = Vec::new();
        for (parcel, written) in parcels.into_iter().zip(written) {
            let key = parcel.report.key.clone();
            let copy = self.step(move |state| state.stores[side].copies.get(&key).cloned()).await?;
            let key = parcel.report.key.clone();
            let stone = self.step(move |state| state.stores[side].stones.get(&key).copied()).await?;
            let there = There {
                version: copy.as_ref().map(|it| it.parcel.version()),
                tombstone: stone.map(|it| it.sequence),
                same: copy.is_some_and(|it| parcel.is_same(&it.parcel)),
                undated: false,
            };
            arrivals.push(Arrival { written, there });
        }
        Ok(arrivals)
    }

    async fn look(&self, keys: &[ReportKey]) -> Result<Vec<Standing>, DepotError> {
        let (side, keys) = (self.side, keys.to_vec());
        self.step(move |state| {
            let store = &state.stores[side];
            let standing = |key: &ReportKey| Standing {
                holding: match store.copies.get(key) {
                    None => Holding::Nothing,
                    Some(Copy { fault: Some(_), .. }) => Holding::Unreadable,
                    Some(copy) => Holding::Report(copy.parcel.version()),
                },
                tombstone: store.stones.get(key).map(|it| it.sequence),
            };
            keys.iter().map(standing).collect()
        })
        .await
    }

    async fn remove(&self, key: &ReportKey, stamp: &u64) -> Result<bool, DepotError> {
        let (side, key, stamp) = (self.side, key.clone(), *stamp);
        self.step(move |state| {
            let copies = &mut state.stores[side].copies;
            let same = copies.get(&key).is_some_and(|it| it.stamp == stamp);
            same && copies.remove(&key).is_some()
        })
        .await
    }

    async fn tombstones(&self, from: Option<&str>, limit: usize) -> Result<Graves<u64>, DepotError> {
        let (side, from) = (self.side, from.map(str::to_owned));
        self.step(move |state| {
            let stones = &state.stores[side].stones;
            let (keys, next) = page(stones, from.as_deref(), limit);
            let grave = |key: ReportKey| {
                let Stone { sequence, since, stamp } = stones[&key];
                Grave { tombstone: Tombstone { key, sequence }, since, seal: stamp }
            };
            Graves { graves: keys.into_iter().map(grave).collect(), strange: Vec::new(), next }
        })
        .await
    }

    async fn bury(&self, tombstones: &[Tombstone]) -> Result<Vec<Option<String>>, DepotError> {
        for tombstone in tombstones {
            let (side, tombstone) = (self.side, tombstone.clone());
            self.step(move |state| state.bury(side, &tombstone, Timestamp::now())).await?;
        }
        Ok(vec![None; tombstones.len()])
    }

    async fn unbury(&self, key: &ReportKey, stamp: &u64) -> Result<bool, DepotError> {
        let (side, key, stamp) = (self.side, key.clone(), *stamp);
        self.step(move |state| {
            let stones = &mut state.stores[side].stones;
            let same = stones.get(&key).is_some_and(|it| it.stamp == stamp);
            same && stones.remove(&key).is_some()
        })
        .await
    }
}

/// A mover between two sides that works in small batches, so that a few reports are many steps.
pub(crate) fn mover(from: &Arc<Side>, to: &Arc<Side>, leadership: Arc<dyn Leadership>) -> Mover<Side, Side> {
    let pace = Pace {
        page: 5,
        readers: 3,
        batches: 2,
        removers: 2,
        batch_reports: 3,
        batch_bytes: 300,
        in_flight: 1200,
        large: 400,
        largest: 1000,
        ..Pace::default()
    };
    Mover::new(Arc::clone(from), Arc::clone(to), leadership, GateState::always_open()).at(pace)
}

/// Runs to the end on one thread, so that the dice alone decide who is next.
pub(crate) fn alone<R>(work: impl Future<Output = R>) -> R {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(work)
}

/// The version of a report.
pub(crate) fn version(scanned_at: i64, sequence: i64) -> Version {
    Version { scanned_at: Timestamp::from_second(scanned_at).unwrap(), sequence }
}
