//! Reading one report from two stores between which it may be moved.
//!
//! A move writes before it removes. So of a report that goes home, whoever looks at the shelf first and at the primary afterwards misses
//! nothing; of one that is taken out of the primary, it is the other way round. The shelf is therefore asked first, the primary next, and
//! the shelf once more; where there was nothing, the primary too. Asking both at once would save a moment and could lose what travels in between.
//! A report that travels both ways within these questions can be missed: only one leader moves, and in one direction.

use std::future::Future;

use super::answer::{Answered, ReportsError, Store};
use super::{Away, Reports};
use crate::fallback::shelf::{Lookup, ShelfError};
use crate::reports::{Report, ReportKey, Version};

/// Where the newest visible copy of a report stands, and whether every store has answered.
pub(super) struct Look {
    pub(super) newest: Option<(Version, Store)>,
    pub(super) complete: bool,
}

/// What is known after every store was asked that could be.
pub(super) struct Merged<T> {
    /// The newest visible copy.
    pub(super) newest: Option<(Version, Store, T)>,
    /// Why the primary had no say.
    pub(super) primary: Option<Away>,
    /// Why the shelf had no say.
    pub(super) shelf: Option<ShelfError>,
}

impl<T> Merged<T> {
    fn complete(&self, reports: &Reports) -> bool {
        self.shelf.is_none() && !self.primary.as_ref().is_some_and(|it| reports.is_missed(it))
    }
}

/// Copies and the latest tombstone of one key.
struct Seen<T> {
    copies: Vec<(Version, Store, T)>,
    tombstone: Option<i64>,
}

impl<T> Seen<T> {
    fn take(&mut self, store: Store, lookup: Lookup<(Version, T)>) {
        self.tombstone = self.tombstone.max(lookup.tombstone);
        self.copies.extend(lookup.copy.map(|(version, it)| (version, store, it)));
    }

    fn newest(self) -> Option<(Version, Store, T)> {
        let visible = |it: &(Version, Store, T)| Some(it.0.sequence) >= self.tombstone;
        self.copies.into_iter().filter(visible).max_by_key(|it| (it.0, it.1 == Store::Primary))
    }
}

impl Reports {
    /// The newest report under a key. `None` says that there is none, and that every store that might hold it has said so.
    ///
    /// # Errors
    /// [`ReportsError::Unavailable`] if nothing was found and a store is away; [`ReportsError::Shelf`] if the only copy cannot be read.
    pub async fn get(&self, key: &ReportKey) -> Result<Option<Answered>, ReportsError> {
        let shelf = || async {
            let lookup = self.room.shelf.get(key).await?;
            Ok(Lookup { copy: lookup.copy.map(|it| (it.version, it.report)), tombstone: lookup.tombstone })
        };
        let primary = || {
            self.ask(0, |primary| async {
                let lookup = primary.get(key).await?;
                Ok(Lookup {
                    copy: lookup.copy.map(|it| (it.version, it.report)),
                    tombstone: lookup.tombstone,
                })
            })
        };
        let merged = self.merge(shelf, primary).await?;
        let complete = merged.complete(self);
        let found = self.found(merged)?;
        Ok(found.map(|(version, store, report): (_, _, Report)| {
            self.room.counters.answered(store, complete);
            Answered { report, version, store, complete }
        }))
    }

    /// Whether there is a report under a key: as [`Reports::get`], without reading it.
    ///
    /// # Errors
    /// As for [`Reports::get`].
    pub async fn exists(&self, key: &ReportKey) -> Result<bool, ReportsError> {
        Ok(self.version(key).await?.is_some())
    }

    /// The version of the newest report under a key.
    ///
    /// # Errors
    /// As for [`Reports::get`].
    pub async fn version(&self, key: &ReportKey) -> Result<Option<Version>, ReportsError> {
        Ok(self.look(key).await?.newest.map(|it| it.0))
    }

    pub(super) async fn look(&self, key: &ReportKey) -> Result<Look, ReportsError> {
        let shelf = || async {
            let lookup = self.room.shelf.head(key).await?;
            Ok(Lookup { copy: lookup.copy.map(|it| (it.version, ())), tombstone: lookup.tombstone })
        };
        let primary = || {
            self.ask(0, |primary| async {
                let lookup = primary.head(key).await?;
                Ok(Lookup { copy: lookup.copy.map(|version| (version, ())), tombstone: lookup.tombstone })
            })
        };
        let merged = self.merge(shelf, primary).await?;
        let complete = merged.complete(self);
        let newest = self.found(merged)?.map(|(version, store, ())| (version, store));
        Ok(Look { newest, complete })
    }

    /// Asks the shelf, the primary, and the shelf again where the primary has no copy.
    async fn merge<T, S, P>(
        &self,
        shelf: impl Fn() -> S,
        primary: impl Fn() -> P,
    ) -> Result<Merged<T>, ReportsError>
    where
        S: Future<Output = Result<Lookup<(Version, T)>, ShelfError>>,
        P: Future<Output = Result<Lookup<(Version, T)>, Away>>,
    {
        let mut seen = Seen { copies: Vec::new(), tombstone: None };
        let mut shelf_away = shelf().await.map(|it| seen.take(Store::Fallback, it)).err();
        let mut primary_away = None;
        match primary().await {
            Ok(lookup) => {
                seen.take(Store::Primary, lookup);
                // Of what it did not tell at first it cannot tell now: that may have gone home since. And what stands in the primary may
                // be an older scan than the one that was taken out of it.
                let again = shelf().await.map(|it| seen.take(Store::Fallback, it)).err();
                shelf_away = shelf_away.or(again);
                // A newer put takes a copy off the shelf that was taken out of the primary in between: that put is there now.
                if seen.copies.is_empty() {
                    primary_away = primary().await.map(|it| seen.take(Store::Primary, it)).err();
                }
            }
            Err(away) => match away.rejection() {
                Some(error) => return Err(error),
                None => primary_away = Some(away),
            },
        }
        let latest = seen.copies.iter().map(|it| it.0.sequence).chain(seen.tombstone).max();
        latest.into_iter().for_each(|it| self.room.clock.see(it));
        Ok(Merged { newest: seen.newest(), primary: primary_away, shelf: shelf_away })
    }

    /// What was found; nothing only if nobody was missed.
    pub(super) fn found<T>(&self, merged: Merged<T>) -> Result<Option<(Version, Store, T)>, ReportsError> {
        let complete = merged.complete(self);
        if merged.newest.is_some() || complete {
            return Ok(merged.newest);
        }
        self.room.counters.unavailable();
        Err(ReportsError::unavailable(merged.primary.as_ref(), merged.shelf))
    }
}
