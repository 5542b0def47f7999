//! Those who keep the index meet each other, writers, their own end, and damage.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use larder_client::database::{Changes, Database, DatabaseError, Embedded, Rows};
use larder_client::reports::index::{Index, IndexError, Pace};
use larder_client::reports::packed;
use larder_client::reports::questions::{AssetFilter, Direction, VulnerabilityOrder, VulnerabilityQuery};
use larder_client::reports::{Asset, Encoding, Finding, Report, Severity};
use larder_client::wire::{Request, Response, Statement, Value};

use crate::world::{KEYS, World};
use crate::{ask_for_vulnerabilities, runtime};

type Meddling = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A database that somebody else writes to between two writes, or that is gone at some point.
struct Meddled {
    database: Arc<Embedded>,
    /// What happens before each write.
    before: Mutex<VecDeque<Option<Meddling>>>,
    /// How many writes are left until it is gone.
    left: Mutex<Option<usize>>,
}

impl Meddled {
    fn with(database: &Arc<Embedded>, before: Vec<Option<Meddling>>, left: Option<usize>) -> Arc<Self> {
        let (before, left) = (Mutex::new(before.into()), Mutex::new(left));
        Arc::new(Self { database: Arc::clone(database), before, left })
    }
}

#[async_trait]
impl Database for Meddled {
    async fn execute(&self, request: &Request) -> Result<Response, DatabaseError> {
        let meddling = self.before.lock().unwrap().pop_front().flatten();
        if let Some(meddling) = meddling {
            meddling().await;
        }
        if let Some(left) = &mut *self.left.lock().unwrap() {
            *left = left.checked_sub(1).ok_or_else(|| DatabaseError::Unreachable("it is gone".to_owned()))?;
        }
        self.database.execute(request).await
    }

    async fn query(&self, request: &Request) -> Result<Response, DatabaseError> {
        self.database.query(request).await
    }

    async fn stream(&self, request: &Request) -> Result<Box<dyn Rows>, DatabaseError> {
        self.database.stream(request).await
    }

    async fn changes(&self, from: Option<u64>) -> Result<Box<dyn Changes>, DatabaseError> {
        self.database.changes(from).await
    }
}

fn finding(name: &str, severity: Severity) -> Finding {
    let score = f32::from(severity as u8) * 2.5;
    Finding { name: name.to_owned(), severity, score, package: "zlib".to_owned(), ..Finding::default() }
}

/// What every report of these tests has: something shared, something own.
fn findings(number: usize) -> Vec<Finding> {
    let severity = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical][number % 4];
    vec![finding("CVE-2021-20530", severity), finding(&format!("CVE-2022-{:04}", number % 7 + 1), severity)]
}

async fn filled() -> World {
    let mut world = World::new().await;
    for (number, key) in KEYS.iter().enumerate() {
        world.put(key, Asset::default(), findings(number)).await;
    }
    world
}

impl World {
    async fn rows(&self, sql: &str) -> Vec<Vec<Value>> {
        self.database.query(&Request::new([Statement::new(sql)])).await.unwrap().results.remove(0).rows
    }

    async fn run(&self, sql: &str) {
        self.database.execute(&Request::new([Statement::new(sql)])).await.unwrap();
    }

    /// Where the model cannot know what the index let go of, the database says it.
    async fn reread_ghosts(&mut self) {
        let rows = self.rows("SELECT findings FROM retired").await;
        let blobs = rows.into_iter().map(|mut row| match row.remove(0) {
            Value::Blob(blob) => packed::decode(&blob).unwrap(),
            other => panic!("{other:?}"),
        });
        self.ghosts = blobs.flatten().collect();
    }

    async fn check(&mut self) {
        self.reread_ghosts().await;
        for (order, direction) in [
            (VulnerabilityOrder::Impact, Direction::Descending),
            (VulnerabilityOrder::Name, Direction::Ascending),
        ] {
            let query = VulnerabilityQuery { order, direction, limit: 3, ..VulnerabilityQuery::default() };
            ask_for_vulnerabilities(self, query).await;
        }
        let page =
            self.questions.affected("CVE-2021-20530", &AssetFilter::default(), None, 10_000).await.unwrap();
        let keys: Vec<_> = page.rows.iter().map(|it| it.summary.key.as_str()).collect();
        assert_eq!(keys, self.live.keys().collect::<Vec<_>>());
    }
}

#[test]
fn a_report_that_is_deleted_while_it_is_folded_is_not_counted() {
    runtime().block_on(async {
        let mut world = filled().await;
        let store = world.store.clone();
        let delete: Meddling = Box::new(move || {
            Box::pin(async move {
                store.delete(&KEYS[3].parse().unwrap()).await.unwrap();
            })
        });
        world.live.remove(KEYS[3]);
        let index = Index::new(Meddled::with(&world.database, vec![Some(delete)], None));
        assert!(index.fold().await.unwrap());
        assert_eq!(world.rows("SELECT * FROM retired").await.len(), 0);
        world.check().await;
    });
}

#[test]
fn a_report_that_is_deleted_while_its_segment_is_made_anew_is_not_counted() {
    runtime().block_on(async {
        // Before whichever write it happens.
        for writes in 0..4 {
            let mut world = filled().await;
            world.index.fold().await.unwrap();
            world.put(KEYS[0], Asset::default(), findings(1)).await;
            world.index.fold().await.unwrap();
            let store = world.store.clone();
            let delete: Meddling = Box::new(move || {
                Box::pin(async move {
                    store.delete(&KEYS[3].parse().unwrap()).await.unwrap();
                })
            });
            let before = (0..writes).map(|_| None).chain([Some(delete)]).collect();
            let meddled = Meddled::with(&world.database, before, None);
            Index::new(Arc::clone(&meddled) as _).compact().await.unwrap();
            if meddled.before.lock().unwrap().is_empty() {
                world.live.remove(KEYS[3]);
            }
            world.check().await;
            world.index.compact().await.unwrap();
            assert_eq!(world.rows("SELECT * FROM retired").await.len(), 0);
            world.check().await;
        }
    });
}

#[test]
fn several_keep_the_index_while_others_write() {
    runtime().block_on(async {
        let mut world = filled().await;
        let mut keepers = Vec::new();
        for number in 0..4 {
            let index = Index::new(Arc::clone(&world.database) as _);
            keepers.push(tokio::spawn(async move {
                for round in 0..25 {
                    let kept = match (number + round) % 4 {
                        0 => index.compact().await,
                        1 => index.rebuild().await,
                        2 => index.keep_up(Pace::Steady).await,
                        _ => index.fold().await.map(drop),
                    };
                    assert!(matches!(kept, Ok(()) | Err(IndexError::Contended)), "{kept:?}");
                }
            }));
        }
        for number in 0..60 {
            world.put(KEYS[number % KEYS.len()], Asset::default(), findings(number)).await;
            if number % 7 == 0 {
                world.check_counts().await;
            }
        }
        for keeper in keepers {
            keeper.await.unwrap();
        }
        world.check().await;
        world.index.compact().await.unwrap();
        world.check().await;
        assert_eq!(world.rows("SELECT live FROM segment").await, [vec![Value::Integer(1)]]);
        let orphans = "SELECT 1 FROM block WHERE segment NOT IN (SELECT id FROM segment)";
        assert_eq!(world.rows(orphans).await.len(), 0);
    });
}

impl World {
    /// Counts are exact at any moment, whatever is under way.
    async fn check_counts(&self) {
        let query = VulnerabilityQuery { order: VulnerabilityOrder::Impact, ..VulnerabilityQuery::default() };
        let page = self.questions.vulnerabilities(&query).await.unwrap();
        assert_eq!(
            (&page.rows[0].name[..], page.rows[0].impact()),
            ("CVE-2021-20530", self.live.len() as u64)
        );
        let sum: u64 = page.rows.iter().skip(1).map(|it| it.impact()).sum();
        assert_eq!(sum, self.live.len() as u64);
    }
}

/// More reports than one run takes, so that segments are made anew from several.
async fn crowded() -> World {
    let mut world = World::new().await;
    let report = |number: usize| Report {
        key: format!("workload/{number:05}").parse().unwrap(),
        scanned_at: "2023-01-01T10:00:00Z".parse().unwrap(),
        scanner_version: String::new(),
        encoding: Encoding::Opaque,
        payload: Vec::new().into(),
        asset: Asset::default(),
        findings: Some(findings(number)),
        checks: None,
    };
    let reports: Vec<Report> = (0..1100).map(report).collect();
    world.store.put_many(&reports).await.unwrap();
    for report in reports {
        world.know(report);
    }
    world
}

#[test]
fn a_keeper_that_ends_half_way_changes_nothing_and_is_cleaned_up_after() {
    runtime().block_on(async {
        let mut world = crowded().await;
        while world.index.fold().await.unwrap() {}
        assert_eq!(world.rows("SELECT * FROM segment").await.len(), 2);
        world.put("workload/00007", Asset::default(), findings(9)).await;
        world.check().await;
        let mut writes = 0;
        loop {
            let meddled = Meddled::with(&world.database, Vec::new(), Some(writes));
            let done = Index::new(meddled).compact().await;
            world.check().await;
            if done.is_ok() {
                break;
            }
            assert!(matches!(done, Err(IndexError::Database(DatabaseError::Unreachable(_)))), "{done:?}");
            writes += 1;
        }
        assert!(writes >= 7, "one fold, two runs and a merge take {writes} writes only");
        assert_ne!(world.rows("SELECT * FROM segment WHERE live = 0").await.len(), 0);
        world.index.keep_up(Pace::Steady).await.unwrap();
        assert_ne!(world.rows("SELECT * FROM segment WHERE live = 0").await.len(), 0, "may be at work still");
        world.run("UPDATE segment SET touched = touched - 3600 WHERE live = 0").await;
        world.index.keep_up(Pace::Steady).await.unwrap();
        assert_eq!(world.rows("SELECT live FROM segment").await, [vec![Value::Integer(1)]]);
        let orphans = "SELECT 1 FROM block WHERE segment NOT IN (SELECT id FROM segment)";
        assert_eq!(world.rows(orphans).await.len(), 0);
        world.check().await;
    });
}

#[test]
fn a_damaged_block_is_an_error_with_its_name_and_can_be_made_anew() {
    runtime().block_on(async {
        for column in ["summary", "postings"] {
            let mut world = filled().await;
            world.index.compact().await.unwrap();
            let blob = format!("SELECT {column} FROM block");
            let Value::Blob(mut bytes) = world.rows(&blob).await.remove(0).remove(0) else { panic!() };
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
            let damage = Statement::with(format!("UPDATE block SET {column} = ?"), [Value::Blob(bytes)]);
            world.database.execute(&Request::new([damage])).await.unwrap();

            let affected =
                world.questions.affected("CVE-2021-20530", &AssetFilter::default(), None, 10).await;
            assert!(matches!(affected, Err(IndexError::Block { .. })), "{affected:?}");
            let page = world.questions.vulnerabilities(&VulnerabilityQuery::default()).await;
            assert_eq!(matches!(page, Err(IndexError::Block { .. })), column == "summary", "{page:?}");
            world.index.rebuild().await.unwrap();
            world.check().await;
        }
    });
}

#[test]
fn damaged_findings_are_an_error_with_their_report() {
    runtime().block_on(async {
        let world = filled().await;
        world.run("UPDATE report SET findings = x'01020304050607' WHERE id = 4").await;
        let folded = world.index.fold().await;
        assert!(matches!(folded, Err(IndexError::Findings { report: 4, .. })), "{folded:?}");
        let page = world.questions.vulnerabilities(&VulnerabilityQuery::default()).await;
        assert!(matches!(page, Err(IndexError::Findings { report: 4, .. })), "{page:?}");
    });
}
