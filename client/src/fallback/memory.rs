//! A store in the memory of this process: for tests, and for a controller that has nothing better.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Entry, KeyValue, Limits, Listed, Operation, Revision, StoreError, transaction};

/// Keys and values in memory. They are gone with it.
#[derive(Debug)]
pub struct Memory {
    limits: Limits,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: BTreeMap<String, Entry>,
    revision: u64,
}

impl Memory {
    /// An empty store that takes what every larger store takes.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Limits { value: 64 << 20, operations: 1024, transaction: 128 << 20 })
    }

    /// An empty store that takes no more than this.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl KeyValue for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn weight(&self, operation: &Operation) -> usize {
        let value = if let Operation::Put { value, .. } = operation { value.len() } else { 0 };
        operation.key().len() + value
    }

    fn snapshot(&self) -> usize {
        usize::MAX
    }

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, StoreError> {
        transaction::check_keys(self, keys)?;
        let kept = self.kept();
        Ok(keys.iter().map(|key| kept.entries.get(key).cloned()).collect())
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let kept = self.kept();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let found = kept.entries.range::<str, _>((start, Bound::Unbounded));
        let found = found.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(found.map(|(key, entry)| Listed { key: key.clone(), revision: Some(entry.revision) }).collect())
    }

    async fn commit(&self, operations: Vec<Operation>) -> Result<bool, StoreError> {
        transaction::check(self, &operations)?;
        let mut kept = self.kept();
        let revision_of = |key: &str| kept.entries.get(key).map(|entry| entry.revision);
        if !operations.iter().all(|operation| operation.condition().holds(revision_of(operation.key()))) {
            return Ok(false);
        }
        kept.revision += 1;
        let revision = Revision(kept.revision);
        for operation in operations {
            match operation {
                Operation::Put { key, value, .. } => {
                    drop(kept.entries.insert(key, Entry { value, revision }))
                }
                Operation::Delete { key, .. } => drop(kept.entries.remove(&key)),
                Operation::Check { .. } => {}
            }
        }
        Ok(true)
    }
}
