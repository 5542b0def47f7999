//! Reports in SQL as a depot.
//!
//! A row's stamp is its id, which is never given twice, with a count of how often it was brought again. Looking into a report takes milliseconds
//! of a processor, so it is done beside the tasks that wait for others.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::database::DatabaseError;
use crate::fallback::shelf::gzip;
use crate::migrate::decision::{Skip, There};
use crate::migrate::depot::{
    Arrival, Depot, DepotError, Found, Grave, Graves, Holding, Page, Parcel, Standing, Tombstone, Written,
};
use crate::reports::extract::Extractor;
use crate::reports::{
    self, Confirmed, List, Moved, Moving, Put, ReportError, ReportKey, ReportStore, RowStamp, TombstoneStamp,
};
use crate::schema::SchemaError;

impl From<ReportError> for DepotError {
    fn from(error: ReportError) -> Self {
        if error.blames_the_caller() || matches!(error, ReportError::Unreadable { .. }) {
            Self::Refused(error.to_string())
        } else {
            Self::Away(error.to_string())
        }
    }
}

impl From<SchemaError> for DepotError {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Database(error) => ReportError::Database(error).into(),
            // A newer program may have made the tables; this one is replaced, or the database put back.
            other => Self::Away(other.to_string()),
        }
    }
}

#[async_trait]
impl Depot for ReportStore {
    type Stamp = RowStamp;
    type Seal = TombstoneStamp;

    fn name(&self) -> &str {
        "the database"
    }

    async fn list(&self, from: Option<&str>, limit: usize) -> Result<Page, DepotError> {
        self.ready().await?;
        let page = ReportStore::list(self, List { after: from, limit, ..List::default() }).await?;
        let keys: Vec<_> = page.reports.into_iter().map(|it| it.key).collect();
        let next = keys.last().filter(|_| page.more).map(ToString::to_string);
        Ok(Page { keys, next, ..Page::default() })
    }

    async fn read(&self, key: &ReportKey, limit: usize) -> Result<Found<RowStamp>, DepotError> {
        // The stamp first: what is read after it is no older.
        let Some((stamp, size)) = self.stamp(key).await? else { return Ok(Found::Absent) };
        if size > limit as u64 {
            return Ok(Found::Large(size));
        }
        let reports::Found { report, tombstone } = self.find(key).await?;
        let Some(stored) = report else { return Ok(Found::Absent) };
        let sequence = stored.version.sequence;
        Ok(match stored.unpacked() {
            Some(report) => {
                Found::Report { parcel: Box::new(Parcel::new(report, sequence)), tombstone, stamp }
            }
            None => Found::Unreadable(Skip::Undecodable, "its findings cannot be unpacked".to_owned()),
        })
    }

    async fn bring(&self, parcels: Vec<Parcel>) -> Result<Vec<Arrival>, DepotError> {
        self.ready().await?;
        let keys: Vec<_> = parcels.iter().map(|it| it.report.key.clone()).collect();
        let (moving, mut refused) = look_into(parcels, self.is_closed()).await?;
        let puts = self.put_each(&moving).await?;
        let (confirmed, standing) = self.read_back(&moving, &keys).await?;
        let mut arrivals = moving.iter().zip(puts).zip(confirmed);
        let mut arrival = |index: usize| {
            let (standing, tombstone) = *standing.get(index)?;
            if let Some(written) = refused[index].take() {
                let there = There { version: standing, tombstone, ..There::default() };
                return Some(Arrival { written, there });
            }
            let ((moving, put), confirmed) = arrivals.next()?;
            let written = match put {
                Moved::Renewed => Written::Renewed,
                Moved::Put(Put::Stored(_)) => Written::Stored,
                Moved::Put(Put::Superseded(_) | Put::Suppressed(_)) => Written::Outdated,
            };
            let (version, same) = match confirmed {
                Confirmed::Same => (Some(moving.version()), true),
                Confirmed::Newer(version) => (Some(version), false),
                Confirmed::Different => (Some(moving.version()), false),
                // Nothing, or an older one.
                Confirmed::Missing => (standing, false),
            };
            Some(Arrival { written, there: There { version, tombstone, same, ..There::default() } })
        };
        let arrivals: Option<Vec<_>> = (0..keys.len()).map(&mut arrival).collect();
        arrivals
            .ok_or_else(|| DepotError::Away("the database does not tell what became of each report".into()))
    }

    async fn look(&self, keys: &[ReportKey]) -> Result<Vec<Standing>, DepotError> {
        let standing = |(version, tombstone): (Option<_>, _)| Standing {
            holding: version.map_or(Holding::Nothing, Holding::Report),
            tombstone,
        };
        Ok(self.standing(keys).await?.into_iter().map(standing).collect())
    }

    async fn remove(&self, key: &ReportKey, stamp: &RowStamp) -> Result<bool, DepotError> {
        Ok(self.remove_exactly(key, *stamp).await?)
    }

    async fn tombstones(
        &self,
        from: Option<&str>,
        limit: usize,
    ) -> Result<Graves<TombstoneStamp>, DepotError> {
        self.ready().await?;
        let listed = self.graves(from, limit).await?;
        let next = listed.last().filter(|_| listed.len() >= limit).map(|it| it.key.to_string());
        let grave = |it: reports::ListedTombstone| Grave {
            tombstone: Tombstone { key: it.key, sequence: it.sequence },
            since: it.deleted_at,
            seal: it.stamp,
        };
        Ok(Graves { graves: listed.into_iter().map(grave).collect(), strange: Vec::new(), next })
    }

    async fn bury(&self, tombstones: &[Tombstone]) -> Result<Vec<Option<String>>, DepotError> {
        self.ready().await?;
        let tombstones: Vec<_> = tombstones
            .iter()
            .map(|it| reports::Tombstone { key: it.key.clone(), sequence: it.sequence })
            .collect();
        ReportStore::bury(self, &tombstones).await?;
        Ok(vec![None; tombstones.len()])
    }

    async fn unbury(&self, key: &ReportKey, seal: &TombstoneStamp) -> Result<bool, DepotError> {
        Ok(self.unbury_exactly(key, *seal).await?)
    }

    async fn sweep(&self, before: Timestamp) -> Result<(), DepotError> {
        ReportStore::sweep(self, before).await?;
        Ok(())
    }
}

impl ReportStore {
    /// Puts reports together, and one by one if they are refused together, so that one does not stop the others.
    async fn put_each(&self, moving: &[Moving]) -> Result<Vec<Moved>, ReportError> {
        match self.bring_moved(moving).await {
            Err(ReportError::Database(error)) if one_is_refused(&error) && moving.len() > 1 => {}
            other => return other,
        }
        let mut puts = Vec::with_capacity(moving.len());
        for it in moving {
            match self.bring_moved(std::slice::from_ref(it)).await {
                Ok(put) => puts.extend(put),
                // It is found missing when it is read back, and named so.
                Err(ReportError::Database(error)) if one_is_refused(&error) => {
                    puts.push(Moved::Put(Put::Superseded(it.version())));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(puts)
    }
}

fn one_is_refused(error: &DatabaseError) -> bool {
    error.blames_the_request()
}

/// Looks into reports; those that are not stored are told by the reason, in their places.
async fn look_into(
    parcels: Vec<Parcel>,
    closed: bool,
) -> Result<(Vec<Moving>, Vec<Option<Written>>), DepotError> {
    let looked = tokio::task::spawn_blocking(move || {
        let mut extractor = Extractor::new();
        let (mut moving, mut refused) =
            (Vec::with_capacity(parcels.len()), Vec::with_capacity(parcels.len()));
        for parcel in parcels {
            match look_into_one(parcel, closed, &mut extractor) {
                Ok(it) => {
                    moving.push(it);
                    refused.push(None);
                }
                Err(written) => refused.push(Some(written)),
            }
        }
        (moving, refused)
    });
    match looked.await {
        Ok(looked) => Ok(looked),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(DepotError::Away("the runtime is shutting down".to_owned())),
    }
}

/// Of a foreign one, what nothing was read out of is unpacked to see whether it can be.
fn look_into_one(parcel: Parcel, closed: bool, extractor: &mut Extractor) -> Result<Moving, Written> {
    let suspect = parcel.is_foreign.then(|| parcel.report.payload.clone());
    let Parcel { report, sequence, over, .. } = parcel;
    let moving = match closed {
        true => Moving::closed(report, sequence),
        false => Moving::with(report, sequence, extractor),
    };
    let moving = moving.map_err(|error| Written::Refused(error.to_string()))?;
    let suspect = suspect.filter(|_| !moving.is_read());
    match suspect.and_then(|payload| gzip::fault(&payload)) {
        Some(fault) => Err(Written::Undecodable(fault.to_owned())),
        None => Ok(moving.over(over)),
    }
}
