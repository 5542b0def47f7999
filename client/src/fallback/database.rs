//! Reports in SQL as the primary.

use async_trait::async_trait;

use super::primary::{Kept, KeptStream, Listing, Primary, PrimaryError, PrimaryStats};
use super::shelf::{Burial, Lookup, Page, Placed, Tombstone};
use crate::database::DatabaseError;
use crate::reports::{
    self, List, Mark, Put, Report, ReportError, ReportKey, ReportStore, ReportStream, Selection, Standing,
    Told, Version,
};
use crate::schema::SchemaError;
use crate::wire::Kind;

/// Reports of a page, at most.
const PAGE: usize = 1000;

impl From<ReportError> for PrimaryError {
    fn from(error: ReportError) -> Self {
        let text = error.to_string();
        match error {
            // The statements are ours: if the database does not understand one, its schema is not ready.
            ReportError::Database(error) if error.kind() == Some(Kind::Invalid) => Self::Unwell(text),
            error if error.blames_the_caller() => Self::Rejected(text),
            ReportError::Unreadable { .. } => Self::Unreadable(text),
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

impl From<SchemaError> for PrimaryError {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Database(error) => ReportError::Database(error).into(),
            other => Self::Unwell(other.to_string()),
        }
    }
}

#[async_trait]
impl Primary for ReportStore {
    fn name(&self) -> &str {
        "the database"
    }

    async fn probe(&self) -> Result<(), PrimaryError> {
        self.ready().await?;
        // Reads every table that a put touches first, so a schema that is not ready is no answer.
        self.list(List { limit: 1, ..List::default() }).await?;
        ReportStore::tombstones(self, None, 1).await?;
        Ok(())
    }

    async fn put(
        &self,
        reports: &[(&Report, i64)],
        since: Option<Mark>,
    ) -> Result<Told<Vec<Placed>>, PrimaryError> {
        let placed = |(put, (report, _)): (Put, &(&Report, i64))| match put {
            Put::Stored(_) => Placed::Stored,
            Put::Superseded(standing) if standing.scanned_at < report.scanned_at => {
                Placed::Crossed(standing.sequence)
            }
            Put::Superseded(newer) => Placed::Superseded(newer),
            Put::Suppressed(tombstone) => Placed::Buried(tombstone),
        };
        self.ready().await?;
        let puts = self.put_since(reports, since).await?;
        Ok(puts.map(|it| it.into_iter().zip(reports).map(placed).collect()))
    }

    async fn get(&self, key: &ReportKey, since: Option<Mark>) -> Result<Told<Lookup<Kept>>, PrimaryError> {
        self.ready().await?;
        let Told { answer: found, departures } = self.find_since(key, since).await?;
        let kept = found.report.map(|it| {
            let version = it.version;
            let unreadable = || PrimaryError::Unreadable(format!("the findings of {key} cannot be read"));
            Ok::<_, PrimaryError>(Kept { version, report: it.unpacked().ok_or_else(unreadable)? })
        });
        Ok(Told { answer: Lookup { copy: kept.transpose()?, tombstone: found.tombstone }, departures })
    }

    async fn head(
        &self,
        key: &ReportKey,
        since: Option<Mark>,
    ) -> Result<Told<Lookup<Version>>, PrimaryError> {
        self.ready().await?;
        let standing = self.standing_since(std::slice::from_ref(key), since).await?;
        Ok(standing.map(|it| lookup(it.first().copied().unwrap_or_default())))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
        beside: &[ReportKey],
        since: Option<Mark>,
    ) -> Result<Told<Listing>, PrimaryError> {
        self.ready().await?;
        let range = (prefix, after.map(ReportKey::as_str));
        let told = self.versions_since(range, limit.clamp(1, PAGE), beside, since).await?;
        Ok(told.map(|it| {
            let next = it.listed.last().filter(|_| it.more).map(|it| it.0.clone());
            let beside = it.beside.into_iter().map(lookup).collect();
            Listing { page: Page { items: it.listed, next }, beside }
        }))
    }

    async fn stream(&self, keys: &[ReportKey]) -> Result<Box<dyn KeptStream>, PrimaryError> {
        self.ready().await?;
        Ok(Box::new(self.get_many(Selection::keys(keys).as_given())))
    }

    async fn bury(
        &self,
        tombstones: &[Tombstone],
        since: Option<Mark>,
    ) -> Result<Told<Vec<Burial>>, PrimaryError> {
        self.ready().await?;
        let keys: Vec<_> = tombstones.iter().map(|it| it.key.clone()).collect();
        let entombed = |it: &Tombstone| reports::Tombstone { key: it.key.clone(), sequence: it.sequence };
        let before = self.standing(&keys).await?;
        ReportStore::bury(self, &tombstones.iter().map(entombed).collect::<Vec<_>>()).await?;
        let after = self.standing_since(&keys, since).await?;
        let burial = |((before, _), (after, tombstone)): (Standing, Standing)| {
            let survivor = after.map(|it| it.sequence).filter(|it| Some(*it) >= tombstone);
            Burial { removed: before.is_some() && survivor.is_none(), survivor }
        };
        Ok(after.map(|after| before.into_iter().zip(after).map(burial).collect()))
    }

    async fn stats(&self) -> Result<PrimaryStats, PrimaryError> {
        self.ready().await?;
        let mut stats = PrimaryStats::default();
        for class in ReportStore::stats(self).await? {
            stats.reports += class.reports;
            stats.bytes += class.bytes;
            stats.newest = stats.newest.max(Some(class.newest));
        }
        Ok(stats)
    }
}

fn lookup((copy, tombstone): Standing) -> Lookup<Version> {
    Lookup { copy, tombstone }
}

#[async_trait]
impl KeptStream for ReportStream {
    async fn next(&mut self) -> Result<Option<Kept>, PrimaryError> {
        let Some(stored) = ReportStream::next(self).await? else { return Ok(None) };
        let (version, key) = (stored.version, stored.report.key.clone());
        let unreadable = || PrimaryError::Unreadable(format!("the findings of {key} cannot be read"));
        Ok(Some(Kept { version, report: stored.unpacked().ok_or_else(unreadable)? }))
    }
}
