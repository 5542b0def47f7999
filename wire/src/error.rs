//! Errors as callers see them: a stable code, a sentence, where, and whether anything was done.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What kind of failure this is: the one thing that a status code, an exit code or a retry is chosen by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The SQL or the body is wrong.
    Invalid,
    /// The caller has proved no identity.
    Unidentified,
    /// The caller may not do this, or nobody may.
    Denied,
    /// There is no such thing.
    NotFound,
    /// The method does not apply to the path.
    Method,
    /// Its time was up, or it was cancelled.
    Deadline,
    /// A constraint of the schema was violated.
    Constraint,
    /// `expect_rows` was not met.
    Expectation,
    /// A body, a value or a result is over a limit.
    TooLarge,
    /// The media type or the encoding is not one that is understood.
    MediaType,
    /// The idempotency key was used for something else.
    Mismatch,
    /// What was asked for is gone: the change feed no longer reaches back that far.
    Gone,
    /// Too many requests are under way.
    Busy,
    /// The server is stopping, starting, or protecting itself.
    Unavailable,
    /// The disk or the quota is full.
    Full,
    /// The server failed.
    #[default]
    Internal,
}

/// Codes of the server's own. Everything that SQLite reports has SQLite's name (`SQLITE_CONSTRAINT_UNIQUE`).
#[expect(missing_docs, reason = "each name says it; the messages explain")]
pub mod code {
    pub const BODY_MALFORMED: &str = "BODY_MALFORMED";
    pub const BODY_TOO_LARGE: &str = "BODY_TOO_LARGE";
    pub const BODY_TIMEOUT: &str = "BODY_TIMEOUT";
    pub const CANCELLED: &str = "CANCELLED";
    pub const DEADLINE: &str = "DEADLINE";
    pub const DRAINING: &str = "DRAINING";
    pub const EXPECTATION_FAILED: &str = "EXPECTATION_FAILED";
    pub const IDEMPOTENCY_MISMATCH: &str = "IDEMPOTENCY_MISMATCH";
    pub const IDENTITY_MISSING: &str = "IDENTITY_MISSING";
    pub const IDENTITY_NOT_GRANTED: &str = "IDENTITY_NOT_GRANTED";
    pub const INTERNAL: &str = "INTERNAL";
    pub const MEDIA_TYPE_UNSUPPORTED: &str = "MEDIA_TYPE_UNSUPPORTED";
    pub const METHOD_NOT_ALLOWED: &str = "METHOD_NOT_ALLOWED";
    pub const NOT_FOUND: &str = "NOT_FOUND";
    pub const OPTION_INVALID: &str = "OPTION_INVALID";
    pub const PARAMETER_COUNT: &str = "PARAMETER_COUNT";
    pub const PARAMETER_UNKNOWN: &str = "PARAMETER_UNKNOWN";
    pub const QUEUE_FULL: &str = "QUEUE_FULL";
    pub const RATE_LIMITED: &str = "RATE_LIMITED";
    pub const RESTORE_REFUSED: &str = "RESTORE_REFUSED";
    pub const RESULT_TOO_LARGE: &str = "RESULT_TOO_LARGE";
    pub const ROLE_INSUFFICIENT: &str = "ROLE_INSUFFICIENT";
    pub const SNAPSHOT_EVICTED: &str = "SNAPSHOT_EVICTED";
    pub const STATEMENT_REFUSED: &str = "STATEMENT_REFUSED";
    pub const VALUE_OUT_OF_RANGE: &str = "VALUE_OUT_OF_RANGE";
    pub const WATCH_EXPIRED: &str = "WATCH_EXPIRED";
    pub const WRITER_SUSPENDED: &str = "WRITER_SUSPENDED";
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Error {
    /// A stable name: one of [`code`], or SQLite's own.
    pub code: Cow<'static, str>,
    /// What is wrong, for a person.
    pub message: String,
    /// Which statement of the request, counted from 0.
    #[serde(default)]
    pub statement: Option<usize>,
    /// Which byte: of the statement's SQL, or of the body if the body was not understood.
    #[serde(default)]
    pub offset: Option<usize>,
    /// Whether the same request may succeed if it is sent again.
    pub retryable: bool,
    /// The kind of failure. Not written: on the wire it is the status.
    #[serde(skip)]
    pub kind: Kind,
}

impl Error {
    /// An error that a repetition will not mend, about no statement in particular.
    pub fn new(kind: Kind, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            statement: None,
            offset: None,
            retryable: false,
            kind,
        }
    }

    /// The same error, which a repetition may mend.
    #[must_use]
    pub fn retryable(self) -> Self {
        Self { retryable: true, ..self }
    }

    /// The same error, about statement `index`.
    #[must_use]
    pub fn in_statement(self, index: usize) -> Self {
        Self { statement: Some(index), ..self }
    }
}

impl From<crate::BodyError> for Error {
    fn from(error: crate::BodyError) -> Self {
        let kind = if error.code == code::BODY_TOO_LARGE { Kind::TooLarge } else { Kind::Invalid };
        Self {
            statement: error.statement,
            offset: error.offset,
            ..Self::new(kind, error.code, error.message)
        }
    }
}

/// Whether a failed request changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Applied {
    /// Nothing was changed.
    #[default]
    No,
    /// It was done, although the answer could not be given in full.
    Yes,
    /// The disk did not say; see `/status` and read before repeating.
    Unknown,
}

impl Serialize for Applied {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::No => serializer.serialize_bool(false),
            Self::Yes => serializer.serialize_bool(true),
            Self::Unknown => serializer.serialize_str("unknown"),
        }
    }
}

impl<'de> Deserialize<'de> for Applied {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Known(bool),
            Unknown(String),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Known(true) => Self::Yes,
            Form::Known(false) => Self::No,
            Form::Unknown(text) if text == "unknown" => Self::Unknown,
            Form::Unknown(other) => {
                return Err(serde::de::Error::custom(format_args!("applied is {other:?}")));
            }
        })
    }
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// What went wrong.
    pub error: Error,
    /// Whether anything was done.
    pub applied: Applied,
    /// The id under which the server's log speaks of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}
