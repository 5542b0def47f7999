//! What stands on the shelf and cannot be read, what could not be read again, and what nobody needs any more.

use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use larder_client::fallback::shelf::Tombstone;
use larder_client::fallback::{
    Condition, KeyValue, Layout, Memory, Mode, Operation, Primary, Put, Reports, ReportsError,
    ReportsOptions, Shelf, ShelfError, Store,
};
use larder_client::reports::{Clock, Finding, Report, ReportKey};

use crate::primaries::in_sql;
use crate::primary::MemoryPrimary;
use crate::stage::{key, report};

struct Room {
    store: Arc<dyn KeyValue>,
    reports: Reports,
}

impl Room {
    fn new(primary: Option<Arc<dyn Primary>>) -> Self {
        let store: Arc<dyn KeyValue> = Arc::new(Memory::new());
        let shelf = Shelf::new(Arc::clone(&store), Layout::NeuVector);
        let options = ReportsOptions { mode: Mode::Off, ..ReportsOptions::default() };
        let reports = Reports::new(primary, shelf, Arc::new(Clock::new(1)), || true, options);
        Self { store, reports }
    }

    async fn write(&self, key: &str, value: &'static str) {
        let put = Operation::Put {
            key: key.to_owned(),
            value: Bytes::from_static(value.as_bytes()),
            condition: Condition::Any,
        };
        assert!(self.store.commit(vec![put]).await.expect("memory answers"));
    }

    async fn put(&self, mode: Mode, name: &str) {
        self.reports.set_mode(mode).await;
        let put = self.reports.put(&report(name, 1)).await.expect("both answer");
        assert!(matches!(put.put, Put::Stored(_)));
    }
}

fn names(keys: impl IntoIterator<Item = ReportKey>) -> Vec<String> {
    keys.into_iter().map(|it| it.to_string()).collect()
}

#[tokio::test]
async fn one_tombstone_that_cannot_be_read_hides_nothing_else_and_brings_nothing_back() {
    let room = Room::new(Some(Arc::new(MemoryPrimary::default())));
    for name in ["workload/1", "workload/2"] {
        room.put(Mode::Auto, name).await;
    }
    for name in ["workload/3", "workload/4"] {
        room.put(Mode::Off, name).await;
    }
    // Whether these two are deleted cannot be known; nor what stood under the last, of which there is no copy.
    for name in ["workload/2", "workload/3", "workload/5"] {
        room.write(&format!("larder/tombstone/{name}"), "rubbish").await;
    }
    let page = room.reports.list("workload/", None, 10).await.expect("both answer");
    assert_eq!(names(page.items.into_iter().map(|it| it.0)), ["workload/1", "workload/4"]);
    assert!(page.complete, "both have told of all others");
    assert!(page.unreadable.iter().all(|it| it.1.contains("tombstone")), "{:?}", page.unreadable);
    assert_eq!(names(page.unreadable.into_iter().map(|it| it.0)), ["workload/2", "workload/3"]);

    let mut stream = room.reports.get_many("workload/");
    let (mut certain, mut others, mut is_told) = (Vec::new(), 0, false);
    loop {
        match stream.next().await {
            Ok(None) => break,
            Ok(Some(it)) if it.complete => certain.push(it.report.key),
            Ok(Some(it)) => {
                assert_eq!((it.report.key.as_str(), it.store), ("workload/2", Store::Primary));
                others += 1;
            }
            Err(ReportsError::Shelf(ShelfError::Damaged { key, .. })) => {
                assert_eq!(key.as_str(), "workload/3");
                others += 1;
            }
            Err(ReportsError::Incomplete) => is_told = true,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(is_told);
    assert_eq!((names(certain), others), (vec!["workload/1".to_owned(), "workload/4".to_owned()], 2));
    assert!(!stream.is_complete());

    let swept = room.reports.delete_prefix("workload/").await.expect("both answer");
    assert_eq!((swept.deleted, swept.complete), (2, false));
    let page = room.reports.list("workload/", None, 10).await.expect("both answer");
    assert_eq!((page.items.len(), page.unreadable.len()), (0, 2));
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_named_beside_the_page() {
    let room = Room::new(Some(Arc::new(MemoryPrimary::default())));
    room.put(Mode::Auto, "workload/1").await;
    room.put(Mode::Off, "workload/2").await;
    room.write("larder/meta/workload/2", "rubbish").await;
    let page = room.reports.list("workload/", None, 10).await.expect("both answer");
    assert!(page.complete);
    assert_eq!(names(page.items.into_iter().map(|it| it.0)), ["workload/1"]);
    assert_eq!(names(page.unreadable.into_iter().map(|it| it.0)), ["workload/2"]);
}

fn is_damaged<T: std::fmt::Debug>(answer: Result<T, ReportsError>) -> bool {
    matches!(answer, Err(ReportsError::Shelf(ShelfError::Damaged { .. })))
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_gives_way_to_a_newer_scan() {
    let name = key("workload/1");
    for primary in [None, Some(Arc::new(MemoryPrimary::default()) as Arc<dyn Primary>)] {
        let room = Room::new(primary);
        room.put(Mode::Off, "workload/1").await;
        // What the value says of itself is newer than what is put.
        room.write("scan/data/report/workload/1", r#"{"scanned_at":"2024-06-01T00:00:00Z"}"#).await;
        room.write("larder/meta/workload/1", "rubbish").await;
        assert!(is_damaged(room.reports.get(&name).await));
        assert!(is_damaged(room.reports.put(&report("workload/1", 1)).await), "that is an older one");
        assert!(is_damaged(room.reports.get(&name).await), "and changes nothing");
        let newer = Report { scanned_at: Timestamp::now(), ..report("workload/1", 1) };
        let put = room.reports.put(&newer).await.expect("both answer");
        assert!(matches!(put.put, Put::Stored(_)));
        let answered = room.reports.get(&name).await.expect("both answer").expect("is there");
        assert!(answered.complete && answered.report == newer);
    }
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_goes_when_a_newer_scan_is_put_into_the_primary() {
    let room = Room::new(Some(Arc::new(MemoryPrimary::default())));
    room.put(Mode::Off, "workload/1").await;
    room.write("larder/meta/workload/1", "rubbish").await;
    // That one may be the older.
    room.put(Mode::Auto, "workload/1").await;
    let name = key("workload/1");
    assert!(room.reports.get(&name).await.expect("both answer").is_some_and(|it| !it.complete));
    let newer = Report { scanned_at: Timestamp::now(), ..report("workload/1", 1) };
    assert_eq!(room.reports.put(&newer).await.expect("both answer").store, Store::Primary);
    let answered = room.reports.get(&name).await.expect("both answer").expect("is there");
    assert!(answered.complete && answered.report == newer);
}

#[tokio::test]
async fn a_delete_clears_away_what_cannot_be_read() {
    let name = key("workload/1");
    for primary in [None, Some(Arc::new(MemoryPrimary::default()) as Arc<dyn Primary>)] {
        for damaged in [&["meta"][..], &["tombstone"], &["meta", "tombstone"]] {
            let room = Room::new(primary.clone());
            room.put(Mode::Off, "workload/1").await;
            for damaged in damaged {
                room.write(&format!("larder/{damaged}/workload/1"), "rubbish").await;
            }
            assert!(is_damaged(room.reports.get(&name).await));
            let deleted = room.reports.delete(&name).await.expect("both answer");
            assert!(deleted.complete && deleted.existed, "{deleted:?}");
            assert!(room.reports.get(&name).await.expect("both answer").is_none());
            let page = room.reports.list("", None, 10).await.expect("both answer");
            assert_eq!((page.items, page.unreadable, page.complete), (vec![], vec![], true));
            room.put(Mode::Off, "workload/1").await;
            assert!(room.reports.get(&name).await.expect("both answer").is_some_and(|it| it.complete));
        }
    }
}

#[tokio::test]
async fn what_a_later_release_wrote_is_neither_replaced_nor_deleted() {
    let room = Room::new(None);
    room.put(Mode::Off, "workload/1").await;
    room.write("larder/meta/workload/1", r#"{"form":2}"#).await;
    let newer = Report { scanned_at: Timestamp::now(), ..report("workload/1", 1) };
    assert!(is_damaged(room.reports.put(&newer).await));
    assert!(is_damaged(room.reports.delete(&newer.key).await));
    assert!(is_damaged(room.reports.get(&newer.key).await), "it stands");
}

#[tokio::test]
async fn what_names_no_report_hides_no_tombstone() {
    let room = Room::new(Some(Arc::new(MemoryPrimary::default())));
    room.put(Mode::Auto, "workload/1").await;
    for number in 0..250 {
        room.write(&format!("larder/tombstone/!{number:03}"), "rubbish").await;
    }
    let tombstone = Tombstone { key: key("workload/1"), sequence: i64::MAX };
    room.reports.shelf().bury(&tombstone).await.expect("memory answers");
    let page = room.reports.list("", None, 10).await.expect("both answer");
    assert!(page.complete && page.items.is_empty(), "{page:?}");
}

/// A report with more findings than can be read again.
fn too_many(name: &str) -> Report {
    // A few large texts, which many findings share, are less to hold in memory than a million findings.
    let finding = Finding { name: "CVE-2021-1".to_owned(), file: "x".repeat(32 << 20), ..Finding::default() };
    Report { findings: Some(vec![finding; 9]), ..report(name, 1) }
}

#[tokio::test]
async fn findings_that_could_not_be_read_again_are_refused_by_both_stores() {
    let directory = tempfile::tempdir().expect("a directory");
    let room = Room::new(Some(Arc::new(in_sql(&directory).await)));
    for (mode, store) in [(Mode::Auto, Store::Primary), (Mode::Off, Store::Fallback)] {
        room.reports.set_mode(mode).await;
        let name = |it| format!("{mode}/{it}");
        let many = [report(&name(1), 1), too_many(&name(2)), report(&name(3), 1)];
        let answers = room.reports.put_many(&many).await;
        assert!(answers[0].as_ref().is_ok_and(|it| it.store == store), "{:?}", answers[0]);
        assert!(answers[2].as_ref().is_ok_and(|it| it.store == store), "{:?}", answers[2]);
        for refused in [answers[1].clone(), room.reports.put(&many[1]).await] {
            let error = refused.expect_err("it could not be read again");
            assert!(matches!(&error, ReportsError::Rejected(it) if it.contains("findings")), "{error}");
        }
        assert!(room.reports.get(&many[1].key).await.expect("both answer").is_none());
    }
    assert_eq!(room.reports.counters().primary_failures, 0);
}

#[tokio::test]
async fn old_tombstones_go_from_a_shelf_without_a_primary_and_from_no_other() {
    let primary: Arc<dyn Primary> = Arc::new(MemoryPrimary::default());
    for (primary, goes) in [(None, 1), (Some(primary), 0)] {
        let room = Room::new(primary);
        room.put(Mode::Off, "workload/1").await;
        room.reports.delete(&key("workload/1")).await.expect("answers");
        room.write("larder/tombstone/workload/2", "rubbish").await;
        let sweep = async |hours| {
            let now = Timestamp::now() + SignedDuration::from_hours(hours);
            room.reports.sweep(now).await.expect("answers").tombstones
        };
        assert_eq!(sweep(23).await, 0, "what is under way may still arrive");
        assert_eq!(sweep(25).await, goes);
        assert_eq!(sweep(25).await, 0);
    }
}

#[tokio::test]
async fn of_scans_that_nobody_dates_the_one_that_was_written_later_counts() {
    let directory = tempfile::tempdir().expect("a directory");
    let room = Room::new(Some(Arc::new(in_sql(&directory).await)));
    for (number, at) in ["0001-01-01T00:00:00Z", "1600-01-01T00:00:00Z"].into_iter().enumerate() {
        let scan = |payload: &'static str| Report {
            scanned_at: at.parse().expect("a time"),
            payload: payload.into(),
            ..report(&format!("workload/{number}"), 0)
        };
        for modes in [[Mode::Auto, Mode::Off], [Mode::Off, Mode::Auto]] {
            for (mode, payload) in modes.into_iter().zip(["first", "second"]) {
                room.reports.set_mode(mode).await;
                let put = room.reports.put(&scan(payload)).await.expect("both answer").put;
                let answered = room.reports.get(&scan("").key).await.expect("both answer").expect("is there");
                assert_eq!(answered.report.payload, payload, "{mode}: what was put last");
                assert_eq!(Put::Stored(answered.version), put);
            }
        }
    }
}

#[tokio::test]
async fn a_tombstone_that_no_clock_has_made_can_be_outbid_in_both_stores() {
    for (mode, on_shelf) in [(Mode::Auto, true), (Mode::Auto, false), (Mode::Off, true), (Mode::Off, false)] {
        let primary = Arc::new(MemoryPrimary::default());
        let room = Room::new(Some(Arc::clone(&primary) as Arc<dyn Primary>));
        let tombstone = Tombstone { key: key("workload/1"), sequence: i64::MAX - 10 };
        if on_shelf {
            room.reports.shelf().bury(&tombstone).await.expect("memory answers");
        } else {
            primary.bury_one(&tombstone.key, tombstone.sequence);
        }
        room.put(mode, "workload/1").await;
        let answered = room.reports.get(&tombstone.key).await.expect("both answer");
        assert!(answered.is_some_and(|it| it.complete), "{mode}, {on_shelf}");
    }
}
