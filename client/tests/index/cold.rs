//! How long a controller reads all reports when it starts: 10,000 of 33.9 KB, in one process with the database, and from the sidecar at
//! `LARDER_URL` with the certificates `LARDER_CA`, `LARDER_CERT` and `LARDER_KEY`, if there is one.

#![expect(clippy::print_stderr, reason = "a measurement is for people")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_client::database::{Database, Embedded};
use larder_client::reports::{Asset, Clock, Encoding, Report, ReportStore, Selection};
use larder_client::{Credentials, Sidecar, schema};

use crate::runtime;

const REPORTS: u64 = 10_000;
const SIZE: usize = 33_900;
const TIMES: usize = 9;

fn report(number: u64) -> Report {
    let mut state = number;
    let bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    });
    Report {
        key: format!("workload/{number:064x}").parse().unwrap(),
        scanned_at: jiff::Timestamp::from_second(1_700_000_000).unwrap(),
        scanner_version: "3.422".to_owned(),
        encoding: Encoding::GzipGob,
        payload: bytes.take(SIZE).collect::<Vec<_>>().into(),
        asset: Asset { name: format!("pod-{number}"), ..Asset::default() },
        findings: None,
        checks: None,
    }
}

async fn filled(database: Arc<dyn Database>) -> ReportStore {
    schema::prepare(&*database).await.unwrap();
    let store = ReportStore::new(database, Arc::new(Clock::new(1)));
    if store.exists(&report(REPORTS - 1).key).await.unwrap() {
        return store;
    }
    for begin in (0..REPORTS).step_by(100) {
        let reports: Vec<Report> = (begin..begin + 100).map(report).collect();
        store.put_many(&reports).await.unwrap();
    }
    store
}

async fn read_all(store: &ReportStore) -> Duration {
    let begin = Instant::now();
    let mut stream = store.get_many(Selection::prefix("workload/"));
    let mut bytes = 0;
    while let Some(stored) = stream.next().await.unwrap() {
        bytes += stored.report.payload.len();
    }
    assert_eq!(bytes, REPORTS as usize * SIZE);
    begin.elapsed()
}

/// Processor time of this process: others may be at work on the machine.
fn on_processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

async fn embedded(directory: &Path) -> ReportStore {
    filled(Arc::new(Embedded::open(directory).unwrap())).await
}

async fn sidecar() -> Option<ReportStore> {
    let url = std::env::var("LARDER_URL").ok()?;
    let file = |name: &str| std::env::var(name).unwrap();
    let credentials = Credentials::from_files(file("LARDER_CA"), file("LARDER_CERT"), file("LARDER_KEY"));
    Some(filled(Arc::new(Sidecar::new(url.parse().unwrap(), credentials.unwrap()).unwrap())).await)
}

#[test]
#[ignore = "measures"]
fn how_long_a_cold_start_takes() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let stores = [("in process", Some(embedded(directory.path()).await)), ("sidecar", sidecar().await)];
        for (name, store) in stores {
            let Some(store) = store else { continue };
            let (mut times, begin) = (Vec::new(), on_processor());
            for _ in 0..TIMES {
                times.push(read_all(&store).await);
            }
            times.sort_unstable();
            let each = (on_processor() - begin) / TIMES as u32;
            let [least, median, most] = [0, TIMES / 2, TIMES - 1].map(|at| times[at]);
            eprintln!(
                "{name}: {least:?} to {most:?}, median {median:?}, this process {each:?} on a processor"
            );
        }
    });
}
