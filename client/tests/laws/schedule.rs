//! Random schedules: controllers that share two stores, each over wires of its own, and everything that happens to them.
//!
//! One step begins a call, lets one that is under way go on to its next turn, or changes the weather, a mode, a gate or the time. The calls are
//! polled by hand, so a seed repeats a schedule to the last turn.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use larder_client::fallback::{
    BreakerOptions, BreakerState, Condition, KeyValue, Layout, Limits, Memory, Mode, Operation, Primary,
    Reports, ReportsError, ReportsOptions, Shelf,
};
use larder_client::migrate::roster::Member;
use larder_client::migrate::{Departure, GateState, Obstacle, Rules};
use larder_client::reports::{Clock, Encoding, Report, ReportKey};

use crate::history::{Doomed, Happened, History, Told, told};
use crate::log::note;
use crate::mover;
use crate::primary::MemoryPrimary;
use crate::random::Random;
use tokio::sync::watch;

use crate::wire::{Weather, Wire, WiredKeyValue, WiredPrimary};

/// Keys of every shape that the layout tells apart.
const KEYS: [&str; 5] = ["bench/h:1/kube_master", "function/f", "image/r/1", "workload/a", "workload/b"];
/// Keys that an older controller writes.
const FOREIGN: [&str; 2] = ["workload/a", "workload/b"];
const PREFIXES: [&str; 3] = ["", "workload/", "image/r/1"];
/// The first microsecond of every schedule.
const BEGIN: i64 = 1_700_000_000_000_000;
/// Microseconds between two scans.
const SCAN: i64 = 1000;
/// The small values that make most payloads go in chunks, or none.
const LIMITS: [Limits; 3] = [
    Limits { value: 64 << 20, operations: 1024, transaction: 128 << 20 },
    Limits { value: 4096, operations: 16, transaction: 2048 },
    Limits { value: 1024, operations: 8, transaction: 2048 },
];

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Put,
    PutMany,
    Get,
    Exists,
    Delete,
    List,
    GetMany,
    DeletePrefix,
    Retain,
    Expire,
    /// Reports go from the shelf to the primary.
    BringHome,
    /// Reports go from the primary to the shelf.
    TakeOut,
    /// Chunks that nothing refers to are looked for.
    Sweep,
    SetMode,
    /// A controller asks who else there is.
    Gate,
    /// An older controller, which knows nothing of the primary, comes or goes.
    Neighbour,
    /// It writes a report where it always did.
    ForeignPut,
    Weather,
    /// A call that lost its caller arrives.
    Arrive,
    /// A caller gives up.
    GiveUp,
    /// Time passes for timeouts and probes.
    Wait,
}

/// How often each step is taken.
const STEPS: [(Step, usize); 21] = [
    (Step::Put, 24),
    (Step::PutMany, 3),
    (Step::Get, 20),
    (Step::Exists, 3),
    (Step::Delete, 8),
    (Step::List, 4),
    (Step::GetMany, 4),
    (Step::DeletePrefix, 1),
    (Step::Retain, 1),
    (Step::Expire, 1),
    (Step::BringHome, 6),
    (Step::TakeOut, 4),
    (Step::Sweep, 1),
    (Step::SetMode, 4),
    (Step::Gate, 3),
    (Step::Neighbour, 1),
    (Step::ForeignPut, 3),
    (Step::Weather, 12),
    (Step::Arrive, 4),
    (Step::GiveUp, 3),
    (Step::Wait, 4),
];

type Call = Pin<Box<dyn Future<Output = ()>>>;
type Underway = Arc<Mutex<Vec<Pin<Box<dyn Future<Output = ()> + Send>>>>>;

/// A controller.
#[derive(Clone)]
struct Controller {
    reports: Reports,
    primary: Arc<WiredPrimary<MemoryPrimary>>,
    /// To the shelf and to the primary.
    wires: [Wire; 2],
    /// Since when each wire is as it is.
    since: Arc<Mutex<[u64; 2]>>,
    gate: watch::Sender<GateState>,
    clock: Arc<AtomicI64>,
}

/// The world of one schedule.
pub(crate) struct World {
    random: Random,
    store: Arc<dyn KeyValue>,
    controllers: Vec<Controller>,
    history: Arc<Mutex<History>>,
    /// Calls under way, and when each began.
    calls: Vec<(u64, Call)>,
    /// Since when an older controller is there.
    neighbour: Option<u64>,
    /// Whether one may come: it writes where NeuVector does, and its clock is right.
    neighbours: bool,
    late: Underway,
    /// The last turn at which time passed, or drafts were taken for forgotten: calls that began before may end by it.
    waited: Arc<Mutex<u64>>,
    scan: i64,
    /// Whether wires are cut; if not, clocks differ. Not both: who deletes what he cannot see, by a clock that is behind, deletes nothing that was
    /// written by one that is ahead.
    stormy: bool,
}

/// How many reads were judged, how many of them were complete, and how many told that there is nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Judged {
    pub(crate) reads: u64,
    pub(crate) complete: u64,
    pub(crate) absences: u64,
    pub(crate) happened: Happened,
}

/// Runs one schedule to its end; a law that does not hold is a panic.
pub(crate) async fn run(seed: u64) -> Judged {
    let mut world = World::new(Random::new(seed));
    let steps = 60 + world.random.below(160);
    for _ in 0..steps {
        world.step().await;
    }
    world.settle().await;
    let history = lock(&world.history);
    Judged {
        reads: history.reads,
        complete: history.complete,
        absences: history.certain_absences,
        happened: history.happened,
    }
}

impl World {
    fn new(mut random: Random) -> Self {
        let store: Arc<dyn KeyValue> = Arc::new(Memory::with_limits(*random.pick(&LIMITS)));
        let primary = Arc::new(MemoryPrimary::default());
        let late = Underway::default();
        let stormy = random.chance(80);
        let layout =
            if random.chance(70) { Layout::NeuVector } else { Layout::Plain { prefix: "plain".into() } };
        let (count, torn) = (2 + random.below(2), random.chance(50));
        let controllers = (0..count)
            .map(|number| {
                let mut wire = || Wire::new(Random::new(random.next()), Arc::clone(&late));
                let wires = [wire(), wire()];
                let skew = if stormy { 0 } else { random.below(2_000_000) as i64 - 1_000_000 };
                let clock = Arc::new(AtomicI64::new(BEGIN + skew));
                let wired = WiredKeyValue { store: Arc::clone(&store), wire: wires[0].clone(), torn };
                let wired_primary =
                    Arc::new(WiredPrimary { primary: Arc::clone(&primary), wire: wires[1].clone() });
                let gate = watch::Sender::new(GateState::Open);
                let breaker = BreakerOptions { jitter: 0.0, ..BreakerOptions::default() };
                let mode = *random.pick(&[Mode::Auto, Mode::Auto, Mode::Auto, Mode::Off, Mode::Required]);
                let reports = Reports::new(
                    Some(Arc::clone(&wired_primary) as Arc<dyn Primary>),
                    Shelf::new(Arc::new(wired), layout.clone()),
                    Arc::new(Clock::driven(number as u16, Arc::clone(&clock))),
                    gate.subscribe(),
                    ReportsOptions { mode, breaker, ..ReportsOptions::default() },
                );
                Controller { reports, primary: wired_primary, wires, since: Arc::default(), gate, clock }
            })
            .collect();
        let neighbours = stormy && matches!(layout, Layout::NeuVector);
        Self {
            random,
            store,
            controllers,
            neighbour: None,
            neighbours,
            history: Arc::default(),
            calls: Vec::new(),
            late,
            waited: Arc::default(),
            scan: 0,
            stormy,
        }
    }

    async fn step(&mut self) {
        if self.calls.len() >= 5 || (!self.calls.is_empty() && self.random.chance(75)) {
            return self.go_on().await;
        }
        let mut ticket = self.random.below(STEPS.iter().map(|it| it.1).sum());
        let mut steps = STEPS.iter();
        let step = loop {
            let Some((step, weight)) = steps.next() else { return };
            if ticket < *weight {
                break *step;
            }
            ticket -= weight;
        };
        let controller = self.random.pick(&self.controllers).clone();
        match step {
            Step::Weather => self.change_weather(&controller),
            Step::Gate => self.ask_who_is_there(&controller),
            Step::Neighbour => self.neighbour_comes_or_goes(),
            Step::ForeignPut => self.foreign_put().await,
            Step::Arrive => self.arrive().await,
            Step::GiveUp if self.calls.is_empty() => {}
            Step::GiveUp => drop(self.calls.swap_remove(self.random.below(self.calls.len()))),
            // A call would time out, as if its store were away.
            Step::Wait if !self.stormy && !self.calls.is_empty() => {}
            Step::Wait => {
                let time = Duration::from_millis(50 << self.random.below(8));
                self.wait(time).await;
            }
            step => {
                let begin = lock(&self.history).now();
                let call = self.call(step, controller);
                self.calls.push((begin, call));
            }
        }
    }

    /// Lets one call go on to its next turn.
    async fn go_on(&mut self) {
        let number = self.random.below(self.calls.len());
        for controller in &self.controllers {
            controller.clock.fetch_add(7, Ordering::Relaxed);
        }
        lock(&self.history).tick();
        let done = self.calls[number].1.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if done {
            drop(self.calls.swap_remove(number));
        }
        tokio::task::yield_now().await;
    }

    async fn wait(&self, time: Duration) {
        let turn = lock(&self.history).tick();
        let waited = *lock(&self.waited);
        *lock(&self.waited) = waited.max(turn);
        for controller in &self.controllers {
            controller.clock.fetch_add(time.as_micros() as i64, Ordering::Relaxed);
        }
        tokio::time::advance(time).await;
        for _ in 0..32 {
            tokio::task::yield_now().await;
        }
    }

    async fn arrive(&mut self) {
        let late = {
            let mut late = lock(&self.late);
            let number = self.random.below(late.len().max(1));
            if late.is_empty() { None } else { Some(late.swap_remove(number)) }
        };
        if let Some(late) = late {
            lock(&self.history).tick();
            late.await;
        }
    }

    fn change_weather(&mut self, controller: &Controller) {
        if !self.stormy {
            return;
        }
        let weather =
            *self.random.pick(&[Weather::Fair, Weather::Fair, Weather::Fair, Weather::Cut, Weather::Stormy]);
        let wire = self.random.below(2);
        controller.set_weather(wire, weather, lock(&self.history).tick());
    }

    /// What a roster tells, and what the gate makes of it; without a neighbour, now and then the gate is as wrong as it can be.
    fn ask_who_is_there(&mut self, controller: &Controller) {
        let state = match self.random.below(8) {
            0 => GateState::Closed(vec![Obstacle::Nobody]),
            1..4 if self.neighbour.is_none() => GateState::Open,
            _ => Rules::arriving(|version| version == "new").judge(&self.members()),
        };
        controller.gate.send_replace(state);
    }

    fn members(&self) -> Vec<Member> {
        let member =
            |id: String, version: &str, mode| Member { id, version: Some(version.into()), mode, alive: true };
        let controllers = self.controllers.iter().enumerate();
        let known = controllers.map(|(it, on)| member(it.to_string(), "new", Some(on.reports.mode())));
        known.chain(self.neighbour.map(|_| member("neighbour".into(), "old", None))).collect()
    }

    /// An older controller takes longer to its first report than the others to notice it.
    fn neighbour_comes_or_goes(&mut self) {
        if !self.neighbours {
            return;
        }
        let now = lock(&self.history).tick();
        self.neighbour = if self.neighbour.is_none() { Some(now) } else { None };
        for controller in self.controllers.clone() {
            self.ask_who_is_there(&controller);
        }
    }

    /// An older controller writes a value and its state, whatever stood there; what was begun before it came is over by then.
    async fn foreign_put(&mut self) {
        let Some(came) = self.neighbour else { return };
        if self.calls.iter().any(|it| it.0 <= came) {
            return;
        }
        let clock = self.controllers.iter().map(|it| it.clock.load(Ordering::Relaxed)).max().unwrap_or(BEGIN);
        self.scan = (self.scan + 1).max((clock - BEGIN) / SCAN + 1);
        let name = *self.random.pick(&FOREIGN);
        let (key, scanned_at) = (ReportKey::new(name).expect("a key"), self.moment(0));
        // Its clock is right, so what it has scanned is past for all: the time of the scan is all that says how new its value is.
        for controller in &self.controllers {
            controller.clock.fetch_max(scanned_at.as_microsecond() + 1, Ordering::Relaxed);
        }
        let number = lock(&self.history).begin_put(&key, scanned_at);
        let state = format!(r#"{{"scanned_at":"{scanned_at}"}}"#);
        let put = |key: String, value: String| Operation::Put {
            key,
            value: Bytes::from(value),
            condition: Condition::Any,
        };
        let writes = vec![
            put(format!("scan/data/report/{name}"), number.to_string()),
            put(format!("scan/state/report/{name}"), state),
        ];
        assert!(self.store.commit(writes).await.expect("memory answers"));
        lock(&self.history).end_foreign_put(number);
    }

    fn key(&mut self) -> ReportKey {
        ReportKey::new(*self.random.pick(&KEYS)).expect("a key")
    }

    /// A report that a scanner may bring: mostly newer than the last, sometimes older, sometimes of the same moment.
    fn report(&mut self, number: usize, key: &ReportKey, scanned_at: Timestamp) -> Report {
        let word = number.to_string();
        let words = *self.random.pick(&[1, 1, 1, 400, 1500]);
        Report {
            key: key.clone(),
            scanned_at,
            scanner_version: "3".into(),
            encoding: Encoding::Opaque,
            payload: vec![word; words].join(" ").into(),
            asset: Default::default(),
            findings: None,
            checks: None,
        }
    }

    fn scanned_at(&mut self) -> Timestamp {
        let back = if self.random.chance(75) { 0 } else { self.random.below(6) as i64 };
        if back == 0 && self.random.chance(85) {
            self.scan += 1;
        }
        self.moment(back)
    }

    fn moment(&self, back: i64) -> Timestamp {
        Timestamp::from_microsecond(BEGIN + SCAN * (self.scan - back)).expect("in range")
    }

    fn draw(&mut self) -> (usize, Report) {
        let (key, scanned_at) = (self.key(), self.scanned_at());
        let number = lock(&self.history).begin_put(&key, scanned_at);
        (number, self.report(number, &key, scanned_at))
    }

    fn call(&mut self, step: Step, on: Controller) -> Call {
        let history = Arc::clone(&self.history);
        let left = Rules::leaving().judge(&self.members());
        let trouble = Trouble::new(&on, Arc::clone(&self.waited), &self.history);
        let prefix = *self.random.pick(&PREFIXES);
        let key = self.key();
        match step {
            Step::Put => {
                let (number, report) = self.draw();
                Box::pin(async move {
                    let answer = on.reports.put(&report).await;
                    lock(&history).end_put(number, &answer);
                    trouble.explains(&on, answer.err());
                })
            }
            Step::PutMany => {
                let (numbers, reports): (Vec<_>, Vec<_>) =
                    (0..1 + self.random.below(4)).map(|_| self.draw()).unzip();
                Box::pin(async move {
                    let answers = on.reports.put_many(&reports).await;
                    assert_eq!(answers.len(), reports.len());
                    for (number, answer) in numbers.into_iter().zip(answers) {
                        lock(&history).end_put(number, &answer);
                        trouble.explains(&on, answer.err());
                    }
                })
            }
            Step::Get => Box::pin(async move { read(&on, &key, &history, &trouble).await }),
            Step::Exists => Box::pin(async move {
                let begin = lock(&history).tick();
                match on.reports.version(&key).await {
                    Ok(Some(version)) => lock(&history).judge(&key, begin, &Told::Listed(version), false),
                    Ok(None) => lock(&history).judge(&key, begin, &Told::Nothing, true),
                    Err(error) => trouble.explains(&on, Some(error)),
                }
            }),
            Step::Delete => {
                let number = lock(&history).begin_delete(Doomed::Key(key.clone()));
                Box::pin(async move {
                    let answer = on.reports.delete(&key).await;
                    lock(&history).end_delete(number, answer.is_ok());
                    trouble.explains(&on, answer.err());
                })
            }
            Step::List => Box::pin(async move { list(&on, prefix, &history, &trouble).await }),
            Step::GetMany => Box::pin(async move { get_many(&on, prefix, &history, &trouble).await }),
            Step::DeletePrefix | Step::Retain | Step::Expire => {
                let number = lock(&history).begin_delete(Doomed::Prefix(prefix.into()));
                let before = self.scanned_at();
                Box::pin(async move {
                    let swept = match step {
                        Step::DeletePrefix => on.reports.delete_prefix(prefix).await,
                        Step::Retain => on.reports.retain(prefix, &HashSet::from([key])).await,
                        _ => on.reports.expire(prefix, before).await,
                    };
                    let took_all =
                        matches!(step, Step::DeletePrefix) && matches!(&swept, Ok(it) if it.complete);
                    lock(&history).end_delete(number, took_all);
                    trouble.explains(&on, swept.err());
                })
            }
            Step::BringHome => Box::pin(async move {
                let killed = Killed::unless_it_ends(history);
                let ended =
                    mover::bring_home(on.reports.shelf().clone(), on.primary, on.gate.subscribe()).await;
                note(|| format!("a move home ended: {ended:?}"));
                killed.ended(|happened| match ended {
                    Ok(outcome) => happened.home += outcome.gone,
                    Err(_) => happened.halted += 1,
                });
            }),
            Step::TakeOut => Box::pin(async move {
                let killed = Killed::unless_it_ends(history);
                let left = watch::channel(left).1;
                let ended = mover::take_out(on.reports.shelf().clone(), on.primary, left).await;
                note(|| format!("an evacuation ended: {ended:?}"));
                killed.ended(|happened| match ended {
                    Ok((outcome, departure)) => {
                        happened.out += outcome.gone;
                        happened.removable += u64::from(departure == Departure::MayBeRemoved);
                    }
                    Err(_) => happened.halted += 1,
                });
            }),
            Step::Sweep => {
                // Drafts are as old as the machine's clock says: now and then those of live writers are taken for forgotten.
                let ahead = SignedDuration::from_hours(if self.random.below(2) == 0 { 1 } else { -1 });
                let before = Timestamp::now() + ahead;
                let sweeping = Sweeping::begin(history, Arc::clone(&self.waited));
                Box::pin(async move {
                    drop(on.reports.shelf().sweep(before).await);
                    drop(sweeping);
                })
            }
            Step::SetMode => {
                let mode = *self.random.pick(&[
                    Mode::Auto,
                    Mode::Auto,
                    Mode::Auto,
                    Mode::Off,
                    Mode::Required,
                    Mode::Leaving,
                ]);
                Box::pin(async move { on.reports.set_mode(mode).await })
            }
            Step::Gate
            | Step::Neighbour
            | Step::ForeignPut
            | Step::Weather
            | Step::Arrive
            | Step::GiveUp
            | Step::Wait => {
                unreachable!("no call: {step:?}")
            }
        }
    }

    /// Heals everything and asks every controller for everything: what is told now has to be the whole truth, and the same everywhere.
    async fn settle(&mut self) {
        let turn = lock(&self.history).tick();
        self.neighbour = None;
        for controller in &self.controllers {
            (0..2).for_each(|wire| controller.set_weather(wire, Weather::Fair, turn));
            controller.gate.send_replace(GateState::Open);
        }
        while !self.calls.is_empty() {
            self.go_on().await;
        }
        while !lock(&self.late).is_empty() {
            self.arrive().await;
        }
        for _ in 0..20 {
            self.wait(Duration::from_secs(2)).await;
        }
        let mut truth = None;
        for number in 0..self.controllers.len() {
            let on = self.controllers[number].clone();
            assert_eq!(breakers(&on).1, [BreakerState::Closed; 2], "law 9: traffic returns by itself");
            on.reports.set_mode(Mode::Auto).await;
            let told = self.tell_everything(&on).await;
            assert_eq!(
                *truth.get_or_insert_with(|| told.clone()),
                told,
                "controllers are told different things"
            );
        }
        let on = self.controllers[0].clone();
        let home = mover::bring_home(on.reports.shelf().clone(), on.primary.clone(), on.gate.subscribe());
        let outcome = home.await.expect("nothing stands in the way");
        assert!(outcome.is_clean(), "{outcome:?}");
        assert_eq!(on.reports.shelf().stats().await.expect("answers").reports, 0, "all are home");
        assert_eq!(truth, Some(self.tell_everything(&on).await), "a move changed what is told");
    }

    async fn tell_everything(&self, on: &Controller) -> BTreeMap<ReportKey, String> {
        let trouble = Trouble::new(on, Arc::clone(&self.waited), &self.history);
        let mut told = BTreeMap::new();
        for key in keys("") {
            read(on, &key, &self.history, &trouble).await;
            if let Some(answered) = on.reports.get(&key).await.expect("all answer") {
                assert!(answered.complete, "all answer");
                told.insert(key, format!("{:?}", answered.report));
            }
        }
        list(on, "", &self.history, &trouble).await;
        get_many(on, "", &self.history, &trouble).await;
        let listed = on.reports.list("", None, 100).await.expect("all answer");
        assert_eq!(listed.items.iter().map(|it| &it.0).collect::<Vec<_>>(), told.keys().collect::<Vec<_>>());
        told
    }
}

impl Controller {
    fn set_weather(&self, wire: usize, weather: Weather, turn: u64) {
        if self.wires[wire].weather() != weather {
            self.wires[wire].set(weather);
            lock(&self.since)[wire] = turn;
        }
    }

    /// Since when a wire is as `weather`, if it is.
    fn since(&self, wire: usize, weather: Weather) -> Option<u64> {
        (self.wires[wire].weather() == weather).then(|| lock(&self.since)[wire])
    }

    /// Whether a store could not be reached at all since `begin`.
    fn missed_one(&self, begin: u64) -> bool {
        (0..2).any(|wire| self.since(wire, Weather::Cut).is_some_and(|since| since <= begin))
    }
}

/// A move that is counted as killed, unless it ends.
struct Killed {
    history: Arc<Mutex<History>>,
    ended: bool,
}

impl Killed {
    fn unless_it_ends(history: Arc<Mutex<History>>) -> Self {
        Self { history, ended: false }
    }

    fn ended(mut self, count: impl FnOnce(&mut Happened)) {
        self.ended = true;
        count(&mut lock(&self.history).happened);
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // A law that does not hold is a panic, which may have come while it was locked.
        if let Ok(mut history) = self.history.lock() {
            history.happened.killed += u64::from(!self.ended);
        }
    }
}

/// While drafts are looked for, and by clocks that differ, one may be taken for forgotten that was begun since.
struct Sweeping {
    history: Arc<Mutex<History>>,
    waited: Arc<Mutex<u64>>,
}

impl Sweeping {
    fn begin(history: Arc<Mutex<History>>, waited: Arc<Mutex<u64>>) -> Self {
        *lock(&waited) = u64::MAX;
        Self { history, waited }
    }
}

impl Drop for Sweeping {
    fn drop(&mut self) {
        // A law that does not hold is a panic, which may have come while one was locked.
        if let (Ok(mut history), Ok(mut waited)) = (self.history.lock(), self.waited.lock()) {
            *waited = history.tick();
        }
    }
}

/// What may explain that a call was not answered.
struct Trouble {
    begin: u64,
    waited: Arc<Mutex<u64>>,
    /// How often the breakers had opened.
    opened: [u64; 2],
    breakers: [BreakerState; 2],
}

impl Trouble {
    fn new(on: &Controller, waited: Arc<Mutex<u64>>, history: &Mutex<History>) -> Self {
        let begin = lock(history).now();
        let (opened, breakers) = breakers(on);
        Self { begin, waited, opened, breakers }
    }

    fn explains(&self, on: &Controller, error: Option<ReportsError>) {
        let Some(error) = error else { return };
        if matches!(error, ReportsError::GateClosed) {
            return;
        }
        let fair = (0..2).all(|wire| on.since(wire, Weather::Fair).is_some_and(|since| since <= self.begin));
        let calm = *lock(&self.waited) <= self.begin
            && self.breakers == [BreakerState::Closed; 2]
            && breakers(on).0 == self.opened;
        assert!(!(fair && calm), "nothing stood in the way since {}: {error}", self.begin);
    }
}

/// How often each store's breaker has opened, and how it is.
fn breakers(on: &Controller) -> ([u64; 2], [BreakerState; 2]) {
    let it = on.reports.counters();
    ([it.breaker_opened, it.fallback_breaker_opened], [it.breaker, it.fallback_breaker])
}

async fn read(on: &Controller, key: &ReportKey, history: &Mutex<History>, trouble: &Trouble) {
    let begin = lock(history).tick();
    match on.reports.get(key).await {
        Ok(found) => {
            let complete = found.as_ref().is_none_or(|it| it.complete);
            assert!(!(complete && on.missed_one(begin)), "law 3: {key} was told for certain in an outage");
            let told = found.as_ref().map_or(Told::Nothing, told);
            lock(history).judge(key, begin, &told, complete);
        }
        Err(error) => trouble.explains(on, Some(error)),
    }
}

async fn list(on: &Controller, prefix: &str, history: &Mutex<History>, trouble: &Trouble) {
    let begin = lock(history).tick();
    let (mut told, mut after, mut complete) = (BTreeMap::new(), None, true);
    loop {
        match on.reports.list(prefix, after.as_ref(), 2).await {
            Ok(page) => {
                assert!(!(page.complete && on.missed_one(begin)), "law 3: a page was complete in an outage");
                complete &= page.complete;
                for (key, version) in page.items {
                    assert!(after.as_ref() < Some(&key), "out of order");
                    told.insert(key, (Told::Listed(version), page.complete));
                }
                if page.next.is_none() {
                    break;
                }
                after = page.next;
            }
            Err(error) => return trouble.explains(on, Some(error)),
        }
    }
    lock(history).judge_all(&keys(prefix), begin, &told, complete);
}

async fn get_many(on: &Controller, prefix: &str, history: &Mutex<History>, trouble: &Trouble) {
    let begin = lock(history).tick();
    let (mut reports, mut all) = (on.reports.get_many(prefix), BTreeMap::new());
    loop {
        match reports.next().await {
            Ok(Some(answered)) => {
                let key = answered.report.key.clone();
                let before = all.insert(key, (told(&answered), answered.complete));
                assert!(before.is_none(), "a report came twice");
            }
            Ok(None) => break,
            Err(error) => trouble.explains(on, Some(error)),
        }
    }
    let complete = reports.is_complete();
    assert!(!(complete && on.missed_one(begin)), "law 3: a stream was complete in an outage");
    lock(history).judge_all(&keys(prefix), begin, &all, complete);
}

fn keys(prefix: &str) -> Vec<ReportKey> {
    let keys = KEYS.iter().filter(|it| it.starts_with(prefix));
    keys.map(|it| ReportKey::new(*it).expect("a key")).collect()
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().expect("nobody panics with it")
}
