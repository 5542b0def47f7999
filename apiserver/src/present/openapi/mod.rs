//! OpenAPI: what `kubectl explain` shows, and by which `kubectl` decides that the server validates (version 3), and what the aggregator merges into
//! the document of the whole cluster (version 2).
//!
//! The definitions of `meta/v1` are those of Kubernetes 1.34, word by word (`meta.json`), since the aggregator takes definitions of one name for
//! one only if they are equal. The documents are made once, since a registry does not change.

mod definitions;
mod operations;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::discovery::etag;
use crate::registry::Registry;

/// A document that is served as it is.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its JSON.
    pub json: Bytes,
    /// SHA-512 of it in upper-case hexadecimal; in a header it stands in quotes.
    pub etag: String,
}

impl Document {
    fn new(value: &Value) -> Self {
        let json = value.to_string();
        Self { etag: etag(json.as_bytes()), json: json.into() }
    }
}

/// The documents of a registry.
#[derive(Clone, Debug)]
pub struct OpenApi {
    root: Document,
    v2: Document,
    v3: BTreeMap<String, Document>,
}

/// Which of the two languages is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

impl OpenApi {
    /// Makes the documents.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let served: BTreeSet<(String, String)> = registry
            .iter()
            .flat_map(|it| it.versions.iter().map(|version| (it.group.clone(), version.name.clone())))
            .collect();
        let document = |(group, version): &(String, String)| {
            (format!("apis/{group}/{version}"), Document::new(&v3(registry, group, version)))
        };
        let v3: BTreeMap<String, Document> = served.iter().map(document).collect();
        let url = |(path, document): (&String, &Document)| {
            let url = format!("/openapi/v3/{path}?hash={}", document.etag);
            (path.clone(), json!({"serverRelativeURL": url}))
        };
        let paths: Map<String, Value> = v3.iter().map(url).collect();
        Self { root: Document::new(&json!({"paths": paths})), v2: Document::new(&v2(registry)), v3 }
    }

    /// `/openapi/v3`: which documents there are.
    #[must_use]
    pub fn root(&self) -> &Document {
        &self.root
    }

    /// `/openapi/v3/PATH`: what is served below `apis/GROUP/VERSION`.
    #[must_use]
    pub fn v3(&self, path: &str) -> Option<&Document> {
        self.v3.get(path)
    }

    /// `/openapi/v2`: everything.
    #[must_use]
    pub fn v2(&self) -> &Document {
        &self.v2
    }
}

fn v3(registry: &Registry, group: &str, version: &str) -> Value {
    let (paths, schemas) = content(registry, Dialect::V3, |it, name| it == group && name == version);
    json!({
        "openapi": "3.0.0", "info": {"title": "Larder", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths, "components": {"schemas": schemas}
    })
}

fn v2(registry: &Registry) -> Value {
    let (paths, definitions) = content(registry, Dialect::V2, |_, _| true);
    json!({
        "swagger": "2.0", "info": {"title": "Larder", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths, "definitions": definitions
    })
}

/// Paths and definitions of all resources whose group and version are meant.
fn content(
    registry: &Registry,
    dialect: Dialect,
    is_meant: impl Fn(&str, &str) -> bool,
) -> (Map<String, Value>, Map<String, Value>) {
    let mut paths = Map::new();
    let mut definitions = definitions::meta(dialect);
    for resource in registry.iter() {
        for version in resource.versions.iter().filter(|it| is_meant(&resource.group, &it.name)) {
            definitions::add(resource, version, dialect, &mut definitions);
            operations::add(resource, version, dialect, &mut paths);
        }
    }
    (paths, definitions)
}
