//! Transactions as `/v1/txn` takes them (<https://developer.hashicorp.com/consul/api-docs/txn>).
//!
//! Keys travel in the body, so no key is too odd for it; in a path `//`, `..` and what does not print go wrong.

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::{Condition, Entry, Operation, Revision};

/// What an entry counts beside key and value, as Consul's own clients reckon.
const OVERHEAD: usize = 160;

#[derive(Serialize)]
pub(super) struct Wrapped<'a> {
    #[serde(rename = "KV")]
    kv: Verb<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Verb<'a> {
    verb: &'static str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
}

impl<'a> Wrapped<'a> {
    fn new(verb: &'static str, key: &'a str, index: Option<u64>) -> Self {
        Self { kv: Verb { verb, key, value: None, index } }
    }

    /// That a key stands at this revision, or that there is none.
    pub(super) fn stands(key: &'a str, revision: Option<Revision>) -> Self {
        match revision {
            Some(Revision(index)) => Self::new("check-index", key, Some(index)),
            None => Self::new("check-not-exists", key, None),
        }
    }

    pub(super) fn get(key: &'a str) -> Self {
        Self::new("get", key, None)
    }

    /// Fails, but not before it was seen whether the token may read the key.
    pub(super) fn check(key: &'a str) -> Self {
        Self::new("check-index", key, Some(0))
    }

    /// The entries of an operation. Deleting what was not written since takes two: `delete-cas` is content if there is no key.
    pub(super) fn of(operation: &'a Operation) -> Vec<Self> {
        let key = operation.key();
        let check = match operation.condition() {
            Condition::Any => None,
            Condition::Absent => Some(Self::new("check-not-exists", key, None)),
            Condition::Unchanged(Revision(index)) => Some(Self::new("check-index", key, Some(index))),
        };
        match operation {
            Operation::Put { value, condition, .. } => vec![Self::put(key, value, *condition)],
            Operation::Delete { condition: Condition::Absent, .. } | Operation::Check { .. } => {
                check.into_iter().collect()
            }
            Operation::Delete { .. } => check.into_iter().chain([Self::new("delete", key, None)]).collect(),
        }
    }

    fn put(key: &'a str, value: &[u8], condition: Condition) -> Self {
        let mut entry = match condition {
            Condition::Any => Self::new("set", key, None),
            Condition::Absent => Self::new("cas", key, Some(0)),
            Condition::Unchanged(Revision(index)) => Self::new("cas", key, Some(index)),
        };
        entry.kv.value = Some(BASE64_STANDARD.encode(value));
        entry
    }
}

/// What an operation adds to the body of a transaction, at most.
pub(super) fn weight(operation: &Operation) -> usize {
    let key: usize = operation.key().chars().map(escaped).sum();
    match operation {
        Operation::Put { value, .. } => OVERHEAD + key + value.len().div_ceil(3) * 4,
        Operation::Delete { .. } => 2 * (OVERHEAD + key),
        Operation::Check { .. } => OVERHEAD + key,
    }
}

/// The length of a character in JSON.
fn escaped(character: char) -> usize {
    match character {
        '"' | '\\' => 2,
        _ if character.is_control() => 6,
        _ => character.len_utf8(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Done<'a> {
    #[serde(borrow)]
    pub(super) results: Option<Vec<Found<'a>>>,
    pub(super) errors: Option<Vec<Failed>>,
}

#[derive(Deserialize)]
pub(super) struct Found<'a> {
    #[serde(rename = "KV", borrow)]
    kv: Kept<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Kept<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    value: Option<Encoded<'a>>,
    modify_index: u64,
}

#[derive(Deserialize)]
struct Encoded<'a>(#[serde(borrow)] Cow<'a, str>);

/// An entry that could not be done.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Failed {
    pub(super) op_index: usize,
    pub(super) what: String,
}

impl Found<'_> {
    pub(super) fn key(&self) -> &str {
        &self.kv.key
    }

    pub(super) fn entry(&self) -> Result<Entry, base64::DecodeError> {
        let value = match &self.kv.value {
            Some(Encoded(text)) => BASE64_STANDARD.decode(text.as_bytes())?,
            None => Vec::new(),
        };
        Ok(Entry { value: Bytes::from(value), revision: Revision(self.kv.modify_index) })
    }
}
