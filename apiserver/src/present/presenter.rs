//! Lists, single objects and events in each of the forms that a caller may ask for.

use serde::Serialize;

use super::accept::{Form, MetaVersion};
use super::table::{IncludeObject, Table};
use super::{Unreadable, select};
use crate::json;
use crate::registry::{Resource, Version};

/// What is said of a list as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListMeta {
    /// The revision that it is of, in decimal.
    pub resource_version: String,
    /// With which the next page is asked for.
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How many objects follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_item_count: Option<u64>,
}

/// Writes objects of a resource in one form. Objects are given as JSON of the version that is asked for.
pub struct Presenter {
    form: Form,
    api_version: String,
    list_kind: String,
    table: Option<Table>,
}

impl Presenter {
    /// For one resource and version, in one form. `now` is what ages are counted to.
    #[must_use]
    pub fn new(
        resource: &Resource,
        version: &Version,
        form: Form,
        include: IncludeObject,
        now: jiff::Timestamp,
    ) -> Self {
        let table = match form {
            Form::Table(meta) => Some(Table::new(version, meta, include, now)),
            _ => None,
        };
        let api_version = format!("{}/{}", resource.group, version.name);
        Self { form, api_version, list_kind: resource.names.list_kind.clone(), table }
    }

    /// What stands before the items of a list.
    pub fn begin(&self, meta: &ListMeta, out: &mut Vec<u8>) {
        match (&self.table, self.form) {
            (Some(table), _) => table.begin(meta, true, out),
            (None, Form::Metadata(version)) => {
                begin_list("PartialObjectMetadataList", version.api_version(), meta, out);
            }
            _ => begin_list(&self.list_kind, &self.api_version, meta, out),
        }
    }

    /// One item; `is_first` says that there is none before it.
    ///
    /// # Errors
    /// The object cannot be read; `out` is as it was.
    pub fn item(&self, json: &[u8], is_first: bool, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        let before = out.len();
        if !is_first {
            out.push(b',');
        }
        let written = match (&self.table, self.form) {
            (Some(table), _) => table.row(json, out),
            (None, Form::Metadata(version)) => partial(json, version, out),
            _ => {
                out.extend_from_slice(json);
                Ok(())
            }
        };
        if written.is_err() {
            out.truncate(before);
        }
        written
    }

    /// What stands behind the items of a list, with the newline at the end of the answer.
    pub fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"]}\n");
    }

    /// One object by itself, without a newline.
    ///
    /// # Errors
    /// The object cannot be read; `out` is as it was.
    pub fn single(&self, json: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
        self.alone(json, true, out)
    }

    /// An event of a watch, one line. `is_first` says that none was sent before; the columns of a table are sent once.
    ///
    /// # Errors
    /// The object cannot be read; `out` is as it was.
    pub fn event(
        &self,
        kind: &str,
        json: &[u8],
        is_first: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        let before = out.len();
        out.extend_from_slice(b"{\"type\":");
        json::write(out, kind);
        out.extend_from_slice(b",\"object\":");
        if let Err(error) = self.alone(json, is_first, out) {
            out.truncate(before);
            return Err(error);
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }

    fn alone(&self, json: &[u8], with_columns: bool, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        match (&self.table, self.form) {
            (Some(table), _) => table.single(json, with_columns, out),
            (None, Form::Metadata(version)) => partial(json, version, out),
            _ => {
                out.extend_from_slice(json);
                Ok(())
            }
        }
    }
}

fn begin_list(kind: &str, api_version: &str, meta: &ListMeta, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"kind\":");
    json::write(out, kind);
    out.extend_from_slice(b",\"apiVersion\":");
    json::write(out, api_version);
    out.extend_from_slice(b",\"metadata\":");
    json::write(out, meta);
    out.extend_from_slice(b",\"items\":[");
}

/// The metadata of an object alone.
fn partial(json: &[u8], version: MetaVersion, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let metadata = select::metadata(json)?;
    push_partial(metadata, version, out);
    Ok(())
}

pub(super) fn push_partial(metadata: &str, version: MetaVersion, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"");
    out.extend_from_slice(version.api_version().as_bytes());
    out.extend_from_slice(b"\",\"metadata\":");
    out.extend_from_slice(metadata.as_bytes());
    out.push(b'}');
}
