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
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Hold, Seat, SeatError};
use crate::http::{Call, CallError, Caller, Credentials, Endpoint, EndpointError, Timeouts, escape};

/// A Lease is some hundred bytes; what others may have written into it is bounded.
const ANSWER: usize = 256 << 10;

/// Where a pod finds its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A Lease that one at a time holds.
pub struct Lease {
    caller: Caller,
    token: Option<PathBuf>,
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

/// Why a Lease cannot be asked for at all.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// This is no pod: a variable or a file of its service account is missing.
    #[error("not in a pod: {0}")]
    NoPod(String),
    /// The endpoint or the credentials do not do.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
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
        let caller = Caller::new(endpoint, credentials)?;
        let (namespace, name, holder) = (namespace.to_owned(), name.to_owned(), holder.into());
        let ttl = Duration::from_secs(ttl.as_secs().max(1));
        Ok(Self { caller, token, namespace, name, holder, ttl, seen: Mutex::new(None) })
    }

    /// The Lease `name` in the namespace of this pod, with its service account.
    ///
    /// # Errors
    /// This is no pod, or its service account cannot be used.
    pub fn in_pod(name: &str, holder: impl Into<String>, ttl: Duration) -> Result<Self, LeaseError> {
        let variable =
            |name| std::env::var(name).map_err(|_| LeaseError::NoPod(format!("{name} is not set")));
        let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let home = PathBuf::from(SERVICE_ACCOUNT);
        let namespace = std::fs::read_to_string(home.join("namespace"))
            .map_err(|error| LeaseError::NoPod(format!("{SERVICE_ACCOUNT}/namespace: {error}")))?;
        let credentials = Credentials::trusting(home.join("ca.crt"))
            .map_err(|error| LeaseError::NoPod(error.to_string()))?;
        let endpoint = format!("https://{host}:{port}").parse::<Endpoint>()?;
        let token = Some(home.join("token"));
        Ok(Self::new(endpoint, Some(credentials), token, (namespace.trim(), name), holder, ttl)?)
    }

    async fn call(
        &self,
        method: Method,
        name: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), SeatError> {
        let namespace = escape(&self.namespace);
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases{name}");
        let mut call = Call::new(method, path);
        if let Some(body) = body {
            call.body = Bytes::from(body.to_string());
            call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        call.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(token) = self.authorization().await? {
            call.headers.insert(header::AUTHORIZATION, token);
        }
        let timeouts = Timeouts { answer: self.ttl / 3, ..Timeouts::default() };
        let reply = self.caller.fetch(&call, timeouts, ANSWER).await.map_err(|error| self.failed(&error))?;
        let value = serde_json::from_slice(&reply.body).unwrap_or_default();
        Ok((reply.status, value))
    }

    /// The token as it is in its file now: Kubernetes replaces it every hour.
    async fn authorization(&self) -> Result<Option<HeaderValue>, SeatError> {
        let Some(path) = &self.token else { return Ok(None) };
        let unusable = |reason: String| SeatError(format!("{}: {reason}", path.display()));
        let token = tokio::fs::read_to_string(path).await.map_err(|it| unusable(it.to_string()))?;
        let mut token = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| unusable("no token".to_owned()))?;
        token.set_sensitive(true);
        Ok(Some(token))
    }

    fn failed(&self, error: &CallError) -> SeatError {
        let endpoint = self.caller.endpoint();
        SeatError(match error {
            CallError::Unreachable(reason) => format!("cannot reach {endpoint}: {reason}"),
            CallError::Unanswered(reason) => format!("{endpoint} did not answer: {reason}"),
            CallError::TooLong => format!("{endpoint} said more than a Lease can be"),
            CallError::Unsendable(error) => format!("the Lease cannot be asked for: {error}"),
        })
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
