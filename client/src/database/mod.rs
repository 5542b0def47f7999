//! Databases that take SQL.
//!
//! [`Database`] is the one seam to a SQL engine: the sidecar over HTTP with mutual TLS, or an engine in the same process.

mod sidecar;

use async_trait::async_trait;
use larder_wire::{Request, Response, Value};

pub use sidecar::{Answer, Error, Event, Operation, Options, RowStream, Sidecar};

/// A SQL engine.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// Runs statements that write, all or nothing. It may be sent twice, if the connection breaks, only where that is the same as once.
    async fn execute(&self, request: &Request) -> Result<Response, DatabaseError>;

    /// Runs statements that read, in one snapshot, and holds the whole answer.
    async fn query(&self, request: &Request) -> Result<Response, DatabaseError>;

    /// As [`Database::query`] for one statement, with the rows as they come.
    async fn stream(&self, request: &Request) -> Result<Box<dyn Rows>, DatabaseError>;
}

/// Rows that come one by one. Dropping it stops the query.
#[async_trait]
pub trait Rows: Send {
    /// The next row; `None` once all came. An answer that breaks off is an error.
    async fn next(&mut self) -> Result<Option<Vec<Value>>, DatabaseError>;
}

/// Why a database did not do what it was asked to, told apart by what the caller does next.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Nothing was done, since nobody was there: another store can take it.
    #[error("cannot reach the database: {0}")]
    Unreachable(String),
    /// No answer came: a write may have been done, or not.
    #[error("the database did not answer: {0}")]
    Unanswered(String),
    /// The database says why it does not serve the request. A write was not done unless `applied` says otherwise.
    #[error("{error}")]
    Refused {
        /// What it says.
        error: Box<larder_wire::Error>,
        /// Whether the write was done.
        applied: larder_wire::Applied,
    },
    /// What came is no answer of a database.
    #[error("the database's answer is broken: {0}")]
    Broken(String),
}
