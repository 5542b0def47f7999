//! Listing two stores as one.
//!
//! Each page asks the shelf first, the primary next, and both once more, as a single read does: a report that is moved meanwhile, in
//! either direction, is in one of the four. What was on the shelf and is no longer is looked up alone.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt as _};

use super::answer::{ListAnswer, ReportsError, Store};
use super::{Away, Reports};
use crate::fallback::shelf::{Listed, Page, ShelfError};
use crate::reports::{ReportKey, Version};

/// Tombstones that are read at once.
const TOMBSTONES: usize = 500;
/// Reports that the shelf is asked for at once.
const AT_ONCE: usize = 8;

/// A page as the stores gave it.
pub(super) struct StoresPage {
    pub(super) items: Vec<Item>,
    pub(super) next: Option<ReportKey>,
    pub(super) complete: bool,
}

/// A visible report of a page.
pub(super) struct Item {
    pub(super) key: ReportKey,
    pub(super) version: Version,
    pub(super) in_primary: bool,
    pub(super) on_shelf: bool,
}

/// What the stores say of one key.
#[derive(Default)]
struct Row {
    primary: Option<Version>,
    /// On the shelf, under this version if that is known.
    shelf: Option<Option<Version>>,
    tombstone: Option<i64>,
}

impl Row {
    fn is_visible(&self, version: Version) -> bool {
        Some(version.sequence) >= self.tombstone
    }

    /// Whether the shelf has to be asked for the version: it was not told, or was and would not count, though an older controller may have
    /// written a value since that does.
    fn is_doubtful(&self) -> bool {
        self.shelf.is_some_and(|it| it.is_none_or(|version| !self.is_visible(version)))
    }
}

/// The rows of a page, and how far both stores have told of them.
#[derive(Default)]
struct Rows {
    rows: BTreeMap<ReportKey, Row>,
    bound: Option<ReportKey>,
}

impl Rows {
    fn end_at(&mut self, bound: Option<ReportKey>) {
        self.bound = match (self.bound.take(), bound) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    fn take_shelf(&mut self, page: Page<Listed>) {
        for it in page.items {
            self.rows.entry(it.key).or_default().shelf = Some(it.version);
        }
        self.end_at(page.next);
    }

    fn take_primary(&mut self, page: Page<(ReportKey, Version)>) {
        for (key, version) in page.items {
            self.rows.entry(key).or_default().primary = Some(version);
        }
        self.end_at(page.next);
    }

    /// Leaves out what lies behind the bound, and what is too much.
    fn cut(&mut self, limit: usize) {
        if let Some(bound) = &self.bound {
            self.rows.retain(|key, _| key <= bound);
        }
        while self.rows.len() > limit {
            self.rows.pop_last();
            self.bound = self.rows.last_key_value().map(|it| it.0.clone());
        }
    }

    fn bury(&mut self, key: &ReportKey, sequence: i64) {
        if let Some(row) = self.rows.get_mut(key) {
            row.tombstone = row.tombstone.max(Some(sequence));
        }
    }
}

impl Reports {
    /// The reports whose key begins with `prefix` and comes behind `after`, in the order of their keys, `limit` at most. A page may have
    /// fewer and still not be the last one.
    ///
    /// # Errors
    /// [`ReportsError::Unavailable`] if no store answers.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
    ) -> Result<ListAnswer, ReportsError> {
        let page = self.list_stores(prefix, after, limit).await?;
        let items = page.items.into_iter().map(|it| (it.key, it.version)).collect();
        Ok(ListAnswer { items, next: page.next, complete: page.complete })
    }

    pub(super) async fn list_stores(
        &self,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
    ) -> Result<StoresPage, ReportsError> {
        let limit = limit.max(1);
        let mut rows = Rows::default();
        let before = self.shelf_keys(&mut rows, prefix, after, limit).await;
        let mut primary = self.primary_rows(&mut rows, prefix, after, limit).await;
        let mut shelf = before.and(self.shelf_rows(&mut rows, prefix, after, limit).await);
        // Meanwhile a report may have been taken out and put anew: neither look at the shelf shows it, nor does the first here.
        if primary.is_ok() {
            primary = self.primary_rows(&mut rows, prefix, after, limit).await;
        }
        rows.cut(limit);
        if shelf.is_ok() {
            shelf = self.shelf_tombstones(&mut rows, prefix, after).await;
        }
        if primary.is_ok() {
            primary = self.primary_tombstones(&mut rows, prefix, after).await;
        }
        let settled = self.settle(&mut rows).await?;
        let mut page = self.page(rows, primary.err(), shelf.err())?;
        page.complete &= settled;
        Ok(page)
    }

    /// What stands on the shelf before the primary is asked.
    async fn shelf_keys(
        &self,
        rows: &mut Rows,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
    ) -> Result<(), ShelfError> {
        if self.primary().is_ok() {
            let page = self.room.shelf.keys(prefix, after, limit).await?;
            rows.end_at(page.next);
            rows.rows
                .extend(page.items.into_iter().map(|key| (key, Row { shelf: Some(None), ..Row::default() })));
        }
        Ok(())
    }

    async fn primary_rows(
        &self,
        rows: &mut Rows,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
    ) -> Result<(), Away> {
        rows.take_primary(self.ask(0, |primary| primary.list(prefix, after, limit)).await?);
        Ok(())
    }

    async fn shelf_rows(
        &self,
        rows: &mut Rows,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
    ) -> Result<(), ShelfError> {
        rows.take_shelf(self.room.shelf.list(prefix, after, limit).await?);
        Ok(())
    }

    async fn shelf_tombstones(
        &self,
        rows: &mut Rows,
        prefix: &str,
        after: Option<&ReportKey>,
    ) -> Result<(), ShelfError> {
        let mut after = after.cloned();
        loop {
            let page = self.room.shelf.tombstones(prefix, after.as_ref(), TOMBSTONES).await?;
            page.items.iter().for_each(|it| rows.bury(&it.tombstone.key, it.tombstone.sequence));
            after = page.next;
            if after.is_none() || (rows.bound.is_some() && after >= rows.bound) {
                return Ok(());
            }
        }
    }

    async fn primary_tombstones(
        &self,
        rows: &mut Rows,
        prefix: &str,
        after: Option<&ReportKey>,
    ) -> Result<(), Away> {
        // What stands in the primary lies above its tombstones: they only matter to copies on the shelf.
        if rows.rows.values().all(|it| it.shelf.is_none()) {
            return Ok(());
        }
        let mut after = after.cloned();
        loop {
            let page = self.ask(0, |primary| primary.tombstones(prefix, after.as_ref(), TOMBSTONES)).await?;
            page.items.iter().for_each(|it| rows.bury(&it.key, it.sequence));
            after = page.next;
            if after.is_none() || (rows.bound.is_some() && after >= rows.bound) {
                return Ok(());
            }
        }
    }

    /// Looks for what the shelf was said to hold and did not tell the version of: it may have been moved since. Says whether every store
    /// answered.
    async fn settle(&self, rows: &mut Rows) -> Result<bool, ReportsError> {
        let doubtful: Vec<_> =
            rows.rows.iter().filter(|it| it.1.is_doubtful()).map(|it| it.0.clone()).collect();
        let mut found =
            stream::iter(doubtful).map(|key| async move { (self.look(&key).await, key) }).buffered(AT_ONCE);
        let mut complete = true;
        while let Some((look, key)) = found.next().await {
            let Some(row) = rows.rows.get_mut(&key) else { continue };
            match look {
                Ok(look) => {
                    let version = |of| look.newest.filter(|it| it.1 == of).map(|it| it.0);
                    *row = Row {
                        primary: version(Store::Primary),
                        shelf: version(Store::Fallback).map(Some),
                        tombstone: None,
                    };
                    complete &= look.complete;
                }
                Err(ReportsError::Unavailable { .. } | ReportsError::Shelf(_)) => complete = false,
                Err(error) => return Err(error),
            }
        }
        Ok(complete)
    }

    fn page(
        &self,
        rows: Rows,
        primary: Option<Away>,
        shelf: Option<ShelfError>,
    ) -> Result<StoresPage, ReportsError> {
        if let Some(error) = primary.as_ref().and_then(Away::rejection) {
            return Err(error);
        }
        let complete = shelf.is_none() && !primary.as_ref().is_some_and(|it| self.is_missed(it));
        if primary.is_some() && shelf.is_some() {
            self.room.counters.unavailable();
            return Err(ReportsError::unavailable(primary.as_ref(), shelf));
        }
        let item = |(key, row): (ReportKey, Row)| {
            let visible = row.primary.into_iter().chain(row.shelf.flatten()).filter(|it| row.is_visible(*it));
            let version = visible.max()?;
            Some(Item { key, version, in_primary: row.primary.is_some(), on_shelf: row.shelf.is_some() })
        };
        let items = rows.rows.into_iter().filter_map(item).collect();
        Ok(StoresPage { items, next: rows.bound, complete })
    }
}
