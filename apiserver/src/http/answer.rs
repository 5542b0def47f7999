//! Answers before they are bytes: what is common to all of them is added in one place.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures_util::stream::{self, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use tokio::sync::OwnedSemaphorePermit;

use super::body::{self, BodyError, Layout, Pieces, Wishes};
use super::status::Refusal;
use crate::present::accept::Encoding;

/// The id of a request, for the log and for whoever asks about it.
pub(super) const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// What is answered.
pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Content,
    /// What its JSON is sent as.
    encoding: Encoding,
}

/// The body of an answer.
pub(crate) enum Content {
    /// JSON without spaces.
    Json(Vec<u8>),
    /// JSON that comes.
    Coming(Pieces),
    /// JSON that is sent as it comes, and as it is.
    Immediate(Pieces),
    /// Text.
    Text(String),
    /// Nothing.
    Nothing,
}

impl Answer {
    /// 200, with JSON.
    pub(crate) fn json(json: Vec<u8>) -> Self {
        Self::new(StatusCode::OK, Content::Json(json))
    }

    /// Any code, any content.
    pub(crate) fn new(code: StatusCode, content: Content) -> Self {
        Self { code, headers: HeaderMap::new(), content, encoding: Encoding::Json }
    }

    /// The same, sent as that.
    pub(crate) fn encoded(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// The same; `place` is kept until all of it was sent.
    pub(crate) fn holding(mut self, place: OwnedSemaphorePermit) -> Self {
        self.content = match self.content {
            Content::Coming(pieces) => {
                let held = stream::unfold((pieces, place), |(mut pieces, place)| async move {
                    pieces.next().await.map(|piece| (piece, (pieces, place)))
                });
                Content::Coming(Box::pin(held))
            }
            other => other,
        };
        self
    }

    /// Makes it bytes. The error is that a body failed before anything of it was sent.
    pub(super) async fn respond(self, mut wishes: Wishes) -> Result<Response, BodyError> {
        let mut headers = self.headers;
        let media_type = match self.content {
            Content::Text(_) => "text/plain; charset=utf-8",
            _ => self.encoding.media_type(),
        };
        if self.encoding == Encoding::Yaml {
            wishes.layout = Layout::Yaml;
        }
        let body = match self.content {
            Content::Json(json) => body::whole(json, wishes, &mut headers),
            Content::Coming(pieces) => body::coming(pieces, wishes, &mut headers).await?,
            Content::Immediate(pieces) => body::immediate(pieces),
            Content::Text(text) => Body::from(text),
            Content::Nothing => Body::empty(),
        };
        if !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        let mut response = Response::new(body);
        *response.status_mut() = self.code;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// A refusal as an answer.
pub(super) fn refused(refusal: &Refusal) -> Answer {
    let content = match refusal {
        Refusal::Status(status) => {
            let mut json = status.to_json().to_string().into_bytes();
            json.push(b'\n');
            Content::Json(json)
        }
        Refusal::Text(_, text, _) if text.is_empty() => Content::Nothing,
        Refusal::Text(_, text, _) => Content::Text(text.clone()),
    };
    let mut answer = Answer::new(refusal.code(), content);
    if !matches!(refusal, Refusal::Status(_)) || refusal.code() == StatusCode::FORBIDDEN {
        let no_guessing = HeaderValue::from_static("nosniff");
        answer.headers.insert(header::X_CONTENT_TYPE_OPTIONS, no_guessing);
    }
    if let Some(seconds) = refusal.retry_after() {
        answer.headers.insert(header::RETRY_AFTER, Duration::from_secs(seconds).as_secs().into());
    }
    answer
}
