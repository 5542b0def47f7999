//! The index of findings beside a migration: kept up as reports arrive, and made whole at the end.

use larder_client::migrate::Progress;
use larder_client::reports::ReportStore;
use larder_client::reports::index::{Index, Pace};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::Failure;

/// Reports between two looks at the index.
const FOLDED: u64 = 512;

/// Folds every some hundred reports, until it is aborted. What fails now is done later: questions are answered right without it.
pub(super) fn keep(store: &ReportStore, mut progress: watch::Receiver<Progress>) -> JoinHandle<()> {
    let index = Index::new(store.database().clone());
    tokio::spawn(async move {
        let mut seen = (0, 0);
        while progress.changed().await.is_ok() {
            let now = {
                let progress = progress.borrow_and_update();
                (progress.passes, progress.moved / FOLDED)
            };
            if now != seen {
                seen = now;
                drop(index.keep_up(Pace::Bulk).await);
            }
        }
    })
}

/// Makes one segment of everything.
pub(super) async fn finish(store: &ReportStore) -> Result<(), Failure> {
    Ok(Index::new(store.database().clone()).compact().await?)
}
