//! A database, two stores on it, writers, watchers and readers, and what befalls them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use larder_apiserver::store::{ListQuery, Revision, Store, StoreError, StoreOptions};
use larder_apiserver::watch::{Capacity, Watches};
use larder_client::database::{Database, Embedded};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;

use super::oracle::{CHOICES, Choice, LABELS, NAMESPACES, Oracle, Written};
use super::random::Random;
use super::watcher::Watcher;
use crate::close;
use crate::suite::{RESOURCE, all, at, draft, key, shown};

/// So many changes are remembered.
pub(super) const WINDOW: usize = 100;
const WRITERS: usize = 4;

/// What came to pass.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Happened {
    writes: usize,
    conflicts: usize,
    lists: usize,
    expired_lists: usize,
    expired_watches: usize,
    reopened: usize,
    killed: usize,
    restored: usize,
}

impl Happened {
    pub(super) fn add(&mut self, other: Self) {
        self.writes += other.writes;
        self.conflicts += other.conflicts;
        self.lists += other.lists;
        self.expired_lists += other.expired_lists;
        self.expired_watches += other.expired_watches;
        self.reopened += other.reopened;
        self.killed += other.killed;
        self.restored += other.restored;
    }

    pub(super) fn everything(&self) -> bool {
        [self.conflicts, self.expired_lists, self.expired_watches, self.reopened, self.killed, self.restored]
            .iter()
            .all(|it| *it > 0)
            && self.writes > 1000
            && self.lists > 50
    }
}

struct Running {
    engine: Arc<Embedded>,
    stores: [Store; 2],
    watches: [Watches; 2],
}

/// A copy of the database, and the model at that time.
struct Copy {
    directory: PathBuf,
    oracle: Oracle,
}

pub(super) struct World {
    random: Random,
    home: TempDir,
    directory: PathBuf,
    copies: Vec<Copy>,
    made: usize,
    running: Option<Running>,
    oracle: Oracle,
    watchers: Vec<Watcher>,
    pub(super) happened: Happened,
}

impl World {
    pub(super) async fn new(mut random: Random) -> Self {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("0");
        let watchers = (0..6).map(|_| Watcher::new(*random.one_of(&CHOICES))).collect();
        let (copies, oracle, happened) = (Vec::new(), Oracle::default(), Happened::default());
        let mut world =
            Self { random, home, directory, copies, made: 0, running: None, oracle, watchers, happened };
        world.open().await;
        world
    }

    async fn open(&mut self) {
        let engine = Arc::new(Embedded::open(&self.directory).unwrap());
        self.running = Some(self.begin(engine).await);
    }

    async fn begin(&mut self, engine: Arc<Embedded>) -> Running {
        let options = StoreOptions { history: Duration::ZERO, changes: WINDOW as u64 };
        let database: Arc<dyn Database> = engine.clone();
        let one = Store::open(Arc::clone(&database), options).await.unwrap();
        self.oracle.begins(one.revision().await.unwrap());
        let other = Store::open(database, options).await.unwrap();
        self.oracle.begins(other.revision().await.unwrap());
        // The memory of one reaches back for some of a round only.
        let capacity = Capacity { changes: 16, ..Capacity::default() };
        let watches = [Watches::new(one.clone()), Watches::with_capacity(other.clone(), capacity)];
        Running { engine, stores: [one, other], watches }
    }

    /// Everybody does something at once; then the model knows what was right.
    pub(super) async fn round(&mut self) {
        let running = self.running.as_ref().unwrap();
        let stores = running.stores.clone();
        let writers: Vec<_> = (0..WRITERS)
            .map(|it| {
                tokio::spawn(write(stores[it % 2].clone(), self.random.fork(), 5 + self.random.below(40)))
            })
            .collect();
        let known = self.oracle.revisions();
        let readers: Vec<_> = (0..4)
            .map(|it| {
                let choice = *self.random.one_of(&CHOICES);
                let moment = (it > 0 && !known.is_empty()).then(|| *self.random.one_of(&known));
                tokio::spawn(read(stores[it % 2].clone(), choice, moment, 1 + self.random.below(9)))
            })
            .collect();
        let over = watch::Sender::new(false);
        let following: Vec<_> = std::mem::take(&mut self.watchers)
            .into_iter()
            .map(|mut watcher| {
                let over = over.subscribe();
                // Some are stuck, and find only afterwards what they have missed.
                let is_stuck = self.random.below(3) == 0;
                tokio::spawn(async move {
                    if !is_stuck {
                        watcher.follow_until(over).await;
                    }
                    watcher
                })
            })
            .collect();
        let mut written = Vec::new();
        for writer in writers {
            let (done, conflicts) = writer.await.unwrap();
            self.happened.writes += done.len();
            self.happened.conflicts += conflicts;
            written.extend(done);
        }
        self.oracle.take(written);
        over.send_replace(true);
        for watcher in following {
            self.watchers.push(watcher.await.unwrap());
        }
        for reader in readers {
            self.judge(reader.await.unwrap());
        }
        self.check_watchers().await;
        self.check_lists().await;
    }

    async fn check_watchers(&mut self) {
        let running = self.running.as_ref().unwrap();
        let upto = running.stores[0].revision().await.unwrap();
        for (index, watcher) in self.watchers.iter_mut().enumerate() {
            // Some lag behind.
            if self.random.below(4) > 0 {
                watcher.reach(&running.watches[index % 2], upto, &self.oracle).await;
                self.happened.expired_watches += std::mem::take(&mut watcher.expired);
            }
        }
    }

    async fn check_lists(&mut self) {
        let store = self.running.as_ref().unwrap().stores[self.random.below(2)].clone();
        let mut moments = self.oracle.revisions();
        moments.extend(&self.oracle.lost);
        for _ in 0..8 {
            let moment = *self.random.one_of(&moments);
            let (choice, limit) = (*self.random.one_of(&CHOICES), 1 + self.random.below(30));
            self.judge(read(store.clone(), choice, Some(moment), limit).await);
        }
        let (choice, limit) = (*self.random.one_of(&CHOICES), 1 + self.random.below(30));
        self.judge(read(store, choice, None, limit).await);
    }

    fn judge(&mut self, read: Read) {
        let Read { choice, asked, revision, found, expired } = read;
        self.happened.lists += 1;
        if expired {
            self.happened.expired_lists += 1;
            let moment = asked.or(revision).unwrap_or(0);
            let excused =
                self.oracle.lost.contains(&moment) || self.oracle.since(moment) >= WINDOW || asked.is_none();
            assert!(excused, "a list at {moment} expired");
            return;
        }
        let revision = revision.unwrap();
        assert!(!self.oracle.lost.contains(&revision), "a list shows {revision}, which is lost");
        let expected = self.oracle.objects(revision, choice).into_iter();
        let expected: Vec<String> = expected.map(|(key, (at, _))| format!("{key}@{at}")).collect();
        assert_eq!(found, expected, "{choice:?} at {revision}");
    }

    /// What befalls the database between rounds.
    pub(super) async fn interlude(&mut self) {
        let befalls = self.random.below(10);
        if befalls == 0 {
            self.running.as_ref().unwrap().stores[0].compact().await.unwrap();
        }
        if befalls == 1 || befalls == 2 {
            self.copy().await;
        }
        if befalls > 2 && befalls < 6 {
            for watcher in &mut self.watchers {
                watcher.disconnect();
            }
        }
        match befalls {
            // The stores of a process that goes and comes.
            3 => {
                let running = self.running.take().unwrap();
                let engine = Arc::clone(&running.engine);
                drop(running);
                self.running = Some(self.begin(engine).await);
                self.happened.reopened += 1;
            }
            4 => {
                self.stop().await;
                self.open().await;
                self.happened.reopened += 1;
            }
            // What was on disk when the process died is all that there is.
            5 => {
                let image = self.image();
                self.stop().await;
                self.directory = image;
                self.open().await;
                self.happened.killed += 1;
            }
            6 | 7 => self.restore().await,
            _ => {}
        }
    }

    async fn stop(&mut self) {
        let Running { engine, stores, watches } = self.running.take().unwrap();
        drop((stores, watches));
        close(engine).await;
    }

    /// A copy of the files as they are. Another process makes it, since closing a file drops this one's locks on it.
    fn image(&mut self) -> PathBuf {
        self.made += 1;
        let image = self.home.path().join(self.made.to_string());
        copy(&self.directory, &image);
        image
    }

    async fn copy(&mut self) {
        // The latest revision is part of it, whoever gave it.
        let directory = self.image();
        self.copies.push(Copy { directory, oracle: self.oracle.clone() });
    }

    async fn restore(&mut self) {
        if self.copies.is_empty() {
            return;
        }
        for watcher in &mut self.watchers {
            watcher.disconnect();
        }
        let chosen = self.random.below(self.copies.len());
        let Copy { directory, oracle } = self.copies.swap_remove(chosen);
        // Copies that were made later are of a history that is no more.
        self.copies.retain(|it| it.oracle.latest() <= oracle.latest());
        self.stop().await;
        self.directory = directory;
        self.oracle.lose(&oracle);
        self.open().await;
        self.happened.restored += 1;
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// Creates, changes and deletes, whatever stands there; says what was acknowledged, and how often somebody else was faster.
async fn write(store: Store, mut random: Random, count: usize) -> (Vec<(Revision, Written)>, usize) {
    let (mut written, mut conflicts) = (Vec::new(), 0);
    for step in 0..count {
        let place = format!("{}/n{}", random.one_of(&NAMESPACES), random.below(6));
        let labels = *random.one_of(&LABELS);
        let there = store.get(RESOURCE, &key(&place)).await.unwrap();
        let it = draft(&place, labels, json!({"step": step}));
        let done = match there {
            None => store.create(RESOURCE, &it).await.map(|it| (it.revision, Some(labels))),
            Some(there) if random.below(3) == 0 => {
                store.delete(RESOURCE, &there.key, there.revision).await.map(|revision| (revision, None))
            }
            Some(there) => {
                store.update(RESOURCE, &it, there.revision).await.map(|it| (it.revision, Some(labels)))
            }
        };
        match done {
            Ok((revision, labels)) => written.push((revision, (place, labels.map(ToOwned::to_owned)))),
            Err(StoreError::Exists | StoreError::Changed) => conflicts += 1,
            Err(error) => panic!("{error}"),
        }
    }
    (written, conflicts)
}

/// What a reader found.
struct Read {
    choice: Choice,
    asked: Option<Revision>,
    revision: Option<Revision>,
    found: Vec<String>,
    expired: bool,
}

/// Reads a list page by page while others write.
async fn read(store: Store, choice: Choice, moment: Option<Revision>, limit: usize) -> Read {
    let mut query =
        ListQuery { selection: choice.selection(), limit: Some(limit), ..moment.map_or(all(), at) };
    let mut read = Read { choice, asked: moment, revision: None, found: Vec::new(), expired: false };
    loop {
        let page = match store.page(RESOURCE, &query).await {
            Ok(page) => page,
            Err(StoreError::Expired { .. }) => return Read { expired: true, ..read },
            Err(error) => panic!("{error}"),
        };
        assert!(read.revision.is_none_or(|it| it == page.revision));
        read.revision = Some(page.revision);
        read.found.extend(page.items.iter().map(shown));
        query = ListQuery { after: page.next, ..at_page(query, page.revision) };
        if query.after.is_none() {
            return read;
        }
        tokio::task::yield_now().await;
    }
}

fn at_page(query: ListQuery, revision: Revision) -> ListQuery {
    ListQuery { at: larder_apiserver::store::At::Exactly(revision), ..query }
}
