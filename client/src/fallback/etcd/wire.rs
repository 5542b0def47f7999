//! The JSON of etcd's gateway (<https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/>): bytes in base64, 64-bit numbers as
//! text, and nothing at all where a field is zero or empty.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::super::{Condition, Entry, Operation, Revision};

#[derive(Serialize)]
pub(super) struct Range {
    pub(super) key: String,
    pub(super) range_end: String,
    pub(super) limit: usize,
    pub(super) keys_only: bool,
}

#[derive(Deserialize)]
pub(super) struct Found {
    #[serde(default)]
    pub(super) kvs: Vec<Kept>,
}

#[derive(Deserialize)]
pub(super) struct Kept {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
    #[serde(deserialize_with = "number")]
    mod_revision: u64,
}

impl Kept {
    pub(super) fn key(&self) -> Option<String> {
        String::from_utf8(BASE64_STANDARD.decode(&self.key).ok()?).ok()
    }

    pub(super) fn revision(&self) -> Revision {
        Revision(self.mod_revision)
    }

    pub(super) fn entry(&self) -> Result<Entry, base64::DecodeError> {
        let value = BASE64_STANDARD.decode(&self.value)?;
        Ok(Entry { value: Bytes::from(value), revision: self.revision() })
    }
}

#[derive(Serialize)]
pub(super) struct Transaction {
    compare: Vec<Compare>,
    success: Vec<Request>,
}

#[derive(Serialize)]
struct Compare {
    target: &'static str,
    result: &'static str,
    key: String,
    mod_revision: String,
}

#[derive(Serialize)]
enum Request {
    #[serde(rename = "request_put")]
    Put { key: String, value: String },
    #[serde(rename = "request_delete_range")]
    Delete { key: String },
    #[serde(rename = "request_range")]
    Range { key: String },
}

#[derive(Deserialize)]
pub(super) struct Done {
    #[serde(default)]
    pub(super) succeeded: bool,
    #[serde(default)]
    responses: Vec<Response>,
}

/// What a request of a transaction gave, if it was one that reads.
#[derive(Deserialize)]
struct Response {
    #[serde(default, rename = "response_range")]
    range: Option<Found>,
}

impl Done {
    /// What each of so many reads found, or nothing if these are not their answers.
    pub(super) fn found(self, reads: usize) -> Option<Vec<Option<Kept>>> {
        let found: Option<Vec<_>> =
            self.responses.into_iter().map(|it| Some(it.range?.kvs.into_iter().next())).collect();
        found.filter(|found| found.len() == reads)
    }
}

impl Transaction {
    pub(super) fn of(operations: &[Operation]) -> Self {
        let compare = operations.iter().filter_map(compare).collect();
        let success = operations.iter().filter_map(request).collect();
        Self { compare, success }
    }

    pub(super) fn reading(keys: &[String]) -> Self {
        let success = keys.iter().map(|key| Request::Range { key: encode(key) }).collect();
        Self { compare: Vec::new(), success }
    }
}

/// A key that does not exist has the revision 0.
fn compare(operation: &Operation) -> Option<Compare> {
    let revision = match operation.condition() {
        Condition::Any => return None,
        Condition::Absent => 0,
        Condition::Unchanged(Revision(revision)) => revision,
    };
    let key = encode(operation.key());
    Some(Compare { target: "MOD", result: "EQUAL", key, mod_revision: revision.to_string() })
}

fn request(operation: &Operation) -> Option<Request> {
    let key = encode(operation.key());
    match operation {
        Operation::Put { value, .. } => Some(Request::Put { key, value: encode(value) }),
        Operation::Delete { .. } => Some(Request::Delete { key }),
        Operation::Check { .. } => None,
    }
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}

#[derive(Serialize)]
pub(super) struct Authenticate<'a> {
    pub(super) name: &'a str,
    pub(super) password: &'a str,
}

#[derive(Deserialize)]
pub(super) struct Authenticated {
    pub(super) token: String,
}

/// Why a call failed: a code of gRPC (<https://grpc.io/docs/guides/status-codes/>) and a text.
#[derive(Default, Deserialize)]
pub(super) struct Failure {
    #[serde(default)]
    pub(super) code: u32,
    #[serde(default)]
    pub(super) message: String,
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}
