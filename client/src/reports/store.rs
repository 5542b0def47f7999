//! Reports in SQL, on any [`Database`].
//!
//! Each change is one batch of statements, one transaction, and each is guarded by the store's own state: a put never replaces a newer
//! report, and a report that was moved here never stands below a tombstone. Everything is bound; a key never becomes SQL text, and a
//! prefix is a range, so that no character means anything. Lists are read by keyset: a page begins behind the last key of the one before.
//!
//! A payload of up to 4 MiB stands in its report's row. A larger one is written before the row, in pieces of 4 MiB ([`parts`]), since a
//! sidecar takes requests and values of 16 MiB: the row makes it visible all at once.
//!
//! What a finding is and how questions are answered is not known here; [`super::kept`] says what to keep.

mod bring;
mod departures;
mod error;
mod list;
mod moves;
mod parts;
mod range;
mod read;
mod readiness;
mod remove;
mod rows;
mod tombstones;
mod write;

use std::sync::Arc;

use jiff::Timestamp;

use self::readiness::Readiness;
use super::version::{nanoseconds, time};
use super::{Clock, ReportKey, Version};
use crate::database::Database;

pub(crate) use bring::Moved;
pub use bring::{Confirmed, Moving};
pub use departures::{Departures, Mark, Told};
pub use error::ReportError;
pub use list::{ClassStats, List, Listed, Page};
pub(crate) use moves::{ListedTombstone, Standing};
pub use moves::{RowStamp, TombstoneStamp};
pub use read::{Found, ReportStream, Selection};
pub use rows::Stored;
pub use tombstones::Tombstone;
pub use write::Put;

/// Bytes that a payload may have.
pub const PAYLOAD_LIMIT: usize = 64 << 20;

/// Reports in SQL. The schema is there: see [`crate::schema::prepare`].
///
/// ```
/// use std::sync::Arc;
/// use larder_client::database::Embedded;
/// use larder_client::reports::{Clock, Encoding, List, Report, ReportStore};
/// use larder_client::schema;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// let database = Arc::new(Embedded::open(directory.path())?);
/// schema::prepare(&*database).await?;
/// let reports = ReportStore::new(database, Arc::new(Clock::new(1)));
///
/// let report = Report {
///     key: "workload/4f5a".parse()?,
///     scanned_at: "2024-05-01T10:00:00Z".parse()?,
///     scanner_version: "3.422".to_owned(),
///     encoding: Encoding::Opaque,
///     payload: "anything".into(),
///     asset: Default::default(),
///     findings: None,
///     checks: None,
/// };
/// reports.put(&report).await?;
/// let stored = reports.get(&report.key).await?.expect("is there");
/// assert_eq!(stored.report, report);
///
/// let page = reports.list(List { prefix: "workload/", ..List::default() }).await?;
/// assert_eq!(page.reports[0].size, 8);
/// reports.delete(&report.key).await?;
/// assert!(!reports.exists(&report.key).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ReportStore {
    database: Arc<dyn Database>,
    clock: Arc<Clock>,
    readiness: Arc<Readiness>,
    /// Whether what is moved here is stored with the findings that it is given alone.
    closed: bool,
}

impl ReportStore {
    /// The reports of a database. What this writes without being told a sequence takes it from `clock`, which is to be the only one of the
    /// process.
    pub fn new(database: Arc<dyn Database>, clock: Arc<Clock>) -> Self {
        Self { database, clock, readiness: Arc::default(), closed: false }
    }

    /// The same, that leaves the payloads of reports closed which are moved here: what their writers do not tell is not asked for. Their findings
    /// are known when they are put again.
    #[must_use]
    pub fn moving_closed(self) -> Self {
        Self { closed: true, ..self }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Where they are.
    #[must_use]
    pub fn database(&self) -> &Arc<dyn Database> {
        &self.database
    }

    /// A version that was met here: what is written next by this process comes behind it.
    fn met(&self, version: Version) -> Version {
        self.clock.see(version.sequence);
        version
    }
}

fn now() -> i64 {
    nanoseconds(Timestamp::now())
}

fn unreadable(key: &str, what: &str) -> ReportError {
    ReportError::Unreadable { key: key.to_owned(), reason: what.to_owned() }
}

fn key_of(text: String) -> Result<ReportKey, ReportError> {
    ReportKey::new(text)
        .map_err(|error| ReportError::Unreadable { key: String::new(), reason: error.to_string() })
}
