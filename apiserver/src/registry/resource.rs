//! What is known of one resource.

use std::sync::Arc;

use crate::object::Object;
use crate::schema::Schema;

/// Whether the objects of a resource live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every object has a namespace.
    Namespaced,
    /// None has.
    Cluster,
}

/// What a resource and its kind are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// In paths: `policyreports`.
    pub plural: String,
    /// `policyreport`.
    pub singular: String,
    /// `PolicyReport`.
    pub kind: String,
    /// `PolicyReportList`.
    pub list_kind: String,
    /// `polr`.
    pub short: Vec<String>,
    /// Groups of resources that `kubectl get` knows by one name.
    pub categories: Vec<String>,
}

/// A resource, as its CRD document says.
#[derive(Clone, Debug)]
pub struct Resource {
    /// The API group.
    pub group: String,
    /// What it is called.
    pub names: Names,
    /// Whether its objects live in namespaces.
    pub scope: Scope,
    /// The versions that are served, in the order of Kubernetes' version priority: the preferred one first. All show the same rows.
    pub versions: Vec<Version>,
    /// Annotations that every object gets when it is written, as the document asks by annotations of its own.
    pub marks: Vec<(String, String)>,
    /// The CRD document that says all this, JSON.
    pub document: Arc<str>,
}

/// One version of a resource.
#[derive(Clone, Debug)]
pub struct Version {
    /// `v1alpha2`.
    pub name: String,
    /// What its objects have to look like.
    pub schema: Schema,
    /// What tables show, behind the name.
    pub columns: Vec<Column>,
    /// Fields that field selectors may name, besides `metadata.name` and `metadata.namespace`.
    pub selectable: Vec<FieldPath>,
    /// Whether there is a `/status` that is written by itself.
    pub status: bool,
    /// What callers of a deprecated version are warned with.
    pub deprecation: Option<String>,
}

impl Version {
    /// Makes of a stored object what readers of this version are shown: without fields that its schema does not know, with its defaults. It may have
    /// been written under another version, or an earlier schema.
    pub fn adopt(&self, object: &mut Object) {
        if let Err(why) = self.schema.coerce(&mut object.0) {
            tracing::debug!(why, version = self.name, "an object is shown as it is stored");
        }
        self.schema.fill_defaults(&mut object.0);
    }
}

/// The path of a field from the top of an object: `["spec", "owner"]`.
pub type FieldPath = Vec<String>;

/// A column of tables (`additionalPrinterColumns`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its head.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// `name`, `date-time`, …; may be empty.
    pub format: String,
    /// What it shows.
    pub description: String,
    /// Above 0 only wide tables show it.
    pub priority: i32,
    /// Where its cells come from, as the document writes it: `.summary.pass`.
    pub json_path: String,
}

impl Resource {
    /// The version of that name.
    #[must_use]
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|it| it.name == name)
    }

    /// What the store calls it: `policyreports.wgpolicyk8s.io`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}.{}", self.names.plural, self.group)
    }
}
