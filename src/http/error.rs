//! Errors on the wire: the one place where a kind of failure becomes a status.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use larder_engine::Failure;
use larder_wire::{Applied, Error, ErrorReply, Kind};

/// The status of a failure.
pub(super) fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Unidentified => StatusCode::UNAUTHORIZED,
        Kind::Denied => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Method => StatusCode::METHOD_NOT_ALLOWED,
        Kind::Deadline => StatusCode::REQUEST_TIMEOUT,
        Kind::Constraint => StatusCode::CONFLICT,
        Kind::Expectation => StatusCode::PRECONDITION_FAILED,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::Mismatch => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Gone => StatusCode::GONE,
        Kind::Busy => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Full => StatusCode::INSUFFICIENT_STORAGE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A failure on its way out. It stays with the response, so that the log can tell of it with the request's id.
#[derive(Clone, Debug)]
pub(super) struct Refusal(pub(super) Failure);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(Failure::without_effect(error))
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl IntoResponse for Refusal {
    /// The body is written by [`write_body`] once the request's id is known.
    fn into_response(self) -> Response {
        let mut response = status(self.0.error.kind).into_response();
        if matches!(self.0.error.kind, Kind::Busy | Kind::Unavailable) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the JSON of a failure.
pub(super) fn write_body(refusal: &Refusal, request_id: &str) -> Vec<u8> {
    let Refusal(Failure { error, applied }) = refusal;
    let reply =
        ErrorReply { error: error.clone(), applied: *applied, request_id: Some(request_id.to_owned()) };
    let mut body = serde_json::to_vec(&reply).unwrap_or_default();
    body.push(b'\n');
    body
}

/// Whether an operator should hear of it.
pub(super) fn is_the_servers_fault(failure: &Failure) -> bool {
    failure.applied == Applied::Unknown
        || matches!(failure.error.kind, Kind::Internal | Kind::Full | Kind::Unavailable)
}
