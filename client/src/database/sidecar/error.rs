//! Why a call did not succeed, told apart by what a caller does next: reach another database, correct the
//! request, or find out whether a write was done.

use std::io;

use http::StatusCode;
use larder_wire::{ErrorReply, Kind, code};

use crate::database::DatabaseError;
use crate::http::{CredentialsError, Endpoint, EndpointError, Reason};

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not the URL of a sidecar.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The certificate, key or CA files cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// No connection came about, so nothing was done.
    #[error("cannot reach {endpoint}: {reason}")]
    Unreachable {
        /// Who was called.
        endpoint: Endpoint,
        /// What stood in the way.
        reason: Reason,
    },
    /// The request was sent, or part of it, and no answer came: a write may have been done, or not.
    #[error("{endpoint} did not answer: {reason}")]
    Unanswered {
        /// Who was called.
        endpoint: Endpoint,
        /// What stood in the way.
        reason: Reason,
    },
    /// The sidecar understood the call and says why it does not serve it.
    #[error("{}", reply.error)]
    Refused {
        /// The status. 200 if the answer had begun before the failure.
        status: StatusCode,
        /// What the sidecar says.
        reply: Box<ErrorReply>,
    },
    /// What came is not an answer of a sidecar, or only a part of one.
    #[error("broken answer: {0}")]
    Broken(String),
    /// What was to be sent could not be read.
    #[error("cannot read what is to be sent: {0}")]
    Body(#[source] io::Error),
}

impl Error {
    /// Whether sending the same once more may help, of a request that may be sent twice.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { reason: Reason::Tls(_), .. } => false,
            Self::Unreachable { .. } | Self::Unanswered { .. } | Self::Broken(_) => true,
            Self::Refused { reply, .. } => reply.error.retryable,
            Self::Endpoint { .. } | Self::Credentials { .. } | Self::Body(_) => false,
        }
    }
}

impl From<Error> for DatabaseError {
    fn from(error: Error) -> Self {
        match error {
            Error::Endpoint { .. }
            | Error::Credentials { .. }
            | Error::Unreachable { .. }
            | Error::Body(_) => Self::Unreachable(error.to_string()),
            Error::Unanswered { .. } => Self::Unanswered(error.to_string()),
            Error::Broken(what) => Self::Broken(what),
            Error::Refused { status, reply } => {
                let ErrorReply { mut error, applied, .. } = *reply;
                error.kind = kind(status, &error);
                Self::Refused { error: Box::new(error), applied }
            }
        }
    }
}

/// The kind of a failure, which the wire tells as a status; where the answer had begun before, its code tells.
fn kind(status: StatusCode, error: &larder_wire::Error) -> Kind {
    match status.as_u16() {
        200 => match &*error.code {
            code::DEADLINE | code::CANCELLED => Kind::Deadline,
            code::SNAPSHOT_EVICTED | code::DRAINING => Kind::Unavailable,
            code::WATCH_EXPIRED => Kind::Gone,
            code::RESULT_TOO_LARGE => Kind::TooLarge,
            _ => Kind::Internal,
        },
        400 => Kind::Invalid,
        401 => Kind::Unidentified,
        403 => Kind::Denied,
        404 => Kind::NotFound,
        405 => Kind::Method,
        408 => Kind::Deadline,
        409 => Kind::Constraint,
        410 => Kind::Gone,
        412 => Kind::Expectation,
        413 => Kind::TooLarge,
        415 => Kind::MediaType,
        422 => Kind::Mismatch,
        429 => Kind::Busy,
        503 => Kind::Unavailable,
        507 => Kind::Full,
        _ => Kind::Internal,
    }
}
