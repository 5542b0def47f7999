//! Forgetting what was replaced long ago.
//!
//! Whatever is younger than `history`, and the latest `changes`, is kept. Every process that has the store open does this; who comes second finds
//! that it was done.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use larder_client::wire::{Kind, Request, Statement};

use super::core::Core;
use super::row::{Row, number};
use super::{Revision, StoreError};

/// Changes that are forgotten in one transaction: some milliseconds.
const BATCH: u64 = 500;

/// Compacts from time to time until it is dropped.
pub(super) async fn run(core: Arc<Core>) {
    let period = (core.options.history / 10).clamp(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        tokio::time::sleep(period).await;
        if let Err(error) = core.compact().await {
            tracing::debug!(%error, "the history is not compacted for now");
        }
    }
}

impl Core {
    /// Forgets what need not be remembered any more.
    pub(super) async fn compact(&self) -> Result<(), StoreError> {
        while let Some(end) = self.find_end().await? {
            match self.database.execute(&forget(&end)).await {
                Ok(_) => {}
                // Somebody else is at it.
                Err(error) if error.kind() == Some(Kind::Expectation) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            // Whoever writes goes first.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Up to where the next batch may forget.
    async fn find_end(&self) -> Result<Option<End>, StoreError> {
        let select = "SELECT r.compacted, r.kept, c.revision, c.at FROM revision r, \
                      (SELECT revision, at FROM change ORDER BY revision LIMIT ?) c ORDER BY c.revision";
        let statement = Statement::with(select, [number(BATCH)]);
        let response = self.database.query(&Request::new([statement])).await?;
        let age = SystemTime::now().checked_sub(self.options.history).unwrap_or(UNIX_EPOCH);
        let age = age.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut end: Option<End> = None;
        for row in response.results.into_iter().flat_map(|it| it.rows) {
            let mut row = Row::from(row);
            let (compacted, kept) = (row.revision()?, row.revision()?);
            let (revision, at) = (row.revision()?, row.revision()?);
            let count = end.as_ref().map_or(0, |it| it.count) + 1;
            if kept < self.options.changes + count || u128::from(at) >= age {
                break;
            }
            end = Some(End { compacted, revision, count });
        }
        Ok(end)
    }
}

/// A batch of changes to forget.
struct End {
    /// Up to where it was forgotten before.
    compacted: Revision,
    /// Up to where it will be.
    revision: Revision,
    count: u64,
}

fn forget(end: &End) -> Request {
    let (from, to, count) = (number(end.compacted), number(end.revision), number(end.count));
    let advance = "UPDATE revision SET compacted = ?2, kept = kept - ?3 WHERE id = 1 AND compacted = ?1";
    let advance = Statement::with(advance, [from, to.clone(), count]).expecting(1);
    let delete = Statement::with("DELETE FROM change WHERE revision <= ?", [to]).expecting(end.count);
    Request::new([advance, delete])
}
