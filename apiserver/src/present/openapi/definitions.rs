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
/// What the same fields are called in an object within an object.
const INNER_API_VERSION: &str = "apiVersion defines the versioned schema of this representation of an object. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const INNER_KIND: &str = "kind is a string value representing the type of this object. In CamelCase. More info: \
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
    let mut kind = kind(resource, version, dialect);
    let mut list_kind = json!({
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
    });
    if !version.selectable.is_empty() {
        let fields: Vec<Value> =
            version.selectable.iter().map(|it| json!({"fieldPath": it.join(".")})).collect();
        for definition in [&mut kind, &mut list_kind] {
            definition["x-kubernetes-selectable-fields"] = fields.clone().into();
        }
    }
    definitions.insert(object, kind);
    definitions.insert(list, list_kind);
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
    complete(&mut schema, dialect);
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

/// Says what an object within an object has, and what an integer or a text is.
fn complete(schema: &mut Value, dialect: Dialect) {
    let Some(fields) = schema.as_object_mut() else { return };
    each_below(fields, |below| complete(below, dialect));
    let is_v2 = dialect == Dialect::V2;
    if flag(fields, "x-kubernetes-int-or-string") && !is_v2 && !fields.contains_key("allOf") {
        fields.entry("anyOf").or_insert_with(|| json!([{"type": "integer"}, {"type": "string"}]));
    }
    // Clients of version 2 would take what is said for all that there may be.
    if flag(fields, "x-kubernetes-embedded-resource")
        && !(is_v2 && flag(fields, "x-kubernetes-preserve-unknown-fields"))
    {
        let properties = fields.entry("properties").or_insert_with(|| json!({}));
        properties["apiVersion"] = json!({"type": "string", "description": INNER_API_VERSION});
        properties["kind"] = json!({"type": "string", "description": INNER_KIND});
        properties["metadata"] = described(dialect, "ObjectMeta", METADATA);
        if let Some(required) = fields.entry("required").or_insert_with(|| json!([])).as_array_mut() {
            let missing = ["kind", "apiVersion"].into_iter().filter(|it| !required.contains(&json!(it)));
            let missing: Vec<Value> = missing.map(Value::from).collect();
            required.extend(missing);
        }
    }
}

fn flag(fields: &Map<String, Value>, name: &str) -> bool {
    fields.get(name) == Some(&Value::Bool(true))
}

/// Visits the schemas of fields and items.
fn each_below(fields: &mut Map<String, Value>, mut visit: impl FnMut(&mut Value)) {
    for name in ["items", "additionalProperties"] {
        if let Some(below) = fields.get_mut(name) {
            visit(below);
        }
    }
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(visit);
    }
}

/// What version 2 has no words for is left out, and where clients of that version would misread the rest, that too, as Kubernetes does.
fn simplify(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    require_no_nullable(fields);
    let is_object = fields.get("type") == Some(&json!("object"));
    let loose: &[&str] = if flag(fields, "nullable") {
        &["type", "items", "properties"]
    } else if flag(fields, "x-kubernetes-int-or-string") {
        &["type"]
    } else if flag(fields, "x-kubernetes-preserve-unknown-fields") {
        if is_object { &["type", "items", "properties"] } else { &["items", "properties"] }
    } else {
        &[]
    };
    let newer = ["nullable", "default", "oneOf", "anyOf", "allOf", "not", "x-kubernetes-validations"];
    for name in loose.iter().chain(&newer) {
        fields.remove(*name);
    }
    if fields.get("type") == Some(&json!("array")) && !fields.contains_key("items") {
        fields.remove("type");
    }
    each_below(fields, simplify);
}

/// What may be null has no type in version 2, and so cannot be required.
fn require_no_nullable(fields: &mut Map<String, Value>) {
    let is_nullable = |it: Option<&Value>| it.and_then(|it| it.get("nullable")) == Some(&Value::Bool(true));
    if is_nullable(fields.get("additionalProperties")) {
        fields.remove("required");
    }
    let properties = fields.get("properties").cloned().unwrap_or_default();
    if let Some(required) = fields.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|it| !is_nullable(it.as_str().and_then(|it| properties.get(it))));
    }
}
