//! The lead as a lock in Consul: a session that has to be renewed, and a key that it holds.
//! (<https://developer.hashicorp.com/consul/docs/dynamic-app-config/sessions/application-leader-election>)
//!
//! Consul ends a session between one and two times its time to live after the last renewal; the lock's delay then keeps others out a
//! little longer. What the key holds is the holder's name, for people.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::{Hold, Seat, SeatError};
use crate::fallback::{Consul, StoreError};
use crate::http::escape;

/// A lock in Consul that one session at a time holds.
pub struct ConsulLock {
    consul: Consul,
    key: String,
    holder: String,
    ttl: Duration,
    session: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Locked {
    #[serde(default)]
    session: Option<String>,
    #[serde(default)]
    value: Option<String>,
}

impl From<StoreError> for SeatError {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

impl ConsulLock {
    /// The lock under `key`, wanted by `holder`. Consul takes a `ttl` of 10 seconds to a day.
    pub fn new(consul: &Consul, key: impl Into<String>, holder: impl Into<String>, ttl: Duration) -> Self {
        let (key, holder, session) = (key.into(), holder.into(), Mutex::new(None));
        Self { consul: consul.clone(), key, holder, ttl, session }
    }

    fn session(&self) -> Option<String> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, session: Option<String>) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = session;
    }

    fn path(&self) -> String {
        format!("/v1/kv/{}", escape(&self.key))
    }

    /// Our session, renewed; a new one if there is none or Consul ended it.
    async fn renewed(&self) -> Result<String, SeatError> {
        if let Some(session) = self.session() {
            let answer = self.consul.api().put(&format!("/v1/session/renew/{session}"), "", None).await?;
            if answer.status != StatusCode::NOT_FOUND {
                return Ok(session);
            }
            self.keep(None);
        }
        let wanted = json!({
            "Name": format!("larder: {}", self.key),
            "TTL": format!("{}ms", self.ttl.as_millis()),
            "LockDelay": format!("{}ms", self.ttl.as_millis() / 2),
            "Behavior": "release",
        });
        let answer = self.consul.api().put("/v1/session/create", wanted.to_string(), None).await?;
        let created: Created = self.consul.api().parse(&answer.body)?;
        self.keep(Some(created.id.clone()));
        Ok(created.id)
    }
}

#[async_trait]
impl Seat for ConsulLock {
    async fn take(&self) -> Result<Hold, SeatError> {
        let session = self.renewed().await?;
        let path = format!("{}?acquire={session}", self.path());
        let answer = self.consul.api().put(&path, self.holder.clone(), None).await?;
        if self.consul.api().parse(&answer.body)? { Ok(Hold::Ours) } else { self.ask().await }
    }

    async fn ask(&self) -> Result<Hold, SeatError> {
        let answer = self.consul.api().get(&format!("{}?consistent", self.path()), None).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Hold::Free);
        }
        let locked: Vec<Locked> = self.consul.api().parse(&answer.body)?;
        let Some(Locked { session: Some(holding), value }) = locked.into_iter().next() else {
            return Ok(Hold::Free);
        };
        if self.session().is_some_and(|ours| ours == holding) {
            return Ok(Hold::Ours);
        }
        let name = value.and_then(|it| BASE64_STANDARD.decode(it).ok());
        Ok(Hold::Theirs(name.map(|it| String::from_utf8_lossy(&it).into_owned())))
    }

    async fn leave(&self) -> Result<(), SeatError> {
        let Some(session) = self.session() else { return Ok(()) };
        // A release comes without the delay that the end of a session brings.
        self.consul.api().put(&format!("{}?release={session}", self.path()), "", None).await?;
        self.consul.api().put(&format!("/v1/session/destroy/{session}"), "", None).await?;
        self.keep(None);
        Ok(())
    }
}
