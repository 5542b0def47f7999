//! Calls to the Kubernetes API: JSON in, JSON out, bounded in time and in size.
//!
//! That a call is sent again which is told to come back later (429, 503 with `Retry-After`) is the client's doing; every other failure is for the caller,
//! who knows what it means. Nothing is cached.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tokio::time::timeout;

/// How long a call may take that is no watch.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest answer that is read.
pub(super) const LONGEST: usize = 64 << 20;

/// How often a change is tried that others change too.
pub(super) const ATTEMPTS: usize = 16;

/// As whom this server manages fields.
const MANAGER: &str = "larder";

/// With the name of who writes.
pub(super) fn managed(path: &str) -> String {
    format!("{path}?fieldManager={MANAGER}")
}

/// Whether this server manages fields of an object.
pub(super) fn is_owned(object: &Value) -> bool {
    let managers = object["metadata"]["managedFields"].as_array();
    managers.into_iter().flatten().any(is_ours)
}

/// Whether an entry of `managedFields` is of this server.
pub(super) fn is_ours(manager: &Value) -> bool {
    manager["manager"] == MANAGER
}

/// The Kubernetes API, as one service account sees it.
#[derive(Clone)]
pub(super) struct Cluster {
    client: Client,
}

/// Why a call did not do what it was to do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClusterError {
    /// It was not answered.
    #[error("{call}: {reason}")]
    Away {
        /// What was called.
        call: String,
        /// What stood in the way.
        reason: String,
    },
    /// It was refused.
    #[error("{call}: {code} {}", .status["message"].as_str().unwrap_or_default())]
    Refused {
        /// What was called.
        call: String,
        /// The HTTP status.
        code: u16,
        /// The Status object, if the answer was one.
        status: Box<Value>,
    },
    /// The answer is longer than anybody may send it.
    #[error("{call}: the answer is longer than {LONGEST} bytes")]
    TooLong {
        /// What was called.
        call: String,
    },
}

/// How a body is to be understood.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Json,
    Merge,
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Merge => "application/merge-patch+json",
        }
    }
}

impl ClusterError {
    /// The HTTP status of a refusal.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the object of that name is not there. A path that nobody serves is a 404 too, and says nothing about the object.
    pub(super) fn is_missing(&self, name: &str) -> bool {
        matches!(self, Self::Refused { code: 404, status, .. } if status["details"]["name"] == name)
    }

    /// Whether somebody else was faster.
    pub(super) fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// Where a list goes on that expired.
    pub(super) fn go_on(&self) -> Option<String> {
        match self {
            Self::Refused { code: 410, status, .. } => {
                status["metadata"]["continue"].as_str().filter(|it| !it.is_empty()).map(str::to_owned)
            }
            _ => None,
        }
    }
}

impl Cluster {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, ClusterError> {
        self.call(Method::GET, path, None).await
    }

    /// The document at `path`; `None` if the object `name` is not there.
    pub(super) async fn find(&self, path: &str, name: &str) -> Result<Option<Value>, ClusterError> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_missing(name) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a call.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<(Form, &Value)>,
    ) -> Result<Value, ClusterError> {
        self.answer(method, path, body).await?.into_result()
    }

    /// Sends a call; whatever is answered is no error.
    pub(super) async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Option<(Form, &Value)>,
    ) -> Result<Answer, ClusterError> {
        let call = format!("{method} {path}");
        let away = |reason: String| ClusterError::Away { call: call.clone(), reason };
        let request = request(method, path, body).map_err(|it| away(it.to_string()))?;
        let answered = timeout(PATIENCE, async {
            let answer = self.client.send(request).await.map_err(|it| away(it.to_string()))?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, LONGEST).collect().await;
            Ok((parts, body.map_err(|it| it.to_string())))
        });
        let (parts, body) = answered.await.map_err(|_| away(format!("no answer within {PATIENCE:?}")))??;
        let body = match body {
            Ok(body) => body.to_bytes(),
            Err(reason) if reason.contains("length limit") => return Err(ClusterError::TooLong { call }),
            Err(reason) => return Err(away(reason)),
        };
        Ok(Answer { status: parts.status, call, body })
    }

    /// Takes this server out of those who manage fields of an object: whoever applies it later would have a conflict with somebody who is not there.
    /// What has gone meanwhile is nobody's.
    pub(super) async fn disown(&self, path: &str, name: &str) -> Result<(), ClusterError> {
        for attempt in 1.. {
            let Some(found) = self.find(path, name).await? else { return Ok(()) };
            if !is_owned(&found) {
                return Ok(());
            }
            let mut others = found["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
            others.retain(|it| !is_ours(it));
            if others.is_empty() {
                // An empty list would change nothing.
                others.push(Value::Object(serde_json::Map::new()));
            }
            let revision = &found["metadata"]["resourceVersion"];
            let patch =
                serde_json::json!({"metadata": {"resourceVersion": revision, "managedFields": others}});
            match self.call(Method::PATCH, &managed(path), Some((Form::Merge, &patch))).await {
                Err(error) if error.is_missing(name) => return Ok(()),
                Err(error) if error.is_conflict() && attempt < ATTEMPTS => {}
                done => return done.map(drop),
            }
        }
        Ok(())
    }

    /// Begins a watch.
    pub(super) async fn lines(&self, path: &str) -> Result<Lines, ClusterError> {
        let call = format!("WATCH {path}");
        let away = |reason: String| ClusterError::Away { call: call.clone(), reason };
        let request = request(Method::GET, path, None).map_err(|it| away(it.to_string()))?;
        let answer = timeout(PATIENCE, self.client.send(request)).await;
        let answer = answer.map_err(|_| away(format!("no answer within {PATIENCE:?}")))?;
        let (parts, body) = answer.map_err(|it| away(it.to_string()))?.into_parts();
        if parts.status.is_success() {
            return Ok(Lines { body: Mutex::new(body), buffer: BytesMut::new(), scanned: 0, call });
        }
        let body = Limited::new(body, LONGEST).collect().await.map_err(|it| away(it.to_string()))?;
        Err(refused(call, parts.status, &body.to_bytes()))
    }
}

/// An answer, whatever it says.
pub(super) struct Answer {
    call: String,
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Answer {
    fn into_result(self) -> Result<Value, ClusterError> {
        if !self.status.is_success() {
            return Err(refused(self.call, self.status, &self.body));
        }
        let unreadable = |it: serde_json::Error| it.to_string();
        serde_json::from_slice(&self.body)
            .map_err(unreadable)
            .map_err(|reason| ClusterError::Away { call: self.call, reason })
    }
}

fn refused(call: String, status: StatusCode, body: &[u8]) -> ClusterError {
    let text = || serde_json::json!({"message": String::from_utf8_lossy(&body[..body.len().min(512)])});
    let said = serde_json::from_slice::<Value>(body).ok().filter(Value::is_object).unwrap_or_else(text);
    ClusterError::Refused { call, code: status.as_u16(), status: Box::new(said) }
}

fn request(method: Method, path: &str, body: Option<(Form, &Value)>) -> Result<Request<Body>, http::Error> {
    let request = Request::builder().method(method).uri(path).header(header::ACCEPT, "application/json");
    match body {
        Some((form, value)) => request
            .header(header::CONTENT_TYPE, form.content_type())
            .body(Body::from(value.to_string().into_bytes())),
        None => request.body(Body::empty()),
    }
}

/// The lines of an answer that does not end.
pub(super) struct Lines {
    /// Nobody shares it; locked, it may stand in what is shared.
    body: Mutex<Body>,
    buffer: BytesMut,
    scanned: usize,
    call: String,
}

impl Lines {
    /// The next line; `None` at the end. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ClusterError> {
        loop {
            if let Some(line) = self.line() {
                return Ok(Some(line));
            }
            if self.buffer.len() > LONGEST {
                return Err(ClusterError::TooLong { call: self.call.clone() });
            }
            let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
            match body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => self.buffer.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) => {
                    return Err(ClusterError::Away { call: self.call.clone(), reason: error.to_string() });
                }
            }
        }
    }

    fn line(&mut self) -> Option<Bytes> {
        let Some(end) = self.buffer[self.scanned..].iter().position(|it| *it == b'\n') else {
            self.scanned = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.scanned + end).freeze();
        self.buffer.advance(1);
        self.scanned = 0;
        Some(line)
    }
}
