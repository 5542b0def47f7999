//! Tables that a later release made: they are as good as away.

use std::sync::Arc;

use larder_client::database::{Database as _, Embedded};
use larder_client::fallback::{Layout, Memory, Mode, Reports, ReportsOptions, Shelf, Store};
use larder_client::reports::Clock;
use larder_client::schema::VERSION;
use larder_client::wire::{Request, Statement};

use super::{report, store};

/// Enters a version of the schema that only programs which know `compatible_from` can use.
async fn enter(database: &Embedded, version: i64, compatible_from: i64) {
    let insert =
        "INSERT INTO schema_version (version, name, sha256, compatible_from) VALUES (?, 'later', '', ?)";
    let insert = Statement::with(insert, [version.into(), compatible_from.into()]);
    database.execute(&Request::new([insert])).await.unwrap();
}

#[tokio::test]
async fn what_only_a_later_release_understands_is_left_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let (database, primary) = store(directory.path()).await;
    enter(&database, VERSION + 1, VERSION + 1).await;
    let shelf = Shelf::new(Arc::new(Memory::new()), Layout::NeuVector);
    let options = ReportsOptions { mode: Mode::Auto, ..ReportsOptions::default() };
    let reports =
        Reports::new(Some(Arc::new(primary.clone())), shelf, Arc::new(Clock::new(2)), || true, options);

    let report = report("workload/a", 5, "kept");
    assert_eq!(reports.put(&report).await.unwrap().store, Store::Fallback);
    let answer = reports.get(&report.key).await.unwrap().unwrap();
    assert_eq!((answer.store, answer.complete), (Store::Fallback, false));
    // What is not on the shelf may be where nobody could look.
    assert!(reports.get(&"workload/b".parse().unwrap()).await.is_err());
    assert!(!primary.exists(&report.key).await.unwrap());
}

#[tokio::test]
async fn a_later_release_may_say_that_this_one_can_stay() {
    let directory = tempfile::tempdir().unwrap();
    let (database, primary) = store(directory.path()).await;
    enter(&database, VERSION + 1, VERSION).await;
    let shelf = Shelf::new(Arc::new(Memory::new()), Layout::NeuVector);
    let reports = Reports::new(
        Some(Arc::new(primary)),
        shelf,
        Arc::new(Clock::new(2)),
        || true,
        ReportsOptions { mode: Mode::Auto, ..ReportsOptions::default() },
    );
    assert_eq!(reports.put(&report("workload/a", 5, "kept")).await.unwrap().store, Store::Primary);
}
