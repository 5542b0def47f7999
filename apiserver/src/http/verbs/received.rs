//! What a caller sent: media types, and an object out of a body.

use http::header;
use serde_json::Value;

use crate::http::call::Call;
use crate::http::options::FieldValidation;
use crate::http::status::Refusal;
use crate::object::Object;
use crate::schema::{Read, go_name, read};
use crate::yaml;

/// What objects are sent as.
const OBJECTS: [&str; 2] = ["application/json", "application/yaml"];

/// A form in which a body may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    Json,
    Yaml,
    JsonPatch,
    MergePatch,
    Apply,
}

impl MediaType {
    /// Of a body that is an object; without a header that is JSON.
    pub(super) fn of_object(call: &Call) -> Result<Self, Refusal> {
        match said(call).as_str() {
            "" | "application/json" => Ok(Self::Json),
            "application/yaml" => Ok(Self::Yaml),
            _ => Err(Refusal::unsupported_media_type(&OBJECTS)),
        }
    }

    /// Of a body that is a patch.
    pub(super) fn of_patch(call: &Call) -> Result<Self, Refusal> {
        const PATCHES: [&str; 3] =
            ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];
        match said(call).as_str() {
            "application/json-patch+json" => Ok(Self::JsonPatch),
            "application/merge-patch+json" => Ok(Self::MergePatch),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            _ => Err(Refusal::unsupported_media_type(&PATCHES)),
        }
    }
}

/// The media type without its parameters.
fn said(call: &Call) -> String {
    let value = call.headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Fields that should not be there.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    /// Written twice.
    pub(super) duplicates: Vec<String>,
    /// In no schema; they were dropped.
    pub(super) unknown: Vec<String>,
    /// What operations of a JSON patch hold besides, in words.
    pub(super) of_patch: Vec<String>,
}

impl Findings {
    fn texts(&self) -> impl Iterator<Item = String> {
        let told =
            |what: &'static str| move |field: &String| format!("{what} field {}", crate::field::quote(field));
        let of_object =
            self.duplicates.iter().map(told("duplicate")).chain(self.unknown.iter().map(told("unknown")));
        self.of_patch.iter().cloned().chain(of_object)
    }

    /// What becomes of them: warnings, or, as the error, the text of a refusal.
    pub(super) fn judged(&self, by: FieldValidation) -> Result<Vec<String>, String> {
        let texts: Vec<String> = self.texts().collect();
        match by {
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Warn => Ok(texts),
            FieldValidation::Strict if texts.is_empty() => Ok(Vec::new()),
            FieldValidation::Strict => Err(format!("strict decoding error: {}", texts.join(", "))),
        }
    }
}

/// Reads an object as the endpoint has them: its kind and version may be left out, not be others. Warns of fields that should not be there.
pub(super) fn received(
    call: &Call,
    media_type: MediaType,
    body: &[u8],
    by: FieldValidation,
) -> Result<Object, Refusal> {
    let read =
        parsed(media_type, body).map_err(|error| Refusal::bad_request(unhandled(call, None, &error)))?;
    let mut object = Object(read.object);
    drop_empty_type(&mut object).map_err(Refusal::bad_request)?;
    let coerced = call.version().schema.coerce(&mut object.0);
    let coerced = coerced.map_err(|error| Refusal::bad_request(unhandled(call, Some(&object), &error)))?;
    let findings = Findings { duplicates: read.duplicates, unknown: coerced.unknown, ..Findings::default() };
    let judged = findings.judged(by);
    let warnings = judged.map_err(|error| Refusal::bad_request(unhandled(call, Some(&object), &error)))?;
    call.warnings.extend(warnings);
    take_its_place(call, &mut object)?;
    Ok(object)
}

/// Null is as if kind or version were left out.
fn drop_empty_type(object: &mut Object) -> Result<(), String> {
    for field in ["apiVersion", "kind"] {
        match object.0.get(field) {
            None | Some(Value::String(_)) => {}
            Some(Value::Null) => _ = object.0.remove(field),
            Some(other) => {
                let found = go_name(other);
                return Err(format!(
                    "couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go struct field .{field} of type string"
                ));
            }
        }
    }
    Ok(())
}

/// JSON or YAML as an object.
pub(super) fn parsed(media_type: MediaType, body: &[u8]) -> Result<Read, String> {
    if media_type == MediaType::Json {
        return read(body).map_err(|error| error.to_string());
    }
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    // JSON is YAML, and what clients send as YAML mostly is JSON.
    if let Ok(read) = read(body) {
        return Ok(read);
    }
    let (value, duplicates) = yaml::first(text)?;
    Read::of(value, duplicates).map_err(|error| error.to_string())
}

/// Kind and version are those of the endpoint.
fn take_its_place(call: &Call, object: &mut Object) -> Result<(), Refusal> {
    let api_version = call.api_version();
    let kind = &call.resource.names.kind;
    let said = |field: &str| object.0.get(field).and_then(|it| it.as_str()).unwrap_or_default().to_owned();
    let (said_version, said_kind) = (said("apiVersion"), said("kind"));
    if !said_version.is_empty() && said_version != api_version {
        return Err(Refusal::bad_request(format!(
            "the API version in the data ({said_version}) does not match the expected API version ({api_version})"
        )));
    }
    if !said_kind.is_empty() && said_kind != *kind {
        let why = format!("the kind of the data has to be {kind}");
        return Err(Refusal::bad_request(unhandled(call, Some(object), &why)));
    }
    for (field, value) in [("apiVersion", api_version.as_str()), ("kind", kind)] {
        object.0.insert(field.to_owned(), value.into());
    }
    Ok(())
}

/// How Kubernetes says that a body is not what the endpoint takes.
pub(super) fn unhandled(call: &Call, object: Option<&Object>, why: &str) -> String {
    let kind = &call.resource.names.kind;
    let said = object.and_then(|it| it.0.get("kind")).and_then(|it| it.as_str()).unwrap_or(kind);
    let version = crate::field::quote(&call.place.version);
    format!("{said} in version {version} cannot be handled as a {kind}: {why}")
}
