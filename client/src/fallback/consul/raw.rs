//! Reading large values as they are.
//!
//! A transaction answers in JSON and base64, which costs Consul ten times what a plain `GET` does. So values come by one `GET` each,
//! and then a transaction reads the small keys around them and makes sure that no value has changed: all of it is of its moment.

use futures_util::future::try_join_all;
use http::{Method, StatusCode};

use super::super::{Entry, Revision, Sorted, StoreError};
use super::api::{SHORT, is_permission};
use super::txn::{Done, Wrapped};
use super::{Consul, VALUE, is_plain};
use crate::http::{Call, escape};

impl Consul {
    /// The values of all keys; `None` if it has to be done in another way.
    pub(super) async fn read_raw(&self, keys: Sorted<'_>) -> Result<Option<Vec<Option<Entry>>>, StoreError> {
        if !keys.large.iter().all(|key| is_plain(key)) {
            return Ok(None);
        }
        let Some(mut values) = self.values(keys.large).await? else { return Ok(None) };
        let revisions: Vec<_> = values.iter().map(|it| it.as_ref().map(|it| it.revision)).collect();
        let Some(others) = self.around(keys, &revisions).await? else { return Ok(None) };
        values.extend(others);
        Ok(Some(values))
    }

    async fn values(&self, keys: &[String]) -> Result<Option<Vec<Option<Entry>>>, StoreError> {
        let values = try_join_all(keys.iter().map(|key| self.value(key))).await?;
        Ok(values.into_iter().collect())
    }

    /// The value of a key, if there is one; nothing if Consul does not say when it was written.
    async fn value(&self, key: &str) -> Result<Option<Option<Entry>>, StoreError> {
        let call = Call::new(Method::GET, format!("/v1/kv/{}?raw&consistent", escape(key)));
        let answer = self.api.call(call, self.api.timeouts, VALUE + SHORT).await?;
        let answer = answer.ok_or_else(|| self.api.broken("it is longer than a value can be"))?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Some(None));
        }
        Ok(answer.index.map(|index| Some(Entry { value: answer.body, revision: Revision(index) })))
    }

    /// The values of the small keys, at a moment when the large ones stand at their revisions; `None` if there is none such. A transaction fails
    /// if a key does not exist that is read, or exists though it should not, and says which ones: then it is made once more, the other way round.
    async fn around(
        &self,
        Sorted { large, small, rare }: Sorted<'_>,
        revisions: &[Option<Revision>],
    ) -> Result<Option<Vec<Option<Entry>>>, StoreError> {
        let mut absent: Vec<bool> = (0..small.len() + rare.len()).map(|index| index >= small.len()).collect();
        let small = [small, rare].concat();
        for _ in 0..2 {
            let checks = large.iter().zip(revisions).map(|(key, revision)| Wrapped::stands(key, *revision));
            let reads = small.iter().zip(&absent);
            let reads = reads
                .map(|(key, absent)| if *absent { Wrapped::stands(key, None) } else { Wrapped::get(key) });
            let entries: Vec<_> = checks.chain(reads).collect();
            let mut call = self.transaction("/v1/txn?consistent", &entries)?;
            call.repeatable = true;
            let read = absent.iter().filter(|absent| !**absent).count();
            let limit = read * (VALUE * 3 / 2) + SHORT;
            let Some(answer) = self.api.call(call, self.api.timeouts, limit).await? else { return Ok(None) };
            let done: Done<'_> =
                serde_json::from_slice(&answer.body).map_err(|error| self.api.broken(error))?;
            let failed = done.errors.as_deref().unwrap_or_default();
            if failed.is_empty() {
                return self.found(&small, &absent, &done);
            }
            for failed in failed {
                let index = failed.op_index.checked_sub(large.len()).filter(|index| *index < small.len());
                match index {
                    Some(index) if failed.what.contains("doesn't exist") => absent[index] = true,
                    Some(index) if absent[index] && !is_permission(&failed.what) => absent[index] = false,
                    _ => return Ok(None),
                }
            }
        }
        Ok(None)
    }

    fn found(
        &self,
        keys: &[String],
        absent: &[bool],
        done: &Done<'_>,
    ) -> Result<Option<Vec<Option<Entry>>>, StoreError> {
        let entries = self.entries(done)?;
        let entry = |(key, absent): (&String, &bool)| match entries.get(key.as_str()) {
            _ if *absent => Some(None),
            Some(entry) => Some(Some(entry.clone())),
            None => None,
        };
        Ok(keys.iter().zip(absent).map(entry).collect())
    }
}
