//! Following the keys under a prefix, as NeuVector's controllers follow `scan/state/`.
//!
//! Consul says that something under a prefix has changed, not what (<https://developer.hashicorp.com/consul/api-docs/features/blocking>), and
//! each answer is everything under it. What changed is told by the revisions, which are remembered. So it is made for small values: what
//! is longer than a [listing](Consul::with_listing_limit) may be is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{Method, StatusCode};
use serde::Deserialize;

use super::super::{Entry, Revision, StoreError};
use super::{Consul, is_plain};
use crate::http::{Call, Timeouts, escape};

/// How long Consul waits for a change before it answers that there was none.
const WAIT: Duration = Duration::from_secs(60);

/// A key that was written or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// The whole key.
    pub key: String,
    /// What stands there now; `None` if it was removed. Of several writes in a short time, the last one is told.
    pub entry: Option<Entry>,
}

/// The keys under a prefix, as they change.
pub struct KeyChanges {
    consul: Consul,
    prefix: String,
    /// What Consul calls the state that was seen last.
    index: u64,
    /// What was there then.
    known: Option<BTreeMap<String, Revision>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Standing {
    key: String,
    value: Option<String>,
    modify_index: u64,
}

impl Consul {
    /// Follows the keys that begin with `prefix`. Nothing is sent yet.
    #[must_use]
    pub fn follow(&self, prefix: impl Into<String>) -> KeyChanges {
        let (consul, prefix) = (self.clone(), prefix.into());
        KeyChanges { consul, prefix, index: 0, known: None }
    }
}

impl KeyChanges {
    /// Tells at first which keys are there, which may be none, and afterwards waits until some have changed since the last call. Dropped before
    /// it has answered, it forgets nothing; after an error it goes on where it was.
    ///
    /// # Errors
    /// Consul does not answer, or not to this token.
    pub async fn next(&mut self) -> Result<Vec<KeyChange>, StoreError> {
        loop {
            let (index, standing) = self.wait().await?;
            let begins = self.known.is_none();
            let changes = self.compare(standing);
            // An index that goes back is of another history, and no index at all would be a loop without a pause.
            self.index = if index < self.index { 0 } else { index.max(1) };
            if begins || !changes.is_empty() {
                return Ok(changes);
            }
        }
    }

    /// What stands under the prefix once something has changed, or the time is over.
    async fn wait(&self) -> Result<(u64, Vec<(String, Entry)>), StoreError> {
        let api = self.consul.api();
        if !self.prefix.is_empty() && !is_plain(&self.prefix) {
            return Err(api.refused(format!("{:?} cannot be followed", self.prefix)));
        }
        let (prefix, index) = (escape(&self.prefix), self.index);
        let path = format!("/v1/kv/{prefix}?recurse&index={index}&wait={}s", WAIT.as_secs());
        // Consul adds up to a sixteenth, so that not all come back at once.
        let patience = Timeouts { answer: WAIT * 17 / 16 + api.timeouts.answer, ..api.timeouts };
        let answer = api.call(Call::new(Method::GET, path), patience, self.consul.listing).await?;
        let answer = answer
            .ok_or_else(|| api.refused(format!("too much stands under {:?} to follow", self.prefix)))?;
        let index = answer.index.ok_or_else(|| api.broken("it has no index"))?;
        if answer.status == StatusCode::NOT_FOUND {
            self.consul.may_read(&self.prefix).await?;
            return Ok((index, Vec::new()));
        }
        let standing: Vec<Standing> =
            serde_json::from_slice(&answer.body).map_err(|error| api.broken(error))?;
        let read: Result<_, _> = standing.into_iter().map(Standing::read).collect();
        Ok((index, read.map_err(|error| api.broken(error))?))
    }

    /// What is not as it was, and remembers it.
    fn compare(&mut self, standing: Vec<(String, Entry)>) -> Vec<KeyChange> {
        let now: BTreeMap<_, _> = standing.iter().map(|(key, entry)| (key.clone(), entry.revision)).collect();
        let before = self.known.take().unwrap_or_default();
        let removed = before.keys().filter(|key| !now.contains_key(*key));
        let removed: Vec<_> = removed.map(|key| KeyChange { key: key.clone(), entry: None }).collect();
        let written = standing.into_iter().filter(|(key, entry)| before.get(key) != Some(&entry.revision));
        let written = written.map(|(key, entry)| KeyChange { key, entry: Some(entry) });
        let changes = removed.into_iter().chain(written).collect();
        self.known = Some(now);
        changes
    }
}

impl Standing {
    fn read(self) -> Result<(String, Entry), base64::DecodeError> {
        let value = BASE64_STANDARD.decode(self.value.as_deref().unwrap_or_default())?;
        let entry = Entry { value: value.into(), revision: Revision(self.modify_index) };
        Ok((self.key, entry))
    }
}
