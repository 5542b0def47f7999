//! The lead as a Lease of Kubernetes (`coordination.k8s.io/v1`), kept as client-go's leader election keeps it, so that `kubectl get leases` shows
//! it and both can tell who holds it.
//!
//! Clocks are not compared: a Lease has run out when *we have seen it unchanged* for as long as it lasts. Every change is an update of the
//! resource version that was read. Nothing is watched, one small object is read every few seconds.
//!
//! The service account needs `get`, `create` and `update` of leases in the namespace.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Hold, Seat, SeatError};
use crate::http::{Credentials, Endpoint, EndpointError, escape};
use crate::kubernetes::{Api, ApiError};

/// A Lease is some hundred bytes; what others may have written into it is bounded.
const ANSWER: usize = 256 << 10;

/// A Lease that one at a time holds.
pub struct Lease {
    api: Api,
    namespace: String,
    name: String,
    holder: String,
    ttl: Duration,
    seen: Mutex<Option<Seen>>,
}

/// What somebody else last wrote, and since when we know.
struct Seen {
    spec: Value,
    since: Instant,
}

impl Lease {
    /// The Lease `name` in `namespace`, wanted by `holder`, which has to be a name that nobody else has: the pod's. With a `token` file, what is
    /// in it at the moment is shown to the server. A Lease lasts whole seconds.
    ///
    /// # Errors
    /// The credentials do not fit to the endpoint.
    pub fn new(
        endpoint: Endpoint,
        credentials: Option<Credentials>,
        token: Option<PathBuf>,
        (namespace, name): (&str, &str),
        holder: impl Into<String>,
        ttl: Duration,
    ) -> Result<Self, EndpointError> {
        Ok(Self::on(Api::new(endpoint, credentials, token)?, (namespace, name), holder, ttl))
    }

    fn on(api: Api, (namespace, name): (&str, &str), holder: impl Into<String>, ttl: Duration) -> Self {
        let (namespace, name, holder) = (namespace.to_owned(), name.to_owned(), holder.into());
        let ttl = Duration::from_secs(ttl.as_secs().max(1));
        Self { api, namespace, name, holder, ttl, seen: Mutex::new(None) }
    }

    /// The Lease `name` in the namespace of this pod, with its service account.
    ///
    /// # Errors
    /// This is no pod, or its service account cannot be used.
    pub fn in_pod(name: &str, holder: impl Into<String>, ttl: Duration) -> Result<Self, ApiError> {
        let (api, namespace) = Api::in_pod()?;
        Ok(Self::on(api, (&namespace, name), holder, ttl))
    }

    async fn call(
        &self,
        method: Method,
        name: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), SeatError> {
        let namespace = escape(&self.namespace);
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases{name}");
        let bounds = (self.ttl / 3, ANSWER);
        self.api.call(method, path, body, bounds).await.map_err(|error| SeatError(error.to_string()))
    }

    /// The Lease as it stands; `None` if there is none.
    async fn read(&self) -> Result<Option<Value>, SeatError> {
        let (status, lease) = self.call(Method::GET, &format!("/{}", escape(&self.name)), None).await?;
        match status {
            StatusCode::OK => Ok(Some(lease)),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(refused(status, &lease)),
        }
    }

    async fn create(&self) -> Result<bool, SeatError> {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": self.spec(&Value::Null, true),
        });
        let (status, answer) = self.call(Method::POST, "", Some(&lease)).await?;
        written(status, &answer)
    }

    /// Writes the Lease back with another `spec`, if nobody wrote it since it was read.
    async fn update(&self, mut lease: Value, spec: Value) -> Result<bool, SeatError> {
        lease["spec"] = spec;
        let name = format!("/{}", escape(&self.name));
        let (status, answer) = self.call(Method::PUT, &name, Some(&lease)).await?;
        written(status, &answer)
    }

    /// What we write: `spec` renewed, or taken over if it was not ours.
    fn spec(&self, before: &Value, takes_over: bool) -> Value {
        // Kubernetes takes microseconds and no other fraction.
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let mut spec = before.as_object().cloned().unwrap_or_default();
        if takes_over {
            let transitions = before["leaseTransitions"].as_i64().map_or(0, |it| it + 1);
            spec.insert("leaseTransitions".to_owned(), transitions.into());
            spec.insert("acquireTime".to_owned(), now.clone().into());
        }
        spec.insert("holderIdentity".to_owned(), self.holder.clone().into());
        spec.insert("leaseDurationSeconds".to_owned(), self.ttl.as_secs().into());
        spec.insert("renewTime".to_owned(), now.into());
        spec.into()
    }

    /// Whether what somebody else wrote has run out, by our own clock.
    fn ran_out(&self, spec: &Value) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let lasts = spec["leaseDurationSeconds"].as_u64().map_or(self.ttl, Duration::from_secs);
        match &*seen {
            Some(before) if before.spec == *spec => before.since.elapsed() >= lasts,
            _ => {
                *seen = Some(Seen { spec: spec.clone(), since: Instant::now() });
                false
            }
        }
    }

    fn holder(&self, lease: &Value) -> Hold {
        match lease["spec"]["holderIdentity"].as_str() {
            None | Some("") => Hold::Free,
            Some(holder) if holder == self.holder => Hold::Ours,
            Some(holder) => Hold::Theirs(Some(holder.to_owned())),
        }
    }
}

#[async_trait]
impl Seat for Lease {
    async fn take(&self) -> Result<Hold, SeatError> {
        let Some(lease) = self.read().await? else {
            return if self.create().await? { Ok(Hold::Ours) } else { self.ask().await };
        };
        let (holder, before) = (self.holder(&lease), lease["spec"].clone());
        let takes_over = holder != Hold::Ours;
        if matches!(holder, Hold::Theirs(_)) && !self.ran_out(&before) {
            return Ok(holder);
        }
        let spec = self.spec(&before, takes_over);
        if self.update(lease, spec).await? { Ok(Hold::Ours) } else { self.ask().await }
    }

    async fn ask(&self) -> Result<Hold, SeatError> {
        Ok(self.read().await?.map_or(Hold::Free, |lease| self.holder(&lease)))
    }

    /// As client-go does it: the Lease stays, without a holder and with the shortest duration.
    async fn leave(&self) -> Result<(), SeatError> {
        let Some(lease) = self.read().await?.filter(|lease| self.holder(lease) == Hold::Ours) else {
            return Ok(());
        };
        let mut spec = self.spec(&lease["spec"], false);
        spec["holderIdentity"] = "".into();
        spec["leaseDurationSeconds"] = 1.into();
        // Who wrote it in between has it.
        self.update(lease, spec).await.map(drop)
    }
}

/// Whether it was written; `false` if somebody else was faster.
fn written(status: StatusCode, answer: &Value) -> Result<bool, SeatError> {
    match status {
        StatusCode::OK | StatusCode::CREATED => Ok(true),
        StatusCode::CONFLICT => Ok(false),
        status => Err(refused(status, answer)),
    }
}

fn refused(status: StatusCode, answer: &Value) -> SeatError {
    SeatError(format!("{} (status {status})", answer["message"].as_str().unwrap_or("no Lease came")))
}
