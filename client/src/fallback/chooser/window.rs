//! Asking two stores between which reports move, so that nothing falls between the two answers.
//!
//! The rule: the shelf is asked first and the primary afterwards, and the primary says whether the key has left it since a moment before the
//! shelf was asked. Why that is enough: a move writes before it removes, so at each moment the newest report under a key, and the tombstone
//! above what is older, stand in at least one of the two. What the shelf did not show stood in the primary then; if it has not left since,
//! it stands there still when the primary answers, or what was put over it does. What arrives in the primary meanwhile does no harm. If the
//! key has left, both are asked once more, and the answer before tells from when on it must not leave again.
//!
//! The moment is a [`Mark`]: whatever the primary answers carries one, and a process remembers the last. So while nothing is taken out of the
//! primary, a question is one call to each store. A report that leaves the primary within every one of several such windows was put back there
//! as often: then the answer is that not every store has told, never that nothing is there.

use std::sync::{Mutex, PoisonError};

use super::{Away, Reports};
use crate::fallback::primary::{Primary, PrimaryError};
use crate::reports::{Departures, Mark, ReportKey, Told};

/// How often both stores are asked.
pub(super) const WINDOWS: usize = 8;

/// The last mark that the primary told.
#[derive(Debug, Default)]
pub(super) struct LastMark(Mutex<Option<Mark>>);

impl LastMark {
    fn get(&self) -> Option<Mark> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Not the greatest, but the last: a primary that was put back to an earlier state counts anew. One that is behind costs a second look.
    fn set(&self, mark: Mark) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
    }
}

impl Reports {
    /// A moment of the primary that has passed: to be taken before the shelf is asked.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.room.mark.get()
    }

    /// The same for whoever writes and would rather not do so twice: if none was heard of yet, the primary is asked for one.
    pub(super) async fn first_mark(&self, key: &ReportKey) -> Result<Mark, Away> {
        match self.mark() {
            Some(mark) => Ok(mark),
            None => Ok(self.ask_told(0, |primary| primary.head(key, None)).await?.1.until),
        }
    }

    /// Asks the primary as [`Reports::ask`] does, and remembers how much had left it by then.
    pub(super) async fn ask_told<'p, T, F>(
        &'p self,
        bytes: usize,
        call: impl FnOnce(&'p dyn Primary) -> F,
    ) -> Result<(T, Departures), Away>
    where
        F: Future<Output = Result<Told<T>, PrimaryError>>,
    {
        let Told { answer, departures } = self.ask(bytes, call).await?;
        self.room.mark.set(departures.until);
        Ok((answer, departures))
    }
}
