//! Larder's client: what a controller links to speak to a sidecar.
//!
//! From the ground up: [`database`] takes SQL; [`schema`] makes its tables; [`reports`] says what a report is and stands in SQL;
//! [`fallback`] is where reports are while the database is away; [`migrate`] brings them home. It knows no command line and no runtime
//! settings of its own; it needs a Tokio runtime to be called from.
//!
//! ```no_run
//! use larder_client::{Credentials, Endpoint, Sidecar};
//! use larder_client::wire::{Request, Statement};
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
pub mod migrate;
pub mod reports;
pub mod schema;

pub use database::{Answer, Error, Event, Operation, Options, Retry, RowStream, Sidecar};
pub use fallback::{Reports, ReportsError, ReportsOptions};
pub use http::{Credentials, CredentialsError, Endpoint, EndpointError, Reason};
/// The types of requests and answers.
pub use larder_wire as wire;
