//! Tables that a later release made, which are as good as away; and one row that is damaged, which is not.

use std::sync::Arc;

use larder_client::database::{Database as _, Embedded};
use larder_client::fallback::{Layout, Memory, Mode, Reports, ReportsError, ReportsOptions, Shelf, Store};
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

#[tokio::test]
async fn a_damaged_row_is_the_trouble_of_its_report_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (database, primary) = store(directory.path()).await;
    let finding = larder_client::reports::Finding { name: "CVE-2024-1".to_owned(), ..Default::default() };
    let mut rotten = report("workload/b", 5, "rotten");
    rotten.findings = Some(vec![finding]);
    let whole = ["workload/a", "workload/c", "workload/d"];
    let sound: Vec<_> = whole.iter().map(|it| report(it, 5, "sound")).collect();
    primary.put_many(&[sound, vec![rotten.clone()]].concat()).await.unwrap();
    let damage = "UPDATE report SET findings = x'deadbeef' WHERE key = 'workload/b'";
    database.execute(&Request::new([Statement::new(damage)])).await.unwrap();
    let shelf = Shelf::new(Arc::new(Memory::new()), Layout::NeuVector);
    let options = ReportsOptions { mode: Mode::Auto, ..ReportsOptions::default() };
    let reports = Reports::new(Some(Arc::new(primary)), shelf, Arc::new(Clock::new(2)), || true, options);
    for _ in 0..10 {
        let error = reports.get(&rotten.key).await.unwrap_err();
        assert!(matches!(error, ReportsError::Unreadable(_)), "{error}");
    }
    let mut all = reports.get_many("");
    let (mut found, mut errors) = (Vec::new(), 0);
    loop {
        match all.next().await {
            Ok(Some(answer)) => found.push(answer.report.key.to_string()),
            Ok(None) => break,
            Err(ReportsError::Incomplete) => {}
            Err(_) => errors += 1,
        }
    }
    assert_eq!((found, errors, all.is_complete()), (whole.map(str::to_owned).to_vec(), 1, false));
    assert_eq!(reports.put(&report("workload/e", 5, "new")).await.unwrap().store, Store::Primary);
    // What is put over it is sound again.
    reports.put(&report("workload/b", 6, "new")).await.unwrap();
    assert!(reports.get(&rotten.key).await.unwrap().is_some());
}
