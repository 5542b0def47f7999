//! The answer to a call: its head, and a body that is read piece by piece as the caller asks for it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use larder_wire::ErrorReply;

use super::Error;
use crate::http::{Endpoint, Reason};

/// An error is read up to this length; what is longer is no error of a sidecar.
const ERROR_LIMIT: usize = 1 << 20;

/// A successful answer whose body has not been read yet. Dropping it tells the sidecar to stop.
#[derive(Debug)]
pub struct Answer {
    head: http::response::Parts,
    body: Incoming,
    endpoint: Endpoint,
    idle: Duration,
}

impl Answer {
    /// Turns an answer that is no success into the error that it speaks of.
    pub(super) async fn check(
        response: Response<Incoming>,
        endpoint: &Endpoint,
        idle: Duration,
    ) -> Result<Self, Error> {
        let (head, body) = response.into_parts();
        let answer = Self { head, body, endpoint: endpoint.clone(), idle };
        if answer.head.status.is_success() { Ok(answer) } else { Err(answer.into_refusal().await) }
    }

    /// The status, which is a success.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The header fields.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The media type without parameters; `""` if none is given.
    #[must_use]
    pub fn media_type(&self) -> &str {
        let value = self.head.headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
        value.and_then(|it| it.split(';').next()).unwrap_or("").trim()
    }

    /// How long the body will be, if the server said so.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// The connection broke, or nothing came for longer than [`super::Options::idle`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let frame = match tokio::time::timeout(self.idle, self.body.frame()).await {
                Err(_) => return Err(self.unanswered(Reason::Timeout(self.idle))),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    return Err(Error::Broken(format!("it broke off: {}", Reason::of(&error))));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                return Ok(Some(data));
            }
        }
    }

    /// The whole body, if it is not longer than `limit` bytes.
    ///
    /// # Errors
    /// As for [`Answer::chunk`], or the body is longer.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, Error> {
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else { return within(first, limit) };
        let mut all = BytesMut::from(first);
        all.extend_from_slice(&second);
        while let Some(more) = self.chunk().await? {
            all.extend_from_slice(&more);
            if all.len() > limit {
                break;
            }
        }
        within(all.freeze(), limit)
    }

    fn unanswered(&self, reason: Reason) -> Error {
        Error::Unanswered { endpoint: self.endpoint.clone(), reason }
    }

    async fn into_refusal(self) -> Error {
        let status = self.head.status;
        let body = match self.bytes(ERROR_LIMIT).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        match serde_json::from_slice::<ErrorReply>(&body) {
            Ok(reply) => Error::Refused { status, reply: Box::new(reply) },
            Err(_) => {
                let text: String = String::from_utf8_lossy(&body).chars().take(200).collect();
                Error::Broken(format!("status {status} with {text:?}, which is no error of a sidecar"))
            }
        }
    }
}

fn within(body: Bytes, limit: usize) -> Result<Bytes, Error> {
    if body.len() > limit {
        return Err(Error::Broken(format!("it is longer than {limit} bytes; stream it instead")));
    }
    Ok(body)
}
