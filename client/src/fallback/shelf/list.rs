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

/// Keys that stand where reports do, and name neither one nor a piece of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strays {
    /// The first of them.
    pub named: Vec<String>,
    /// How many there are besides.
    pub unnamed: u64,
}

/// A piece of a value whose first piece is gone: the tail of a longer report that an older controller replaced by a shorter one, which went
/// away without it. Nobody can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoosePiece {
    /// The report that it was a piece of.
    pub key: ReportKey,
    /// The key that it stands under.
    pub raw: String,
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

    /// Keys that stand among those of reports and are nobody's to remove; `limit` of them are named, the others counted.
    ///
    /// # Errors
    /// The store did not list them.
    pub async fn strays(&self, limit: usize) -> Result<Strays, ShelfError> {
        let mut strays = Strays::default();
        let is_known = |named: &Named, raw: &str| match named {
            Named::Report(key) => self.layout.data(key) == raw,
            Named::Piece { .. } => true,
            Named::Stray => false,
        };
        for range in &self.layout.ranges() {
            let mut page = Some(None);
            while let Some(after) = page {
                let listed = self.listed(range, after).await?;
                for raw in listed.iter().filter(|raw| !is_known(&range.name(raw), raw)) {
                    match strays.named.len() < limit {
                        true => strays.named.push(raw.clone()),
                        false => strays.unnamed += 1,
                    }
                }
                page = behind(listed);
            }
        }
        Ok(strays)
    }

    /// The pieces whose first piece is gone. [`Shelf::remove_piece`] takes them away.
    ///
    /// # Errors
    /// The store did not list them.
    pub async fn loose_pieces(&self) -> Result<Vec<LoosePiece>, ShelfError> {
        let mut loose = Vec::new();
        for range in &self.layout.ranges() {
            let mut page = Some(None);
            while let Some(after) = page {
                let listed = self.listed(range, after).await?;
                for raw in &listed {
                    let Named::Piece { of } = range.name(raw) else { continue };
                    if let Named::Report(key) = range.name(&of)
                        && !self.exists(&of).await?
                    {
                        loose.push(LoosePiece { key, raw: raw.clone() });
                    }
                }
                page = behind(listed);
            }
        }
        Ok(loose)
    }

    /// A page of the keys of a range.
    async fn listed(&self, range: &Range, after: Option<String>) -> Result<Vec<String>, ShelfError> {
        let Some(raw) = range.prefix("") else { return Ok(Vec::new()) };
        let listed = self.store.list(&raw, after.as_deref(), LISTED).await?;
        Ok(listed.into_iter().map(|it| it.key).collect())
    }

    async fn exists(&self, raw: &str) -> Result<bool, ShelfError> {
        let first = self.store.list(raw, None, 1).await?;
        Ok(first.first().is_some_and(|it| it.key == raw))
    }

    /// Removes a piece, unless its first piece came back.
    ///
    /// # Errors
    /// After an error it may be gone, or not.
    pub async fn remove_piece(&self, piece: &LoosePiece) -> Result<bool, ShelfError> {
        let Some(entry) = self.read_one(piece.raw.clone()).await? else { return Ok(false) };
        let first_is_gone =
            Operation::Check { key: self.layout.data(&piece.key), condition: Condition::Absent };
        let condition = Condition::Unchanged(entry.revision);
        let delete = Operation::Delete { key: piece.raw.clone(), condition };
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

/// Where the page behind a full one begins.
fn behind(listed: Vec<String>) -> Option<Option<String>> {
    (listed.len() == LISTED).then(|| listed.into_iter().next_back())
}
