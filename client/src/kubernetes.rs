//! A Kubernetes API server, asked for one small object at a time: with the service account of a pod, or as somebody names it.
//!
//! What the objects mean is for the room that asks. Nothing is watched or listed, and no kubeconfig is read: that is what a client
//! for Kubernetes is for, and a controller has one.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use crate::http::{Call, CallError, Caller, Credentials, Endpoint, EndpointError, Timeouts};

/// Where a pod finds its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The API server, and whom it takes us for.
pub struct Api {
    caller: Caller,
    token: Option<PathBuf>,
}

/// Why the API server was not asked, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// This is no pod: a variable or a file of its service account is missing.
    #[error("not in a pod: {0}")]
    NoPod(String),
    /// The endpoint or the credentials do not do.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The token cannot be used.
    #[error("{0}")]
    Token(String),
    /// No answer came.
    #[error("{0}")]
    Away(String),
}

impl Api {
    /// The API server at `endpoint`. With a `token` file, what is in it at the moment is shown to the server.
    ///
    /// # Errors
    /// The credentials do not fit to the endpoint.
    pub fn new(
        endpoint: Endpoint,
        credentials: Option<Credentials>,
        token: Option<PathBuf>,
    ) -> Result<Self, EndpointError> {
        Ok(Self { caller: Caller::new(endpoint, credentials)?, token })
    }

    /// The API server of the cluster that this pod is in, and the pod's namespace.
    ///
    /// # Errors
    /// This is no pod, or its service account cannot be used.
    pub fn in_pod() -> Result<(Self, String), ApiError> {
        let variable = |name| std::env::var(name).map_err(|_| ApiError::NoPod(format!("{name} is not set")));
        let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let home = PathBuf::from(SERVICE_ACCOUNT);
        let namespace = std::fs::read_to_string(home.join("namespace"))
            .map_err(|error| ApiError::NoPod(format!("{SERVICE_ACCOUNT}/namespace: {error}")))?;
        let credentials =
            Credentials::trusting(home.join("ca.crt")).map_err(|error| ApiError::NoPod(error.to_string()))?;
        let endpoint = format!("https://{host}:{port}").parse::<Endpoint>()?;
        let api = Self::new(endpoint, Some(credentials), Some(home.join("token")))?;
        Ok((api, namespace.trim().to_owned()))
    }

    /// One call, whose answer is at most `limit` bytes long. An answer that is no JSON is `null`.
    ///
    /// # Errors
    /// No answer came. A refusal is an answer.
    pub async fn call(
        &self,
        method: Method,
        path: String,
        body: Option<&Value>,
        (patience, limit): (Duration, usize),
    ) -> Result<(StatusCode, Value), ApiError> {
        let mut call = Call::new(method, path);
        if let Some(body) = body {
            call.body = Bytes::from(body.to_string());
            call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        call.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(token) = self.authorization().await? {
            call.headers.insert(header::AUTHORIZATION, token);
        }
        let timeouts = Timeouts { answer: patience, ..Timeouts::default() };
        let reply = self.caller.fetch(&call, timeouts, limit).await.map_err(|error| self.failed(&error))?;
        Ok((reply.status, serde_json::from_slice(&reply.body).unwrap_or_default()))
    }

    /// The token as it is in its file now: Kubernetes replaces it every hour.
    async fn authorization(&self) -> Result<Option<HeaderValue>, ApiError> {
        let Some(path) = &self.token else { return Ok(None) };
        let unusable = |reason: String| ApiError::Token(format!("{}: {reason}", path.display()));
        let token = tokio::fs::read_to_string(path).await.map_err(|it| unusable(it.to_string()))?;
        let mut token = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| unusable("no token".to_owned()))?;
        token.set_sensitive(true);
        Ok(Some(token))
    }

    fn failed(&self, error: &CallError) -> ApiError {
        let endpoint = self.caller.endpoint();
        ApiError::Away(match error {
            CallError::Unreachable(reason) => format!("cannot reach {endpoint}: {reason}"),
            CallError::Unanswered(reason) => format!("{endpoint} did not answer: {reason}"),
            CallError::TooLong => format!("{endpoint} said more than such an object can be"),
            CallError::Unsendable(error) => format!("the object cannot be asked for: {error}"),
        })
    }
}
