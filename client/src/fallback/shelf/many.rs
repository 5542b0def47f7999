//! Reading and removing several reports by one call, as a migration does.
//!
//! What is odd about one of them is left to the way that reads and removes it alone.

use super::read::{Header, KEYS, Origin, Within};
use super::{Holding, Shelf, ShelfError};
use crate::fallback::store::{Entry, StoreError};
use crate::reports::ReportKey;

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
            names <= self.store.snapshot()
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

    /// The headers of a few keys, of one moment; `None` where one cannot be read.
    async fn headers(&self, keys: &[ReportKey]) -> Result<Vec<Option<Header>>, ShelfError> {
        let (mut large, mut small) = (Vec::with_capacity(keys.len()), Vec::new());
        for key in keys {
            let [value, metadata, tombstone] = self.names(key);
            large.push(value);
            small.extend([metadata, tombstone].into_iter().chain(self.layout.states(key)));
        }
        let mut values = self.store.get_large(&large, &small).await?;
        let mut small = values.split_off(large.len().min(values.len())).into_iter();
        let header = |(key, value): (&ReportKey, Option<Entry>)| {
            let own = [value].into_iter().chain(small.by_ref().take(KEYS - 1)).collect();
            let states: Vec<_> = small.by_ref().take(self.layout.states(key).len()).collect();
            let mut header = self.parse_header(key, own).ok()?;
            header.copy = match (&header.value, &header.metadata) {
                (Some(_), Some((metadata, _))) if header.fits() => Some((metadata.version(), Origin::Larder)),
                (Some(_), _) => Some((header.foreign_version(&states), Origin::Foreign)),
                (None, _) => None,
            };
            Some(header)
        };
        Ok(keys.iter().zip(values).map(header).collect())
    }

    /// As [`Shelf::remove`], several reports in their order: by one transaction if nothing is in its way.
    pub async fn remove_all(&self, holdings: &[&Holding]) -> Vec<Result<bool, ShelfError>> {
        let mut removed = Vec::with_capacity(holdings.len());
        for few in holdings.chunks((self.store.limits().operations / 2).max(1)) {
            match self.remove_together(few).await {
                Ok(true) => removed.extend(few.iter().map(|_| Ok(true))),
                Ok(false) | Err(ShelfError::Store(StoreError::Refused { .. })) => {
                    for holding in few {
                        removed.push(self.remove(holding).await);
                    }
                }
                Err(error) => removed.extend(few.iter().map(|_| Err(error.clone()))),
            }
        }
        removed
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
