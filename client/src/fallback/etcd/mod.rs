//! etcd's keys and values over the JSON gateway of its v3 API, from 3.4 on.
//!
//! Reads are linearizable, which is etcd's default: a majority confirms them. Who has a password gets a token for it, which etcd forgets when it likes; then
//! another is asked for, once for each call. A certificate is shown to the gateway, which takes no user's name from it and refuses one that has a common
//! name.

mod wire;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use http::{HeaderValue, Method, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Entry, KeyValue, Limits, Listed, Operation, StoreError, transaction};
use crate::http::{Call, Caller, Credentials, Endpoint, EndpointError, Timeouts};
use wire::{Authenticate, Authenticated, Done, Failure, Found, Kept, Range, Transaction, encode};

/// `--max-request-bytes` of an etcd that nobody configured otherwise is 1.5 MiB; the rest is for what stands around a value.
const TRANSACTION: usize = (3 << 19) - (4 << 10);
const VALUE: usize = TRANSACTION - (4 << 10);
/// What an operation counts beside its key and value.
const OVERHEAD: usize = 64;
/// `--max-txn-ops` of such an etcd.
const OPERATIONS: usize = 128;
/// Values that are read by one transaction: what it may answer is bounded by this many values of the largest size.
const READ: usize = 8;
/// Transactions that read at one time.
const READERS: usize = 2;
/// Keys that are asked for at once.
const PAGE: usize = 1000;
/// The longest answer: values of the largest size as base64, or a page of keys.
const ANSWER: usize = READ * (VALUE * 3 / 2) + (4 << 20);

/// The keys and values of an etcd.
#[derive(Clone)]
pub struct Etcd {
    caller: Caller,
    timeouts: Timeouts,
    login: Option<Login>,
    token: Arc<Mutex<Option<HeaderValue>>>,
    name: String,
}

/// A user of etcd.
#[derive(Clone)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

/// Shows the name alone.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why a call was not served.
enum Refusal {
    /// The token is none, or is none any more.
    Token(StoreError),
    Other(StoreError),
}

impl Etcd {
    /// The etcd at an endpoint, which takes credentials if and only if it is an encrypted one.
    ///
    /// # Errors
    /// The credentials do not fit to the endpoint.
    pub fn new(endpoint: Endpoint, credentials: Option<Credentials>) -> Result<Self, EndpointError> {
        let name = format!("etcd at {endpoint}");
        let caller = Caller::new(endpoint, credentials)?;
        Ok(Self { caller, timeouts: Timeouts::default(), login: None, token: Arc::default(), name })
    }

    /// The same etcd, called as this user.
    #[must_use]
    pub fn with_login(self, login: Login) -> Self {
        Self { login: Some(login), token: Arc::default(), ..self }
    }

    /// The same etcd, waited for so long.
    #[must_use]
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// Calls, with a new token if that of before is void: etcd says so before it does anything.
    async fn call<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        reads: bool,
    ) -> Result<T, StoreError> {
        let body = serde_json::to_vec(body).map_err(|error| self.refused(error.to_string()))?;
        let mut call = Call { body: body.into(), repeatable: reads, ..Call::new(Method::POST, path) };
        let known = self.known_token();
        let had_token = known.is_some();
        let token = if had_token { known } else { self.authenticate().await? };
        if let Some(token) = token {
            call.headers.insert(header::AUTHORIZATION, token);
        }
        match self.send(&call).await {
            Ok(answer) => self.parse(&answer),
            Err(Refusal::Token(_)) if had_token => {
                if let Some(token) = self.authenticate().await? {
                    call.headers.insert(header::AUTHORIZATION, token);
                }
                let answer = self.send(&call).await.map_err(Refusal::into_error)?;
                self.parse(&answer)
            }
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    /// Asks for a token, if there is a user to ask for it.
    async fn authenticate(&self) -> Result<Option<HeaderValue>, StoreError> {
        let Some(Login { user, password }) = &self.login else { return Ok(None) };
        let body = serde_json::to_vec(&Authenticate { name: user, password });
        let body = body.map_err(|error| self.refused(error.to_string()))?;
        let call =
            Call { body: body.into(), repeatable: true, ..Call::new(Method::POST, "/v3/auth/authenticate") };
        let answer = self.send(&call).await.map_err(Refusal::into_error)?;
        let Authenticated { token } = self.parse(&answer)?;
        let mut token = HeaderValue::from_str(&token).map_err(|error| self.broken(error))?;
        token.set_sensitive(true);
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(Some(token))
    }

    fn known_token(&self) -> Option<HeaderValue> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn send(&self, call: &Call) -> Result<Bytes, Refusal> {
        let reply = self.caller.fetch(call, self.timeouts, ANSWER).await;
        let reply = reply.map_err(|error| Refusal::Other(StoreError::of_call(error, self.name.clone())))?;
        if reply.status.is_success() {
            return Ok(reply.body);
        }
        let failure = serde_json::from_slice(&reply.body).unwrap_or_else(|_| Failure {
            code: 0,
            message: String::from_utf8_lossy(&reply.body).trim().chars().take(300).collect(),
        });
        let reason = format!("{} (status {})", failure.message, reply.status);
        if failure.code == 0 && reply.status.is_client_error() {
            return Err(Refusal::Other(self.refused(reason)));
        }
        Err(refusal(self.name.clone(), &failure, reason))
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, StoreError> {
        serde_json::from_slice(body).map_err(|error| self.broken(error))
    }

    /// Something came that etcd does not say: it is not known what was done.
    fn broken(&self, what: impl fmt::Display) -> StoreError {
        StoreError::Unanswered { store: self.name.clone(), reason: format!("no answer of etcd: {what}") }
    }

    fn refused(&self, reason: String) -> StoreError {
        StoreError::Refused { store: self.name.clone(), reason }
    }

    /// The values of a few keys, in one snapshot.
    async fn read(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, StoreError> {
        let done: Done = self.call("/v3/kv/txn", &Transaction::reading(keys), true).await?;
        let found = done.found(keys.len()).ok_or_else(|| self.broken("it does not say what it found"))?;
        let entry = |kept: Kept| kept.entry().map_err(|error| self.broken(error));
        found.into_iter().map(|kept| kept.map(entry).transpose()).collect()
    }

    async fn page(&self, from: &[u8], end: &[u8], limit: usize) -> Result<Vec<Listed>, StoreError> {
        let range = Range { key: encode(from), range_end: encode(end), limit, keys_only: true };
        let found: Found = self.call("/v3/kv/range", &range, true).await?;
        let listed = found.kvs.iter().map(|kept| {
            let key = kept.key().ok_or_else(|| self.broken("a key is no text"))?;
            Ok(Listed { key, revision: Some(kept.revision()) })
        });
        listed.collect()
    }
}

impl Refusal {
    fn into_error(self) -> StoreError {
        match self {
            Self::Token(error) | Self::Other(error) => error,
        }
    }
}

/// What a failure means, by its code of gRPC. A token can be void in two ways, of which one looks like a wrong argument.
fn refusal(store: String, failure: &Failure, reason: String) -> Refusal {
    const INVALID_ARGUMENT: u32 = 3;
    const NOT_FOUND: u32 = 5;
    const PERMISSION_DENIED: u32 = 7;
    const RESOURCE_EXHAUSTED: u32 = 8;
    const FAILED_PRECONDITION: u32 = 9;
    const OUT_OF_RANGE: u32 = 11;
    const UNIMPLEMENTED: u32 = 12;
    const UNAUTHENTICATED: u32 = 16;
    let void = failure.message.contains("revision of auth store is old");
    let busy = failure.message.contains("too many requests");
    match failure.code {
        UNAUTHENTICATED => Refusal::Token(StoreError::Refused { store, reason }),
        INVALID_ARGUMENT if void => Refusal::Token(StoreError::Refused { store, reason }),
        RESOURCE_EXHAUSTED if busy => Refusal::Other(StoreError::Unanswered { store, reason }),
        INVALID_ARGUMENT | NOT_FOUND | PERMISSION_DENIED | RESOURCE_EXHAUSTED | FAILED_PRECONDITION
        | OUT_OF_RANGE | UNIMPLEMENTED => Refusal::Other(StoreError::Refused { store, reason }),
        _ => Refusal::Other(StoreError::Unanswered { store, reason }),
    }
}

#[async_trait]
impl KeyValue for Etcd {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        Limits { value: VALUE, operations: OPERATIONS, transaction: TRANSACTION }
    }

    fn weight(&self, operation: &Operation) -> usize {
        let value = if let Operation::Put { value, .. } = operation { value.len() } else { 0 };
        OVERHEAD + 2 * operation.key().len() + value
    }

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, StoreError> {
        transaction::check_keys(self, keys)?;
        let reads: Vec<_> = keys.chunks(READ).map(|keys| self.read(keys)).collect();
        let groups: Vec<_> = stream::iter(reads).buffered(READERS).try_collect().await?;
        Ok(groups.into_iter().flatten().collect())
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let end = end_of(prefix);
        let mut from = match after {
            Some(after) if after >= prefix => behind(after),
            _ if prefix.is_empty() => vec![0],
            _ => prefix.into(),
        };
        let mut listed: Vec<Listed> = Vec::new();
        while listed.len() < limit && (from < end || prefix.is_empty()) {
            let wanted = PAGE.min(limit - listed.len());
            let page = self.page(&from, &end, wanted).await?;
            let is_last = page.len() < wanted;
            listed.extend(page);
            match listed.last() {
                Some(last) if !is_last => from = behind(&last.key),
                _ => break,
            }
        }
        Ok(listed)
    }

    async fn commit(&self, operations: Vec<Operation>) -> Result<bool, StoreError> {
        transaction::check(self, &operations)?;
        if operations.is_empty() {
            return Ok(true);
        }
        let done: Done = self.call("/v3/kv/txn", &Transaction::of(&operations), false).await?;
        Ok(done.succeeded)
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd").field("endpoint", self.caller.endpoint()).field("login", &self.login).finish()
    }
}

/// The first key behind another.
fn behind(key: &str) -> Vec<u8> {
    [key.as_bytes(), &[0]].concat()
}

/// Where the keys of a prefix end: a byte more at its end, which UTF-8 never has at its highest. NUL is the end of all keys.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0),
    }
    end
}
