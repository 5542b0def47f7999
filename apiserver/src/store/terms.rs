//! What selectors ask for: the labels of an object and the values of its selectable fields, under one roof.
//!
//! They stand beside the object as JSON, so that a selection is decided without its body, and one by one, as hashes, in the index. A field is told from a
//! label by the dot that its name begins with, with which no label begins.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::error::damaged;
use super::{Draft, StoreError};

/// The terms of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms(BTreeMap<String, String>);

impl Terms {
    pub(super) fn of(draft: &Draft) -> Self {
        let labels = draft.object.labels().map(|(key, value)| (key.to_owned(), value.to_owned()));
        let fields = draft.fields.iter().filter(|(_, value)| !value.is_empty());
        let fields = fields.map(|(path, value)| (field(path), value.clone()));
        Self(labels.chain(fields).collect())
    }

    pub(super) fn from_json(json: &str) -> Result<Self, StoreError> {
        serde_json::from_str(json).map(Self).map_err(damaged)
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(&self.0).expect("texts are JSON")
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the index finds them by, as JSON.
    pub(super) fn hashes(&self, resource: &str) -> String {
        let hashes: BTreeSet<i64> = self.0.iter().map(|(name, value)| hash(resource, name, value)).collect();
        serde_json::to_string(&hashes).expect("numbers are JSON")
    }

    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The value of a field; `""` where it is missing, as Kubernetes has it.
    pub(super) fn field(&self, path: &str) -> &str {
        self.label(&field(path)).unwrap_or("")
    }
}

/// What the index finds a term by: the first 48 bits of SHA-256 of resource, name and value, each behind its length. Others may have the same.
pub(super) fn hash(resource: &str, name: &str, value: &str) -> i64 {
    let mut digest = Sha256::new();
    for part in [resource, name, value] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().iter().take(6).fold(0, |hash, byte| hash << 8 | i64::from(*byte))
}

/// What a selectable field is called among the terms.
pub(super) fn field(path: &str) -> String {
    format!(".{path}")
}
