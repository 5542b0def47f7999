//! Nobody asks for the index, and it is kept up: after bursts of puts by many, beside a move, and by whoever leads.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use larder_client::database::{Database, Embedded};
use larder_client::migrate::{Leader, Phase, Progress, Upkeep};
use larder_client::reports::index::Index;
use larder_client::reports::{Asset, Clock, Encoding, Finding, Report, ReportStore};
use larder_client::schema;
use larder_client::wire::{Request, Statement, Value};
use tempfile::TempDir;
use tokio::sync::watch;

/// Findings that may be pending, see `reports::index`.
const BOUND: i64 = 64 << 10;
const PENDING: &str = "SELECT COALESCE(SUM(critical + high + medium + low), 0) FROM report \
                       WHERE id > (SELECT value FROM counter WHERE name = 'indexed')";
const PENDING_REPORTS: &str =
    "SELECT COUNT(*) FROM report WHERE id > (SELECT value FROM counter WHERE name = 'indexed')";
const RETIRED: &str = "SELECT COUNT(*) FROM retired";
const SEGMENTS: &str = "SELECT COUNT(*) FROM segment";

async fn database() -> (Arc<dyn Database>, TempDir) {
    let home = tempfile::tempdir().unwrap();
    let database = Embedded::open(home.path()).unwrap();
    schema::prepare(&database).await.unwrap();
    (Arc::new(database), home)
}

async fn number(database: &dyn Database, sql: &str) -> i64 {
    let mut response = database.query(&Request::new([Statement::new(sql)])).await.unwrap();
    let Value::Integer(number) = response.results[0].rows.remove(0).remove(0) else { panic!("{sql}") };
    number
}

/// Waits until a number is as expected. Every commit is a reason to look.
async fn until(database: &dyn Database, sql: &str, holds: impl Fn(i64) -> bool) {
    let mut changes = database.changes(None).await.unwrap();
    let seen = async {
        while !holds(number(database, sql).await) {
            changes.next().await.unwrap().unwrap();
        }
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, seen).await.unwrap_or_else(|_| panic!("never so: {sql}"));
}

fn report(key: String, findings: usize) -> Report {
    let finding = |number| Finding { name: format!("CVE-2024-{:04}", number * 7), ..Finding::default() };
    Report {
        key: key.parse().unwrap(),
        scanned_at: Timestamp::from_second(1_700_000_000).unwrap(),
        scanner_version: String::new(),
        encoding: Encoding::Opaque,
        payload: key.into(),
        asset: Asset::default(),
        findings: Some((0..findings).map(finding).collect()),
        checks: None,
    }
}

/// A controller puts reports, one after the other.
async fn put(database: &Arc<dyn Database>, writer: u16, reports: usize, findings: usize) {
    let store = ReportStore::new(Arc::clone(database), Arc::new(Clock::new(writer)));
    for number in 0..reports {
        store.put(&report(format!("workload/{writer}-{number}"), findings)).await.unwrap();
    }
}

/// Controllers put reports at the same time.
async fn burst(database: &Arc<dyn Database>, controllers: u16, reports: usize, findings: usize) {
    let putting = (0..controllers).map(|writer| {
        let database = Arc::clone(database);
        tokio::spawn(async move { put(&database, writer, reports, findings).await })
    });
    for putting in putting.collect::<Vec<_>>() {
        putting.await.unwrap();
    }
}

fn nothing_moves() -> watch::Receiver<Progress> {
    watch::channel(Progress::default()).1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_burst_of_puts_little_is_pending() {
    let (database, _home) = database().await;
    let (leads, leader) = watch::channel(Leader::Other("somebody".to_owned()));
    let _mine = Upkeep::start(Arc::clone(&database), leader, nothing_moves());
    let (_leads, leader) = watch::channel(Leader::Me);
    let theirs = Upkeep::start(Arc::clone(&database), leader, nothing_moves());
    burst(&database, 3, 30, 1000).await;
    until(&*database, PENDING, |it| it <= BOUND).await;
    assert_eq!(number(&*database, "SELECT COUNT(*) FROM report").await, 90);

    // Many small ones are a burden too. They come while nobody leads, and whoever leads next sees to them.
    drop(theirs);
    burst(&database, 3, 200, 0).await;
    assert!(number(&*database, PENDING_REPORTS).await >= 600);
    leads.send_replace(Leader::Me);
    until(&*database, PENDING_REPORTS, |it| it <= 512).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_ends_with_one_segment_of_everything() {
    let (database, _home) = database().await;
    let (_leads, leader) = watch::channel(Leader::Me);
    let (moves, progress) = watch::channel(Progress::default());
    let _upkeep = Upkeep::start(Arc::clone(&database), leader, progress);
    moves.send_modify(|it| (it.phase, it.passes) = (Phase::Reports, 1));
    // As much as two runs take, so that one is folded on the way.
    burst(&database, 2, 40, 5000).await;
    until(&*database, SEGMENTS, |it| it >= 1).await;
    moves.send_modify(|it| (it.phase, it.moved) = (Phase::Idle, 1000));
    until(&*database, PENDING_REPORTS, |it| it == 0).await;
    until(&*database, SEGMENTS, |it| it == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_deleted_report_said_is_cleared_away_however_few_they_are() {
    let (database, _home) = database().await;
    burst(&database, 1, 3, 10).await;
    Index::new(Arc::clone(&database)).compact().await.unwrap();
    let store = ReportStore::new(Arc::clone(&database), Arc::new(Clock::new(2)));
    store.delete(&"workload/0-1".parse().unwrap()).await.unwrap();
    assert_eq!(number(&*database, RETIRED).await, 1);
    let (_leads, leader) = watch::channel(Leader::Me);
    let within = Duration::from_millis(100);
    let _upkeep = Upkeep::start_tidying(Arc::clone(&database), leader, nothing_moves(), within);
    until(&*database, RETIRED, |it| it == 0).await;
}
