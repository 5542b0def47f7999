//! Not waiting for a shelf that hangs where the primary has the report.
//!
//! The shelf is asked first ([`super::window`]). If it does not answer for a while, the primary is asked beside it: a copy that is found there is
//! an answer, as it is when the shelf is known to be away, and says like that one that not every store has told. Where the primary has nothing to
//! show, the shelf alone can tell, and is waited for; the primary is then asked again, since what it said before is of an earlier moment.

use std::future::Future;
use std::pin::pin;

use tokio::time::timeout;

use super::read::Seen;
use super::{Away, Reports, Store};
use crate::fallback::shelf::{Lookup, ShelfError};
use crate::fallback::store::StoreError;
use crate::reports::{Departures, Version};

impl Reports {
    /// What the shelf says; or why it has no say, with what the primary shows in `seen`.
    pub(super) async fn hear_shelf<T>(
        &self,
        shelf: impl Future<Output = Result<Lookup<(Version, T)>, ShelfError>>,
        primary: impl Future<Output = Result<(Lookup<(Version, T)>, Departures), Away>>,
        seen: &mut Seen<T>,
    ) -> Heard<T> {
        let mut shelf = pin!(shelf);
        if let Ok(answer) = timeout(self.room.options.hurry, &mut shelf).await {
            return Heard::Shelf(answer);
        }
        let primary = async {
            let found = primary.await.ok()?.0;
            found.copy.as_ref().is_some_and(|it| Some(it.0.sequence) >= found.tombstone).then_some(found)
        };
        let mut primary = pin!(primary);
        tokio::select! {
            biased;
            answer = &mut shelf => return Heard::Shelf(answer),
            found = &mut primary => if let Some(found) = found {
                seen.take(Store::Primary, found);
                return Heard::PrimaryAlone(self.not_waited_for());
            },
        }
        Heard::Shelf(shelf.await)
    }

    fn not_waited_for(&self) -> ShelfError {
        let reason = format!("no answer within {:?}", self.room.options.hurry);
        ShelfError::Store(StoreError::Unanswered { store: self.room.shelf.name().to_owned(), reason })
    }
}

/// Who answered.
pub(super) enum Heard<T> {
    /// The shelf; the primary has to be asked after it.
    Shelf(Result<Lookup<(Version, T)>, ShelfError>),
    /// The primary has a copy, and the shelf did not answer in time.
    PrimaryAlone(ShelfError),
}
