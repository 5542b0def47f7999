//! Which reports there are: the ranges of the layout, merged in the order of the reports' keys.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::layout::{Named, Range};
use super::metadata::Metadata;
use super::{AT_ONCE, Shelf, ShelfError};
use crate::fallback::store::{Condition, Operation};
use crate::reports::{ReportKey, Version};

/// A part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What is listed, in the order of keys.
    pub items: Vec<T>,
    /// Where the next page begins: behind this key. `None`: there is none.
    pub next: Option<ReportKey>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { items: Vec::new(), next: None }
    }
}

/// A report of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: ReportKey,
    /// What the entry beside the value says. An older controller may have written the value since; without an entry, or if it cannot be
    /// read, nothing is known until the report is [looked up](Shelf::head).
    pub version: Option<Version>,
}

/// A key that stands where reports do and names none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stray {
    /// A piece of a value whose first piece is gone.
    Piece(String),
    /// Something else.
    Unknown(String),
}

/// How much a shelf holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShelfStats {
    /// Reports.
    pub reports: u64,
    /// Bytes of the payloads whose length is known: those with an entry.
    pub bytes: u64,
    /// The newest scan among them.
    pub newest: Option<Timestamp>,
}

/// Keys of one listing that is looked through: pages are cheaper the larger they are.
const LISTED: usize = 10_000;

/// What one range gave: reports up to `bound`, or to its end.
struct Part {
    keys: Vec<ReportKey>,
    bound: Option<ReportKey>,
}

impl Shelf {
    /// The keys of reports that begin with `prefix` and come behind `after`, in order, about `limit` and never more. Values alone count, as
    /// do values with an entry; tombstones have no say here.
    ///
    /// # Errors
    /// The store did not list them.
    pub async fn keys(
        &self,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
    ) -> Result<Page<ReportKey>, ShelfError> {
        let mut keys = BTreeSet::new();
        let mut bound: Option<ReportKey> = None;
        for range in &self.layout.ranges() {
            let part = self.part(range, prefix, after, limit.max(1)).await?;
            keys.extend(part.keys);
            bound = match (bound, part.bound) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        let mut items: Vec<_> =
            keys.into_iter().filter(|it| bound.as_ref().is_none_or(|bound| it <= bound)).collect();
        if items.len() > limit {
            items.truncate(limit);
            bound = items.last().cloned();
        }
        Ok(Page { items, next: bound })
    }

    /// As [`Shelf::keys`], with what the entries say of the versions.
    ///
    /// # Errors
    /// The store did not list them.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
    ) -> Result<Page<Listed>, ShelfError> {
        let page = self.keys(prefix, after, limit).await?;
        let entries = self.entries(&page.items).await?;
        let listed = |(key, entry): (ReportKey, Option<Metadata>)| Listed {
            key,
            version: entry.map(|it| it.version()),
        };
        Ok(Page { items: page.items.into_iter().zip(entries).map(listed).collect(), next: page.next })
    }

    async fn entries(&self, keys: &[ReportKey]) -> Result<Vec<Option<Metadata>>, ShelfError> {
        let mut all = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            let raw: Vec<_> = keys.iter().map(|it| self.layout.metadata(it)).collect();
            let entries = self.read(&raw).await?;
            all.extend(entries.into_iter().map(|it| Metadata::parse(&it?.value).ok()));
        }
        Ok(all)
    }

    async fn part(
        &self,
        range: &Range,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
    ) -> Result<Part, ShelfError> {
        let mut part = Part { keys: Vec::new(), bound: None };
        let Some(raw) = range.prefix(prefix) else { return Ok(part) };
        let mut begin = match after.map(|it| range.begin(it.as_str())) {
            Some(None) => return Ok(part),
            Some(Some(begin)) => begin,
            None => None,
        };
        loop {
            let listed = self.store.list(&raw, begin.as_deref(), limit).await?;
            for it in &listed {
                let Named::Report(key) = range.name(&it.key) else { continue };
                let wanted = key.as_str().starts_with(prefix) && after.is_none_or(|after| key > *after);
                if !wanted || self.layout.data(&key) != it.key {
                    continue;
                }
                part.keys.push(key);
                if part.keys.len() == limit {
                    part.bound = part.keys.last().cloned();
                    return Ok(part);
                }
            }
            if listed.len() < limit {
                return Ok(part);
            }
            begin = listed.into_iter().next_back().map(|it| it.key);
        }
    }

    /// Keys that stand among those of reports and name none, `limit` at most. They are left alone; [`Shelf::remove_stray`] takes pieces away.
    ///
    /// # Errors
    /// The store did not list them.
    pub async fn strays(&self, limit: usize) -> Result<Vec<Stray>, ShelfError> {
        let mut strays = Vec::new();
        for range in &self.layout.ranges() {
            let Some(raw) = range.prefix("") else { continue };
            let mut begin: Option<String> = None;
            loop {
                let listed = self.store.list(&raw, begin.as_deref(), LISTED).await?;
                for it in &listed {
                    let stray = match range.name(&it.key) {
                        Named::Report(key) if self.layout.data(&key) == it.key => continue,
                        Named::Piece { of } if self.exists(&of).await? => continue,
                        Named::Piece { .. } => Stray::Piece(it.key.clone()),
                        _ => Stray::Unknown(it.key.clone()),
                    };
                    strays.push(stray);
                    if strays.len() == limit {
                        return Ok(strays);
                    }
                }
                if listed.len() < LISTED {
                    break;
                }
                begin = listed.into_iter().next_back().map(|it| it.key);
            }
        }
        Ok(strays)
    }

    async fn exists(&self, raw: &str) -> Result<bool, ShelfError> {
        let first = self.store.list(raw, None, 1).await?;
        Ok(first.first().is_some_and(|it| it.key == raw))
    }

    /// Removes a piece whose first piece is gone, unless that came back. Other strays are nobody's to remove.
    ///
    /// # Errors
    /// After an error it may be gone, or not.
    pub async fn remove_stray(&self, stray: &Stray) -> Result<bool, ShelfError> {
        let Stray::Piece(raw) = stray else { return Ok(false) };
        let of = self.layout.ranges().iter().find_map(|range| match range.name(raw) {
            Named::Piece { of } => Some(of),
            _ => None,
        });
        let (Some(of), Some(entry)) = (of, self.read_one(raw.clone()).await?) else { return Ok(false) };
        let first_is_gone = Operation::Check { key: of, condition: Condition::Absent };
        let delete = Operation::Delete { key: raw.clone(), condition: Condition::Unchanged(entry.revision) };
        Ok(self.store.commit(vec![first_is_gone, delete]).await?)
    }

    /// How much there is. It lists everything.
    ///
    /// # Errors
    /// The store did not list them.
    pub async fn stats(&self) -> Result<ShelfStats, ShelfError> {
        let mut stats = ShelfStats::default();
        let mut after = None;
        loop {
            let page = self.keys("", after.as_ref(), 1000).await?;
            stats.reports += page.items.len() as u64;
            for entry in self.entries(&page.items).await?.into_iter().flatten() {
                stats.bytes += entry.size as u64;
                stats.newest = stats.newest.max(Some(entry.version().scanned_at));
            }
            after = page.next;
            if after.is_none() {
                return Ok(stats);
            }
        }
    }
}
