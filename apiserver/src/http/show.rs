//! How the objects of one request are shown: as they are, as rows of a table, as metadata alone.
//!
//! Objects go from the store to the wire without being parsed where they are shown as they are.

use std::sync::Arc;

use http::header;
use serde_json::json;

use super::call::Call;
use super::status::Refusal;
use crate::object::Object;
use crate::present::accept::{self, Form};
use crate::registry::Resource;
use crate::store::{Revision, Stored};
use crate::watch::Told;

/// How objects are shown to one caller.
pub(super) struct Show {
    pub(super) resource: Arc<Resource>,
    form: Form,
    /// `GROUP/VERSION`.
    api_version: String,
    /// Names this way of showing, among all that there are.
    representation: String,
}

/// What stands before the items of a list.
pub(super) struct Heading {
    pub(super) revision: Revision,
    pub(super) go_on: Option<String>,
    pub(super) remaining: Option<u64>,
}

impl Show {
    /// As the caller accepts it.
    pub(super) fn of(call: &Call, is_list: bool) -> Result<Self, Refusal> {
        let accept = call.headers.get(header::ACCEPT).and_then(|it| it.to_str().ok());
        let form = accept::objects(accept, is_list).map_err(|it| Refusal::not_acceptable(it.to_string()))?;
        let api_version = call.api_version();
        let representation = format!("{api_version} {form:?}");
        Ok(Self { resource: Arc::clone(&call.resource), form, api_version, representation })
    }

    /// An answer of one object.
    pub(super) fn one(&self, stored: &Stored) -> Result<Vec<u8>, Refusal> {
        let mut json = Vec::new();
        stored.write_json(&self.api_version, &self.resource.names.kind, &mut json);
        json.push(b'\n');
        Ok(json)
    }

    /// An answer of one object that is not stored.
    pub(super) fn object(&self, object: &Object) -> Result<Vec<u8>, Refusal> {
        let mut json = serde_json::to_vec(&object.0).map_err(Refusal::internal)?;
        json.push(b'\n');
        Ok(json)
    }

    /// The beginning of a list.
    pub(super) fn begin(&self, heading: &Heading, out: &mut Vec<u8>) {
        let mut metadata = json!({"resourceVersion": heading.revision.to_string()});
        if let Some(token) = &heading.go_on {
            metadata["continue"] = token.as_str().into();
        }
        if let Some(remaining) = heading.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        let head = json!({"kind": self.resource.names.list_kind, "apiVersion": self.api_version, "metadata": metadata});
        let mut head = head.to_string();
        head.pop();
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(br#","items":["#);
    }

    /// The next item of a list.
    pub(super) fn item(&self, stored: &Stored, is_first: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if !is_first {
            out.push(b',');
        }
        stored.write_json(&self.api_version, &self.resource.names.kind, out);
        Ok(())
    }

    /// The end of a list.
    pub(super) fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"]}\n");
    }

    /// The object of an event.
    pub(super) fn told(&self, told: &Told, _is_first: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let kind = &self.resource.names.kind;
        let bytes = told.encoded(&self.representation, |stored| {
            let mut json = Vec::new();
            stored.write_json(&self.api_version, kind, &mut json);
            json
        });
        out.extend_from_slice(&bytes);
        Ok(())
    }

    /// A whole line that says up to which revision everything was told.
    pub(super) fn bookmark(&self, revision: Revision, is_end: bool, out: &mut Vec<u8>) {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if is_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let (kind, api_version) = (&self.resource.names.kind, &self.api_version);
        let object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        out.extend_from_slice(json!({"type": "BOOKMARK", "object": object}).to_string().as_bytes());
        out.push(b'\n');
    }
}
