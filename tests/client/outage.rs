//! A sidecar that goes away, comes back, or does not let us.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_client::database::{Database, DatabaseError};
use larder_client::migrate::{Leader, Progress, Upkeep};
use larder_client::reports::{Asset, Clock, Encoding, Put, Report, ReportError, ReportStore, Selection};
use larder_client::schema::{self, SchemaError};
use larder_client::wire::{Kind, Request, Statement};
use larder_harness::{Proxy, Server};
use tokio::sync::watch;

use crate::{open, sidecar, sidecar_at};

fn report(text: &str, second: i64) -> Report {
    Report {
        key: text.parse().unwrap(),
        scanned_at: jiff::Timestamp::from_second(second).unwrap(),
        scanner_version: String::new(),
        encoding: Encoding::Opaque,
        payload: text.to_owned().into(),
        asset: Asset::default(),
        findings: None,
        checks: None,
    }
}

#[tokio::test]
async fn reports_outlive_a_kill() {
    let (mut server, database) = open();
    schema::prepare(&*database).await.unwrap();
    let reports = ReportStore::new(database, Arc::new(Clock::new(1)));
    let Put::Stored(version) = reports.put(&report("a/1", 10)).await.unwrap() else { panic!() };
    server.kill();

    let began = Instant::now();
    let error = reports.get(&"a/1".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, ReportError::Database(DatabaseError::Unreachable(_))), "{error}");
    assert!(!error.blames_the_caller());
    let error = reports.put(&report("a/2", 10)).await.unwrap_err();
    assert!(matches!(error, ReportError::Database(DatabaseError::Unreachable(_))), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5), "it is known at once that nobody is there");

    server.start_again();
    let reports = ReportStore::new(Arc::new(sidecar(&server, "owner")), Arc::new(Clock::new(2)));
    let stored = reports.get(&"a/1".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(stored.version, version);
    assert_eq!(schema::prepare(&**reports.database()).await.unwrap(), 2);
    assert!(matches!(reports.put(&report("a/1", 5)).await.unwrap(), Put::Superseded(_)));
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_so_and_goes_on_when_asked() {
    let (mut server, database) = open();
    schema::prepare(&*database).await.unwrap();
    let reports = ReportStore::new(database, Arc::new(Clock::new(1)));
    let large =
        |it: i64| Report { payload: vec![it as u8; 1 << 20].into(), ..report(&format!("a/{it:03}"), 10) };
    for it in 0..60 {
        reports.put(&large(it)).await.unwrap();
    }
    let mut stream = reports.get_many(Selection::prefix("a/"));
    assert_eq!(stream.next().await.unwrap().unwrap().report, large(0));
    server.kill();
    let mut count = 1;
    let error = loop {
        match stream.next().await {
            Ok(Some(stored)) => assert_eq!(stored.report, large(count)),
            Ok(None) => panic!("looks whole"),
            Err(error) => break error,
        }
        count += 1;
    };
    assert!(count < 60 && !error.blames_the_caller(), "{count} reports, then {error}");
}

#[tokio::test]
async fn who_may_not_make_tables_is_told_so_and_may_use_them() {
    let (server, database) = open();
    let writer = sidecar(&server, "writer");
    let refused = schema::prepare(&writer).await;
    let Err(SchemaError::Database(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.kind(), Some(Kind::Denied), "{error}");
    schema::prepare(&*database).await.unwrap();
    assert_eq!(schema::prepare(&writer).await.unwrap(), 2);
    let reports = ReportStore::new(Arc::new(writer), Arc::new(Clock::new(1)));
    assert!(matches!(reports.put(&report("a/1", 10)).await.unwrap(), Put::Stored(_)));

    let stranger = sidecar(&server, "stranger");
    let error = Database::query(&stranger, &Request::new([Statement::new("SELECT 1")])).await.unwrap_err();
    assert_eq!(error.kind(), Some(Kind::Denied), "{error}");
    assert!(!error.blames_the_request(), "another store may let us");
}

#[tokio::test]
async fn starts_at_once_prepare_one_schema() {
    let (server, database) = open();
    let starts: Vec<_> = (0..6)
        .map(|_| {
            let sidecar = sidecar(&server, "owner");
            tokio::spawn(async move { schema::prepare(&sidecar).await.unwrap() })
        })
        .collect();
    for start in starts {
        assert_eq!(start.await.unwrap(), 1);
    }
    let counted = Request::new([Statement::new("SELECT count(*) FROM counter")]);
    assert_eq!(database.query(&counted).await.unwrap().results[0].rows, [[1.into()]]);
}

#[tokio::test]
async fn a_watch_ends_with_its_server() {
    let (mut server, database) = open();
    let mut changes = database.changes(None).await.unwrap();
    let waiting = tokio::spawn(async move { changes.next().await });
    // Its connections end while it waits for them.
    let terminated = tokio::task::spawn_blocking(move || server.terminate());
    assert!(terminated.await.unwrap().success());
    assert!(matches!(
        waiting.await.unwrap(),
        Ok(None) | Err(DatabaseError::Broken(_) | DatabaseError::Unanswered(_))
    ));
}

/// Whether more reports than a few are not counted by the index yet.
const PENDING: &str =
    "SELECT COUNT(*) > 512 FROM report WHERE id > (SELECT value FROM counter WHERE name = 'indexed')";

/// Waits until they are few.
async fn until_kept_up(database: &dyn Database) {
    let mut changes = database.changes(None).await.unwrap();
    let counted = Request::new([Statement::new(PENDING)]);
    while database.query(&counted).await.unwrap().results[0].rows == [[1.into()]] {
        changes.next().await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_is_kept_up_again_once_the_sidecar_is_back() {
    let (mut server, database) = open();
    schema::prepare(&*database).await.unwrap();
    let address = |server: &Server| server.url().strip_prefix("https://").unwrap().to_owned();
    let wire = Proxy::start(address(&server));
    let database: Arc<dyn Database> =
        Arc::new(sidecar_at(&format!("https://{}", wire.address()), &server, "writer"));
    let (_leads, leader) = watch::channel(Leader::Me);
    let _upkeep = Upkeep::start(Arc::clone(&database), leader, watch::channel(Progress::default()).1);

    let reports = ReportStore::new(Arc::clone(&database), Arc::new(Clock::new(1)));
    let burst = |class: &str| (0..600).map(|it| report(&format!("{class}/{it}"), 10)).collect::<Vec<_>>();
    reports.put_many(&burst("before")).await.unwrap();
    until_kept_up(&*database).await;
    server.kill();
    server.start_again();
    wire.lead_to(address(&server));
    reports.put_many(&burst("after")).await.unwrap();
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, until_kept_up(&*database)).await.expect("is kept up");
}
