//! What every database does, shown on the embedded engine. The sidecar is shown the same in the tests of the root package, which has
//! its binary.

mod suite;

use std::sync::Arc;

use larder_client::database::{Database, Embedded};
use tempfile::TempDir;

/// A database of its own, and what it stands in.
fn open() -> (TempDir, Arc<dyn Database>) {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Embedded::open(directory.path()).expect("a database");
    (directory, Arc::new(database))
}

suite::on!(crate::open);
