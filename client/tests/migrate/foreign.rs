//! What NeuVector's own parts write beside us, in their order: first the report, then its state, which may stay behind, be shared or be wrong.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use larder_client::fallback::{
    Condition, KeyValue, Layout, Memory, Mode, Operation, Put, Reports, ReportsOptions, Shelf, Store,
};
use larder_client::migrate::leadership::Always;
use larder_client::migrate::*;
use larder_client::reports::{Asset, Clock, Encoding, Report, ReportKey, ReportStore};
use larder_client::wire::{Request, Statement, Value};

use crate::depots::in_sql;

/// A controller of ours, and the Consul that it shares with others.
struct Site {
    consul: Arc<Memory>,
    primary: ReportStore,
    reports: Reports,
    _home: crate::depots::Site,
}

const SCANNING: &str = r#"{"scanned_at":"0001-01-01T00:00:00Z","status":"scanning"}"#;

impl Site {
    async fn new() -> Self {
        let (primary, home) = in_sql("").await.ok().unwrap();
        let consul = Arc::new(Memory::new());
        let options = ReportsOptions { mode: Mode::Auto, ..ReportsOptions::default() };
        let shelf = Shelf::new(Arc::clone(&consul) as _, Layout::NeuVector);
        let reports =
            Reports::new(Some(Arc::new(primary.clone())), shelf, Arc::new(Clock::new(2)), || true, options);
        Self { consul, primary, reports, _home: home }
    }

    async fn write(&self, key: &str, value: impl Into<Vec<u8>>) {
        let put = Operation::Put {
            key: key.to_owned(),
            value: Bytes::from(value.into()),
            condition: Condition::Any,
        };
        assert!(self.consul.commit(vec![put]).await.unwrap());
    }

    async fn stands(&self, key: &str) -> bool {
        self.consul.get(&[key.to_owned()]).await.unwrap().remove(0).is_some()
    }

    async fn migrate(&self) -> Progress {
        let shelf = Shelf::new(Arc::clone(&self.consul) as _, Layout::NeuVector);
        let (leadership, gate) = (Arc::new(Always::default()), GateState::always_open());
        let mover = Mover::new(Arc::new(shelf), Arc::new(self.primary.clone()), leadership, gate);
        mover.pass().await.unwrap();
        mover.progress().borrow().to_owned()
    }

    async fn evacuate(&self) -> Progress {
        let shelf = Shelf::new(Arc::clone(&self.consul) as _, Layout::NeuVector);
        let (leadership, gate) = (Arc::new(Always::default()), GateState::always_open());
        let mover = Mover::new(Arc::new(self.primary.clone()), Arc::new(shelf), leadership, gate);
        mover.pass().await.unwrap();
        mover.progress().borrow().to_owned()
    }

    async fn payload(&self, key: &ReportKey) -> Option<Bytes> {
        self.reports.get(key).await.unwrap().map(|it| it.report.payload)
    }
}

fn key(text: &str) -> ReportKey {
    text.parse().unwrap()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

fn scan(time: &str) -> Vec<u8> {
    gzip(&format!(r#"{{"scanned_at":"{time}","Vuls":[]}}"#))
}

/// A report as NeuVector keeps it, `struct { ScannedAt time.Time; Version string }`.
fn gob(time: &str) -> Vec<u8> {
    let time: jiff::Timestamp = time.parse().unwrap();
    let mut gob = b"\x37\xff\xa9\x03\x01\x01\x0eCLUSScanReport\x01\xff\xaa\x00\x01\x02\x01\x09ScannedAt\x01\xff\x82\x00\x01\x07Version\x01\x0c\x00\x00\x00\
        \x10\xff\x81\x05\x01\x01\x04Time\x01\xff\x82\x00\x00\x00\x1b\xff\xaa\x01\x0f\x01".to_vec();
    // Since the beginning of the year 1.
    gob.extend((time.as_second() + 62_135_596_800).to_be_bytes());
    gob.extend(time.subsec_nanosecond().to_be_bytes());
    gob.extend(b"\xff\xff\x01\x053.422\x00");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&gob).unwrap();
    gzip.finish().unwrap()
}

fn bench(time: &str) -> Vec<u8> {
    gzip(&format!(r#"{{"status":0,"run_at":"{time}","version":"1","items":[]}}"#))
}

fn report(key: &ReportKey, time: &str, payload: Vec<u8>) -> Report {
    Report {
        key: key.clone(),
        scanned_at: time.parse().unwrap(),
        scanner_version: String::new(),
        encoding: Encoding::GzipJson,
        payload: payload.into(),
        asset: Asset::default(),
        findings: None,
        checks: None,
    }
}

#[tokio::test]
async fn a_report_whose_next_scan_has_begun_is_as_new_as_it_says() {
    for newer in [scan("2024-06-01T00:00:00Z"), gob("2024-06-01T00:00:00Z")] {
        let site = Site::new().await;
        let key = key("workload/r");
        let first = report(&key, "2024-01-01T00:00:00Z", scan("2024-01-01T00:00:00Z"));
        site.reports.put(&first).await.unwrap();
        site.write("scan/data/report/workload/r", newer.clone()).await;
        site.write("scan/state/report/workload/r", SCANNING).await;
        assert_eq!(site.payload(&key).await, Some(newer.clone().into()));
        assert_eq!(site.migrate().await.moved, 1);
        assert!(!site.stands("scan/data/report/workload/r").await);
        let answer = site.reports.get(&key).await.unwrap().unwrap();
        assert_eq!((answer.store, answer.report.payload), (Store::Primary, newer.into()));
    }
}

#[tokio::test]
async fn a_report_of_a_scan_after_its_deletion_lives_before_its_state_says_so() {
    let site = Site::new().await;
    let key = key("workload/r");
    let first = "2024-01-01T00:00:00Z";
    site.reports.put(&report(&key, first, gob(first))).await.unwrap();
    site.reports.delete(&key).await.unwrap();
    let newer = gob(&(jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1)).to_string());
    site.write("scan/state/report/workload/r", SCANNING).await;
    site.write("scan/data/report/workload/r", newer.clone()).await;
    assert_eq!(site.payload(&key).await, Some(newer.clone().into()));
    assert_eq!(site.migrate().await.moved, 1);
    assert_eq!(site.payload(&key).await, Some(newer.into()));
}

#[tokio::test]
async fn what_nobody_dates_stays_where_something_else_stands() {
    let site = Site::new().await;
    let key = key("workload/g");
    site.reports.put(&report(&key, "2024-01-01T00:00:00Z", scan("2024-01-01T00:00:00Z"))).await.unwrap();
    site.write("scan/data/report/workload/g", gzip("\u{1}\u{2} a gob")).await;
    site.write("scan/state/report/workload/g", SCANNING).await;
    let progress = site.migrate().await;
    assert_eq!((progress.moved, progress.skipped.get(&Skip::Undated)), (0, Some(&1)));
    assert!(site.stands("scan/data/report/workload/g").await);
    // An old scan that is put does not take it away; one of today does.
    site.reports.put(&report(&key, "2024-02-01T00:00:00Z", scan("2024-02-01T00:00:00Z"))).await.unwrap();
    assert!(site.stands("scan/data/report/workload/g").await);
    let now = jiff::Timestamp::now().to_string();
    site.reports.put(&report(&key, &now, scan(&now))).await.unwrap();
    assert!(!site.stands("scan/data/report/workload/g").await);
}

#[tokio::test]
async fn what_nobody_dates_is_moved_where_nothing_stands() {
    let site = Site::new().await;
    site.write("scan/data/report/workload/g", gzip("\u{1}\u{2} a gob")).await;
    assert_eq!(site.migrate().await.moved, 1);
    assert!(site.payload(&key("workload/g")).await.is_some());
    // It does not count as old for that.
    let now = jiff::Timestamp::now();
    assert_eq!(site.reports.expire("", now).await.unwrap().deleted, 0);
    assert_eq!(site.primary.expire("", now).await.unwrap(), 0);
}

#[tokio::test]
async fn what_nobody_dates_is_not_replaced_by_an_old_scan() {
    let site = Site::new().await;
    let (key, undated) = (key("workload/g"), gzip("\u{1}\u{2} a gob"));
    let old = report(&key, "2024-01-01T00:00:00Z", scan("2024-01-01T00:00:00Z"));
    site.reports.put(&old).await.unwrap();
    site.write("scan/data/report/workload/g", undated.clone()).await;
    // Neither one that is taken out of the database, nor one that is put.
    let progress = site.evacuate().await;
    assert_eq!((progress.moved, progress.skipped.get(&Skip::Undated)), (0, Some(&1)));
    assert!(site.primary.exists(&key).await.unwrap());
    site.reports.set_mode(Mode::Off).await;
    let answer = site.reports.put(&old).await.unwrap();
    assert!(matches!(answer.put, Put::Superseded(_)), "{answer:?}");
    let value = site.consul.get(&["scan/data/report/workload/g".to_owned()]).await.unwrap().remove(0);
    assert_eq!(value.map(|it| it.value), Some(undated.into()));
    // A scan of today is newer.
    let now = jiff::Timestamp::now().to_string();
    let answer = site.reports.put(&report(&key, &now, scan(&now))).await.unwrap();
    assert!(matches!(answer.put, Put::Stored(_)), "{answer:?}");
    assert_eq!(site.evacuate().await.skipped.len(), 0);
    assert!(!site.primary.exists(&key).await.unwrap());
    assert_eq!(site.payload(&key).await, Some(scan(&now).into()));
}

#[tokio::test]
async fn what_cannot_be_read_keeps_a_report_in_the_primary_until_a_scan_or_a_delete_comes() {
    for is_scanned in [true, false] {
        let site = Site::new().await;
        let key = key("workload/g");
        site.reports.put(&report(&key, "2024-01-01T00:00:00Z", scan("2024-01-01T00:00:00Z"))).await.unwrap();
        site.write("larder/meta/workload/g", "rubbish").await;
        assert_eq!(site.evacuate().await.skipped.get(&Skip::Refused), Some(&1));
        assert!(site.primary.exists(&key).await.unwrap());
        site.reports.set_mode(Mode::Leaving).await;
        let now = jiff::Timestamp::now().to_string();
        let newest = match is_scanned {
            true => {
                site.reports.put(&report(&key, &now, scan(&now))).await.unwrap();
                Some(scan(&now).into())
            }
            false => {
                assert!(site.reports.delete(&key).await.unwrap().complete);
                None
            }
        };
        assert_eq!(site.evacuate().await.skipped.len(), 0);
        assert!(!site.primary.exists(&key).await.unwrap());
        assert_eq!(site.primary.tombstone(&key).await.unwrap(), None);
        assert_eq!(site.payload(&key).await, newest);
    }
}

#[tokio::test]
async fn a_benchmark_is_newer_than_its_deletion_without_a_state() {
    let site = Site::new().await;
    let key = key("bench/h1/kube_master");
    let (first, second) = (bench("2024-01-01T00:00:00Z"), bench(&jiff::Timestamp::now().to_string()));
    site.reports.put(&report(&key, "2024-01-01T00:00:00Z", first)).await.unwrap();
    site.reports.delete(&key).await.unwrap();
    let later = bench(&(jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1)).to_string());
    site.write("bench/h1/report/kube_master", later.clone()).await;
    assert_eq!(site.payload(&key).await, Some(later.clone().into()));
    assert_eq!(site.migrate().await.moved, 1);
    assert_eq!(site.payload(&key).await, Some(later.into()));
    // One that was written before the deletion is deleted.
    site.reports.delete(&key).await.unwrap();
    site.write("bench/h1/report/kube_master", second).await;
    assert_eq!(site.payload(&key).await, None);
}

#[tokio::test]
async fn benchmarks_do_not_take_each_others_time() {
    let site = Site::new().await;
    let key = key("bench/c1/container_secret");
    site.write("bench/c1/report/container_secret", bench("2024-01-01T00:00:00Z")).await;
    site.write("scan/state/bench/workload/c1", r#"{"run_at":"2024-01-05T00:00:00Z"}"#).await;
    assert_eq!(site.migrate().await.moved, 1);
    // The next run finds nothing, and leaves the state as it is.
    let next = bench("2024-01-03T00:00:00Z");
    site.write("bench/c1/report/container_secret", next.clone()).await;
    assert_eq!(site.payload(&key).await, Some(next.clone().into()));
    assert_eq!(site.migrate().await.moved, 1);
    assert_eq!(site.payload(&key).await, Some(next.into()));
}

#[tokio::test]
async fn a_clock_that_is_wrong_harms_nobody_else() {
    let site = Site::new().await;
    let far = r#"{"scanned_at":"9999-12-30T00:00:00Z","status":"finished"}"#;
    site.write("scan/data/report/workload/far", gzip(r#"{"Vuls":[]}"#)).await;
    site.write("scan/state/report/workload/far", far).await;
    let answer = site.reports.get(&key("workload/far")).await.unwrap().unwrap();
    assert_eq!(answer.report.scanned_at, "9999-12-30T00:00:00Z".parse().unwrap());
    let other = key("workload/other");
    let time = jiff::Timestamp::now().to_string();
    for payload in ["first", "second"] {
        site.reports.put(&report(&other, &time, gzip(payload))).await.unwrap();
        assert_eq!(site.payload(&other).await, Some(gzip(payload).into()));
    }
    assert!(site.reports.delete(&other).await.unwrap().existed);
    assert_eq!(site.payload(&other).await, None);
    let progress = site.migrate().await;
    assert_eq!((progress.moved, progress.skipped.get(&Skip::Future)), (0, Some(&1)));
    // A scan of today stands before it, and it can be deleted.
    site.reports.put(&report(&key("workload/far"), &time, gzip("new"))).await.unwrap();
    assert_eq!(site.payload(&key("workload/far")).await, Some(gzip("new").into()));
    assert_eq!(site.reports.delete_prefix("workload/").await.unwrap().deleted, 1);
    assert_eq!(site.payload(&key("workload/far")).await, None);
    let current =
        larder_client::reports::Clock::latest(jiff::Timestamp::now() + jiff::SignedDuration::from_mins(1));
    let tombstone = site.primary.find(&key("workload/far")).await.unwrap().tombstone;
    assert!(tombstone.is_some_and(|it| it < current));
}

#[tokio::test]
async fn a_pass_clears_away_what_writers_left_behind() {
    let site = Site::new().await;
    let database = site.primary.database();
    let insert = "INSERT INTO payload_part (upload, part, body) VALUES (1, 0, x'00')";
    database.execute(&Request::new([Statement::new(insert)])).await.unwrap();
    // The generation of a large value that was begun in 1970, and one that may still go on.
    let drafts =
        [0, Clock::latest(jiff::Timestamp::now())].map(|it| format!("larder/chunk/workload/x/{it:016x}-1/0"));
    let listed = async || site.consul.list("larder/", None, 10).await.unwrap().len();
    for draft in &drafts {
        site.write(draft, "x").await;
    }
    assert_eq!(listed().await, 2);
    site.migrate().await;
    let count = Statement::new("SELECT count(*) FROM payload_part");
    let left = database.query(&Request::new([count])).await.unwrap();
    assert_eq!((left.results[0].rows[0][0].clone(), listed().await), (Value::Integer(0), 1));
}
