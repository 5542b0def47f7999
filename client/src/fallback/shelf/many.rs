//! Reading and removing several reports by one call, as a migration does.
//!
//! What is odd about one of them is left to the way that reads and removes it alone.

use futures_util::stream::{self, StreamExt as _};

use super::header::{Header, KEYS};
use super::read::{Origin, Within};
use super::{Holding, Shelf, ShelfError};
use crate::fallback::store::{Entry, Sorted, StoreError};
use crate::reports::ReportKey;

/// Transactions that remove at a time.
const REMOVALS: usize = 4;

impl Shelf {
    /// As [`Shelf::get_within`], several reports in their order.
    pub async fn get_all_within(&self, keys: &[ReportKey], limit: usize) -> Vec<Result<Within, ShelfError>> {
        let mut left = keys;
        let mut found = Vec::with_capacity(keys.len());
        while !left.is_empty() {
            let (few, rest) = left.split_at(self.together(left));
            found.extend(self.get_few(few, limit).await);
            left = rest;
        }
        found
    }

    /// How many of `keys` are read of one moment; one at least.
    fn together(&self, keys: &[ReportKey]) -> usize {
        let mut names = 0;
        let fits = keys.iter().take_while(|key| {
            names += KEYS + self.layout.states(key).len();
            names <= self.store.snapshot_of_large()
        });
        fits.count().max(1)
    }

    async fn get_few(&self, keys: &[ReportKey], limit: usize) -> Vec<Result<Within, ShelfError>> {
        let headers = match keys {
            [_] => Ok(vec![None]),
            _ => self.headers(keys).await,
        };
        let headers = match headers {
            Ok(headers) => headers,
            Err(error) => return keys.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut found = Vec::with_capacity(keys.len());
        for (key, header) in keys.iter().zip(headers) {
            let read = match header {
                Some(header) => self.read_by(key, &header, limit).await.ok(),
                None => None,
            };
            found.push(match read {
                Some(within) => Ok(within),
                None => self.get_within(key, limit).await,
            });
        }
        found
    }

    /// The headers of a few keys, of one moment; `None` where one has to be read alone.
    async fn headers(&self, keys: &[ReportKey]) -> Result<Vec<Option<Header>>, ShelfError> {
        // Beside what an older controller wrote there are states, and neither an entry nor, mostly, a tombstone.
        let (mut large, mut small, mut rare) = (Vec::with_capacity(keys.len()), Vec::new(), Vec::new());
        for key in keys {
            let [value, metadata, tombstone] = self.names(key);
            large.push(value);
            small.extend(self.layout.states(key));
            rare.extend([metadata, tombstone]);
        }
        let sorted = Sorted { large: &large, small: &small, rare: &rare };
        let Some(mut values) = self.store.get_large(sorted).await? else {
            return Ok(keys.iter().map(|_| None).collect());
        };
        let mut others = values.split_off(large.len().min(values.len())).into_iter();
        let states: Vec<Vec<_>> =
            keys.iter().map(|key| others.by_ref().take(self.layout.states(key).len()).collect()).collect();
        let header = |((key, value), states): ((&ReportKey, Option<Entry>), Vec<Option<Entry>>)| {
            let mut next = || others.next().flatten();
            let own = [value, next(), next()];
            let mut header = self.parse_header(key, own).ok()?;
            match (&header.value, &header.metadata) {
                (Some(_), Some((metadata, _))) if header.fits() => {
                    header.copy = Some((metadata.version(), Origin::Larder));
                }
                (Some(_), _) => header.found_foreign(&states),
                (None, _) => {}
            }
            Some(header)
        };
        Ok(keys.iter().zip(values).zip(states).map(header).collect())
    }

    /// As [`Shelf::remove`], several reports in their order: by one transaction if nothing is in its way.
    pub async fn remove_all(&self, holdings: &[&Holding]) -> Vec<Result<bool, ShelfError>> {
        let together = (self.store.limits().operations / 2).max(1);
        let removals: Vec<_> = holdings.chunks(together).map(|few| self.remove_few(few)).collect();
        stream::iter(removals).buffered(REMOVALS).collect::<Vec<_>>().await.into_iter().flatten().collect()
    }

    async fn remove_few(&self, holdings: &[&Holding]) -> Vec<Result<bool, ShelfError>> {
        match self.remove_together(holdings).await {
            Ok(true) => holdings.iter().map(|_| Ok(true)).collect(),
            Ok(false) | Err(ShelfError::Store(StoreError::Refused { .. })) => {
                let mut removed = Vec::with_capacity(holdings.len());
                for holding in holdings {
                    removed.push(self.remove(holding).await);
                }
                removed
            }
            Err(error) => holdings.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn remove_together(&self, holdings: &[&Holding]) -> Result<bool, ShelfError> {
        let is_plain = |it: &&Holding| it.pieces.is_empty() && it.chunks.is_empty();
        let operations: Vec<_> = holdings.iter().flat_map(|it| self.removal(it)).collect();
        let weight: usize = operations.iter().map(|it| self.store.weight(it)).sum();
        if !holdings.iter().all(is_plain) || weight > self.store.limits().transaction {
            return Ok(false);
        }
        Ok(self.store.commit(operations).await?)
    }
    /// The header of a key with its states, of one moment; `None` if it cannot be read so.
    pub(super) async fn header_at_once(&self, key: &ReportKey) -> Result<Option<Header>, ShelfError> {
        Ok(self.headers(std::slice::from_ref(key)).await?.pop().flatten())
    }
}
