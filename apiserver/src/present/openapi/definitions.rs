//! What objects look like: a definition for each kind and its list.

use serde_json::{Map, Value, json};

use super::Dialect;
use crate::registry::{Resource, Version};

const META: &str = include_str!("meta.json");
const META_PREFIX: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert \
    recognized schemas to the latest internal value, and may reject unrecognized values. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the \
    endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
const LIST_METADATA: &str = "Standard list metadata. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// The definitions of `meta/v1` that others refer to.
pub(super) fn meta(dialect: Dialect) -> Map<String, Value> {
    let text = match dialect {
        Dialect::V2 => META.to_owned(),
        Dialect::V3 => META.replace("#/definitions/", "#/components/schemas/"),
    };
    serde_json::from_str(&text).expect("the file is tested")
}

/// The name of a kind's definition: `io.kyverno.reports.v1.EphemeralReport` in `reports.kyverno.io`.
pub(super) fn name(resource: &Resource, version: &Version, kind: &str) -> String {
    let mut parts: Vec<&str> = resource.group.split('.').rev().collect();
    parts.extend([version.name.as_str(), kind]);
    parts.join(".")
}

/// A reference to a definition.
pub(super) fn reference(dialect: Dialect, name: &str) -> Value {
    match dialect {
        Dialect::V2 => json!({"$ref": format!("#/definitions/{name}")}),
        Dialect::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
    }
}

/// A reference to a definition of `meta/v1`.
pub(super) fn meta_reference(dialect: Dialect, name: &str) -> Value {
    reference(dialect, &format!("{META_PREFIX}{name}"))
}

/// A reference that is described: beside `$ref` version 3 allows no other word.
fn described(dialect: Dialect, name: &str, description: &str) -> Value {
    let mut value = meta_reference(dialect, name);
    match dialect {
        Dialect::V2 => {
            value["description"] = description.into();
            value
        }
        Dialect::V3 => json!({"description": description, "allOf": [value]}),
    }
}

/// Adds the definitions of a kind and its list.
pub(super) fn add(
    resource: &Resource,
    version: &Version,
    dialect: Dialect,
    definitions: &mut Map<String, Value>,
) {
    let names = &resource.names;
    let object = name(resource, version, &names.kind);
    let list = name(resource, version, &names.list_kind);
    definitions.insert(object.clone(), kind(resource, version, dialect));
    definitions.insert(
        list,
        json!({
            "description": format!("{} is a list of {}", names.list_kind, names.kind),
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string", "description": API_VERSION},
                "kind": {"type": "string", "description": KIND},
                "metadata": described(dialect, "ListMeta", LIST_METADATA),
                "items": {
                    "type": "array", "description": format!("List of {}.", names.plural),
                    "items": reference(dialect, &object)
                }
            },
            "x-kubernetes-group-version-kind": [of_kind(resource, version, &names.list_kind)]
        }),
    );
}

/// Group, version and kind, as extensions name them.
pub(super) fn of_kind(resource: &Resource, version: &Version, kind: &str) -> Value {
    json!({"group": resource.group, "version": version.name, "kind": kind})
}

fn kind(resource: &Resource, version: &Version, dialect: Dialect) -> Value {
    let mut schema = version.schema.source().clone();
    if dialect == Dialect::V2 {
        simplify(&mut schema);
    }
    let Some(fields) = schema.as_object_mut() else { return schema };
    fields.insert("type".to_owned(), "object".into());
    fields.insert(
        "x-kubernetes-group-version-kind".to_owned(),
        json!([of_kind(resource, version, &resource.names.kind)]),
    );
    let properties = fields.entry("properties").or_insert_with(|| json!({}));
    properties["apiVersion"] = json!({"type": "string", "description": API_VERSION});
    properties["kind"] = json!({"type": "string", "description": KIND});
    properties["metadata"] = described(dialect, "ObjectMeta", METADATA);
    schema
}

/// What version 2 has no words for is left out, and where clients of that version would misread the rest, that too, as Kubernetes does.
fn simplify(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    let flag = |fields: &Map<String, Value>, name: &str| fields.get(name) == Some(&Value::Bool(true));
    let loose: &[&str] = if flag(fields, "nullable") {
        &["type", "items", "properties"]
    } else if flag(fields, "x-kubernetes-int-or-string") {
        &["type"]
    } else if flag(fields, "x-kubernetes-preserve-unknown-fields") {
        &["items", "properties"]
    } else {
        &[]
    };
    let newer = ["nullable", "default", "oneOf", "anyOf", "allOf", "not", "x-kubernetes-validations"];
    for name in loose.iter().chain(&newer) {
        fields.remove(*name);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(below) = fields.get_mut(name) {
            simplify(below);
        }
    }
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(simplify);
    }
}
