//! Databases that take SQL.
//!
//! [`Database`] is the one seam to a SQL engine: the sidecar over HTTP with mutual TLS, or an engine in the same process. What a table
//! or a report is, is not known here.

mod change;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
mod sidecar;

use async_trait::async_trait;
use larder_wire::{Request, Response, Value};

pub use change::{Change, Changes};
#[cfg(feature = "embedded")]
pub use embedded::{Embedded, OpenError};
pub use error::DatabaseError;
pub use sidecar::{Answer, Error, Event, Operation, Options, Retry, RowStream, Sidecar};

/// A SQL engine.
///
/// Every implementation passes the same suite of tests.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// Runs statements that write, all or nothing unless the request says otherwise. However often it has to be sent, it is done once.
    async fn execute(&self, request: &Request) -> Result<Response, DatabaseError>;

    /// Runs statements that read, in one snapshot, and holds the whole answer.
    async fn query(&self, request: &Request) -> Result<Response, DatabaseError>;

    /// As [`Database::query`] for one statement, with the rows as they come.
    async fn stream(&self, request: &Request) -> Result<Box<dyn Rows>, DatabaseError>;

    /// The changes after the commit `from`; without `from`, those to come.
    ///
    /// A database remembers some thousand commits, and none across a restart. If it does not reach back to `from`,
    /// [`DatabaseError::is_gone`] says so: read what is wanted again, and begin without `from`.
    async fn changes(&self, from: Option<u64>) -> Result<Box<dyn Changes>, DatabaseError>;
}

/// Rows that come one by one. Dropping it stops the query.
#[async_trait]
pub trait Rows: Send {
    /// The next row; `None` once all came. An answer that breaks off is an error.
    async fn next(&mut self) -> Result<Option<Vec<Value>>, DatabaseError>;
}
