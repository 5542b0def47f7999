//! Not waiting for a shelf that hangs where the primary has something to show.
//!
//! The shelf is asked first ([`super::window`]). If it does not answer for a while, the primary is asked beside it: what it shows is an answer, as
//! it is when the shelf is known to be away, and says like that one that not every store has told. Where the primary has nothing to show, the shelf
//! alone can tell, and is waited for; the primary is then asked again, since what it said before is of an earlier moment.
//!
//! One report is waited for as long as a caller may be kept waiting, a page as long as the shelf may take for one call, since it is several. What
//! reads or deletes many reports waits for the shelf: to it, that not all came is worse than that they come late.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use super::Reports;
use crate::fallback::shelf::ShelfError;
use crate::fallback::store::StoreError;

impl Reports {
    /// What the shelf says; or what the primary shows alone, if that is anything and the shelf does not answer within `patience`.
    pub(super) async fn hear_shelf<S, P>(
        &self,
        patience: Duration,
        shelf: impl Future<Output = S>,
        primary: impl Future<Output = Option<P>>,
    ) -> Heard<S, P> {
        let mut shelf = pin!(shelf);
        if let Ok(answer) = timeout(patience, &mut shelf).await {
            return Heard::Shelf(answer);
        }
        let mut primary = pin!(primary);
        tokio::select! {
            biased;
            answer = &mut shelf => return Heard::Shelf(answer),
            shown = &mut primary => if let Some(shown) = shown {
                return Heard::PrimaryAlone(shown, self.not_waited_for(patience));
            },
        }
        Heard::Shelf(shelf.await)
    }

    fn not_waited_for(&self, patience: Duration) -> ShelfError {
        let reason = format!("no answer within {patience:?}");
        ShelfError::Store(StoreError::Unanswered { store: self.room.shelf.name().to_owned(), reason })
    }
}

/// Who answered.
pub(super) enum Heard<S, P> {
    /// The shelf; the primary has to be asked after it.
    Shelf(S),
    /// The primary has something to show, and the shelf did not answer in time.
    PrimaryAlone(P, ShelfError),
}
