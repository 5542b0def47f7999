//! What changed, commit by commit.

use async_trait::async_trait;
use serde::Deserialize;

use super::DatabaseError;

/// What one commit changed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Change {
    /// The number of the commit.
    pub seq: u64,
    /// The tables that it changed, each once.
    pub tables: Vec<String>,
    /// Whether it changed the schema.
    #[serde(default)]
    pub schema: bool,
}

/// Changes as they are made. Dropping it ends the watch.
#[async_trait]
pub trait Changes: Send {
    /// The commit up to which changes were given, from which a later watch can go on.
    fn seen(&self) -> u64;

    /// Waits for the next change; `None` when the database ends in order.
    async fn next(&mut self) -> Result<Option<Change>, DatabaseError>;
}
