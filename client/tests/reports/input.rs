//! What cannot be stored, and what is there after a restart.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use larder_client::database::Database;
use larder_client::reports::{
    Check, Finding, Moving, PAYLOAD_LIMIT, Put, Report, ReportError, ReportKey, Selection,
};
use larder_client::wire::{Request, Statement};

use crate::{report, store};

#[tokio::test]
async fn a_clock_in_the_future_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (_, store) = store(directory.path()).await;
    let ahead = |minutes| Report {
        scanned_at: Timestamp::now() + SignedDuration::from_mins(minutes),
        ..report("a/1", 0, "x")
    };
    assert!(matches!(store.put(&ahead(59)).await.unwrap(), Put::Stored(_)));
    let error = store.put(&ahead(61)).await.unwrap_err();
    assert!(matches!(&error, ReportError::ClockAhead { key, .. } if key.as_str() == "a/1"), "{error}");
    assert!(error.blames_the_caller());
    assert!(matches!(Moving::new(ahead(61), 1), Err(ReportError::ClockAhead { .. })));
    let both = [report("a/2", 0, "x"), Report { scanned_at: Timestamp::MAX, ..report("a/3", 0, "x") }];
    assert!(matches!(store.put_many(&both).await, Err(ReportError::ClockAhead { .. })));
    assert_eq!(store.count("").await.unwrap(), 1);
}

#[tokio::test]
async fn a_scan_of_an_unknown_time_is_the_oldest() {
    let directory = tempfile::tempdir().unwrap();
    let (_, store) = store(directory.path()).await;
    let unknown =
        Report { scanned_at: "0001-01-01T00:00:00Z".parse().unwrap(), ..report("a/1", 0, "unknown") };
    let moving = [Moving::new(unknown.clone(), 5).unwrap()];
    assert_eq!(store.put_moved(&moving).await.unwrap(), [Put::Stored(moving[0].version())]);
    assert_eq!(store.confirm(&moving).await.unwrap(), [larder_client::reports::Confirmed::Same]);
    assert!(matches!(store.put(&report("a/1", -100, "known")).await.unwrap(), Put::Stored(_)));
    assert!(matches!(store.put(&unknown).await.unwrap(), Put::Superseded(_)));
}

#[tokio::test]
async fn what_is_too_large_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (_, store) = store(directory.path()).await;
    let plain = report("a/1", 0, "x");
    let payload = Report { payload: Bytes::from(vec![0; PAYLOAD_LIMIT + 1]), ..plain.clone() };
    let version = Report { scanner_version: "x".repeat(5000), ..plain.clone() };
    let mut tag = plain.clone();
    tag.asset.tag = "x".repeat(5000);
    for (report, part) in [(payload, "payload"), (version, "scanner_version"), (tag, "tag")] {
        let error = store.put(&report).await.unwrap_err();
        assert!(matches!(&error, ReportError::TooLarge { what, .. } if *what == part), "{error}");
    }
    assert_eq!(store.count("").await.unwrap(), 0);
}

#[tokio::test]
async fn the_largest_payload_fits() {
    let directory = tempfile::tempdir().unwrap();
    let (_, store) = store(directory.path()).await;
    let bytes: Vec<u8> = (0..PAYLOAD_LIMIT).map(|it| (it / 5) as u8).collect();
    let largest = Report { payload: bytes.into(), ..report("a/1", 10, "") };
    store.put(&largest).await.unwrap();
    assert_eq!(store.get(&largest.key).await.unwrap().unwrap().report, largest);
    let empty = report("a/1", 20, "");
    store.put(&empty).await.unwrap();
    assert_eq!(store.get(&empty.key).await.unwrap().unwrap().report, empty);
}

#[tokio::test]
async fn keys_of_any_text() {
    let directory = tempfile::tempdir().unwrap();
    let (_, store) = store(directory.path()).await;
    let longest = format!("a/{}", "\u{10ffff}".repeat(255));
    let texts =
        ["a/ ", "a/\u{1}", "a/\n\"\\", "a/a\u{301}", "a/á", "A/1", "a/1", "b//", "b/%/_", longest.as_str()];
    for text in texts {
        store.put(&report(text, 0, text)).await.unwrap();
    }
    let keys: Vec<ReportKey> = texts.iter().map(|text| text.parse().unwrap()).collect();
    for key in &keys {
        assert_eq!(store.get(key).await.unwrap().unwrap().report.payload, key.as_str().as_bytes());
    }
    let mut stream = store.get_many(Selection::keys(&keys));
    let mut found = Vec::new();
    while let Some(stored) = stream.next().await.unwrap() {
        found.push(stored.report.key);
    }
    let mut sorted = keys.clone();
    sorted.sort();
    assert_eq!(found, sorted);
    assert_eq!(store.retain("", &keys, Timestamp::now()).await.unwrap(), 0);
}

#[tokio::test]
async fn findings_of_any_text() {
    let directory = tempfile::tempdir().unwrap();
    let (_, store) = store(directory.path()).await;
    let finding = |name: &str, score| Finding { name: name.to_owned(), score, ..Finding::default() };
    let findings = vec![
        finding("", f32::NAN),
        finding("'; DROP TABLE report", f32::INFINITY),
        finding("\0", -1.0),
        finding("CVE-2021-0001", 1e30),
    ];
    let checks = Some(vec![Check { message: vec!["\0".to_owned()], ..Check::default() }]);
    store.put(&Report { findings: Some(findings), checks, ..report("a/1", 0, "x") }).await.unwrap();
    let line = store.list(larder_client::reports::List::default()).await.unwrap().reports.swap_remove(0);
    assert_eq!((line.summary.low, line.summary.score), (4, 100));
}

#[tokio::test]
async fn reports_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (database, first) = store(directory.path()).await;
    first.put(&report("a/1", 10, "x")).await.unwrap();
    first.put(&report("a/2", 10, "x")).await.unwrap();
    first.delete(&"a/2".parse().unwrap()).await.unwrap();
    let before = first.find(&"a/2".parse().unwrap()).await.unwrap();
    database.close();
    let error = first.put(&report("a/3", 10, "x")).await.unwrap_err();
    assert!(!error.blames_the_caller(), "{error}");
    drop((database, first));

    let (_, again) = store(directory.path()).await;
    assert_eq!(again.count("").await.unwrap(), 1);
    assert_eq!(again.find(&"a/2".parse().unwrap()).await.unwrap(), before);
    assert!(matches!(again.put(&report("a/1", 9, "x")).await.unwrap(), Put::Superseded(_)));
}

#[tokio::test]
async fn a_row_of_somebody_else_is_named_and_missing_pieces_are_no_report() {
    let directory = tempfile::tempdir().unwrap();
    let (database, store) = store(directory.path()).await;
    let large = Report { payload: vec![7; 5 << 20].into(), ..report("a/1", 10, "") };
    store.put(&large).await.unwrap();
    store.put(&report("a/2", 10, "x")).await.unwrap();
    let spoil = ["DELETE FROM payload_part WHERE part = 1", "UPDATE report SET size = 7 WHERE key = 'a/2'"];
    database.execute(&Request::new(spoil.map(Statement::new))).await.unwrap();
    for key in ["a/1", "a/2"] {
        let error = store.get(&key.parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, ReportError::Unreadable { .. }), "{error}");
    }
}

#[tokio::test]
async fn lists_and_streams_read_by_their_indexes() {
    let directory = tempfile::tempdir().unwrap();
    let (database, _) = store(directory.path()).await;
    let plan = async |sql: &str, arguments: Vec<larder_client::wire::Value>| {
        let explain = Statement::with(format!("EXPLAIN QUERY PLAN {sql}"), arguments);
        let rows = database.query(&Request::new([explain])).await.unwrap().results.swap_remove(0).rows;
        format!("{rows:?}")
    };
    let list = "SELECT key, name, score FROM report WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT 10";
    let found = plan(list, vec!["a".into(), "b".into()]).await;
    assert!(
        found.contains("COVERING INDEX report_summary (key>? AND key<?)") && !found.contains("TEMP B-TREE"),
        "{found}"
    );
    let stats = "SELECT class, SUM(size) FROM report GROUP BY class";
    let found = plan(stats, vec![]).await;
    assert!(found.contains("COVERING INDEX report_summary"), "{found}");
    let chosen = "SELECT payload FROM report WHERE key >= ?1 AND key < ?2 AND key IN (SELECT value FROM json_each(?3)) ORDER BY key";
    let found = plan(chosen, vec!["a".into(), "b".into(), "[]".into()]).await;
    assert!(found.contains("(key=?)") && !found.contains("ORDER BY"), "{found}");
}
