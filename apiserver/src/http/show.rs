//! How the objects of one request are shown: as they are, as rows of a table, as metadata alone.
//!
//! Objects go from the store to the wire without being parsed where they are shown as they are, in the version that they were written under.

use std::sync::Arc;

use serde_json::json;

use super::call::Call;
use super::status::Refusal;
use crate::json;
use crate::object::Object;
use crate::present::accept::{self, Encoding, Form, Shown};
use crate::present::{IncludeObject, ListMeta, Presenter};
use crate::registry::Resource;
use crate::store::{Json, Revision, Stored};
use crate::watch::Told;

/// How objects are shown to one caller.
pub(super) struct Show {
    pub(super) resource: Arc<Resource>,
    version: String,
    /// `GROUP/VERSION`.
    api_version: String,
    form: Form,
    /// What it is sent as.
    pub(super) encoding: Encoding,
    include: IncludeObject,
    presenter: Presenter,
    made: jiff::Timestamp,
    /// Names this way of showing, among all that there are.
    representation: String,
    /// An object on its way into another form.
    scratch: Vec<u8>,
}

/// What stands before the items of a list.
pub(super) struct Heading {
    pub(super) revision: Revision,
    pub(super) go_on: Option<String>,
    pub(super) remaining: Option<u64>,
}

impl Show {
    /// As the caller accepts it.
    pub(super) fn of(call: &Call, what: Shown) -> Result<Self, Refusal> {
        let negotiated = accept::objects(accept::header(&call.headers), what);
        let (form, encoding) = negotiated.map_err(|it| Refusal::not_acceptable(it.to_string()))?;
        let include = match form {
            Form::Table(_) => {
                let text = call.query.text("includeObject").unwrap_or_default();
                IncludeObject::parse(text).map_err(Refusal::bad_request)?
            }
            _ => IncludeObject::default(),
        };
        let (api_version, version) = (call.api_version(), call.version());
        let made = jiff::Timestamp::now();
        Ok(Self {
            presenter: Presenter::new(&call.resource, version, form, include, made),
            representation: format!("{api_version} {form:?} {include:?}"),
            resource: Arc::clone(&call.resource),
            version: version.name.clone(),
            api_version,
            form,
            encoding,
            include,
            made,
            scratch: Vec::new(),
        })
    }

    /// Counts the ages in tables to the present again.
    pub(super) fn look_at_the_clock(&mut self) {
        let now = jiff::Timestamp::now();
        if !matches!(self.form, Form::Table(_)) || now.as_second() == self.made.as_second() {
            return;
        }
        if let Some(version) = self.resource.version(&self.version) {
            self.presenter = Presenter::new(&self.resource, version, self.form, self.include, now);
            self.made = now;
        }
    }

    /// An answer of one object.
    pub(super) fn one(&self, stored: &Stored) -> Result<Vec<u8>, Refusal> {
        let mut json = Vec::new();
        self.write(stored, &mut json)?;
        self.single(json)
    }

    /// Appends the object as it is in the version that is asked for.
    fn write(&self, stored: &impl Json, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let kind = &self.resource.names.kind;
        let version = self.resource.version(&self.version).filter(|_| stored.version() != self.version);
        let Some(version) = version else {
            return stored.write_json(&self.api_version, kind, out).map_err(unreadable);
        };
        let mut json = Vec::new();
        stored.write_json(&self.api_version, kind, &mut json).map_err(unreadable)?;
        let mut object = Object(serde_json::from_slice(&json).map_err(unreadable)?);
        version.adopt(&mut object);
        serde_json::to_writer(out, &object.0).map_err(unreadable)
    }

    /// An answer of one object that is not stored.
    pub(super) fn object(&self, object: &Object) -> Result<Vec<u8>, Refusal> {
        self.single(json::to_vec(&object.0))
    }

    fn single(&self, json: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let mut out = match self.form {
            Form::Object => json,
            _ => {
                let mut out = Vec::new();
                self.presenter.single(&json, &mut out).map_err(unreadable)?;
                out
            }
        };
        out.push(b'\n');
        Ok(out)
    }

    /// The beginning of a list.
    pub(super) fn begin(&self, heading: &Heading, out: &mut Vec<u8>) {
        let meta = ListMeta {
            resource_version: heading.revision.to_string(),
            next: heading.go_on.clone(),
            remaining_item_count: heading.remaining,
        };
        self.presenter.begin(&meta, out);
    }

    /// The next item of a list.
    pub(super) fn item(
        &mut self,
        stored: &impl Json,
        is_first: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        if self.form == Form::Object {
            if !is_first {
                out.push(b',');
            }
            return self.write(stored, out);
        }
        let mut json = std::mem::take(&mut self.scratch);
        json.clear();
        let written = self.write(stored, &mut json);
        self.scratch = json;
        written?;
        self.presenter.item(&self.scratch, is_first, out).map_err(unreadable)
    }

    /// The end of a list.
    pub(super) fn end(&self, out: &mut Vec<u8>) {
        self.presenter.end(out);
    }

    /// A line of a watch. `is_first` says that none was sent before.
    pub(super) fn event(
        &self,
        kind: &str,
        told: &Told,
        is_first: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let with_columns = is_first && matches!(self.form, Form::Table(_));
        let mut failure = None;
        let mut encode = |stored: &Stored| {
            let (mut json, mut line) = (Vec::new(), Vec::new());
            let written = self.write(stored, &mut json);
            let written = written.and_then(|()| {
                self.presenter.event(kind, &json, with_columns, &mut line).map_err(unreadable)
            });
            failure = written.err();
            line
        };
        let bytes = if with_columns {
            encode(&told.stored).into()
        } else {
            told.encoded(&self.representation, encode)
        };
        match failure {
            Some(refusal) => Err(refusal),
            // Somebody else has found it unreadable before.
            None if bytes.is_empty() => Err(unreadable("an object of an event")),
            None => {
                out.extend_from_slice(&bytes);
                Ok(())
            }
        }
    }

    /// A line of a watch that says up to which revision everything was told.
    pub(super) fn bookmark(&self, revision: Revision, is_end: bool, out: &mut Vec<u8>) {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if is_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let (api_version, kind) = match self.form {
            Form::Object => (self.api_version.as_str(), self.resource.names.kind.as_str()),
            Form::Table(version) => (version.api_version(), "Table"),
            Form::Metadata(version) => (version.api_version(), "PartialObjectMetadata"),
        };
        let mut object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        if matches!(self.form, Form::Table(_)) {
            let row =
                json!({"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": metadata});
            object = json!({
                "kind": kind, "apiVersion": api_version, "metadata": {"resourceVersion": revision.to_string()},
                "columnDefinitions": null, "rows": [{"cells": [], "object": row}],
            });
        }
        out.extend_from_slice(json!({"type": "BOOKMARK", "object": object}).to_string().as_bytes());
        out.push(b'\n');
    }
}

fn unreadable(error: impl std::fmt::Display) -> Refusal {
    tracing::error!(%error, "a stored object cannot be shown");
    Refusal::internal(error)
}
