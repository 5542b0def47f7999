//! How much both stores hold.

use super::Reports;
use super::answer::ReportsError;
use crate::fallback::primary::PrimaryStats;
use crate::fallback::shelf::ShelfStats;

/// How much each store holds. A report that stands in both counts in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// In the primary; `None` if it did not answer, or there is none.
    pub primary: Option<PrimaryStats>,
    /// On the shelf; `None` if it did not answer.
    pub fallback: Option<ShelfStats>,
}

impl Reports {
    /// How much both stores hold. The shelf is listed for it.
    ///
    /// # Errors
    /// [`ReportsError::Unavailable`] if no store answers.
    pub async fn stats(&self) -> Result<Stats, ReportsError> {
        let fallback = self.room.shelf.stats().await;
        let primary = self.ask(0, |primary| primary.stats()).await;
        match (primary, fallback) {
            (Err(away), Err(error)) => Err(ReportsError::untold(Some(&away), Some(error))),
            (primary, fallback) => Ok(Stats { primary: primary.ok(), fallback: fallback.ok() }),
        }
    }
}
