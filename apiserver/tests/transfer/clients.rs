//! Clients that go on whatever happens, as controllers do: writers that know what they wrote, and an informer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use kube::api::{DeleteParams, DynamicObject, ListParams, ObjectMeta, PostParams};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::reports::{GROUP, reports};

/// Objects that each writer has.
const NAMES: usize = 8;

/// What a writer was told, and what was wrong about it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Changes that were acknowledged.
    pub(crate) done: u64,
    /// Answers that said to come back later.
    pub(crate) later: u64,
    /// The longest that an answer took.
    pub(crate) longest: Duration,
    /// What must not be.
    pub(crate) wrong: Vec<String>,
}

/// Writers until they are told to stop.
pub(crate) struct Writers {
    pub(crate) seen: Arc<Mutex<Seen>>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<BTreeMap<String, i64>>>,
}

impl Writers {
    pub(crate) fn start(client: &Client, count: usize) -> Self {
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), watch::Sender::new(false));
        let tasks = (0..count).map(|number| {
            // Half of them use the other version, as two generations of clients do.
            let version = if number % 2 == 0 { "v1alpha2" } else { "v1beta1" };
            let api = reports(client, "default", version);
            let writer = Writer {
                number,
                api,
                seen: Arc::clone(&seen),
                known: BTreeMap::new(),
                random: number as u64,
            };
            tokio::spawn(writer.run(stop.subscribe()))
        });
        Self { tasks: tasks.collect(), seen, stop }
    }

    /// Waits until so many more changes were acknowledged.
    pub(crate) async fn proceed(&self, changes: u64) {
        let before = self.seen.lock().unwrap().done;
        super::reports::until("changes", async || self.seen.lock().unwrap().done >= before + changes).await;
    }

    /// Ends them; returns what there has to be.
    pub(crate) async fn stop(self) -> (BTreeMap<String, i64>, Seen) {
        self.stop.send_replace(true);
        let mut all = BTreeMap::new();
        for task in self.tasks {
            all.extend(task.await.unwrap());
        }
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        (all, seen)
    }
}

struct Writer {
    number: usize,
    api: Api<DynamicObject>,
    seen: Arc<Mutex<Seen>>,
    /// What there is: by name, how often it was written.
    known: BTreeMap<String, i64>,
    random: u64,
}

/// How a call ended that changes something.
enum Ended {
    Done,
    /// There is nothing.
    Missing,
    /// It certainly was not done.
    Not,
    /// It may have been done.
    Unknown,
}

impl Writer {
    async fn run(mut self, stop: watch::Receiver<bool>) -> BTreeMap<String, i64> {
        let mut turns = 0_u64;
        while !*stop.borrow() {
            let chosen = self.next() % NAMES as u64;
            let name = format!("w{}-{chosen}", self.number);
            self.change(&name).await;
            self.check(&name).await;
            turns += 1;
            if turns.is_multiple_of(10) {
                self.check_all().await;
            }
        }
        self.check_all().await;
        self.known
    }

    /// A number like any other (`SplitMix64`).
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 29)
    }

    async fn change(&mut self, name: &str) {
        let began = Instant::now();
        let before = self.known.get(name).copied();
        let deletes = self.next().is_multiple_of(5);
        let (after, ended) = match before {
            None => (Some(1), self.create(name).await),
            Some(_) if deletes => {
                (None, ended(self.api.delete(name, &DeleteParams::default()).await.map(drop)))
            }
            Some(value) => (Some(value + 1), self.update(name, value).await),
        };
        self.told(began, &ended);
        match ended {
            Ended::Done => self.set(name, after),
            Ended::Not | Ended::Missing => {}
            Ended::Unknown => self.find_out(name, before, after).await,
        }
    }

    fn set(&mut self, name: &str, value: Option<i64>) {
        self.seen.lock().unwrap().done += 1;
        match value {
            Some(value) => drop(self.known.insert(name.to_owned(), value)),
            None => drop(self.known.remove(name)),
        }
    }

    async fn create(&self, name: &str) -> Ended {
        ended(self.api.create(&PostParams::default(), &self.object(name, 1)).await.map(drop))
    }

    /// Reads, changes and writes, as controllers do. What is read has to be what was written.
    async fn update(&self, name: &str, value: i64) -> Ended {
        let mut object = match self.api.get(name).await {
            Ok(object) => object,
            Err(error) if is(&error, 404) => {
                self.wrong(format!("{name} is {value} and was answered with 404"));
                return Ended::Missing;
            }
            Err(_) => return Ended::Not,
        };
        if count(&object) != value {
            self.wrong(format!("{name} is {value} and was read as {}", count(&object)));
        }
        object.data["summary"]["pass"] = (value + 1).into();
        ended(self.api.replace(name, &PostParams::default(), &object).await.map(drop))
    }

    fn object(&self, name: &str, value: i64) -> DynamicObject {
        let labels = [("writer".to_owned(), format!("w{}", self.number))];
        DynamicObject {
            types: Some(kube::api::TypeMeta {
                api_version: self.api.resource_url().split('/').skip(2).take(2).collect::<Vec<_>>().join("/"),
                kind: "PolicyReport".to_owned(),
            }),
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(labels.into()),
                ..ObjectMeta::default()
            },
            data: json!({"summary": {"pass": value}}),
        }
    }

    async fn check(&self, name: &str) {
        let began = Instant::now();
        let read = self.api.get(name).await;
        let ended = match &read {
            Ok(_) => Ended::Done,
            Err(error) if is(error, 404) => Ended::Missing,
            Err(_) => Ended::Not,
        };
        self.told(began, &ended);
        let expected = self.known.get(name).copied();
        match (read, expected) {
            (Ok(object), Some(value)) if count(&object) == value => {}
            (Ok(object), _) => {
                self.wrong(format!("{name} is {expected:?} and was read as {}", count(&object)))
            }
            (Err(error), Some(value)) if is(&error, 404) => {
                self.wrong(format!("{name} is {value} and was answered with 404"));
            }
            (Err(_), _) => {}
        }
    }

    async fn check_all(&self) {
        let params = ListParams::default().labels(&format!("writer=w{}", self.number));
        let Ok(list) = self.api.list(&params).await else { return };
        let listed: BTreeMap<_, _> =
            list.items.iter().map(|it| (it.metadata.name.clone().unwrap(), count(it))).collect();
        if listed != self.known {
            self.wrong(format!("w{} has {:?} and was told {listed:?}", self.number, self.known));
        }
    }

    /// Looks what has become of a change that was not answered.
    async fn find_out(&mut self, name: &str, before: Option<i64>, after: Option<i64>) {
        for _ in 0..600 {
            let now = match self.api.get(name).await {
                Ok(object) => Some(count(&object)),
                Err(error) if is(&error, 404) => None,
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            if now != before && now != after {
                self.wrong(format!("{name} was {before:?}, perhaps {after:?}, and is {now:?}"));
            }
            match now {
                Some(value) => drop(self.known.insert(name.to_owned(), value)),
                None => drop(self.known.remove(name)),
            }
            return;
        }
        self.wrong(format!("nobody says what {name} is"));
    }

    fn told(&self, began: Instant, ended: &Ended) {
        let mut seen = self.seen.lock().unwrap();
        seen.longest = seen.longest.max(began.elapsed());
        seen.later += u64::from(matches!(ended, Ended::Not | Ended::Unknown));
    }

    fn wrong(&self, what: String) {
        self.seen.lock().unwrap().wrong.push(what);
    }
}

/// How often an object was written.
pub(crate) fn count(object: &DynamicObject) -> i64 {
    object.data["summary"]["pass"].as_i64().unwrap_or(-1)
}

fn is(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// The client sends by itself again what was answered with 503: what was refused the second time may have been done the first time. Nobody else writes
/// these objects, so there is no other reason to refuse a change.
fn ended(result: Result<(), kube::Error>) -> Ended {
    match result {
        Ok(()) => Ended::Done,
        Err(kube::Error::Api(status)) if status.code == 429 => Ended::Not,
        Err(_) => Ended::Unknown,
    }
}

/// What an informer holds, and what it was told that was not so.
pub(crate) struct Informer {
    held: Arc<Mutex<BTreeMap<String, i64>>>,
    /// Objects that nobody deletes, and that it was told were deleted.
    pub(crate) lost: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Informer {
    pub(crate) fn start(client: &Client) -> Self {
        let (held, lost) = (Arc::<Mutex<BTreeMap<_, _>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let api = reports(client, "default", "v1alpha2");
        let (holds, loses) = (Arc::clone(&held), Arc::clone(&lost));
        let task = tokio::spawn(async move {
            let mut initial = BTreeMap::new();
            let mut events = Box::pin(watcher::watcher(api, watcher::Config::default()));
            loop {
                // It says what stood in its way and goes on.
                let Ok(Some(event)) = events.try_next().await else { continue };
                let name = |it: &DynamicObject| it.metadata.name.clone().unwrap();
                match event {
                    Event::Init => initial = BTreeMap::new(),
                    Event::InitApply(object) => drop(initial.insert(name(&object), count(&object))),
                    Event::InitDone => {
                        let lists = std::mem::take(&mut initial);
                        lose(&loses, holds.lock().unwrap().keys().filter(|it| !lists.contains_key(*it)));
                        *holds.lock().unwrap() = lists;
                    }
                    Event::Apply(object) => drop(holds.lock().unwrap().insert(name(&object), count(&object))),
                    Event::Delete(object) => {
                        lose(&loses, std::iter::once(&name(&object)));
                        holds.lock().unwrap().remove(&name(&object));
                    }
                }
            }
        });
        Self { held, lost, task }
    }

    /// Waits until it holds what there is.
    pub(crate) async fn holds(&self, expected: &BTreeMap<String, i64>) {
        let held = async || *self.held.lock().unwrap() == *expected;
        if tokio::time::timeout(Duration::from_secs(45), super::reports::until("the informer", held))
            .await
            .is_err()
        {
            panic!("the informer holds {:?}, not {expected:?} of {GROUP}", self.held.lock().unwrap());
        }
    }
}

fn lose<'n>(lost: &Mutex<Vec<String>>, names: impl Iterator<Item = &'n String>) {
    lost.lock().unwrap().extend(names.filter(|it| it.starts_with("kept-")).cloned());
}

impl Drop for Informer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
