//! The index of findings beside a migration: kept up as reports arrive, and made whole at the end.

use std::sync::Arc;

use larder_client::migrate::{Leadership, Progress, Upkeep};
use larder_client::reports::ReportStore;
use larder_client::reports::index::Index;
use tokio::sync::watch;

use crate::cli::Failure;

/// Keeps it up until that is dropped. What fails now is done later: questions are answered right without it.
pub(super) fn keep(
    store: &ReportStore,
    leadership: &dyn Leadership,
    progress: watch::Receiver<Progress>,
) -> Upkeep {
    Upkeep::start(Arc::clone(store.database()), leadership.leader(), progress)
}

/// Makes one segment of everything.
pub(super) async fn finish(store: &ReportStore) -> Result<(), Failure> {
    let made = Index::new(Arc::clone(store.database())).compact().await;
    made.map_err(|error| {
        Failure::Other(anyhow::Error::new(error).context("all was moved; the index of findings was not made"))
    })
}
