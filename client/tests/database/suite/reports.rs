//! Reports, as every database keeps them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use larder_client::database::Database;
use larder_client::fallback::Primary;
use larder_client::reports::{
    Asset, Check, Clock, Confirmed, Encoding, Finding, List, Moving, Put, Report, ReportError, ReportKey,
    ReportStore, Selection, Severity, Tombstone, Version,
};
use larder_client::schema;
use larder_client::wire::Value;

use super::{count, execute, rows};

async fn store(database: &Arc<dyn Database>) -> ReportStore {
    schema::prepare(&**database).await.unwrap();
    ReportStore::new(Arc::clone(database), Arc::new(Clock::new(1)))
}

fn key(text: &str) -> ReportKey {
    text.parse().unwrap()
}

fn keys(texts: &[&str]) -> Vec<ReportKey> {
    texts.iter().map(|text| key(text)).collect()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn version(second: i64, sequence: i64) -> Version {
    Version { scanned_at: at(second), sequence }
}

/// A report with nothing but a payload.
fn plain(text: &str, second: i64, payload: &str) -> Report {
    Report {
        key: key(text),
        scanned_at: at(second),
        scanner_version: "3.422".to_owned(),
        encoding: Encoding::Opaque,
        payload: payload.to_owned().into(),
        asset: Asset::default(),
        findings: None,
        checks: None,
    }
}

/// A report with everything.
fn full(text: &str, second: i64) -> Report {
    let finding = |name: &str, severity, score| Finding {
        name: name.to_owned(),
        severity,
        score,
        score_v3: 6.5,
        package: "linux-libc-dev".to_owned(),
        ..Finding::default()
    };
    let asset = |field: &str| format!("{field} 'ä%_\u{10ffff}");
    Report {
        encoding: Encoding::GzipGob,
        payload: (0..=255).collect::<Vec<u8>>().into(),
        asset: Asset {
            name: asset("name"),
            namespace: asset("namespace"),
            service: asset("service"),
            image: asset("image"),
            os: asset("os"),
            node: asset("node"),
            repository: asset("repository"),
            tag: asset("tag"),
        },
        findings: Some(vec![
            finding("CVE-2021-20530", Severity::High, 7.5),
            finding("CVE-2020-0001", Severity::Low, 9.3),
            finding("GHSA-x", Severity::Low, 1.0),
        ]),
        checks: Some(vec![Check {
            test_number: "1.2.3".to_owned(),
            level: "WARN".to_owned(),
            ..Check::default()
        }]),
        ..plain(text, second, "")
    }
}

async fn payload(store: &ReportStore, text: &str) -> Option<String> {
    let stored = store.get(&key(text)).await.unwrap()?;
    Some(String::from_utf8(stored.report.payload.to_vec()).unwrap())
}

async fn listed(store: &ReportStore, prefix: &str) -> Vec<String> {
    let page = store.list(List { prefix, ..List::default() }).await.unwrap();
    page.reports.into_iter().map(|it| it.key.to_string()).collect()
}

pub(crate) async fn a_report_comes_back_bit_for_bit(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let report = full("image/quay.io:5000/team/../'; DROP TABLE report --/ä%_", 1_700_000_000);
    let nanosecond =
        Report { scanned_at: "2024-05-01T10:00:00.123456789Z".parse().unwrap(), ..report.clone() };
    let Put::Stored(version) = store.put(&nanosecond).await.unwrap() else { panic!() };
    let stored = store.get(&report.key).await.unwrap().unwrap();
    assert_eq!(stored.version, version);
    assert_eq!(stored.report, Report { findings: None, checks: None, ..nanosecond });
    assert!(stored.given && stored.packed.is_some() && stored.checks.is_some());

    let page = store.list(List { prefix: "image/", ..List::default() }).await.unwrap();
    let line = &page.reports[0];
    assert_eq!((line.size, line.summary.score, line.summary.score_v3), (256, 93, 65));
    assert_eq!((line.summary.high, line.summary.low, line.summary.critical), (1, 2, 0));
    assert_eq!((&line.asset, line.encoding), (&report.asset, Encoding::GzipGob));
    let names = rows(&*database, "SELECT name FROM vulnerability_name").await;
    assert_eq!(names, [[Value::Text("GHSA-x".to_owned())]]);
    assert!(store.exists(&report.key).await.unwrap());
    assert!(!store.exists(&key("image/x")).await.unwrap());
}

/// Puts under a sequence that is given.
async fn put_at(store: &ReportStore, report: &Report, sequence: i64) -> Result<Put, ReportError> {
    Ok(store.put_sequenced(&[(report, sequence)]).await?.remove(0))
}

pub(crate) async fn findings_come_back_as_their_writer_gave_them(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let json = Report {
        encoding: Encoding::Json,
        payload: r#"{"Vuls":[{"Name":"CVE-2021-20530","Score":7.5}]}"#.into(),
        ..plain("a/read", 10, "")
    };
    store.put_many(&[json.clone(), full("a/given", 10)]).await.unwrap();
    let read = Primary::get(&store, &json.key, None).await.unwrap().answer.copy.unwrap().report;
    assert_eq!(read, json);
    let stored = store.get(&json.key).await.unwrap().unwrap();
    assert!(!stored.given && stored.packed.is_some(), "questions know what was read");

    let keys = keys(&["a/given", "a/read"]);
    let mut stream = Primary::stream(&store, &keys).await.unwrap();
    let given = stream.next().await.unwrap().unwrap().report;
    assert_eq!(given.findings.map(|it| it.len()), Some(3));
    assert_eq!(given.checks, full("a/given", 10).checks);
    assert_eq!(stream.next().await.unwrap().unwrap().report, json);
}

pub(crate) async fn an_older_report_changes_nothing(database: Arc<dyn Database>) {
    let store = store(&database).await;
    assert_eq!(put_at(&store, &plain("a/1", 20, "new"), 5).await.unwrap(), Put::Stored(version(20, 5)));
    let older = put_at(&store, &plain("a/1", 10, "old"), 9).await.unwrap();
    assert_eq!(older, Put::Superseded(version(20, 5)));
    let earlier = put_at(&store, &plain("a/1", 20, "earlier"), 4).await.unwrap();
    assert_eq!(earlier, Put::Superseded(version(20, 5)));
    let again = put_at(&store, &plain("a/1", 20, "new"), 5).await.unwrap();
    assert_eq!(again, Put::Stored(version(20, 5)));
    assert_eq!(payload(&store, "a/1").await.as_deref(), Some("new"));
    let first = store.get(&key("a/1")).await.unwrap().unwrap().id;
    put_at(&store, &plain("a/1", 20, "later"), 6).await.unwrap();
    let second = store.get(&key("a/1")).await.unwrap().unwrap();
    assert_eq!(&second.report.payload[..], b"later");
    assert!(second.id > first, "an id is never given twice");
    assert_eq!(count(&*database, "report").await, 1);
}

pub(crate) async fn a_put_comes_after_the_delete(database: Arc<dyn Database>) {
    // Somebody's clock is ahead by a year; the clocks of who deletes and puts are not.
    let ahead = Clock::latest(Timestamp::now() + SignedDuration::from_hours(24 * 365));
    let store = store(&database).await;
    put_at(&store, &plain("a/1", 10, "x"), ahead).await.unwrap();
    assert!(store.delete(&key("a/1")).await.unwrap());
    let tombstone = store.tombstone(&key("a/1")).await.unwrap();
    assert!(tombstone > Some(ahead));
    // A request that comes late brings nothing back. Who lives is above the deletion, though the scan is older than the one that was deleted.
    let again = ReportStore::new(Arc::clone(&database), Arc::new(Clock::new(7)));
    assert_eq!(
        put_at(&again, &plain("a/1", 20, "late"), 5).await.unwrap(),
        Put::Suppressed(tombstone.unwrap())
    );
    let again = ReportStore::new(database, Arc::new(Clock::new(8)));
    let Put::Stored(version) = again.put(&plain("a/1", 5, "y")).await.unwrap() else { panic!() };
    assert!(Some(version.sequence) > tombstone);
    assert_eq!(payload(&store, "a/1").await.as_deref(), Some("y"));
    assert!(!store.delete(&key("a/2")).await.unwrap(), "there was none");
    let found = store.find(&key("a/2")).await.unwrap();
    assert!(found.report.is_none() && found.tombstone.is_some());
}

pub(crate) async fn what_was_written_later_yields_to_who_lives(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let ahead = Clock::latest(Timestamp::now() + SignedDuration::from_hours(1));
    put_at(&store, &plain("a/1", 10, "later"), ahead).await.unwrap();
    let late = put_at(&store, &plain("a/1", 20, "newer"), 5).await.unwrap();
    assert_eq!(late, Put::Superseded(version(10, ahead)));
    let Put::Stored(version) = store.put(&plain("a/1", 20, "newer")).await.unwrap() else { panic!() };
    assert!(version.sequence > ahead);
    assert_eq!(payload(&store, "a/1").await.as_deref(), Some("newer"));
}

pub(crate) async fn a_moved_report_stays_deleted(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let moving = |second, sequence| [Moving::new(plain("a/1", second, "moved"), sequence).unwrap()];
    store.bury(&[Tombstone { key: key("a/1"), sequence: 9 }]).await.unwrap();
    assert_eq!(store.put_moved(&moving(99, 8)).await.unwrap(), [Put::Suppressed(9)]);
    assert_eq!(payload(&store, "a/1").await, None);
    // What was put after the delete is not touched by what was written before it, however late that was scanned.
    put_at(&store, &plain("a/1", 10, "put"), 12).await.unwrap();
    assert_eq!(store.put_moved(&moving(99, 8)).await.unwrap(), [Put::Suppressed(9)]);
    assert_eq!(store.put_moved(&moving(5, 20)).await.unwrap(), [Put::Superseded(version(10, 12))]);
    assert_eq!(payload(&store, "a/1").await.as_deref(), Some("put"));
    // It may have been deleted elsewhere before that put; who has seen the put and knows better says so.
    assert_eq!(store.put_moved(&moving(99, 10)).await.unwrap(), [Put::Superseded(version(10, 12))]);
    let knowing = moving(99, 10).map(|it| it.over(Some(version(10, 12))));
    assert_eq!(store.put_moved(&knowing).await.unwrap(), [Put::Stored(version(99, 10))]);
    assert_eq!(store.put_moved(&moving(99, 10)).await.unwrap(), [Put::Stored(version(99, 10))]);
    assert_eq!(payload(&store, "a/1").await.as_deref(), Some("moved"));
}

pub(crate) async fn what_was_moved_is_compared(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let moving = |text, sequence| Moving::new(full(text, 10), sequence).unwrap();
    let moved = [moving("a/2", 1), moving("a/1", 1), moving("a/4", 1)];
    store.put_moved(&moved).await.unwrap();
    assert_eq!(store.confirm(&moved).await.unwrap(), [Confirmed::Same; 3]);
    put_at(&store, &plain("a/4", 20, "newer"), 7).await.unwrap();
    let mut other = full("a/1", 10);
    other.asset.tag.push('x');
    let asked = [moving("a/3", 1), Moving::new(other, 1).unwrap(), moving("a/2", 2), moving("a/4", 1)];
    let expected =
        [Confirmed::Missing, Confirmed::Different, Confirmed::Missing, Confirmed::Newer(version(20, 7))];
    assert_eq!(store.confirm(&asked).await.unwrap(), expected);
}

pub(crate) async fn prefixes_are_literal(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let texts = ["a/%", "a/%x", "a/_", "a/a", "a/ä", "a/äx", "a/\u{10ffff}", "a/\u{10ffff}x", "ab/x", "a0/x"];
    for text in texts {
        store.put(&plain(text, 10, text)).await.unwrap();
    }
    assert_eq!(listed(&store, "a/%").await, ["a/%", "a/%x"]);
    assert_eq!(listed(&store, "a/_").await, ["a/_"]);
    assert_eq!(listed(&store, "a/ä").await, ["a/ä", "a/äx"]);
    assert_eq!(listed(&store, "a/\u{10ffff}").await, ["a/\u{10ffff}", "a/\u{10ffff}x"]);
    assert_eq!(listed(&store, "a/").await.len(), 8);
    assert_eq!(listed(&store, "").await.len(), 10);
    assert_eq!(store.count("a/%").await.unwrap(), 2);
    assert_eq!(store.delete_prefix("a/%").await.unwrap(), 2);
    assert_eq!(store.delete_prefix("a/\u{10ffff}").await.unwrap(), 2);
    assert_eq!(listed(&store, "").await, ["a/_", "a/a", "a/ä", "a/äx", "a0/x", "ab/x"]);
}

pub(crate) async fn pages_follow_each_other(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let reports: Vec<Report> = (0..25).map(|it| plain(&format!("a/{it:02}"), 10, "x")).collect();
    store.put_many(&reports).await.unwrap();
    store.put(&plain("b/1", 10, "x")).await.unwrap();
    let (mut after, mut all) = (None::<String>, Vec::new());
    loop {
        let page = store
            .list(List { prefix: "a/", after: after.as_deref(), limit: 10, allowed: None })
            .await
            .unwrap();
        all.extend(page.reports.iter().map(|it| it.key.clone()));
        if !page.more {
            break;
        }
        assert_eq!(page.reports.len(), 10);
        after = all.last().map(ToString::to_string);
    }
    assert_eq!(all, reports.iter().map(|it| it.key.clone()).collect::<Vec<_>>());
    let beyond = store.list(List { prefix: "a/", after: Some("b"), ..List::default() }).await.unwrap();
    assert_eq!((beyond.reports.len(), beyond.more), (0, false));
}

pub(crate) async fn allow_lists_of_any_length(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let reports: Vec<Report> = (0..30).map(|it| plain(&format!("a/{:06}", it * 1000), 10, "x")).collect();
    store.put_many(&reports).await.unwrap();
    // Some MB of keys, of which every second report is one.
    let allowed: Vec<ReportKey> = (0..30_000)
        .rev()
        .filter(|it| it % 2000 == 0 || it % 1000 != 0)
        .map(|it| key(&format!("a/{it:06}")))
        .collect();
    let (mut after, mut all) = (None::<String>, Vec::new());
    loop {
        let list = List { prefix: "a/", after: after.as_deref(), limit: 4, allowed: Some(&allowed) };
        let page = store.list(list).await.unwrap();
        all.extend(page.reports.iter().map(|it| it.key.to_string()));
        if !page.more {
            break;
        }
        after = all.last().cloned();
    }
    assert_eq!(all, (0..15).map(|it| format!("a/{:06}", it * 2000)).collect::<Vec<_>>());
    let none = store.list(List { allowed: Some(&[]), ..List::default() }).await.unwrap();
    assert_eq!((none.reports.len(), none.more), (0, false));
}

pub(crate) async fn what_is_not_live_goes(database: Arc<dyn Database>) {
    let store = store(&database).await;
    for text in ["a/1", "a/2", "a/3", "b/1"] {
        store.put(&plain(text, 10, "x")).await.unwrap();
    }
    let counted = Timestamp::now();
    // It was started after the live ones were counted.
    let later = Clock::latest(counted + SignedDuration::from_mins(1));
    put_at(&store, &plain("a/4", 10, "x"), later).await.unwrap();
    let mut live = keys(&["a/2"]);
    live.extend((0..20_000).map(|it| key(&format!("a/{it:040}"))));
    assert_eq!(store.retain("a/", &live, counted).await.unwrap(), 2);
    assert_eq!(listed(&store, "").await, ["a/2", "a/4", "b/1"]);
    assert!(store.tombstone(&key("a/1")).await.unwrap().is_some());
    assert_eq!(store.retain("b/", &[], counted).await.unwrap(), 1);
}

pub(crate) async fn old_reports_go(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let reports: Vec<Report> = (0..1200).map(|it| plain(&format!("a/{it}"), it, "x")).collect();
    store.put_many(&reports).await.unwrap();
    assert_eq!(store.expire("b/", at(5000)).await.unwrap(), 0);
    // Of the first nobody knows when it was scanned.
    assert_eq!(store.expire("a/", at(1100)).await.unwrap(), 1099);
    assert_eq!(store.count("").await.unwrap(), 101);
    assert_eq!(count(&*database, "tombstone").await, 1099);
}

pub(crate) async fn streams_are_in_order(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let reports: Vec<Report> =
        (0..300).map(|it| plain(&format!("a/{it:03}"), 10, &"x".repeat(it * 50))).collect();
    store.put_many(&reports).await.unwrap();
    store.put(&full("b/1", 10)).await.unwrap();
    let mut stream = store.get_many(Selection::prefix("a/"));
    for report in &reports {
        assert_eq!(stream.next().await.unwrap().unwrap().report, *report);
    }
    assert_eq!(stream.next().await.unwrap(), None);

    let wanted = ["a/007", "nothing", "b/1", "a/005", "a/005"];
    let mut stream = store.get_many(Selection::keys(wanted));
    let mut found = Vec::new();
    while let Some(stored) = stream.next().await.unwrap() {
        assert_eq!(stored.packed, None);
        found.push(stored.report.key.to_string());
    }
    assert_eq!(found, ["a/005", "a/007", "b/1"]);
    let mut stream = store.get_many(Selection::prefix("b/").with_findings());
    assert!(stream.next().await.unwrap().unwrap().packed.is_some());
}

pub(crate) async fn large_payloads_come_in_pieces(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let bytes = |length: usize, seed: u8| (0..length).map(|it| (it / 7) as u8 ^ seed).collect::<Vec<u8>>();
    let large =
        |length, second| Report { payload: bytes(length, second as u8).into(), ..plain("a/1", second, "") };
    let first = large(21 << 20, 10);
    store.put(&first).await.unwrap();
    assert_eq!(store.get(&first.key).await.unwrap().unwrap().report, first);
    assert_eq!(count(&*database, "payload_part").await, 6);

    // An older one leaves nothing behind, a newer one takes the pieces with it.
    assert!(matches!(store.put(&large(9 << 20, 5)).await.unwrap(), Put::Superseded(_)));
    assert_eq!(count(&*database, "payload_part").await, 6);
    let second = large((4 << 20) + 1, 20);
    store.put(&second).await.unwrap();
    assert_eq!(count(&*database, "payload_part").await, 2);
    store.put(&plain("a/0", 10, "small")).await.unwrap();
    let mut stream = store.get_many(Selection::prefix("a/"));
    assert_eq!(stream.next().await.unwrap().unwrap().report.key, key("a/0"));
    assert_eq!(stream.next().await.unwrap().unwrap().report, second);

    // What nobody names and is old is swept; what may still be named is not.
    execute(&*database, "INSERT INTO payload_part VALUES (1, 0, x'00')").await;
    assert_eq!(store.sweep(Timestamp::now() - SignedDuration::from_hours(1)).await.unwrap(), 1);
    store.delete(&first.key).await.unwrap();
    assert_eq!(count(&*database, "payload_part").await, 0);
}

pub(crate) async fn tombstones_are_told_and_forgotten(database: Arc<dyn Database>) {
    let store = store(&database).await;
    put_at(&store, &plain("a/1", 10, "x"), 5).await.unwrap();
    put_at(&store, &plain("a/2", 10, "x"), 9).await.unwrap();
    let tombstone = |text, sequence| Tombstone { key: key(text), sequence };
    let moved = [tombstone("a/1", 6), tombstone("a/2", 6), tombstone("a/3", 6)];
    assert_eq!(store.bury(&moved).await.unwrap(), 1);
    assert_eq!(listed(&store, "").await, ["a/2"]);
    assert_eq!(store.bury(&[tombstone("a/3", 2)]).await.unwrap(), 0);
    assert_eq!(store.tombstones(None, 2).await.unwrap(), moved[..2]);
    assert_eq!(store.tombstones(Some("a/2"), 2).await.unwrap(), moved[2..]);
    let hour = SignedDuration::from_hours(1);
    assert_eq!(store.purge_tombstones(Timestamp::now() - hour).await.unwrap(), 0);
    assert_eq!(store.purge_tombstones(Timestamp::now() + hour).await.unwrap(), 3);
    assert_eq!(store.tombstones(None, 9).await.unwrap(), []);
}

pub(crate) async fn figures_of_classes(database: Arc<dyn Database>) {
    let store = store(&database).await;
    assert_eq!(store.stats().await.unwrap(), []);
    let reports = [plain("host/1", 30, "four"), plain("host/2", 10, "x"), full("image/r/1", 20)];
    store.put_many(&reports).await.unwrap();
    let stats = store.stats().await.unwrap();
    assert_eq!((stats[0].class.as_str(), stats[0].reports, stats[0].bytes), ("host", 2, 5));
    assert_eq!((stats[0].oldest, stats[0].newest, stats[0].with_findings), (at(10), at(30), 0));
    assert_eq!((stats[1].class.as_str(), stats[1].reports, stats[1].with_findings), ("image", 1, 1));
}

pub(crate) async fn what_is_indexed_is_retired(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let texts = ["a/1", "a/2", "a/3", "a/4", "a/5", "a/6"];
    let reports: Vec<Report> = texts.iter().map(|text| full(text, 10)).collect();
    store.put_many(&reports[..4]).await.unwrap();
    store.put(&plain("a/0", 10, "x")).await.unwrap();
    execute(&*database, "UPDATE counter SET value = (SELECT max(id) FROM report) WHERE name = 'indexed'")
        .await;
    store.put_many(&reports[4..]).await.unwrap();
    let id = |text: &'static str| {
        let store = store.clone();
        async move { Value::Integer(store.get(&key(text)).await.unwrap().unwrap().id) }
    };
    let ids = [id("a/1").await, id("a/2").await, id("a/3").await, id("a/4").await];
    // Replaced, deleted, buried, expired; then one without findings, and two that the index does not know.
    store.put(&full("a/1", 20)).await.unwrap();
    store.delete(&key("a/2")).await.unwrap();
    store.bury(&[Tombstone { key: key("a/3"), sequence: i64::MAX }]).await.unwrap();
    store.delete_prefix("a/4").await.unwrap();
    for text in ["a/0", "a/5", "a/6"] {
        store.delete(&key(text)).await.unwrap();
    }
    let retired =
        rows(&*database, "SELECT report FROM retired WHERE length(findings) > 0 ORDER BY report").await;
    assert_eq!(retired, ids.map(|id| vec![id]));
}

pub(crate) async fn many_at_once(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let large = "x".repeat(300_000);
    let mut reports: Vec<Report> = (0..40).map(|it| plain(&format!("a/{it:02}"), 10, &large)).collect();
    reports.push(plain("a/00", 20, "newer"));
    reports.push(plain("a/00", 15, "older"));
    let puts = store.put_many(&reports).await.unwrap();
    assert!(puts[..41].iter().all(|put| matches!(put, Put::Stored(_))));
    assert!(matches!(puts[41], Put::Superseded(_)));
    assert_eq!(payload(&store, "a/00").await.as_deref(), Some("newer"));
    assert_eq!(store.count("a/").await.unwrap(), 40);
    assert_eq!(store.put_many(&[]).await.unwrap(), []);
    let asked = keys(&["a/01", "b/1", "a/00"]);
    let versions = store.versions(&asked).await.unwrap();
    assert_eq!(versions.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
}

pub(crate) async fn writers_race(database: Arc<dyn Database>) {
    schema::prepare(&*database).await.unwrap();
    let writers: Vec<_> = (0..8_i64)
        .map(|writer| {
            let store = ReportStore::new(Arc::clone(&database), Arc::new(Clock::new(writer as u16)));
            tokio::spawn(async move {
                for round in 0..20_i64 {
                    let second = (round * 37 + writer * 11) % 101 * 8 + writer;
                    let report = plain("a/1", second, &format!("{second} {writer}"));
                    let put = store.put(&report).await.unwrap();
                    assert!(!matches!(put, Put::Suppressed(_)));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let newest = (0..8_i64).flat_map(|writer| {
        (0..20_i64).map(move |round| ((round * 37 + writer * 11) % 101 * 8 + writer, writer))
    });
    let (second, writer) = newest.max().unwrap();
    let store = ReportStore::new(Arc::clone(&database), Arc::new(Clock::new(9)));
    assert_eq!(payload(&store, "a/1").await, Some(format!("{second} {writer}")));
    assert_eq!(count(&*database, "report").await, 1);
}
