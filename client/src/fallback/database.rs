//! Reports in SQL as the primary.

use async_trait::async_trait;

use super::primary::{Kept, KeptStream, Primary, PrimaryError, PrimaryStats};
use super::shelf::{Burial, Lookup, Page, Placed, Tombstone};
use crate::database::DatabaseError;
use crate::reports::{
    self, List, Put, Report, ReportError, ReportKey, ReportStore, ReportStream, Selection, Version,
};
use crate::wire::Kind;

/// Reports of a page, and tombstones, at most.
const PAGE: usize = 1000;

impl From<ReportError> for PrimaryError {
    fn from(error: ReportError) -> Self {
        let text = error.to_string();
        match error {
            // The statements are ours: if the database does not understand one, its schema is not ready.
            ReportError::Database(error) if error.kind() == Some(Kind::Invalid) => Self::Unwell(text),
            error if error.blames_the_caller() => Self::Rejected(text),
            ReportError::Database(DatabaseError::Unreachable(_)) => Self::Unreachable(text),
            ReportError::Database(DatabaseError::Unanswered(_) | DatabaseError::Broken(_)) => {
                Self::Unanswered(text)
            }
            // A deadline or a lost lead may strike after the write.
            ReportError::Database(DatabaseError::Refused { applied, .. })
                if applied != larder_wire::Applied::No =>
            {
                Self::Unanswered(text)
            }
            _ => Self::Unwell(text),
        }
    }
}

#[async_trait]
impl Primary for ReportStore {
    fn name(&self) -> &str {
        "the database"
    }

    async fn probe(&self) -> Result<(), PrimaryError> {
        // Reads every table that a put touches first, so a schema that is not ready is no answer.
        self.list(List { limit: 1, ..List::default() }).await?;
        ReportStore::tombstones(self, None, 1).await?;
        Ok(())
    }

    async fn put(&self, reports: &[(&Report, i64)]) -> Result<Vec<Placed>, PrimaryError> {
        let placed = |(put, (report, _)): (Put, &(&Report, i64))| match put {
            Put::Stored(_) => Placed::Stored,
            Put::Superseded(standing) if standing.scanned_at < report.scanned_at => {
                Placed::Crossed(standing.sequence)
            }
            Put::Superseded(newer) => Placed::Superseded(newer),
            Put::Suppressed(tombstone) => Placed::Buried(tombstone),
        };
        Ok(self.put_sequenced(reports).await?.into_iter().zip(reports).map(placed).collect())
    }

    async fn get(&self, key: &ReportKey) -> Result<Lookup<Kept>, PrimaryError> {
        let found = self.find(key).await?;
        let kept = found.report.map(|it| {
            let version = it.version;
            let unreadable = || PrimaryError::Unwell(format!("the findings of {key} cannot be read"));
            Ok::<_, PrimaryError>(Kept { version, report: it.unpacked().ok_or_else(unreadable)? })
        });
        Ok(Lookup { copy: kept.transpose()?, tombstone: found.tombstone })
    }

    async fn head(&self, key: &ReportKey) -> Result<Lookup<Version>, PrimaryError> {
        let standing = self.standing(std::slice::from_ref(key)).await?;
        let (copy, tombstone) = standing.first().copied().unwrap_or_default();
        Ok(Lookup { copy, tombstone })
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
    ) -> Result<Page<(ReportKey, Version)>, PrimaryError> {
        let after = after.map(ReportKey::as_str);
        let page = ReportStore::list(self, List { prefix, after, limit, ..List::default() }).await?;
        let items: Vec<_> = page.reports.into_iter().map(|it| (it.key, it.version)).collect();
        let next = items.last().filter(|_| page.more).map(|it| it.0.clone());
        Ok(Page { items, next })
    }

    async fn stream(&self, keys: &[ReportKey]) -> Result<Box<dyn KeptStream>, PrimaryError> {
        Ok(Box::new(self.get_many(Selection::keys(keys).as_given())))
    }

    async fn bury(&self, tombstones: &[Tombstone]) -> Result<Vec<Burial>, PrimaryError> {
        let keys: Vec<_> = tombstones.iter().map(|it| it.key.clone()).collect();
        let entombed = |it: &Tombstone| reports::Tombstone { key: it.key.clone(), sequence: it.sequence };
        let before = self.standing(&keys).await?;
        ReportStore::bury(self, &tombstones.iter().map(entombed).collect::<Vec<_>>()).await?;
        let after = self.standing(&keys).await?;
        let burial =
            |((before, _), (after, tombstone)): ((Option<Version>, _), (Option<Version>, Option<i64>))| {
                let survivor = after.map(|it| it.sequence).filter(|it| Some(*it) >= tombstone);
                Burial { removed: before.is_some() && survivor.is_none(), survivor }
            };
        Ok(before.into_iter().zip(after).map(burial).collect())
    }

    async fn tombstones(
        &self,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
    ) -> Result<Page<Tombstone>, PrimaryError> {
        let limit = limit.clamp(1, PAGE);
        let listed = self.tombstones_of(prefix, after.map(ReportKey::as_str), limit).await?;
        let next = listed.last().filter(|_| listed.len() == limit).map(|it| it.key.clone());
        let items = listed.into_iter().map(|it| Tombstone { key: it.key, sequence: it.sequence }).collect();
        Ok(Page { items, next })
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

#[async_trait]
impl KeptStream for ReportStream {
    async fn next(&mut self) -> Result<Option<Kept>, PrimaryError> {
        let Some(stored) = ReportStream::next(self).await? else { return Ok(None) };
        let (version, key) = (stored.version, stored.report.key.clone());
        let unreadable = || PrimaryError::Unwell(format!("the findings of {key} cannot be read"));
        Ok(Some(Kept { version, report: stored.unpacked().ok_or_else(unreadable)? }))
    }
}
