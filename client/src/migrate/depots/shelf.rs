//! Reports on a shelf as a depot.
//!
//! A copy's stamp is the revisions of its keys. Of values that an older controller wrote alone, one whose compressed stream is broken is left
//! where it is: it may be half of something. What a client of this crate wrote is moved whatever it is.

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use crate::fallback::StoreError;
use crate::fallback::shelf::{
    self, LoosePiece, Origin, Placed, Shelf, ShelfError, ShelfTombstone, Strays, Within,
};
use crate::migrate::decision::{Skip, There};
use crate::migrate::depot::{
    Arrival, Depot, DepotError, Found, Grave, Graves, Holding, Page, Parcel, Standing, Tombstone, Written,
};
use crate::migrate::progress::NAMED;
use crate::reports::ReportKey;

/// Calls at a time where there is one for each report.
const CALLS: usize = 8;

impl From<ShelfError> for DepotError {
    fn from(error: ShelfError) -> Self {
        match error {
            ShelfError::Store(StoreError::Refused { .. }) => Self::Refused(error.to_string()),
            ShelfError::Incomplete { .. } | ShelfError::Damaged { .. } | ShelfError::Unkept { .. } => {
                Self::Refused(error.to_string())
            }
            ShelfError::Store(_) | ShelfError::Contended { .. } => Self::Away(error.to_string()),
        }
    }
}

#[async_trait]
impl Depot for Shelf {
    type Stamp = shelf::Holding;
    type Seal = ShelfTombstone;

    fn name(&self) -> &str {
        Shelf::name(self)
    }

    async fn list(&self, from: Option<&str>, limit: usize) -> Result<Page, DepotError> {
        let after = from.map(key_of).transpose()?;
        let page = self.keys("", after.as_ref(), limit).await?;
        let strays = if from.is_none() { self.strays(NAMED).await? } else { Strays::default() };
        let named = |raw| (raw, "it names no report".to_owned());
        let strange = strays.named.into_iter().map(named).collect();
        let next = page.next.map(|it| it.to_string());
        Ok(Page { keys: page.items, strange, more_strange: strays.unnamed, next })
    }

    async fn read(&self, key: &ReportKey, limit: usize) -> Result<Found<shelf::Holding>, DepotError> {
        found(self.get_within(key, limit).await)
    }

    async fn read_all(
        &self,
        keys: &[ReportKey],
        limit: usize,
    ) -> Vec<Result<Found<shelf::Holding>, DepotError>> {
        self.get_all_within(keys, limit).await.into_iter().map(found).collect()
    }

    async fn bring(&self, parcels: Vec<Parcel>) -> Result<Vec<Arrival>, DepotError> {
        stream::iter(parcels).map(|it| self.bring_one(it)).buffered(CALLS).try_collect().await
    }

    async fn look(&self, keys: &[ReportKey]) -> Result<Vec<Standing>, DepotError> {
        let looks: Vec<_> = keys.iter().map(|key| self.look_at(key)).collect();
        stream::iter(looks).buffered(CALLS).try_collect().await
    }

    async fn remove(&self, _: &ReportKey, stamp: &shelf::Holding) -> Result<bool, DepotError> {
        Ok(Shelf::remove(self, stamp).await?)
    }

    async fn remove_all(&self, removals: &[(ReportKey, shelf::Holding)]) -> Vec<Result<bool, DepotError>> {
        let holdings: Vec<_> = removals.iter().map(|it| &it.1).collect();
        Shelf::remove_all(self, &holdings).await.into_iter().map(|it| it.map_err(DepotError::from)).collect()
    }

    async fn tombstones(
        &self,
        from: Option<&str>,
        limit: usize,
    ) -> Result<Graves<ShelfTombstone>, DepotError> {
        let after = from.map(key_of).transpose()?;
        let (page, strange) = self.tombstones_as_they_are("", after.as_ref(), limit).await?;
        let grave = |seal: ShelfTombstone| {
            let shelf::Tombstone { key, sequence } = seal.tombstone.clone();
            Grave { tombstone: Tombstone { key, sequence }, since: seal.deleted_at, seal }
        };
        let next = page.next.map(|it| it.to_string());
        Ok(Graves { graves: page.items.into_iter().map(grave).collect(), strange, next })
    }

    async fn bury(&self, tombstones: &[Tombstone]) -> Result<Vec<Option<String>>, DepotError> {
        let mut refused = Vec::with_capacity(tombstones.len());
        for Tombstone { key, sequence } in tombstones {
            let tombstone = shelf::Tombstone { key: key.clone(), sequence: *sequence };
            refused.push(match Shelf::bury(self, &tombstone).await.map_err(DepotError::from) {
                Ok(_) => None,
                Err(DepotError::Refused(reason)) => Some(reason),
                Err(away) => return Err(away),
            });
        }
        Ok(refused)
    }

    async fn unbury(&self, _: &ReportKey, seal: &ShelfTombstone) -> Result<bool, DepotError> {
        Ok(self.remove_tombstone(seal).await?)
    }

    async fn sweep(&self, before: Timestamp) -> Result<(), DepotError> {
        Shelf::sweep(self, before).await?;
        Ok(())
    }

    async fn loose_pieces(&self) -> Result<Vec<LoosePiece>, DepotError> {
        Ok(Shelf::loose_pieces(self).await?)
    }

    async fn remove_piece(&self, piece: &LoosePiece) -> Result<bool, DepotError> {
        Ok(Shelf::remove_piece(self, piece).await?)
    }
}

impl Shelf {
    async fn bring_one(&self, parcel: Parcel) -> Result<Arrival, DepotError> {
        let key = parcel.report.key.clone();
        if let Some(fault) = parcel.fault() {
            let written = Written::Undecodable(fault.to_owned());
            return Ok(Arrival { written, there: There::default() });
        }
        let written = match self.put_moved(&parcel.report, parcel.sequence, parcel.over).await {
            Ok(Placed::Stored) => Written::Stored,
            Ok(Placed::Superseded(_) | Placed::Crossed(_) | Placed::Buried(_)) => Written::Outdated,
            Err(error) => match DepotError::from(error) {
                DepotError::Refused(reason) => Written::Refused(reason),
                away => return Err(away),
            },
        };
        let there = match self.get(&key).await {
            Ok(lookup) => {
                let undated = lookup.copy.as_ref().is_some_and(|it| it.origin.is_undated(it.version));
                let back = lookup.copy.map(|it| Parcel::new(it.report, it.version.sequence));
                There {
                    undated,
                    version: back.as_ref().map(Parcel::version),
                    tombstone: lookup.tombstone,
                    same: back.is_some_and(|back| parcel.is_same(&back)),
                }
            }
            Err(ShelfError::Incomplete { .. } | ShelfError::Damaged { .. }) => There::default(),
            Err(error) => return Err(error.into()),
        };
        Ok(Arrival { written, there })
    }

    async fn look_at(&self, key: &ReportKey) -> Result<Standing, DepotError> {
        match self.head(key).await {
            Ok(lookup) => {
                let holding = lookup.copy.map_or(Holding::Nothing, |it| Holding::Report(it.version));
                Ok(Standing { holding, tombstone: lookup.tombstone })
            }
            Err(ShelfError::Incomplete { .. } | ShelfError::Damaged { .. }) => {
                Ok(Standing { holding: Holding::Unreadable, tombstone: None })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What a depot says of what was read.
fn found(read: Result<Within, ShelfError>) -> Result<Found<shelf::Holding>, DepotError> {
    let unreadable = |skip, detail: String| Ok(Found::Unreadable(skip, detail));
    let lookup = match read {
        Ok(Within::Whole(lookup)) => *lookup,
        Ok(Within::Larger(size)) => return Ok(Found::Large(size as u64)),
        Err(error @ ShelfError::Incomplete { .. }) => {
            return unreadable(Skip::Incomplete, error.to_string());
        }
        Err(error @ ShelfError::Damaged { .. }) => {
            return unreadable(Skip::Undecodable, error.to_string());
        }
        Err(error) => return Err(error.into()),
    };
    let Some(held) = lookup.copy else { return Ok(Found::Absent) };
    let is_foreign = held.origin == Origin::Foreign;
    let parcel = Parcel { is_foreign, ..Parcel::new(held.report, held.version.sequence) };
    Ok(Found::Report { parcel: Box::new(parcel), tombstone: lookup.tombstone, stamp: held.holding })
}

fn key_of(text: &str) -> Result<ReportKey, DepotError> {
    ReportKey::new(text).map_err(|error| DepotError::Refused(error.to_string()))
}
