//! Reports in SQL as the primary.

use async_trait::async_trait;

use super::primary::{Kept, KeptStream, Primary, PrimaryError, PrimaryStats};
use super::shelf::{Burial, Lookup, Page, Placed, Tombstone};
use crate::database::DatabaseError;
use crate::reports::{
    self, List, Moving, Put, Report, ReportError, ReportKey, ReportStore, ReportStream, Selection, Version,
};
use crate::wire::{Applied, Kind};

/// Tombstones that a page has, at most.
const PAGE: usize = 1000;

impl From<ReportError> for PrimaryError {
    fn from(error: ReportError) -> Self {
        let text = error.to_string();
        match error {
            ReportError::Database(error) => of_database(&error, text),
            ReportError::ClockAhead { .. } | ReportError::TooLarge { .. } => Self::Rejected(text),
            ReportError::Unreadable { .. } => Self::Unwell(text),
        }
    }
}

/// The statements are ours: if one is wrong, it is the schema that is not ready, and no fault of a report.
fn of_database(error: &DatabaseError, text: String) -> PrimaryError {
    match error {
        DatabaseError::Unreachable(_) => PrimaryError::Unreachable(text),
        DatabaseError::Unanswered(_) | DatabaseError::Broken(_) => PrimaryError::Unanswered(text),
        DatabaseError::Refused { applied: Applied::Unknown | Applied::Yes, .. } => {
            PrimaryError::Unanswered(text)
        }
        DatabaseError::Refused { error, .. } if error.kind == Kind::TooLarge => PrimaryError::Rejected(text),
        DatabaseError::Refused { .. } => PrimaryError::Unwell(text),
    }
}

#[async_trait]
impl Primary for ReportStore {
    fn name(&self) -> &str {
        "the database"
    }

    async fn probe(&self) -> Result<(), PrimaryError> {
        ReportStore::list(self, List { limit: 1, ..List::default() }).await?;
        Ok(())
    }

    async fn put(&self, reports: &[(&Report, i64)]) -> Result<Vec<Placed>, PrimaryError> {
        let moving: Result<Vec<_>, _> =
            reports.iter().map(|(report, sequence)| Moving::new((*report).clone(), *sequence)).collect();
        let placed = |put| match put {
            Put::Stored(_) => Placed::Stored,
            Put::Superseded(version) => Placed::Superseded(version),
            Put::Suppressed(sequence) => Placed::Buried(sequence),
        };
        Ok(self.put_moved(&moving?).await?.into_iter().map(placed).collect())
    }

    async fn get(&self, key: &ReportKey) -> Result<Lookup<Kept>, PrimaryError> {
        let reports::Found { report, tombstone } = self.find(key).await?;
        Ok(Lookup { copy: report.map(kept), tombstone })
    }

    async fn head(&self, key: &ReportKey) -> Result<Lookup<Version>, PrimaryError> {
        let standing = self.standing(std::slice::from_ref(key)).await?;
        let (copy, tombstone) = standing.into_iter().next().unwrap_or_default();
        Ok(Lookup { copy, tombstone })
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
    ) -> Result<Page<(ReportKey, Version)>, PrimaryError> {
        let after = after.map(ReportKey::as_str);
        let page = ReportStore::list(self, List { prefix, after, limit, allowed: None }).await?;
        let items: Vec<_> = page.reports.into_iter().map(|it| (it.key, it.version)).collect();
        let next = items.last().filter(|_| page.more).map(|(key, _)| key.clone());
        Ok(Page { items, next })
    }

    async fn stream(&self, keys: &[ReportKey]) -> Result<Box<dyn KeptStream>, PrimaryError> {
        Ok(Box::new(Stream(self.get_many(Selection::keys(keys)))))
    }

    async fn bury(&self, tombstones: &[Tombstone]) -> Result<Vec<Burial>, PrimaryError> {
        let keys: Vec<_> = tombstones.iter().map(|it| it.key.clone()).collect();
        let before = self.standing(&keys).await?;
        let tombstones: Vec<_> = tombstones
            .iter()
            .map(|it| reports::Tombstone { key: it.key.clone(), sequence: it.sequence })
            .collect();
        ReportStore::bury(self, &tombstones).await?;
        let after = self.standing(&keys).await?;
        let burial = |((before, _), (after, _)): (&(Option<Version>, _), &(Option<Version>, _))| Burial {
            removed: before.is_some() && before != after,
            survivor: after.map(|it: Version| it.sequence),
        };
        Ok(before.iter().zip(&after).map(burial).collect())
    }

    async fn tombstones(
        &self,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
    ) -> Result<Page<Tombstone>, PrimaryError> {
        let limit = limit.min(PAGE);
        let listed = self.tombstones_of(prefix, after.map(ReportKey::as_str), limit).await?;
        let next = listed.last().filter(|_| listed.len() == limit).map(|it| it.key.clone());
        let tombstone = |it: reports::Tombstone| Tombstone { key: it.key, sequence: it.sequence };
        Ok(Page { items: listed.into_iter().map(tombstone).collect(), next })
    }

    async fn stats(&self) -> Result<PrimaryStats, PrimaryError> {
        let mut stats = PrimaryStats::default();
        for class in ReportStore::stats(self).await? {
            stats.reports += class.reports;
            stats.bytes += class.bytes;
            stats.newest = stats.newest.max(Some(class.newest));
        }
        Ok(stats)
    }
}

struct Stream(ReportStream);

#[async_trait]
impl KeptStream for Stream {
    async fn next(&mut self) -> Result<Option<Kept>, PrimaryError> {
        Ok(self.0.next().await?.map(kept))
    }
}

fn kept(stored: reports::Stored) -> Kept {
    Kept { version: stored.version, report: stored.report }
}
