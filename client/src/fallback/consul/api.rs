//! Calls of Consul's HTTP API: the token, the time limits, and what its status codes mean. What is called is for the caller:
//! keys and values here, sessions elsewhere in this crate.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use serde::de::DeserializeOwned;

use super::super::StoreError;
use crate::http::{Call, CallError, Caller, Timeouts};

/// Names the token in a request.
const TOKEN: &str = "x-consul-token";
/// The version of what was read, to wait for the next.
const INDEX: &str = "x-consul-index";
/// A short answer: everything but values and listings.
pub(super) const SHORT: usize = 1 << 20;

/// A Consul agent. Cloning is cheap and shares the connections.
#[derive(Clone)]
pub(crate) struct Api {
    pub(super) caller: Caller,
    pub(super) token: Option<HeaderValue>,
    pub(super) timeouts: Timeouts,
    pub(super) name: String,
}

/// What the agent answered: success, or a "no" that a caller may want to know about.
#[derive(Debug)]
pub(crate) struct ApiAnswer {
    /// A success, 404 or 409.
    pub(crate) status: StatusCode,
    /// The version of what was read.
    pub(crate) index: Option<u64>,
    /// What came.
    pub(crate) body: Bytes,
}

impl Api {
    /// Reads `path`, query included. `patience` is for the whole call; without it the usual limits hold.
    pub(crate) async fn get(&self, path: &str, patience: Option<Duration>) -> Result<ApiAnswer, StoreError> {
        self.short(Call::new(Method::GET, path), patience).await
    }

    /// Writes a body to `path`, query included. It is sent once.
    pub(crate) async fn put(
        &self,
        path: &str,
        body: impl Into<Bytes>,
        patience: Option<Duration>,
    ) -> Result<ApiAnswer, StoreError> {
        self.short(Call { body: body.into(), ..Call::new(Method::PUT, path) }, patience).await
    }

    async fn short(&self, call: Call, patience: Option<Duration>) -> Result<ApiAnswer, StoreError> {
        let timeouts = Timeouts { answer: patience.unwrap_or(self.timeouts.answer), ..self.timeouts };
        let answer = self.call(call, timeouts, SHORT).await?;
        answer.ok_or_else(|| self.broken("it is longer than expected"))
    }

    /// Sends a call; `None` if the answer is longer than `limit`.
    pub(super) async fn call(
        &self,
        mut call: Call,
        timeouts: Timeouts,
        limit: usize,
    ) -> Result<Option<ApiAnswer>, StoreError> {
        if let Some(token) = &self.token {
            call.headers.insert(TOKEN, token.clone());
        }
        let store = self.name.clone();
        let reply = match self.caller.fetch(&call, timeouts, limit).await {
            Ok(reply) => reply,
            Err(CallError::TooLong) => return Ok(None),
            Err(error) => return Err(StoreError::of_call(error, store)),
        };
        let index = reply.headers.get(INDEX).and_then(|it| it.to_str().ok()?.parse().ok());
        match reply.status {
            status
                if status.is_success() || matches!(status, StatusCode::NOT_FOUND | StatusCode::CONFLICT) =>
            {
                Ok(Some(ApiAnswer { status, index, body: reply.body }))
            }
            status => Err(refusal(store, status, &reply.body)),
        }
    }

    /// Something came that Consul does not say: it is not known what was done.
    pub(super) fn broken(&self, what: impl std::fmt::Display) -> StoreError {
        StoreError::Unanswered { store: self.name.clone(), reason: format!("no answer of Consul: {what}") }
    }

    /// The agent does not do it.
    pub(super) fn refused(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Refused { store: self.name.clone(), reason: reason.into() }
    }

    /// The body of an answer, understood.
    pub(crate) fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, StoreError> {
        serde_json::from_slice(body).map_err(|error| self.broken(error))
    }
}

/// Consul says 500 for whatever went wrong behind the agent: mostly that there is no leader, sometimes that the token is wrong.
fn refusal(store: String, status: StatusCode, body: &[u8]) -> StoreError {
    let text: String = String::from_utf8_lossy(body).trim().chars().take(300).collect();
    let reason = format!("{text} (status {status})");
    let later = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    if later && !is_permission(&text) {
        StoreError::Unanswered { store, reason }
    } else {
        StoreError::Refused { store, reason }
    }
}

/// Whether a text speaks of what the token may do.
pub(super) fn is_permission(text: &str) -> bool {
    text.contains("Permission denied") || text.contains("ACL not found")
}

#[cfg(test)]
mod tests {
    use larder_harness::need;
    use serde_json::{Value, json};

    use super::super::Consul;
    use super::*;

    #[tokio::test]
    async fn a_lock_is_held_by_a_session_and_waited_for() {
        let server = need!(larder_harness::Consul::start());
        let consul = Consul::new(server.url().parse().expect("a URL"), None).expect("is plain");
        let consul = consul.with_token(server.token()).expect("a token");
        let api = consul.api();

        let session =
            api.put("/v1/session/create", json!({"TTL": "10s"}).to_string(), None).await.expect("creates");
        let session: Value = api.parse(&session.body).expect("JSON");
        let id = session["ID"].as_str().expect("an id");
        let before = api.get("/v1/kv/lock/test", None).await.expect("asks");
        assert_eq!(before.status, StatusCode::NOT_FOUND);
        let acquired = api.put(&format!("/v1/kv/lock/test?acquire={id}"), "me", None).await.expect("locks");
        assert!(api.parse::<bool>(&acquired.body).expect("says whether"));

        let held = api.get("/v1/kv/lock/test", None).await.expect("reads");
        let index = held.index.expect("has a version");
        assert_eq!(api.parse::<Value>(&held.body).expect("JSON")[0]["Session"], id);
        let path = format!("/v1/kv/lock/test?index={index}&wait=60s");
        let waits = api.get(&path, Some(Duration::from_secs(60)));
        let destroy = format!("/v1/session/destroy/{id}");
        let (freed, _) = tokio::join!(waits, api.put(&destroy, "", None));
        let freed = freed.expect("tells");
        assert!(freed.index > Some(index));
        assert_eq!(api.parse::<Value>(&freed.body).expect("JSON")[0].get("Session"), None);

        let gone = api.put(&format!("/v1/kv/lock/other?acquire={id}"), "me", None).await;
        assert!(gone.expect_err("has no session").to_string().contains("session"));
        let short = Some(Duration::from_millis(50));
        let late = api
            .get(&format!("/v1/kv/lock/test?index={}&wait=60s", freed.index.expect("is there")), short)
            .await;
        assert!(matches!(late, Err(StoreError::Unanswered { .. })), "{late:?}");
    }

    #[test]
    fn what_status_codes_mean() {
        let refused =
            [(403, "ACL not found"), (413, "too large"), (400, "Bad"), (500, "rpc error: ACL not found")];
        for (status, text) in refused {
            let status = StatusCode::from_u16(status).expect("a status");
            let error = refusal("consul".to_owned(), status, text.as_bytes());
            assert!(matches!(error, StoreError::Refused { .. }), "{error}");
        }
        for (status, text) in [(500, "No cluster leader"), (429, "slow down"), (503, "")] {
            let status = StatusCode::from_u16(status).expect("a status");
            let error = refusal("consul".to_owned(), status, text.as_bytes());
            assert!(matches!(error, StoreError::Unanswered { .. }), "{error}");
        }
    }
}
