//! Reading one report from two stores between which it may be moved: [`super::window`] says how.

use std::future::Future;

use super::answer::{Answered, ReportsError, Store};
use super::hurry::Heard;
use super::window::WINDOWS;
use super::{Away, Reports};
use crate::fallback::shelf::{Lookup, ShelfError};
use crate::reports::{Departures, Mark, Report, ReportKey, Version};

/// Where the newest visible copy of a report stands, and whether every store has answered.
pub(super) struct Look {
    pub(super) newest: Option<(Version, Store)>,
    /// The greatest sequence of a copy, be it visible or not.
    pub(super) written: Option<i64>,
    pub(super) complete: bool,
    /// Why what stands on the shelf cannot be read, if that is so.
    pub(super) unreadable: Option<String>,
}

/// What is known after every store was asked that could be.
pub(super) struct Merged<T> {
    /// The newest visible copy.
    pub(super) newest: Option<(Version, Store, T)>,
    /// The greatest sequence of a copy.
    pub(super) written: Option<i64>,
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
pub(super) struct Seen<T> {
    copies: Vec<(Version, Store, T)>,
    tombstone: Option<i64>,
}

impl<T> Seen<T> {
    pub(super) fn take(&mut self, store: Store, lookup: Lookup<(Version, T)>) {
        self.tombstone = self.tombstone.max(lookup.tombstone);
        let Some((version, it)) = lookup.copy else { return };
        // Payloads are large: what was seen before is not kept twice.
        if !self.copies.iter().any(|it| (it.0, it.1) == (version, store)) {
            self.copies.push((version, store, it));
        }
    }

    fn newest(self) -> Option<(Version, Store, T)> {
        let visible = |it: &(Version, Store, T)| Some(it.0.sequence) >= self.tombstone;
        self.copies.into_iter().filter(visible).max_by_key(|it| (it.0, it.1 == Store::Primary))
    }
}

/// Whether there is a copy, and no tombstone above it.
fn shows<T>(lookup: &Lookup<(Version, T)>) -> bool {
    lookup.copy.as_ref().is_some_and(|it| Some(it.0.sequence) >= lookup.tombstone)
}

impl Reports {
    /// The newest report under a key. `None` says that there is none, and that every store that might hold it has said so.
    ///
    /// # Errors
    /// [`ReportsError::Unavailable`] if nothing was found and a store is away; [`ReportsError::Shelf`] if the only copy cannot be read.
    pub async fn get(&self, key: &ReportKey) -> Result<Option<Answered>, ReportsError> {
        let shelf = || async {
            let lookup = self.room.shelf.get(key).await?;
            Ok(lookup.map(|it| (it.version, it.report)))
        };
        let primary = |since| async move {
            let (lookup, departures) = self.ask_told(0, |primary| primary.get(key, since)).await?;
            Ok((lookup.map(|it| (it.version, it.report)), departures))
        };
        let merged = self.merge(key, shelf, primary).await?;
        let complete = merged.complete(self);
        let found = self.found(merged)?;
        Ok(found.map(|(version, store, report): (_, _, Report)| {
            self.room.counters.answered(store, complete);
            Answered { report, version, store, complete }
        }))
    }

    /// Whether there is a report under a key: as [`Reports::get`], without reading it. Where a store is away it speaks of what the other has,
    /// and unlike that does not tell.
    ///
    /// # Errors
    /// As for [`Reports::get`].
    pub async fn exists(&self, key: &ReportKey) -> Result<bool, ReportsError> {
        Ok(self.version(key).await?.is_some())
    }

    /// The version of the newest report under a key; where a store is away, of the newest that the other has, as for [`Reports::exists`].
    ///
    /// # Errors
    /// As for [`Reports::get`].
    pub async fn version(&self, key: &ReportKey) -> Result<Option<Version>, ReportsError> {
        Ok(self.look(key).await?.newest.map(|it| it.0))
    }

    pub(super) async fn look(&self, key: &ReportKey) -> Result<Look, ReportsError> {
        let shelf = || async {
            let lookup = self.room.shelf.head(key).await?;
            Ok(lookup.map(|it| (it.version, ())))
        };
        let primary = |since| async move {
            let (lookup, departures) = self.ask_told(0, |primary| primary.head(key, since)).await?;
            Ok((lookup.map(|version| (version, ())), departures))
        };
        let merged = self.merge(key, shelf, primary).await?;
        let (complete, written) = (merged.complete(self), merged.written);
        let unreadable = merged.shelf.as_ref().filter(|it| it.is_of_the_report()).map(ToString::to_string);
        let newest = self.found(merged)?.map(|(version, store, ())| (version, store));
        Ok(Look { newest, written, complete, unreadable })
    }

    /// Asks the shelf and then the primary, until the report did not leave the latter in between.
    async fn merge<T, S, P>(
        &self,
        key: &ReportKey,
        shelf: impl Fn() -> S,
        primary: impl Fn(Option<Mark>) -> P,
    ) -> Result<Merged<T>, ReportsError>
    where
        S: Future<Output = Result<Lookup<(Version, T)>, ShelfError>>,
        P: Future<Output = Result<(Lookup<(Version, T)>, Departures), Away>>,
    {
        let mut seen = Seen { copies: Vec::new(), tombstone: None };
        let (mut shelf_away, mut primary_away) = (None, None);
        for window in 0..WINDOWS {
            if window > 0 {
                self.room.counters.asked_again();
            }
            let since = self.mark();
            let alone = async { primary(since).await.ok().map(|it| it.0).filter(shows) };
            match self.hear_shelf(self.room.options.hurry, shelf(), alone).await {
                Heard::Shelf(answer) => shelf_away = answer.map(|it| seen.take(Store::Fallback, it)).err(),
                Heard::PrimaryAlone(shown, late) => {
                    seen.take(Store::Primary, shown);
                    shelf_away = Some(late);
                    break;
                }
            }
            match primary(since).await {
                Ok((lookup, departures)) => {
                    seen.take(Store::Primary, lookup);
                    primary_away = departures.may_include(key).then_some(Away::Restless);
                }
                Err(away) => match away.rejection() {
                    Some(error) => return Err(error),
                    None => primary_away = Some(away),
                },
            }
            if shelf_away.is_some() || !matches!(primary_away, Some(Away::Restless)) {
                break;
            }
        }
        let written = seen.copies.iter().map(|it| it.0.sequence).max();
        written.max(seen.tombstone).into_iter().for_each(|it| self.room.clock.see(it));
        Ok(Merged { newest: seen.newest(), written, primary: primary_away, shelf: shelf_away })
    }

    /// What was found; nothing only if nobody was missed.
    pub(super) fn found<T>(&self, merged: Merged<T>) -> Result<Option<(Version, Store, T)>, ReportsError> {
        let complete = merged.complete(self);
        if merged.newest.is_some() || complete {
            return Ok(merged.newest);
        }
        self.room.counters.unavailable();
        Err(ReportsError::untold(merged.primary.as_ref(), merged.shelf))
    }
}
