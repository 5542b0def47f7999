//! Large payloads whose pieces are swept away before their row is there: by whom the writer's clock looks as if it had begun long ago.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use larder_client::database::{Changes, Database, DatabaseError, Embedded, Rows};
use larder_client::fallback::{Layout, Memory, Mode, Reports, ReportsOptions, Shelf, Store};
use larder_client::reports::{Clock, Report, ReportStore};
use larder_client::wire::{Request, Response};

use super::{report, store};

/// A database that somebody sweeps before each row of a report comes.
struct Swept(Arc<Embedded>);

#[async_trait]
impl Database for Swept {
    async fn execute(&self, request: &Request) -> Result<Response, DatabaseError> {
        if request.statements.iter().any(|it| it.sql.starts_with("INSERT INTO report ")) {
            let sweeper = ReportStore::new(Arc::clone(&self.0) as _, Arc::new(Clock::new(2)));
            sweeper.sweep(Timestamp::now() - SignedDuration::from_hours(1)).await.unwrap();
        }
        self.0.execute(request).await
    }

    async fn query(&self, request: &Request) -> Result<Response, DatabaseError> {
        self.0.query(request).await
    }

    async fn stream(&self, request: &Request) -> Result<Box<dyn Rows>, DatabaseError> {
        self.0.stream(request).await
    }

    async fn changes(&self, from: Option<u64>) -> Result<Box<dyn Changes>, DatabaseError> {
        self.0.changes(from).await
    }
}

#[tokio::test]
async fn what_is_acknowledged_has_all_its_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let (database, before) = store(directory.path()).await;
    let first = report("workload/a", 1, "first");
    before.put(&first).await.unwrap();
    let late = Timestamp::now() - SignedDuration::from_hours(2);
    let clock = Arc::new(Clock::driven(1, Arc::new(AtomicI64::new(late.as_microsecond()))));
    let primary = ReportStore::new(Arc::new(Swept(database)), Arc::clone(&clock));

    let large = Report { payload: vec![7; (4 << 20) + 1].into(), ..report("workload/a", 2, "") };
    assert!(primary.put(&large).await.is_err(), "its pieces are gone");
    assert_eq!(before.get(&first.key).await.unwrap().unwrap().report, first, "and nothing is changed");

    let shelf = Shelf::new(Arc::new(Memory::new()), Layout::NeuVector);
    let options = ReportsOptions { mode: Mode::Auto, ..ReportsOptions::default() };
    let reports = Reports::new(Some(Arc::new(primary)), shelf, clock, || true, options);
    assert_eq!(reports.put(&large).await.unwrap().store, Store::Fallback);
    assert_eq!(reports.get(&large.key).await.unwrap().unwrap().report, large);
}
