//! Reports on the embedded engine: what is refused, what is left after a restart, and a model that random histories are compared with.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod input;
mod model;
mod readiness;
mod uploads;

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use larder_client::database::Embedded;
use larder_client::reports::{Asset, Clock, Encoding, Report, ReportStore};
use larder_client::schema;

async fn store(directory: &Path) -> (Arc<Embedded>, ReportStore) {
    let database = Arc::new(Embedded::open(directory).unwrap());
    schema::prepare(&*database).await.unwrap();
    (Arc::clone(&database), ReportStore::new(database, Arc::new(Clock::new(1))))
}

fn report(key: &str, second: i64, payload: &str) -> Report {
    Report {
        key: key.parse().unwrap(),
        scanned_at: Timestamp::from_second(second).unwrap(),
        scanner_version: String::new(),
        encoding: Encoding::Opaque,
        payload: payload.to_owned().into(),
        asset: Asset::default(),
        findings: None,
        checks: None,
    }
}
