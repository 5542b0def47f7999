//! The laws of fallback and migration on real wires: a sidecar over mutual TLS and a Consul agent, each behind a proxy for each controller, which cuts,
//! holds up or loses answers; and movers in both directions at once that are killed anywhere and heed no lead.
//!
//! Many schedules share the wires, each with reports of its own. What was told is judged as in the schedules of the client crate, which says what
//! the laws are; those are repeated by their seed to the last turn, while here a seed (`LARDER_FAULTS_SEED`) repeats what is asked, not what
//! the machine makes of it.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use larder_client::Options;
use larder_client::fallback::{
    BreakerOptions, BreakerState, Consul, Layout, Mode, Reports, ReportsOptions, Shelf, Timeouts,
};
use larder_client::migrate::leadership::Always;
use larder_client::migrate::{Evacuation, GateState, Migrator, Mover};
use larder_client::reports::{Asset, Clock, Encoding, Report, ReportKey, ReportStore};
use larder_client::{Credentials, Sidecar, schema};
use larder_harness::{Proxy, Server, need};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::history::{Doomed, History, Told, told};
use crate::random::Random;

/// How long anything may take that has to happen by itself.
const PATIENCE: Duration = Duration::from_secs(90);
const SHORT: Duration = Duration::from_millis(400);
/// Reports and calls of a schedule.
const KEYS: usize = 3;
const CALLS: usize = 14;

/// A controller with wires of its own to both stores.
struct Controller {
    reports: Reports,
    sql: ReportStore,
    wires: [Proxy; 2],
}

impl Controller {
    fn new(number: u16, server: &Server, consul: &larder_harness::Consul) -> Self {
        let wires =
            [Proxy::start(consul.address()), Proxy::start(server.url().trim_start_matches("https://"))];
        let pair = server.pair("writer");
        let credentials = Credentials::from_files(server.home().join("ca.crt"), pair.cert, pair.key).unwrap();
        let endpoint = format!("https://{}", wires[1].address()).parse().unwrap();
        let options = Options { connect: SHORT, answer: SHORT, idle: SHORT, ..Options::default() };
        let sidecar = Sidecar::new(endpoint, credentials).unwrap().with_options(options);
        let clock = Arc::new(Clock::new(number));
        let sql = ReportStore::new(Arc::new(sidecar), Arc::clone(&clock));
        let store = Consul::new(wires[0].url().parse().unwrap(), None).unwrap();
        let timeouts = Timeouts { connect: SHORT, answer: SHORT };
        let store = store.with_token(consul.token()).unwrap().with_timeouts(timeouts);
        let pauses = BreakerOptions {
            first_pause: Duration::from_millis(20),
            longest_pause: Duration::from_millis(200),
            ..BreakerOptions::default()
        };
        let options = ReportsOptions {
            mode: Mode::Auto,
            deadline: SHORT,
            tidying: SHORT / 2,
            breaker: pauses,
            fallback_breaker: pauses,
            ..ReportsOptions::default()
        };
        let shelf = Shelf::new(Arc::new(store), Layout::NeuVector);
        let reports = Reports::new(Some(Arc::new(sql.clone())), shelf, clock, || true, options);
        Self { reports, sql, wires }
    }

    fn heal(&self) {
        for wire in &self.wires {
            // What is held up is thrown away.
            wire.cut();
            wire.heal();
        }
    }

    fn home(&self) -> Migrator<Shelf, ReportStore> {
        let (shelf, sql) = (Arc::new(self.reports.shelf().clone()), Arc::new(self.sql.clone()));
        Migrator::new(Mover::new(shelf, sql, Arc::new(Always::default()), GateState::always_open()))
    }

    fn away(&self) -> Evacuation<ReportStore, Shelf> {
        let (shelf, sql) = (Arc::new(self.reports.shelf().clone()), Arc::new(self.sql.clone()));
        let mover = Mover::new(sql, shelf, Arc::new(Always::default()), GateState::always_open());
        Evacuation::new(Migrator::new(mover), GateState::always_open())
    }
}

/// The reports of one schedule, and what was told of them.
struct Schedule {
    keys: Vec<ReportKey>,
    history: Mutex<History>,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let key = |number| ReportKey::new(format!("workload/{seed:x}-{number}")).unwrap();
        Self { keys: (0..KEYS).map(key).collect(), history: Mutex::default() }
    }

    async fn put(&self, on: &Controller, key: &ReportKey, second: i64, length: usize) {
        let scanned_at = Timestamp::from_second(1_600_000_000 + second).unwrap();
        let number = self.history.lock().unwrap().begin_put(key, scanned_at);
        let report = Report {
            key: key.clone(),
            scanned_at,
            scanner_version: "3".into(),
            encoding: Encoding::Opaque,
            payload: vec![number.to_string(); length].join(" ").into(),
            asset: Asset::default(),
            findings: None,
            checks: None,
        };
        let answer = on.reports.put(&report).await;
        self.history.lock().unwrap().end_put(number, &answer);
    }

    async fn delete(&self, on: &Controller, key: &ReportKey) {
        let number = self.history.lock().unwrap().begin_delete(Doomed::Key(key.clone()));
        let answer = on.reports.delete(key).await;
        self.history.lock().unwrap().end_delete(number, answer.is_ok());
    }

    /// What is told, if every store answers.
    async fn get(&self, on: &Controller, key: &ReportKey) -> Option<String> {
        let begin = self.history.lock().unwrap().tick();
        let found = on.reports.get(key).await.ok()?;
        let complete = found.as_ref().is_none_or(|it| it.complete);
        let it = found.as_ref().map_or(Told::Nothing, told);
        self.history.lock().unwrap().judge(key, begin, &it, complete);
        complete.then(|| format!("{:?}", found.map(|it| it.report)))
    }

    async fn list(&self, on: &Controller) {
        let prefix = self.keys[0].as_str().trim_end_matches('0');
        let begin = self.history.lock().unwrap().tick();
        let Ok(page) = on.reports.list(prefix, None, 100).await else { return };
        let complete = page.complete;
        let listed = page.items.into_iter().map(|(key, version)| (key, (Told::Listed(version), complete)));
        let listed: BTreeMap<_, _> = listed.collect();
        self.history.lock().unwrap().judge_all(&self.keys, begin, &listed, complete && page.next.is_none());
    }

    async fn call(&self, on: &Controller, random: &mut Random, second: &mut i64) {
        let key = random.pick(&self.keys).clone();
        match random.below(10) {
            0..5 => {
                *second += 1;
                let back = if random.chance(75) { 0 } else { random.below(5) as i64 };
                let length = *random.pick(&[1, 1, 1, 400_000]);
                self.put(on, &key, *second - back, length).await;
            }
            5 => self.delete(on, &key).await,
            6 => self.list(on).await,
            _ => drop(self.get(on, &key).await),
        }
    }

    /// Every controller is told the same of everything, and the whole of it.
    async fn settle(&self, controllers: &[Arc<Controller>]) {
        for key in &self.keys {
            eventually(&format!("all are told the same of {key}"), async || {
                let one = self.get(&controllers[0], key).await?;
                let other = self.get(&controllers[1], key).await?;
                (one == other).then_some(())
            })
            .await;
        }
    }
}

async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(it) = ask().await {
            return it;
        }
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Wires are cut, held up, deaf and whole again, as long as it lasts.
async fn weather(controllers: Vec<Arc<Controller>>, mut random: Random, mut over: watch::Receiver<bool>) {
    while !*over.borrow_and_update() {
        let on = random.pick(&controllers).clone();
        let (wire, state) = (random.below(2), random.below(6));
        match state {
            0 => on.wires[wire].cut(),
            1 => on.wires[wire].stall(),
            2 => on.wires[wire].lose_answers(),
            _ => on.wires[wire].heal(),
        }
        drop(timeout(Duration::from_millis(10 + random.below(60) as u64), over.changed()).await);
    }
}

/// Moves, each of which is killed after a while. Says how many reports went, as far as a move lived to tell.
async fn moves(on: Arc<Controller>, home: bool, mut random: Random, over: watch::Receiver<bool>) -> u64 {
    let mut gone = 0;
    while !*over.borrow() {
        let lives = Duration::from_millis(5 + random.below(400) as u64);
        let outcome = if home {
            timeout(lives, on.home().run_once()).await.ok().and_then(Result::ok)
        } else {
            timeout(lives, on.away().run_once()).await.ok().and_then(Result::ok).map(|it| it.0)
        };
        gone += outcome.map_or(0, |it| it.gone);
        sleep(Duration::from_millis(random.below(50) as u64)).await;
    }
    gone
}

/// Waits for tasks; what one panics with goes on here.
async fn all<T: 'static>(mut tasks: JoinSet<T>) -> Vec<T> {
    let mut ended = Vec::new();
    while let Some(it) = tasks.join_next().await {
        match it {
            Ok(it) => ended.push(it),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    ended
}

/// Some schedules at once. Says how many reports moves told to have moved.
async fn round(controllers: &[Arc<Controller>], seed: u64, count: u64) -> u64 {
    let (end, over) = watch::channel(false);
    let mut random = Random::new(seed);
    let schedules: Vec<_> = (0..count).map(|it| Arc::new(Schedule::new(seed + it))).collect();
    let (mut calls, mut movers, mut sky) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    for (schedule, on) in schedules.iter().flat_map(|it| controllers.iter().map(move |on| (it, on))) {
        let (schedule, on, mut random) = (Arc::clone(schedule), Arc::clone(on), Random::new(random.next()));
        calls.spawn(async move {
            let mut second = 0;
            for _ in 0..CALLS {
                schedule.call(&on, &mut random, &mut second).await;
                sleep(Duration::from_millis(random.below(60) as u64)).await;
            }
        });
    }
    for (number, home) in [(0, true), (1, true), (1, false)] {
        let on = Arc::clone(&controllers[number]);
        movers.spawn(moves(on, home, Random::new(random.next()), over.clone()));
    }
    sky.spawn(weather(controllers.to_vec(), Random::new(random.next()), over));
    all(calls).await;
    end.send_replace(true);
    let moved = all(movers).await.into_iter().sum();
    all(sky).await;
    settle(controllers, &schedules).await;
    moved
}

/// Heals everything; what is told then is the whole truth, and a move changes nothing of it.
async fn settle(controllers: &[Arc<Controller>], schedules: &[Arc<Schedule>]) {
    controllers.iter().for_each(|it| it.heal());
    for on in controllers {
        eventually("traffic returns by itself", async || {
            (on.reports.breaker() == BreakerState::Closed).then_some(())
        })
        .await;
    }
    for schedule in schedules {
        schedule.settle(controllers).await;
    }
    let home = controllers[0].home();
    let started = Instant::now();
    loop {
        let outcome = home.run_once().await;
        let left = controllers[0].reports.shelf().stats().await.map(|it| it.reports);
        if outcome.as_ref().is_ok_and(|it| it.is_clean()) && left.as_ref().is_ok_and(|it| *it == 0) {
            break;
        }
        let named = home.progress().borrow().named.clone();
        assert!(started.elapsed() < PATIENCE, "not home: {outcome:?}, {left:?} left, {named:?}");
        sleep(Duration::from_millis(10)).await;
    }
    for schedule in schedules {
        schedule.settle(controllers).await;
    }
}

#[tokio::test]
async fn the_laws_hold_on_real_wires() {
    let consul = need!(larder_harness::Consul::start());
    let (server, database) = crate::open();
    schema::prepare(&*database).await.unwrap();
    let controllers: Vec<_> =
        (0..2).map(|number| Arc::new(Controller::new(number, &server, &consul))).collect();
    let seed = std::env::var("LARDER_FAULTS_SEED").map_or(0x1a2d, |it| it.parse().unwrap());
    let is_long = std::env::var_os("LARDER_FAULTS").is_some_and(|it| it == "long");
    let (rounds, at_once) = if is_long { (20, 24) } else { (2, 12) };
    // A short round may end before anything is moved, which shows nothing: then there is one more.
    let (mut moved, mut number) = (0, 0);
    while number < rounds || (moved == 0 && number < 10 * rounds) {
        moved += round(&controllers, seed + number * 1000, at_once).await;
        number += 1;
    }
    assert!(moved > 0, "nothing was moved while the wires were bad");
}
