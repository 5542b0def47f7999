//! Errors on the wire: the Status objects of Kubernetes, and the few answers that its servers give as plain text.
//!
//! Codes, reasons, details and messages are those of `k8s.io/apimachinery/pkg/api/errors`: clients branch on the reason and some on the text.
//! This is the one place where a failure becomes a status.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::auth::Verb;
use crate::field::{FieldError, joined, quote};
use crate::registry::Resource;
use crate::store::{Revision, StoreError};
use crate::transfer::Turned;

/// A request that is not done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refusal {
    /// As a Status object.
    Status(Box<Status>),
    /// As plain text; with `Retry-After` if there are seconds.
    Text(StatusCode, String, Option<u64>),
}

/// A Status of failure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Status {
    pub(crate) code: StatusCode,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) details: Option<Details>,
    /// `metadata.continue`: where a list that expired goes on.
    pub(crate) go_on: Option<String>,
}

/// What a Status tells besides.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Details {
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) causes: Vec<Cause>,
    pub(crate) retry_after_seconds: u64,
}

/// One cause of several; what is empty is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cause {
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) field: String,
}

impl Refusal {
    /// 400.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Status::new(StatusCode::BAD_REQUEST, "BadRequest", message).into()
    }

    /// 401.
    pub(crate) fn unauthorized() -> Self {
        Status::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized").into()
    }

    /// 403: `REASON` after `R.G "N" is forbidden: `.
    pub(crate) fn forbidden(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let message = match (plural, name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{} is forbidden: {why}", qualified(plural, group)),
            _ => format!("{} {} is forbidden: {why}", qualified(plural, group), quote(name)),
        };
        Status::new(StatusCode::FORBIDDEN, "Forbidden", message).about(group, plural, name).into()
    }

    /// 404: the object is not there.
    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        Self::missing(&resource.group, &resource.names.plural, name)
    }

    /// 404: an object of any resource is not there.
    pub(crate) fn missing(group: &str, plural: &str, name: &str) -> Self {
        let message = format!("{} {} not found", qualified(plural, group), quote(name));
        Status::new(StatusCode::NOT_FOUND, "NotFound", message).about(group, plural, name).into()
    }

    /// 404: there is no such resource.
    pub(crate) fn no_resource() -> Self {
        let message = "the server could not find the requested resource";
        Status::new(StatusCode::NOT_FOUND, "NotFound", message).with(Details::default()).into()
    }

    /// 404: there is no such path.
    pub(crate) fn no_path() -> Self {
        Self::Text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned(), None)
    }

    /// 405.
    pub(crate) fn wrong_method() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Status::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
            .with(Details::default())
            .into()
    }

    /// 406.
    pub(crate) fn not_acceptable(message: impl Into<String>) -> Self {
        Status::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message).into()
    }

    /// 409: there is one of that name.
    pub(crate) fn already_exists(resource: &Resource, name: &str, is_going: bool) -> Self {
        let prefix = if is_going { "object is being deleted: " } else { "" };
        let message = format!("{prefix}{} {} already exists", name_of(resource), quote(name));
        Status::new(StatusCode::CONFLICT, "AlreadyExists", message).of(resource, name).into()
    }

    /// 409: every generated name was taken.
    pub(crate) fn no_unique_name(resource: &Resource, name: &str) -> Self {
        let message = format!(
            "{} {} already exists, the server was not able to generate a unique name for the object",
            name_of(resource),
            quote(name)
        );
        let mut status = Status::new(StatusCode::CONFLICT, "AlreadyExists", message).of(resource, name);
        status.retry_after(1);
        status.into()
    }

    /// 409: `WHY` after `Operation cannot be fulfilled on R.G "N": `.
    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} {}: {why}", name_of(resource), quote(name));
        Status::new(StatusCode::CONFLICT, "Conflict", message).of(resource, name).into()
    }

    /// 409: somebody else has written meanwhile.
    pub(crate) fn modified(resource: &Resource, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// 409: fields of an apply belong to other managers.
    pub(crate) fn manager_conflict(message: String, causes: Vec<Cause>) -> Self {
        Status::new(StatusCode::CONFLICT, "Conflict", message)
            .with(Details { causes, ..Details::default() })
            .into()
    }

    /// 410.
    pub(crate) fn expired(message: impl Into<String>, go_on: Option<String>) -> Self {
        Status { go_on, ..Status::new(StatusCode::GONE, "Expired", message) }.into()
    }

    /// 413.
    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Status::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message).into()
    }

    /// 415, with the types that are accepted.
    pub(crate) fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Status::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message).into()
    }

    /// 422: an object whose fields are wrong.
    pub(crate) fn invalid(resource: &Resource, name: &str, errors: &[FieldError]) -> Self {
        Self::invalid_kind(&resource.group, &resource.names.kind, name, errors)
    }

    /// 422: options that are wrong (`ListOptions`, …).
    pub(crate) fn invalid_options(kind: &str, errors: &[FieldError]) -> Self {
        Self::invalid_kind("meta.k8s.io", kind, "", errors)
    }

    /// 422: something of any kind.
    pub(crate) fn invalid_kind(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let message = format!("{} {} is invalid: {}", qualified(kind, group), quote(name), joined(errors));
        let mut status = Status::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        status.details = Some(Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            causes: errors.iter().map(Cause::from).collect(),
            ..Details::default()
        });
        status.into()
    }

    /// 422: the request asks for what cannot be done (a JSON patch whose test fails).
    pub(crate) fn unprocessable() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Status::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).with(Details::default()).into()
    }

    /// 429 or 409: the objects are on their way.
    pub(crate) fn turned(turned: Turned) -> Self {
        let message = turned.to_string();
        match turned {
            Turned::Later => {
                let mut status = Status::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
                status.retry_after(1);
                status.into()
            }
            Turned::Probed => Status::new(StatusCode::CONFLICT, "Conflict", message).into(),
        }
    }

    /// 429.
    pub(crate) fn too_many() -> Self {
        let text = "Too many requests, please try again later.".to_owned();
        Self::Text(StatusCode::TOO_MANY_REQUESTS, text, Some(1))
    }

    /// 500.
    pub(crate) fn internal(why: impl ToString) -> Self {
        let why = why.to_string();
        let cause = Cause { message: why.clone(), ..Cause::default() };
        let message = format!("Internal error occurred: {why}");
        Status::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
            .with(Details { causes: vec![cause], ..Details::default() })
            .into()
    }

    /// 500: what is applied is not of the types of its fields. Kubernetes gives no reason.
    pub(crate) fn untyped(message: String) -> Self {
        Status::new(StatusCode::INTERNAL_SERVER_ERROR, "", message).into()
    }

    /// 503: the store cannot do it at the moment.
    pub(crate) fn store_is_away(resource: &Resource, verb: Verb) -> Self {
        let message = format!(
            "The {} operation against {} could not be completed at this time, please try again.",
            verb.as_str(),
            name_of(resource)
        );
        let mut status = Status::new(StatusCode::SERVICE_UNAVAILABLE, "ServerTimeout", message)
            .of(resource, verb.as_str());
        status.retry_after(2);
        status.into()
    }

    /// 503.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        let mut status = Status::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message);
        status.retry_after(1);
        status.into()
    }

    /// 504: the request has taken too long.
    pub(crate) fn timeout() -> Self {
        let message = "Timeout: request did not complete within the allotted timeout";
        Status::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message).with(Details::default()).into()
    }

    /// 504: a revision that nobody has written yet.
    fn future(asked: Revision, current: Revision) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let cause = Cause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            ..Cause::default()
        };
        Status::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
            .with(Details { causes: vec![cause], retry_after_seconds: 1, ..Details::default() })
            .into()
    }

    /// What the store says, where nobody knows it better. `verb` is what was tried.
    pub(crate) fn of_store(error: &StoreError, resource: &Resource, verb: Verb, name: &str) -> Self {
        match error {
            StoreError::Exists => Self::already_exists(resource, name, false),
            StoreError::Changed => Self::modified(resource, name),
            StoreError::Expired { asked, oldest } => {
                Self::expired(format!("too old resource version: {asked} ({oldest})"), None)
            }
            StoreError::Future { asked, current } => Self::future(*asked, *current),
            StoreError::TooLarge(why) => Self::too_large(why.clone()),
            StoreError::Damaged(why) => {
                tracing::error!(resource = resource.id(), name, why, "a stored object cannot be read");
                Self::internal(error)
            }
            StoreError::Database(why) => {
                tracing::error!(resource = resource.id(), verb = verb.as_str(), error = %why, "the database failed");
                Self::store_is_away(resource, verb)
            }
        }
    }

    /// The same, with a cause more.
    pub(crate) fn caused_by(mut self, cause: Cause) -> Self {
        if let Self::Status(status) = &mut self {
            status.details.get_or_insert_default().causes.push(cause);
        }
        self
    }

    /// The status code.
    pub(crate) fn code(&self) -> StatusCode {
        match self {
            Self::Status(status) => status.code,
            Self::Text(code, ..) => *code,
        }
    }

    /// The seconds after which it may be tried again.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Status(status) => {
                status.details.as_ref().map(|it| it.retry_after_seconds).filter(|it| *it > 0)
            }
            Self::Text(.., seconds) => *seconds,
        }
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl From<&FieldError> for Cause {
    fn from(error: &FieldError) -> Self {
        Self {
            reason: error.reason.as_str().to_owned(),
            message: error.message.clone(),
            field: error.field.clone(),
        }
    }
}

impl Status {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, go_on: None }
    }

    fn with(self, details: Details) -> Self {
        Self { details: Some(details), ..self }
    }

    fn about(self, group: &str, kind: &str, name: &str) -> Self {
        let details = Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            ..Details::default()
        };
        self.with(details)
    }

    fn of(self, resource: &Resource, name: &str) -> Self {
        self.about(&resource.group, &resource.names.plural, name)
    }

    fn retry_after(&mut self, seconds: u64) {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
    }

    /// The object.
    pub(crate) fn to_json(&self) -> Value {
        let mut metadata = Map::new();
        if let Some(token) = &self.go_on {
            metadata.insert("continue".to_owned(), token.as_str().into());
        }
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.message,
            "code": self.code.as_u16(),
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            status["details"] = details.to_json();
        }
        status
    }
}

impl Details {
    fn to_json(&self) -> Value {
        let mut json = texts(&[("name", &self.name), ("group", &self.group), ("kind", &self.kind)]);
        if !self.causes.is_empty() {
            json.insert("causes".to_owned(), self.causes.iter().map(Cause::to_json).collect());
        }
        if self.retry_after_seconds > 0 {
            json.insert("retryAfterSeconds".to_owned(), self.retry_after_seconds.into());
        }
        json.into()
    }
}

impl Cause {
    fn to_json(&self) -> Value {
        texts(&[("reason", &self.reason), ("message", &self.message), ("field", &self.field)]).into()
    }
}

fn texts(members: &[(&str, &str)]) -> Map<String, Value> {
    let set = members.iter().filter(|(_, value)| !value.is_empty());
    set.map(|(key, value)| ((*key).to_owned(), (*value).into())).collect()
}

fn name_of(resource: &Resource) -> String {
    qualified(&resource.names.plural, &resource.group)
}

fn qualified(what: &str, group: &str) -> String {
    if group.is_empty() { what.to_owned() } else { format!("{what}.{group}") }
}
