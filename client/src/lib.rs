//! Larder's client: what a controller links to keep its reports in a sidecar.
//!
//! From the ground up:
//!
//! - [`database`] takes SQL: a [`Sidecar`] over mutual TLS, or, with the feature `embedded`, the same engine in this process.
//! - [`schema`] makes the tables, whoever starts first.
//! - [`reports`] says what a report is and keeps it in SQL ([`ReportStore`](reports::ReportStore)), with an [index](reports::index) of its
//!   findings and the [questions](reports::questions) that it answers.
//! - [`fallback`] is where reports are while the database is away: [`Consul`](fallback::Consul), [`Etcd`](fallback::Etcd), a
//!   [`Directory`](fallback::Directory), [`Memory`](fallback::Memory). [`Reports`] is what a controller calls: both stores as one, the newest
//!   report wins, and an outage is never taken for absence.
//! - [`migrate`] brings reports home, and back: who does it, when it may be done, and nothing lost on the way.
//!
//! It knows no command line and no settings of its own; it needs a Tokio runtime to be called from. `client/examples/controller.rs` is a whole
//! controller in one file.
//!
//! # Reports
//!
//! Two calls replace what a controller did with its key-value store:
//!
//! ```
//! use std::sync::Arc;
//!
//! use larder_client::database::{Database, Embedded};
//! use larder_client::fallback::{Layout, Memory, Mode, Reports, ReportsOptions, Shelf, Store};
//! use larder_client::reports::questions::{AssetFilter, Questions};
//! use larder_client::reports::{Asset, Clock, Encoding, Report, ReportStore};
//! use larder_client::schema;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In a controller this is a `Sidecar`, and the shelf is on its `Consul`.
//! let directory = tempfile::tempdir()?;
//! let database: Arc<dyn Database> = Arc::new(Embedded::open(directory.path())?);
//! schema::prepare(&*database).await?;
//! let clock = Arc::new(Clock::new(1));
//! let primary = ReportStore::new(Arc::clone(&database), Arc::clone(&clock));
//! let shelf = Shelf::new(Arc::new(Memory::new()), Layout::NeuVector);
//!
//! // The gate says whether every controller knows the primary; see `migrate::Gate`.
//! let gate = || true;
//! let options = ReportsOptions { mode: Mode::Auto, ..ReportsOptions::default() };
//! let reports = Reports::new(Some(Arc::new(primary)), shelf, clock, gate, options);
//!
//! let report = Report {
//!     key: "workload/4f5a".parse()?,
//!     scanned_at: "2024-05-01T12:00:00Z".parse()?,
//!     scanner_version: "3.422".to_owned(),
//!     encoding: Encoding::Json,
//!     payload: r#"{"Vuls": [{"Name": "CVE-2021-44228", "Severity": "Critical", "PackageName": "log4j-core"}]}"#.into(),
//!     asset: Asset { name: "web".to_owned(), ..Asset::default() },
//!     findings: None, // read from the payload
//!     checks: None,
//! };
//! reports.put(&report).await?;
//! let answer = reports.get(&report.key).await?.expect("it was put");
//! assert_eq!(answer.report.payload, report.payload);
//! assert_eq!((answer.store, answer.complete), (Store::Primary, true));
//!
//! // Questions are answered without unpacking reports.
//! let affected = Questions::new(database).affected("CVE-2021-44228", &AssetFilter::default(), None, 10).await?;
//! assert_eq!(affected.rows[0].summary.asset.name, "web");
//! # Ok(())
//! # }
//! ```
//!
//! # SQL
//!
//! A sidecar takes any SQL, whoever owns the tables:
//!
//! ```no_run
//! use larder_client::wire::{Request, Statement};
//! use larder_client::{Credentials, Endpoint, Sidecar};
//!
//! # async fn example() -> Result<(), larder_client::Error> {
//! let endpoint: Endpoint = "https://127.0.0.1:4001".parse()?;
//! let credentials = Credentials::from_files("ca.crt", "client.crt", "client.key")?;
//! let sidecar = Sidecar::new(endpoint, credentials)?;
//!
//! sidecar.execute(&Request::new([Statement::new("CREATE TABLE t (a INTEGER, b TEXT)")])).await?;
//! let insert = Statement::with("INSERT INTO t VALUES (?, ?)", [1.into(), "one".into()]);
//! let written = sidecar.execute(&Request::new([insert])).await?;
//! assert_eq!(written.results[0].rows_affected, 1);
//! # Ok(())
//! # }
//! ```

pub mod database;
pub mod fallback;
mod http;
pub mod kubernetes;
pub mod migrate;
pub mod reports;
pub mod schema;

pub use database::{Answer, Error, Event, Operation, Options, Retry, RowStream, Sidecar};
pub use fallback::{Reports, ReportsError, ReportsOptions};
pub use http::{Credentials, CredentialsError, Endpoint, EndpointError, Reason};
/// The types of requests and answers.
pub use larder_wire as wire;
