//! Consul's keys and values over its HTTP API (<https://developer.hashicorp.com/consul/api-docs/kv>).
//!
//! Every read asks for `consistent`: the leader makes sure of its office before it answers, since "there is none" decides
//! what becomes of a report. That costs a quarter of the speed, and less with many values to a call: so values are read by
//! transactions of [`READ`], which are as fast as that many requests at one time for the values as they are, and are
//! snapshots. Keys travel in the body of `/v1/txn`; the two things it cannot do, a value that fills a request and a listing,
//! go by path.
//!
//! Listings are a matter of their own: [`listing`].

mod api;
mod listing;
mod raw;
mod txn;
mod watch;

use std::collections::HashMap;
use std::fmt;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use http::{HeaderValue, Method};

use super::{
    Condition, Entry, KeyValue, Limits, Listed, Operation, Revision, Sorted, StoreError, transaction,
};
use crate::http::{Call, Caller, Credentials, Endpoint, EndpointError, Timeouts, escape};
use api::{SHORT, is_permission};
use listing::Page;
use txn::{Done, Failed, Found, Wrapped};

pub(crate) use api::{Api, ApiAnswer};
pub use watch::{KeyChange, KeyChanges};

/// `kv_max_value_size` of an agent that nobody configured otherwise.
const VALUE: usize = 512 << 10;
/// `txn_max_req_len` of such an agent, less the brackets.
const TRANSACTION: usize = (512 << 10) - 2;
/// Entries of a transaction.
const ENTRIES: usize = 64;
/// An operation is two entries at most.
const OPERATIONS: usize = ENTRIES / 2;
/// Values that are read by one transaction: what it may answer is bounded by this many values of the largest size.
const READ: usize = 32;
/// Transactions that read at one time.
const READERS: usize = 2;
/// The longest listing that is read whole, if nobody says otherwise.
const LISTING: usize = 16 << 20;

/// The keys and values of a Consul agent.
#[derive(Clone)]
pub struct Consul {
    api: Api,
    listing: usize,
}

/// The token holds what no token holds: a control character or a line break within it.
#[derive(Debug, thiserror::Error)]
#[error("the token holds a character that no token has")]
pub struct TokenError;

impl Consul {
    /// The agent at an endpoint, which takes credentials if and only if it is an encrypted one.
    ///
    /// # Errors
    /// The credentials do not fit to the endpoint.
    pub fn new(endpoint: Endpoint, credentials: Option<Credentials>) -> Result<Self, EndpointError> {
        let name = format!("Consul at {endpoint}");
        let caller = Caller::new(endpoint, credentials)?;
        Ok(Self { api: Api { caller, token: None, timeouts: Timeouts::default(), name }, listing: LISTING })
    }

    /// The same agent, which is shown this token.
    ///
    /// # Errors
    /// It is none.
    pub fn with_token(mut self, token: &str) -> Result<Self, TokenError> {
        let mut token = HeaderValue::from_str(token.trim()).map_err(|_| TokenError)?;
        token.set_sensitive(true);
        self.api.token = Some(token);
        Ok(self)
    }

    /// The same agent, waited for so long.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.api.timeouts = timeouts;
        self
    }

    /// The same agent, of which no listing of more bytes is read whole.
    #[must_use]
    pub fn with_listing_limit(self, bytes: usize) -> Self {
        Self { listing: bytes, ..self }
    }

    /// Calls of the agent that are not about keys and values.
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// The values of a few keys, in one snapshot. A transaction fails if one of them does not exist, and says which ones.
    async fn read(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, StoreError> {
        let mut wanted: Vec<&str> = keys.iter().map(String::as_str).collect();
        while !wanted.is_empty() {
            let entries: Vec<_> = wanted.iter().map(|key| Wrapped::get(key)).collect();
            let mut call = self.transaction("/v1/txn?consistent", &entries)?;
            call.repeatable = true;
            let limit = wanted.len() * (VALUE * 3 / 2) + SHORT;
            let answer = self.api.call(call, self.api.timeouts, limit).await?;
            let answer = answer.ok_or_else(|| self.api.broken("it is longer than its values can be"))?;
            let done: Done<'_> =
                serde_json::from_slice(&answer.body).map_err(|error| self.api.broken(error))?;
            match done.errors {
                Some(missing) if !missing.is_empty() => self.leave_out(&mut wanted, &missing)?,
                _ => return self.in_order(keys, &wanted, &done),
            }
        }
        Ok(vec![None; keys.len()])
    }

    /// Takes out the keys that do not exist.
    fn leave_out(&self, wanted: &mut Vec<&str>, missing: &[Failed]) -> Result<(), StoreError> {
        for failed in missing {
            let there_is_none = failed.what.contains("doesn't exist") && failed.op_index < wanted.len();
            if !there_is_none {
                return Err(self.api.refused(&failed.what));
            }
        }
        let mut at = 0..;
        wanted.retain(|_| {
            let index = at.next();
            !missing.iter().any(|failed| Some(failed.op_index) == index)
        });
        Ok(())
    }

    /// What was found, in the order of `keys`. What exists and is not shown may not be read by this token.
    fn in_order(
        &self,
        keys: &[String],
        wanted: &[&str],
        done: &Done<'_>,
    ) -> Result<Vec<Option<Entry>>, StoreError> {
        let entries = self.entries(done)?;
        if let Some(hidden) = wanted.iter().find(|key| !entries.contains_key(**key)) {
            return Err(self.api.refused(format!("Permission denied: the token may not read {hidden:?}")));
        }
        Ok(keys.iter().map(|key| entries.get(key.as_str()).cloned()).collect())
    }

    fn entries<'d>(&self, done: &'d Done<'_>) -> Result<HashMap<&'d str, Entry>, StoreError> {
        let entry = |found: &'d Found<'_>| Ok((found.key(), found.entry()?));
        let entries: Result<_, base64::DecodeError> = done.results.iter().flatten().map(entry).collect();
        entries.map_err(|error| self.api.broken(error))
    }

    fn transaction(&self, path: &str, entries: &[Wrapped<'_>]) -> Result<Call, StoreError> {
        let body = serde_json::to_vec(entries).map_err(|error| self.api.refused(error.to_string()))?;
        Ok(Call { body: body.into(), ..Call::new(Method::PUT, path) })
    }

    /// Writes a value that leaves no room for a transaction around it.
    async fn put(&self, key: &str, value: bytes::Bytes, condition: Condition) -> Result<bool, StoreError> {
        if !is_plain(key) {
            return Err(self
                .api
                .refused(format!("{} bytes under a key such as {key:?} are too many", value.len())));
        }
        let query = match condition {
            Condition::Any => String::new(),
            Condition::Absent => "?cas=0".to_owned(),
            Condition::Unchanged(Revision(index)) => format!("?cas={index}"),
        };
        let answer = self.api.put(&format!("/v1/kv/{}{query}", escape(key)), value, None).await?;
        self.api.parse(&answer.body)
    }

    async fn short(&self, call: Call) -> Result<ApiAnswer, StoreError> {
        let answer = self.api.call(call, self.api.timeouts, SHORT).await?;
        answer.ok_or_else(|| self.api.broken("it is longer than expected"))
    }
}

#[async_trait]
impl KeyValue for Consul {
    fn name(&self) -> &str {
        &self.api.name
    }

    fn limits(&self) -> Limits {
        Limits { value: VALUE, operations: OPERATIONS, transaction: TRANSACTION }
    }

    fn weight(&self, operation: &Operation) -> usize {
        txn::weight(operation)
    }

    fn snapshot(&self) -> usize {
        READ
    }

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, StoreError> {
        transaction::check_keys(self, keys)?;
        let reads: Vec<_> = keys.chunks(READ).map(|keys| self.read(keys)).collect();
        let groups: Vec<_> = stream::iter(reads).buffered(READERS).try_collect().await?;
        Ok(groups.into_iter().flatten().collect())
    }

    fn snapshot_of_large(&self) -> usize {
        ENTRIES
    }

    async fn get_large(&self, keys: Sorted<'_>) -> Result<Option<Vec<Option<Entry>>>, StoreError> {
        let all = keys.all();
        transaction::check_keys(self, &all)?;
        if all.len() > ENTRIES { Ok(None) } else { self.read_raw(keys).await }
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let page = Page { prefix, after, limit };
        let keys = match self.page(&page, false).await? {
            Some(keys) => keys,
            None => self.walk(&page).await?,
        };
        if keys.is_empty() {
            self.may_read(prefix).await?;
        }
        Ok(keys.into_iter().map(|key| Listed { key, revision: None }).collect())
    }

    async fn commit(&self, mut operations: Vec<Operation>) -> Result<bool, StoreError> {
        transaction::check(self, &operations)?;
        if let [operation] = &operations[..]
            && self.weight(operation) > TRANSACTION
            && let Some(Operation::Put { key, value, condition }) = operations.pop()
        {
            return self.put(&key, value, condition).await;
        }
        let (owners, entries): (Vec<_>, Vec<_>) = operations
            .iter()
            .flat_map(|operation| Wrapped::of(operation).into_iter().map(move |entry| (operation, entry)))
            .unzip();
        if entries.is_empty() {
            return Ok(true);
        }
        let call = self.transaction("/v1/txn", &entries)?;
        let answer = self.short(call).await?;
        if answer.status.is_success() {
            return Ok(true);
        }
        let done: Done<'_> = serde_json::from_slice(&answer.body).map_err(|error| self.api.broken(error))?;
        let failed = done.errors.unwrap_or_default();
        match failed.iter().find(|failed| !is_condition(failed, &owners)) {
            None if !failed.is_empty() => Ok(false),
            Some(failed) => Err(self.api.refused(&failed.what)),
            None => Err(self.api.broken("it names no reason")),
        }
    }
}

impl fmt::Debug for Consul {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Consul").field(self.api.caller.endpoint()).finish()
    }
}

/// Whether an entry failed since a condition does not hold, and not for what the token may do or for a fault of Consul.
fn is_condition(failed: &Failed, owners: &[&Operation]) -> bool {
    let conditional = owners.get(failed.op_index).is_some_and(|it| it.condition() != Condition::Any);
    conditional && !is_permission(&failed.what)
}

/// Whether a key may stand in a path. Consul cleans paths as files are named, and refuses what does not print.
fn is_plain(key: &str) -> bool {
    !key.starts_with('/')
        && !key.contains("//")
        && !key.split('/').any(|segment| matches!(segment, "." | ".."))
        && key.chars().all(|it| it == ' ' || it.is_ascii_graphic())
}
