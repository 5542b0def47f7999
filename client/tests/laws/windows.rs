//! Races that were reasoned about, each played step by step: what moves between a look at the shelf and a look at the primary is neither missed
//! nor brought back, and in calm one look at each is all.

use bytes::Bytes;
use larder_client::fallback::shelf::{Placed, Tombstone};
use larder_client::fallback::{Condition, KeyValue as _, Mode, Operation, Put, Reports, ReportsError, Store};
use larder_client::reports::ReportKey;

use crate::stage::Scene::{Home, Out, Quiet, StoneHome, StoneOut};
use crate::stage::{Stage, key, report};

const A: &str = "workload/a";
/// A sequence of a clock that is far ahead.
const AHEAD: i64 = 1 << 40;

impl Stage {
    fn place(&self, name: &str, second: i64, sequence: i64) {
        use larder_client::migrate::{Parcel, Written};
        let parcel = Parcel::new(report(name, second), sequence);
        assert_eq!(self.primary.bring(&parcel), Written::Stored);
    }

    async fn shelve(&self, name: &str, second: i64, sequence: i64) {
        let placed = self.shelf.put(&report(name, second), sequence).await.expect("memory answers");
        assert_eq!(placed, Placed::Stored);
    }

    /// Writes a value as an older controller does.
    async fn overwrite(&self, name: &str, value: &'static str) {
        let (key, value) = (format!("scan/data/report/{name}"), Bytes::from_static(value.as_bytes()));
        let put = Operation::Put { key, value, condition: Condition::Any };
        assert!(self.store.commit(vec![put]).await.expect("memory answers"));
    }
}

/// The scan that is told for certain, in each way that one can ask; `play` begins the race anew each time.
async fn told(reports: &Reports, mut play: impl AsyncFnMut()) -> Option<i64> {
    let second = |it: jiff::Timestamp| it.as_second();
    play().await;
    let got = reports.get(&key(A)).await.expect("both answer");
    assert!(got.as_ref().is_none_or(|it| it.complete), "both answered");
    let got = got.map(|it| second(it.report.scanned_at));
    play().await;
    let version = reports.version(&key(A)).await.expect("both answer").map(|it| second(it.scanned_at));
    assert_eq!(version, got);
    play().await;
    let page = reports.list("workload/", None, 10).await.expect("both answer");
    assert!(page.complete && page.next.is_none() && page.unreadable.is_empty());
    let listed: Vec<_> = page.items.iter().map(|it| (it.0.as_str(), second(it.1.scanned_at))).collect();
    assert_eq!(listed, got.map(|it| (A, it)).into_iter().collect::<Vec<_>>());
    play().await;
    let mut stream = reports.get_many("workload/");
    let streamed = stream.next().await.expect("both answer").map(|it| second(it.report.scanned_at));
    assert_eq!(streamed, got);
    assert!(stream.next().await.expect("both answer").is_none() && stream.is_complete());
    got
}

#[tokio::test]
async fn in_calm_both_stores_are_asked_once() {
    let stage = Stage::new();
    stage.place(A, 1, 10);
    let reports = stage.controller(Mode::Auto).await;
    let again = reports.counters().asked_again;
    stage.play(&[], &[]);
    assert!(reports.get(&key(A)).await.expect("answers").is_some_and(|it| it.complete));
    assert_eq!(stage.calls(), [1, 1]);
    stage.play(&[], &[]);
    assert!(reports.get(&key("workload/b")).await.expect("answers").is_none());
    assert_eq!(stage.calls(), [1, 1], "nothing is told after one look too");
    stage.play(&[], &[]);
    assert_eq!(reports.list("", None, 10).await.expect("answers").items.len(), 1);
    assert_eq!(stage.calls()[1], 1);
    assert_eq!(reports.counters().asked_again, again);
}

#[tokio::test]
async fn what_is_taken_out_between_two_looks_is_found() {
    let stage = Stage::new();
    stage.place(A, 1, 10);
    let reports = stage.controller(Mode::Auto).await;
    let race = async || {
        stage.act(Home(A)).await;
        stage.play(&[Out(A)], &[]);
    };
    assert_eq!(told(&reports, race).await, Some(1));
    assert!(reports.counters().asked_again > 0);
}

#[tokio::test]
async fn what_goes_to_and_fro_is_found_when_it_rests() {
    let stage = Stage::new();
    stage.place(A, 1, 10);
    let reports = stage.controller(Mode::Auto).await;
    let race = async || {
        stage.act(Home(A)).await;
        stage.play(&[Out(A), Out(A), Out(A)], &[Home(A), Home(A), Home(A)]);
    };
    assert_eq!(told(&reports, race).await, Some(1));
}

#[tokio::test]
async fn an_older_copy_is_not_told_while_the_newest_travels() {
    let stage = Stage::new();
    let reports = stage.controller(Mode::Auto).await;
    let race = async || {
        // The newest in the primary, an older one on the shelf.
        stage.act(Home(A)).await;
        if stage.primary.stamped(&key(A)).is_none() {
            stage.place(A, 2, 20);
        }
        stage.shelve(A, 1, 10).await;
        stage.play(&[Out(A), Out(A)], &[Home(A)]);
    };
    assert_eq!(told(&reports, race).await, Some(2));
}

#[tokio::test]
async fn a_deleted_report_is_not_told_while_its_tombstone_travels() {
    let stage = Stage::new();
    let reports = stage.controller(Mode::Auto).await;
    let race = async || {
        // What is dead on the shelf is hidden by a tombstone in the primary, and that goes to the shelf, to and fro.
        stage.act(StoneHome(A)).await;
        stage.primary.bury_one(&key(A), 15);
        stage.shelve(A, 1, 10).await;
        stage.play(&[StoneOut(A), StoneOut(A)], &[StoneHome(A)]);
    };
    assert_eq!(told(&reports, race).await, None);
}

#[tokio::test]
async fn what_never_rests_is_told_to_be_unknown() {
    let stage = Stage::new();
    stage.place(A, 1, 10);
    let reports = stage.controller(Mode::Auto).await;
    let race = async || {
        stage.act(Home(A)).await;
        stage.play_for_ever(&[Out(A)], &[Home(A)]);
    };
    let unknown = |error: &ReportsError| matches!(error, ReportsError::Unavailable { .. });
    race().await;
    assert!(reports.get(&key(A)).await.is_err_and(|it| unknown(&it)), "it is not said to be absent");
    race().await;
    let page = reports.list("", None, 10).await.expect("others are told");
    assert!(!page.complete && page.items.is_empty());
    race().await;
    let mut stream = reports.get_many("");
    let error = stream.next().await.expect_err("not all came");
    assert!(matches!(error, ReportsError::Incomplete) && !stream.is_complete(), "{error}");
    assert!(stream.next().await.expect("is over").is_none());
    race().await;
    assert!(!reports.delete_prefix("").await.expect("others are deleted").complete);
    race().await;
    assert!(reports.delete(&key(A)).await.expect("it is below the tombstone, wherever it is").complete);

    // One from a clock that is ahead is below no tombstone, unless somebody knows of it.
    let stage = Stage::new();
    stage.place(A, 2, AHEAD);
    stage.place("workload/b", 1, 10);
    let reports = stage.controller(Mode::Auto).await;
    stage.play_for_ever(&[Out(A)], &[Home(A)]);
    let error = reports.delete(&key(A)).await.expect_err("nobody knows how new it is");
    assert!(unknown(&error) && error.is_undecided());
    // Others are told all the same.
    let stage = Stage::new();
    stage.place(A, 2, 20);
    stage.place("workload/b", 1, 10);
    let reports = stage.controller(Mode::Auto).await;
    stage.play_for_ever(&[Out(A)], &[Home(A)]);
    let page = reports.list("", None, 10).await.expect("answers");
    assert_eq!(page.items.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(), ["workload/b"]);
    assert!(!page.complete);
}

#[tokio::test]
async fn pages_end_where_one_of_their_own_looks_did() {
    let names =
        ["workload/1", "workload/2", "workload/3", "workload/4", "workload/5", "workload/6", "workload/7"];
    let all: Vec<_> = names.iter().map(|it| key(it)).collect();
    for limit in 1..=4 {
        for shift in 0..names.len() {
            let stage = Stage::new();
            for (number, name) in names.iter().enumerate() {
                match number % 3 {
                    0 => stage.shelve(name, 1, 10).await,
                    _ => stage.place(name, 1, 10),
                }
            }
            // Tombstones of others, which make no lines and end no page too early.
            for name in ["workload/0", "workload/45", "workload/8"] {
                stage.primary.bury_one(&key(name), 5);
                stage.shelf.bury(&Tombstone { key: key(name), sequence: 5 }).await.expect("answers");
            }
            let reports = stage.controller(Mode::Auto).await;
            let turned = |by: usize| names.iter().cycle().skip(shift + by).take(names.len()).copied();
            let (out, home): (Vec<_>, Vec<_>) = (turned(0).map(Out).collect(), turned(3).map(Home).collect());
            stage.play_for_ever(&out, &home);
            let (mut listed, mut after): (Vec<ReportKey>, _) = (Vec::new(), None);
            loop {
                let page = reports.list("workload/", after.as_ref(), limit).await.expect("answers");
                assert!(page.complete && page.items.len() <= limit);
                listed.extend(page.items.into_iter().map(|it| it.0));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(listed, all, "{limit} at a time, from {shift} on");
        }
    }
}

#[tokio::test]
async fn who_has_slept_long_looks_twice() {
    let stage = Stage::new();
    stage.place(A, 1, 10);
    let reports = stage.controller(Mode::Auto).await;
    // More departures than the primary remembers.
    for _ in 0..10 {
        stage.act(Out(A)).await;
        stage.act(Home(A)).await;
    }
    let again = reports.counters().asked_again;
    stage.play(&[Quiet, Quiet], &[]);
    assert!(reports.get(&key(A)).await.expect("answers").is_some_and(|it| it.complete));
    assert_eq!(reports.counters().asked_again, again + 1);
    let newcomer = stage.newcomer(Mode::Auto);
    stage.play(&[Out(A)], &[]);
    assert!(newcomer.get(&key(A)).await.expect("answers").is_some_and(|it| it.complete));
}

/// Puts beside a tombstone of a clock that is ahead, which travels meanwhile; what is acknowledged is found.
async fn puts_above(stage: &Stage, reports: &Reports, many: bool, store: Store) {
    let put = match many {
        false => reports.put(&report(A, 1)).await,
        true => reports.put_many(&[report(A, 1)]).await.remove(0),
    };
    let answer = put.expect("both answer");
    assert!(matches!(answer.put, Put::Stored(_)) && answer.store == store);
    stage.play(&[], &[]);
    assert!(
        reports.get(&key(A)).await.expect("answers").is_some_and(|it| it.complete),
        "what was put is there"
    );
}

#[tokio::test]
async fn a_put_into_the_primary_lies_above_a_tombstone_that_leaves_it() {
    for many in [false, true] {
        for homes in [&[][..], &[StoneHome(A)][..], &[StoneHome(A), StoneHome(A)][..]] {
            let stage = Stage::new();
            stage.primary.bury_one(&key(A), AHEAD);
            let reports = stage.controller(Mode::Auto).await;
            stage.play(&[StoneOut(A), StoneOut(A)], homes);
            puts_above(&stage, &reports, many, Store::Primary).await;
        }
    }
}

#[tokio::test]
async fn a_put_onto_the_shelf_lies_above_a_tombstone_that_comes_there() {
    for homes in [&[][..], &[StoneHome(A)][..]] {
        let stage = Stage::new();
        stage.primary.bury_one(&key(A), AHEAD);
        let reports = stage.controller(Mode::Off).await;
        stage.play(&[StoneOut(A), StoneOut(A)], homes);
        puts_above(&stage, &reports, false, Store::Fallback).await;
    }
}

#[tokio::test]
async fn a_delete_lies_above_a_report_that_travels() {
    for (to_primary, to_shelf) in [
        (&[Out(A)][..], &[Home(A)][..]),
        (&[Out(A), Out(A)], &[Home(A), Home(A)]),
        (&[Home(A), Out(A)], &[Quiet, Home(A)]),
        (&[Out(A)], &[]),
    ] {
        let stage = Stage::new();
        stage.place(A, 1, AHEAD);
        let reports = stage.controller(Mode::Auto).await;
        stage.play(to_primary, to_shelf);
        let task = tokio::spawn({
            let reports = reports.clone();
            async move { reports.delete(&key(A)).await }
        });
        task.await.expect("ends").expect("both answer");
        stage.play(&[], &[]);
        assert!(reports.get(&key(A)).await.expect("answers").is_none(), "{to_primary:?} {to_shelf:?}");
    }
}

#[tokio::test]
async fn many_are_deleted_with_the_earlier_scans_that_were_written_later() {
    for prefix in ["", "workload/"] {
        let stage = Stage::new();
        let reports = stage.controller(Mode::Auto).await;
        // The earlier scan was put while the primary was away; it is not what is listed.
        stage.place(A, 5, 10);
        stage.shelve(A, 3, 20).await;
        stage.shelve("workload/b", 5, 10).await;
        stage.place("workload/b", 3, 20);
        let swept = reports.delete_prefix(prefix).await.expect("both answer");
        assert_eq!((swept.deleted, swept.complete), (2, true));
        for name in [A, "workload/b"] {
            let left = reports.get(&key(name)).await.expect("both answer");
            assert!(left.is_none(), "{left:?} came in place of what was deleted");
        }
    }
}

#[tokio::test]
async fn what_was_not_deleted_is_not_counted() {
    let stage = Stage::new();
    let reports = stage.controller(Mode::Auto).await;
    stage.shelve(A, 5, 10).await;
    stage.overwrite(A, "an older controller's").await;
    let swept = reports.delete_prefix("").await.expect("both answer");
    let left = reports.get(&key(A)).await.expect("both answer");
    assert_eq!((swept.deleted, left.is_some()), (0, true));
    assert_eq!(reports.delete_prefix("").await.expect("both answer").deleted, 1);
    assert!(reports.get(&key(A)).await.expect("both answer").is_none());
}
