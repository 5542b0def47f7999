//! The revision store and the watches on the embedded engine: what every database has to do (`suite`, which the tests of the root package run on a
//! real sidecar too), what only a file can do (`history`), and random histories against a model (`model`).

mod history;
mod model;
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

/// Closes a database, and waits until the tasks that had it have let go of it.
async fn close(engine: Arc<Embedded>) {
    engine.close();
    let left = Arc::downgrade(&engine);
    drop(engine);
    while left.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}
