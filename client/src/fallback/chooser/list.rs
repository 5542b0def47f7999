//! Listing two stores as one.
//!
//! A page is asked for as a single report is ([`super::window`]): the shelf first, its tombstones too, then the primary, in one answer of one
//! moment: its own page, what it holds under the keys that the shelf told, and what left it since a moment before. The page ends where one
//! of these answers ended first. What left is looked up alone, and so is what was on the shelf and is of a version that it does not tell.
//!
//! What cannot be read is named beside the page and left out of it: it may be deleted, or newer than what the other store has.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};

use super::answer::{ListAnswer, ReportsError, Store};
use super::hurry::Heard;
use super::window::WINDOWS;
use super::{Away, Reports};
use crate::fallback::primary::Listing;
use crate::fallback::shelf::ShelfError;
use crate::reports::{Departures, Mark, ReportKey, Version};

/// Reports of a page, at most.
const PAGE: usize = 1000;
/// Tombstones that are read for a page, at least: if there are more, it ends with the last of them.
const TOMBSTONES: usize = 100;
/// Reports that are looked up at once.
const AT_ONCE: usize = 8;

/// A page as the stores gave it.
pub(super) struct StoresPage {
    pub(super) items: Vec<Item>,
    /// Keys under which something stands that cannot be read, and why.
    pub(super) unreadable: Vec<(ReportKey, String)>,
    pub(super) next: Option<ReportKey>,
    pub(super) complete: bool,
}

/// A visible report of a page.
pub(super) struct Item {
    pub(super) key: ReportKey,
    pub(super) version: Version,
    /// The greatest sequence of all its copies: an earlier scan may have been written later.
    pub(super) written: i64,
    pub(super) in_primary: bool,
    pub(super) on_shelf: bool,
}

/// Which page.
#[derive(Clone, Copy)]
struct Asked<'a> {
    prefix: &'a str,
    after: Option<&'a ReportKey>,
    limit: usize,
}

/// What the stores say of one key.
#[derive(Default)]
struct Row {
    primary: Option<Version>,
    /// On the shelf, under this version if that is known.
    shelf: Option<Option<Version>>,
    tombstone: Option<i64>,
    /// The greatest sequence of a copy, if it was looked up alone.
    written: Option<i64>,
    /// It left the primary while both were asked.
    left: bool,
    /// Why what stands on the shelf cannot be read.
    unreadable: Option<String>,
}

impl Row {
    fn is_visible(&self, version: Version) -> bool {
        Some(version.sequence) >= self.tombstone
    }

    /// Whether the report has to be looked up alone: it left; or the shelf did not tell its version, or one that would not count, though an
    /// older controller may have written a value since that does.
    fn is_doubtful(&self) -> bool {
        let untold = self.shelf.is_some_and(|it| it.is_none_or(|version| !self.is_visible(version)));
        self.unreadable.is_none() && (self.left || untold)
    }

    fn copies(&self) -> impl Iterator<Item = Version> {
        self.primary.into_iter().chain(self.shelf.flatten())
    }

    fn newest(&self) -> Option<Version> {
        self.copies().filter(|it| self.is_visible(*it)).max()
    }

    /// The greatest sequence of all copies, of which `version` is one.
    fn written(&self, version: Version) -> i64 {
        let copies = self.copies().map(|it| it.sequence).chain(self.written);
        copies.fold(version.sequence, i64::max)
    }
}

/// The rows of a page, and how far both stores have told of them.
#[derive(Default)]
struct Rows {
    rows: BTreeMap<ReportKey, Row>,
    bound: Option<ReportKey>,
    /// The tombstones of the shelf, or why one cannot be read.
    tombstones: Vec<(ReportKey, Result<i64, String>)>,
    /// Why a store has not told of them.
    primary: Option<Away>,
    shelf: Option<ShelfError>,
}

impl Rows {
    fn row(&mut self, key: ReportKey) -> &mut Row {
        self.rows.entry(key).or_default()
    }

    fn end_at(&mut self, bound: Option<ReportKey>) {
        self.bound = match (self.bound.take(), bound) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    fn take_primary(&mut self, listing: Listing, beside: Vec<ReportKey>, asked: Asked<'_>) {
        for (key, lookup) in beside.into_iter().zip(listing.beside) {
            let row = self.row(key);
            row.primary = lookup.copy;
            row.tombstone = row.tombstone.max(lookup.tombstone);
        }
        for (key, version) in listing.page.items {
            self.row(key).primary = Some(version);
        }
        self.end_at(listing.page.next);
        self.cut(asked.limit);
    }

    /// Has the tombstones of the shelf apply to what is there.
    fn bury(&mut self) {
        for (key, tombstone) in std::mem::take(&mut self.tombstones) {
            let Some(row) = self.rows.get_mut(&key) else { continue };
            match tombstone {
                Ok(sequence) => row.tombstone = row.tombstone.max(Some(sequence)),
                Err(reason) => row.unreadable = Some(format!("its tombstone cannot be read: {reason}")),
            }
        }
    }

    /// Takes note of what left: of all that, if it is known, within the page.
    fn take_departures(&mut self, departures: Departures, asked: Asked<'_>) {
        let Some(keys) = departures.since else { return self.primary = Some(Away::Restless) };
        for key in keys {
            let wanted =
                key.as_str().starts_with(asked.prefix) && asked.after.is_none_or(|after| key > *after);
            if wanted && self.bound.as_ref().is_none_or(|bound| key <= *bound) {
                self.row(key).left = true;
            }
        }
    }

    /// Leaves out what lies behind the bound, and what is too much.
    fn cut(&mut self, limit: usize) {
        while self.rows.len() > limit {
            self.rows.pop_last();
            let last = self.rows.last_key_value().map(|it| it.0.clone());
            self.end_at(last);
        }
        if let Some(bound) = &self.bound {
            self.rows.retain(|key, _| key <= bound);
        }
    }
}

impl Reports {
    /// The reports whose key begins with `prefix` and comes behind `after`, in the order of their keys, `limit` and 1000 at most, which 0 means too.
    /// A page may have fewer, or none, and still not be the last one.
    ///
    /// # Errors
    /// [`ReportsError::Unavailable`] if no store answers.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
    ) -> Result<ListAnswer, ReportsError> {
        let limit = if limit == 0 { PAGE } else { limit.min(PAGE) };
        let page = self.list_within(self.room.options.patience, Asked { prefix, after, limit }).await?;
        let StoresPage { items, unreadable, next, complete } = page;
        let items = items.into_iter().map(|it| (it.key, it.version)).collect();
        Ok(ListAnswer { items, unreadable, next, complete })
    }

    /// As [`Reports::list`], and waits for the shelf as long as that itself thinks right. The page has a line at least, and 1000 at most.
    pub(super) async fn list_stores(
        &self,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
    ) -> Result<StoresPage, ReportsError> {
        self.list_within(Duration::MAX, Asked { prefix, after, limit }).await
    }

    async fn list_within(&self, patience: Duration, asked: Asked<'_>) -> Result<StoresPage, ReportsError> {
        let mut rows = self.look_at_both(patience, asked).await;
        for _ in 1..WINDOWS {
            if rows.shelf.is_some() || !matches!(rows.primary, Some(Away::Restless)) {
                break;
            }
            self.room.counters.asked_again();
            rows = self.look_at_both(patience, asked).await;
        }
        let settled = self.settle(&mut rows).await?;
        let mut page = self.page(rows)?;
        page.complete &= settled;
        Ok(page)
    }

    /// What the shelf holds, and after that what the primary does.
    async fn look_at_both(&self, patience: Duration, asked: Asked<'_>) -> Rows {
        let since = self.mark();
        let alone = async { self.list_primary(asked, &[], since).await.ok() };
        let (mut rows, beside, told) = match self.hear_shelf(patience, self.list_shelf(asked), alone).await {
            Heard::Shelf(rows) => {
                let beside: Vec<_> = rows.rows.keys().cloned().collect();
                let told = self.list_primary(asked, &beside, since).await;
                (rows, beside, told)
            }
            Heard::PrimaryAlone(told, late) => {
                (Rows { shelf: Some(late), ..Rows::default() }, Vec::new(), Ok(told))
            }
        };
        match told {
            Ok((listing, departures)) => {
                rows.take_primary(listing, beside, asked);
                // Where the shelf did not tell all, it is not told anyway what went there.
                if rows.shelf.is_none() {
                    rows.take_departures(departures, asked);
                }
            }
            Err(away) => rows.primary = Some(away),
        }
        rows.cut(asked.limit);
        rows.bury();
        rows
    }

    async fn list_primary(
        &self,
        Asked { prefix, after, limit }: Asked<'_>,
        beside: &[ReportKey],
        since: Option<Mark>,
    ) -> Result<(Listing, Departures), Away> {
        self.ask_told(0, |primary| primary.list(prefix, after, limit, beside, since)).await
    }

    async fn list_shelf(&self, asked: Asked<'_>) -> Rows {
        let mut rows = Rows::default();
        rows.shelf = self.take_shelf(&mut rows, asked).await.err();
        rows
    }

    async fn take_shelf(&self, rows: &mut Rows, asked: Asked<'_>) -> Result<(), ShelfError> {
        let Asked { prefix, after, limit } = asked;
        let page = self.room.shelf.list(prefix, after, limit).await?;
        for it in page.items {
            rows.row(it.key).shelf = Some(it.version);
        }
        rows.end_at(page.next);
        let (page, unreadable) =
            self.room.shelf.tombstones_as_they_are(prefix, after, limit.max(TOMBSTONES)).await?;
        let readable = page.items.into_iter().map(|it| (it.tombstone.key, Ok(it.tombstone.sequence)));
        rows.tombstones = readable.chain(unreadable.into_iter().map(|(key, it)| (key, Err(it)))).collect();
        rows.end_at(page.next);
        Ok(())
    }

    /// Looks up what is doubtful. Says whether every store answered.
    async fn settle(&self, rows: &mut Rows) -> Result<bool, ReportsError> {
        let doubtful: Vec<_> =
            rows.rows.iter().filter(|it| it.1.is_doubtful()).map(|it| it.0.clone()).collect();
        let mut found =
            stream::iter(doubtful).map(|key| async move { (self.look(&key).await, key) }).buffered(AT_ONCE);
        let mut complete = true;
        while let Some((look, key)) = found.next().await {
            let Some(row) = rows.rows.get_mut(&key) else { continue };
            match look {
                Ok(look) if look.unreadable.is_some() => row.unreadable = look.unreadable,
                Ok(look) => {
                    let version = |of| look.newest.filter(|it| it.1 == of).map(|it| it.0);
                    *row = Row {
                        primary: version(Store::Primary),
                        shelf: version(Store::Fallback).map(Some),
                        written: look.written,
                        ..Row::default()
                    };
                    complete &= look.complete;
                }
                Err(ReportsError::Shelf(error)) if error.is_of_the_report() => {
                    row.unreadable = Some(error.to_string());
                }
                Err(ReportsError::Unavailable { .. } | ReportsError::Shelf(_)) => complete = false,
                Err(error) => return Err(error),
            }
        }
        Ok(complete)
    }

    fn page(&self, rows: Rows) -> Result<StoresPage, ReportsError> {
        let Rows { rows, bound, primary, shelf, .. } = rows;
        if let Some(error) = primary.as_ref().and_then(Away::rejection) {
            return Err(error);
        }
        if primary.is_some() && shelf.is_some() {
            self.room.counters.unavailable();
            return Err(ReportsError::untold(primary.as_ref(), shelf));
        }
        let is_missed = primary.as_ref().is_some_and(|it| self.is_missed(it));
        let (mut items, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
        for (key, row) in rows {
            let (in_primary, on_shelf) = (row.primary.is_some(), row.shelf.is_some());
            if let Some(reason) = row.unreadable.clone().filter(|_| in_primary || on_shelf || row.left) {
                unreadable.push((key, reason));
            } else if let Some(version) = row.newest() {
                let written = row.written(version);
                items.push(Item { key, version, written, in_primary, on_shelf });
            }
        }
        Ok(StoresPage { items, unreadable, next: bound, complete: shelf.is_none() && !is_missed })
    }
}
