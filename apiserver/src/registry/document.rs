//! Reading CRD documents (`apiextensions.k8s.io/v1`).
//!
//! What a document asks for and is not done is told: a mistake, or what would change the meaning of objects, as an error; the rest as a [`Notice`].
//! All versions show the same rows, so a conversion webhook is an error.

mod check;

use std::fmt;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use check::selectable;

use super::priority;
use super::resource::{Column, Names, Resource, Scope, Version};
use crate::present::JsonPath;
use crate::rules::names;
use crate::schema::{Schema, SchemaError};
use crate::yaml;

/// Under this annotation a document lists annotations that every object gets when it is written, one `KEY=VALUE` a line.
pub const MARKS: &str = "larder.dev/marks";

/// Bytes of a document: some ten times what large ones have.
const BYTES: usize = 16 << 20;

/// Why a document cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is no YAML and no JSON, or a field has a value of the wrong type.
    #[error("{0}")]
    Unreadable(String),
    /// It is too large.
    #[error("the document has {0} bytes; {BYTES} at most are read")]
    TooLarge(usize),
    /// It is something else.
    #[error(
        "{api_version} {kind} is no resource; apiextensions.k8s.io/v1 CustomResourceDefinition is needed"
    )]
    Other {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// A field has a value that cannot be.
    #[error("{resource}: {field}: {reason}")]
    Invalid {
        /// `PLURAL.GROUP`.
        resource: String,
        /// The field.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// Its versions are converted by somebody else.
    #[error(
        "{0}: conversion by webhooks is not supported: all versions of a resource show the same objects as they are stored"
    )]
    Conversion(String),
    /// A schema cannot be used.
    #[error("{resource}: version {version}: {error}")]
    Schema {
        /// `PLURAL.GROUP`.
        resource: String,
        /// The version.
        version: String,
        /// What is wrong with its schema.
        error: SchemaError,
    },
    /// No version of it is served.
    #[error("{0}: no version is served")]
    Unserved(String),
}

/// Something that a document asks for and that is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `PLURAL.GROUP`, and the version.
    pub subject: String,
    /// What is not done.
    pub text: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.text)
    }
}

/// Reads the resources of a file: YAML or JSON, one or several documents.
///
/// # Errors
/// The first that is wrong with any of them.
pub(super) fn read(text: &str) -> Result<Vec<(Resource, Vec<Notice>)>, DocumentError> {
    if text.len() > BYTES {
        return Err(DocumentError::TooLarge(text.len()));
    }
    let unreadable = |it: &dyn fmt::Display| DocumentError::Unreadable(it.to_string());
    let documents = yaml::several(text).map_err(DocumentError::Unreadable)?;
    let mut resources = Vec::new();
    for document in documents.into_iter().flat_map(listed).filter(|it| !it.is_null()) {
        let head: Head = serde_json::from_value(document.clone()).map_err(|it| unreadable(&it))?;
        if (head.api_version.as_str(), head.kind.as_str())
            != ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        {
            return Err(DocumentError::Other { api_version: head.api_version, kind: head.kind });
        }
        let text = document.to_string().into();
        let document: Document = serde_json::from_value(document).map_err(|it| unreadable(&it))?;
        resources.push(document.resource(text)?);
    }
    Ok(resources)
}

/// What a list holds, as `kubectl get -o yaml` prints several; anything else is what it is.
fn listed(mut document: Value) -> Vec<Value> {
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
    let is_list = matches!(
        (text("apiVersion"), text("kind")),
        ("v1", "List") | ("apiextensions.k8s.io/v1", "CustomResourceDefinitionList")
    );
    match document.get_mut("items") {
        Some(Value::Array(items)) if is_list => std::mem::take(items),
        _ => vec![document],
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Head {
    api_version: String,
    kind: String,
}

#[derive(Deserialize)]
struct Document {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    group: String,
    names: SpecNames,
    scope: String,
    versions: Vec<SpecVersion>,
    #[serde(default)]
    conversion: Option<Conversion>,
    #[serde(default)]
    preserve_unknown_fields: bool,
}

#[derive(Deserialize)]
struct Conversion {
    strategy: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecNames {
    plural: String,
    kind: String,
    #[serde(default)]
    singular: String,
    #[serde(default)]
    list_kind: String,
    #[serde(default)]
    short_names: Vec<String>,
    #[serde(default)]
    categories: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecVersion {
    name: String,
    served: bool,
    #[serde(default)]
    storage: bool,
    #[serde(default)]
    schema: Option<SpecSchema>,
    #[serde(default)]
    deprecated: bool,
    deprecation_warning: Option<String>,
    #[serde(default)]
    subresources: Subresources,
    #[serde(default)]
    additional_printer_columns: Vec<SpecColumn>,
    #[serde(default)]
    selectable_fields: Vec<SelectableField>,
}

#[derive(Deserialize)]
struct SpecSchema {
    #[serde(rename = "openAPIV3Schema")]
    openapi: Option<Value>,
}

#[derive(Default, Deserialize)]
struct Subresources {
    status: Option<Value>,
    scale: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecColumn {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    format: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    priority: i32,
    json_path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SelectableField {
    json_path: String,
}

impl Document {
    fn resource(self, document: Arc<str>) -> Result<(Resource, Vec<Notice>), DocumentError> {
        let id = format!("{}.{}", self.spec.names.plural, self.spec.group);
        let invalid = |field: &str, reason: String| DocumentError::Invalid {
            resource: id.clone(),
            field: field.to_owned(),
            reason,
        };
        self.check(&id, &invalid)?;
        let marks = marks(self.metadata.annotations.get(MARKS).map_or("", String::as_str), &invalid)?;
        let scope = match self.spec.scope.as_str() {
            "Namespaced" => Scope::Namespaced,
            "Cluster" => Scope::Cluster,
            other => {
                return Err(invalid("spec.scope", format!("{other:?} is neither Namespaced nor Cluster")));
            }
        };
        let (group, kind) = (self.spec.group, &self.spec.names.kind);
        let mut notices = Vec::new();
        let mut versions = Vec::new();
        for version in self.spec.versions.into_iter().filter(|it| it.served) {
            let full = format!("{group}/{} {kind}", version.name);
            versions.push(version.read(&id, &full, &mut notices)?);
        }
        if versions.is_empty() {
            return Err(DocumentError::Unserved(id));
        }
        versions.sort_by_key(|it| priority::key(&it.name));
        let names = self.spec.names.read();
        Ok((Resource { group, names, scope, versions, marks, document }, notices))
    }
}

impl SpecNames {
    fn read(self) -> Names {
        let lower = self.kind.to_ascii_lowercase();
        let list = format!("{}List", self.kind);
        Names {
            singular: if self.singular.is_empty() { lower } else { self.singular },
            list_kind: if self.list_kind.is_empty() { list } else { self.list_kind },
            plural: self.plural,
            kind: self.kind,
            short: self.short_names,
            categories: self.categories,
        }
    }
}

impl SpecVersion {
    fn read(self, id: &str, full: &str, notices: &mut Vec<Notice>) -> Result<Version, DocumentError> {
        let subject = format!("{id}/{}", self.name);
        let invalid = |field: &str, reason: String| DocumentError::Invalid {
            resource: subject.clone(),
            field: field.to_owned(),
            reason,
        };
        let Some(schema) = self.schema.and_then(|it| it.openapi) else {
            return Err(invalid("schema.openAPIV3Schema", "is required".to_owned()));
        };
        let schema = Schema::from_json(schema).map_err(|error| DocumentError::Schema {
            resource: id.to_owned(),
            version: self.name.clone(),
            error,
        })?;
        let mut notice =
            |text: &str| notices.push(Notice { subject: subject.clone(), text: text.to_owned() });
        if schema.has_rules() {
            notice(
                "rules in CEL (x-kubernetes-validations) are not enforced; everything else of the schema is",
            );
        }
        if self.subresources.scale.is_some() {
            notice("the scale subresource is not served");
        }
        let deprecation = self
            .deprecated
            .then(|| self.deprecation_warning.clone().unwrap_or_else(|| format!("{full} is deprecated")));
        Ok(Version {
            columns: columns(self.additional_printer_columns, &invalid)?,
            selectable: selectable(&self.selectable_fields, &schema, &invalid)?,
            status: self.subresources.status.is_some(),
            name: self.name,
            schema,
            deprecation,
        })
    }
}

const AGE: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to \
    be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and \
    is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

type Invalid<'a> = &'a dyn Fn(&str, String) -> DocumentError;

/// The columns; where there are none the age is shown, as Kubernetes does.
fn columns(columns: Vec<SpecColumn>, invalid: Invalid<'_>) -> Result<Vec<Column>, DocumentError> {
    if columns.is_empty() {
        return Ok(vec![Column {
            name: "Age".to_owned(),
            kind: "date".to_owned(),
            format: String::new(),
            description: AGE.to_owned(),
            priority: 0,
            json_path: ".metadata.creationTimestamp".to_owned(),
        }]);
    }
    columns.into_iter().map(|it| column(it, invalid)).collect()
}

fn column(column: SpecColumn, invalid: Invalid<'_>) -> Result<Column, DocumentError> {
    let SpecColumn { name, kind, format, description, priority, json_path } = column;
    if !matches!(kind.as_str(), "string" | "integer" | "number" | "boolean" | "date") {
        let reason = format!("{kind:?} is none of string, integer, number, boolean and date");
        return Err(invalid(&format!("the type of column {name}"), reason));
    }
    JsonPath::parse(&json_path).map_err(|it| invalid(&format!("column {name}"), it.to_string()))?;
    Ok(Column { name, kind, format, description, priority, json_path })
}

fn marks(lines: &str, invalid: Invalid<'_>) -> Result<Vec<(String, String)>, DocumentError> {
    let read = |line: &str| {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        match names::qualified(&key.to_ascii_lowercase()).first() {
            None => Ok((key.to_owned(), value.to_owned())),
            Some(wrong) => Err(invalid(MARKS, format!("{key:?}: {wrong}"))),
        }
    };
    lines.lines().map(str::trim).filter(|it| !it.is_empty()).map(read).collect()
}
