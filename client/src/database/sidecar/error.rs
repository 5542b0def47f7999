//! Why a call did not succeed, told apart by what a caller does next: reach another database, correct the
//! request, or find out whether a write was done.

use std::io;

use http::StatusCode;
use larder_wire::ErrorReply;

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
