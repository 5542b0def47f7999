//! Why a call did not succeed, told apart by what a caller does next: reach another database, correct the
//! request, or find out whether a write was done.

use std::fmt;
use std::io;
use std::time::Duration;

use http::StatusCode;
use larder_wire::{ErrorReply, Kind, code};

use super::endpoint::Endpoint;
use crate::database::DatabaseError;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not the URL of a sidecar.
    #[error("{url:?} is no URL of a sidecar: {reason}")]
    Endpoint {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The certificate, key or CA files cannot be used.
    #[error("{path}: {reason}")]
    Credentials {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
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

/// What stood in the way of a connection or an answer.
#[derive(Debug)]
pub enum Reason {
    /// The address could not be resolved, or nothing listens there.
    Connect(io::Error),
    /// The two sides do not accept each other's certificates, or do not speak TLS.
    Tls(String),
    /// It took longer than allowed.
    Timeout(Duration),
    /// The connection broke off.
    Lost(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Tls(what) => write!(f, "TLS: {what}"),
            Self::Timeout(limit) => write!(f, "nothing came within {limit:?}"),
            Self::Lost(what) => f.write_str(what),
        }
    }
}

impl Reason {
    /// What an error of hyper says about the connection. A refusal of our certificate shows only here:
    /// with TLS 1.3 the server judges it after the client's part of the handshake is over.
    pub(super) fn of(error: &hyper::Error) -> Self {
        match find::<rustls::Error>(error) {
            Some(tls) => Self::Tls(explain(tls)),
            None => Self::of_text(sentence(error)),
        }
    }

    /// HTTP/2 keeps only the text of what broke a connection. A fatal alert behind a finished handshake is
    /// the server's judgement of our certificate.
    fn of_text(text: String) -> Self {
        if text.contains("received fatal alert") {
            Self::Tls(format!("the server did not accept the client certificate ({text})"))
        } else {
            Self::Lost(text)
        }
    }
}

/// An error and its causes in one line.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

/// Looks for a cause of type `T`, also inside `io::Error`s, which hide theirs from `source`.
pub(super) fn find<'e, T: std::error::Error + 'static>(
    error: &'e (dyn std::error::Error + 'static),
) -> Option<&'e T> {
    let mut current = Some(error);
    while let Some(cause) = current {
        if let Some(found) = cause.downcast_ref::<T>() {
            return Some(found);
        }
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        current = match inner {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    None
}

/// What a TLS error means to somebody who has three files in his hand.
pub(super) fn explain(error: &rustls::Error) -> String {
    use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error as Tls};
    let hint = match error {
        // A CA of the same name with another key shows as a bad signature.
        Tls::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature) => {
            "the server's certificate is signed by none of the given CAs"
        }
        Tls::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => "the server's certificate is for another name than the URL's",
        Tls::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "the server's certificate has expired"
        }
        Tls::AlertReceived(Alert::CertificateRequired) => "the server wants a client certificate",
        Tls::AlertReceived(Alert::UnknownCA) => "the server does not know the CA of the client certificate",
        Tls::AlertReceived(Alert::CertificateExpired) => "the client certificate has expired",
        Tls::InvalidMessage(_) => "the server does not speak TLS on this port",
        _ => return error.to_string(),
    };
    format!("{hint} ({error})")
}
