//! What metadata has to be like, in the words of Kubernetes.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::names;
use crate::field::FieldError;
use crate::object::Object;
use crate::registry::Scope;

/// All annotations of an object together: 256 KiB.
const ANNOTATIONS: usize = 256 << 10;

/// What is wrong with the metadata of an object that is to be stored. Its shape is taken for granted: [`crate::schema::Schema::coerce`] sees
/// to it.
#[must_use]
pub fn check(object: &Object, scope: Scope) -> Vec<FieldError> {
    let empty = Map::new();
    let metadata = object.metadata().unwrap_or(&empty);
    let mut errors = Vec::new();
    check_names(metadata, scope, &mut errors);
    check_generation(metadata, "metadata", &mut errors);
    errors.extend(check_shared(metadata, "metadata"));
    errors
}

fn check_generation(metadata: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(generation) = metadata.get("generation").filter(|it| it.as_i64().is_some_and(|it| it < 0)) {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(&format!("{path}.generation"), generation, detail));
    }
}

/// What is wrong with the metadata of an object within an object: it may be of any kind, so its name need only fit into a path.
#[must_use]
pub fn check_embedded(metadata: &Map<String, Value>, path: &str) -> Vec<FieldError> {
    let text = |name: &str| metadata.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut errors = Vec::new();
    let mut each = |field: &str, wrong: Vec<String>| {
        let path = format!("{path}.{field}");
        errors.extend(wrong.iter().map(|it| FieldError::invalid_text(&path, text(field), it)));
    };
    each("generateName", names::path_prefix(text("generateName")));
    each("name", names::path_segment(text("name")));
    if !text("namespace").is_empty() {
        each("namespace", names::label(text("namespace")));
    }
    check_generation(metadata, path, &mut errors);
    errors.extend(check_shared(metadata, path));
    errors
}

fn check_names(metadata: &Map<String, Value>, scope: Scope, errors: &mut Vec<FieldError>) {
    let text = |name: &str| metadata.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut each = |field: &str, value: &str, wrong: Vec<String>| {
        errors
            .extend(wrong.iter().map(|it| FieldError::invalid_text(&format!("metadata.{field}"), value, it)));
    };
    let (base, name, namespace) = (text("generateName"), text("name"), text("namespace"));
    if !base.is_empty() {
        each("generateName", base, names::generated_base(base));
    }
    if !name.is_empty() {
        each("name", name, names::subdomain(name));
    }
    if scope == Scope::Namespaced && !namespace.is_empty() {
        each("namespace", namespace, names::label(namespace));
    }
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    }
    match scope {
        Scope::Namespaced if namespace.is_empty() => {
            errors.push(FieldError::required("metadata.namespace", ""))
        }
        Scope::Cluster if !namespace.is_empty() => {
            errors.push(FieldError::forbidden("metadata.namespace", "not allowed on this type"));
        }
        _ => {}
    }
}

/// What is wrong with labels, annotations, owners, finalizers and managed fields.
#[must_use]
pub fn check_shared(metadata: &Map<String, Value>, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let object = |name: &str| metadata.get(name).and_then(Value::as_object);
    let list = |name: &str| metadata.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if let Some(labels) = object("labels") {
        check_labels(labels, &format!("{path}.labels"), &mut errors);
    }
    if let Some(annotations) = object("annotations") {
        check_annotations(annotations, &format!("{path}.annotations"), &mut errors);
    }
    check_owners(list("ownerReferences"), &format!("{path}.ownerReferences"), &mut errors);
    check_finalizers(list("finalizers"), &format!("{path}.finalizers"), &mut errors);
    check_managed(list("managedFields"), &format!("{path}.managedFields"), &mut errors);
    errors.truncate(MOST);
    errors
}

/// Errors that are told of each kind: a body may have a million wrong labels.
const MOST: usize = 100;

fn check_labels(labels: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let wrong = labels.iter().flat_map(|(key, value)| {
        let value = value.as_str().unwrap_or_default();
        let key = names::qualified(key).into_iter().map(move |it| (key.as_str(), it));
        key.chain(names::label_value(value).into_iter().map(move |it| (value, it)))
    });
    errors.extend(wrong.take(MOST).map(|(text, wrong)| FieldError::invalid_text(path, text, &wrong)));
}

fn check_annotations(annotations: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let wrong = annotations
        .keys()
        .flat_map(|key| names::qualified(&key.to_ascii_lowercase()).into_iter().map(move |it| (key, it)));
    errors.extend(wrong.take(MOST).map(|(key, wrong)| FieldError::invalid_text(path, key, &wrong)));
    let bytes: usize = annotations.iter().map(|(key, it)| key.len() + it.as_str().map_or(0, str::len)).sum();
    if bytes > ANNOTATIONS {
        errors.push(FieldError::too_long(path, ANNOTATIONS as u64));
    }
}

fn check_owners(owners: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    let mut controller: Option<String> = None;
    for owner in owners {
        if errors.len() > MOST {
            return;
        }
        let text = |name: &str| owner.get(name).and_then(Value::as_str).unwrap_or_default();
        let version = text("apiVersion");
        if version_of(version).is_empty() {
            errors.push(FieldError::invalid_text(
                &format!("{path}.apiVersion"),
                version,
                "version must not be empty",
            ));
        }
        for name in ["kind", "name", "uid"].into_iter().filter(|it| text(it).is_empty()) {
            errors.push(FieldError::invalid_text(&format!("{path}.{name}"), "", "must not be empty"));
        }
        if (version, text("kind")) == ("v1", "Event") {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(FieldError::invalid_shown(path, &owners_shown(std::slice::from_ref(owner)), detail));
        }
        if owner.get("controller") == Some(&Value::Bool(true)) {
            let this = format!("{}/{}", text("kind"), text("name"));
            match &controller {
                None => controller = Some(this),
                Some(first) => {
                    let detail = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                    );
                    errors.push(FieldError::invalid_shown(
                        path,
                        &format!("[{}]", owners_shown(owners)),
                        &detail,
                    ));
                }
            }
        }
    }
}

/// The version of a `GROUP/VERSION`; what has more parts has none.
fn version_of(api_version: &str) -> &str {
    match api_version.split_once('/') {
        None => api_version,
        Some((_, version)) if version.contains('/') => "",
        Some((_, version)) => version,
    }
}

/// Owners in the order of the fields of their Go type.
fn owners_shown(owners: &[Value]) -> String {
    let fields = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let shown = |owner: &Value| {
        let fields = fields.iter().filter_map(|it| Some(format!("\"{it}\":{}", owner.get(it)?)));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    };
    owners.iter().map(shown).collect::<Vec<_>>().join(",")
}

fn check_finalizers(finalizers: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    let mut seen = HashSet::new();
    for finalizer in finalizers.iter().filter_map(Value::as_str) {
        seen.insert(finalizer);
        let wrong = if errors.len() < MOST { names::qualified(finalizer) } else { Vec::new() };
        errors.extend(wrong.iter().map(|it| FieldError::invalid_text(path, finalizer, it)));
    }
    if seen.contains("orphan") && seen.contains("foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(path, &Value::from(finalizers), detail));
    }
}

fn check_managed(entries: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    for (index, entry) in entries.iter().enumerate() {
        if errors.len() > MOST {
            return;
        }
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let path = format!("{path}[{index}]");
        if !matches!(text("operation"), "Apply" | "Update") {
            let detail = "must be `Apply` or `Update`";
            errors.push(FieldError::invalid_text(&format!("{path}.operation"), text("operation"), detail));
        }
        if !matches!(text("fieldsType"), "" | "FieldsV1") {
            let detail = "must be `FieldsV1`";
            errors.push(FieldError::invalid_text(&format!("{path}.fieldsType"), text("fieldsType"), detail));
        }
        errors.extend(check_manager(text("manager"), &format!("{path}.manager")));
        if text("subresource").len() > 256 {
            errors.push(FieldError::too_long(&format!("{path}.subresource"), 256));
        }
    }
}

/// What is wrong with the name of a field manager: longer than 128 bytes, or not printable.
#[must_use]
pub fn check_manager(manager: &str, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if manager.len() > 128 {
        errors.push(FieldError::too_long(path, 128));
    }
    let strange = manager.char_indices().find(|(_, it)| !crate::field::is_printable(*it));
    if let Some((at, char)) = strange {
        let detail = format!("invalid character U+{:04X} (at position {at})", char as u32);
        errors.push(FieldError::invalid_text(path, manager, &detail));
    }
    errors
}

/// What a caller is warned of once its object was found to be right: new finalizers without a domain.
#[must_use]
pub fn finalizer_warnings(object: &Object, old: Option<&Object>) -> Vec<String> {
    let before: HashSet<String> = old.map(super::finalizers).unwrap_or_default().into_iter().collect();
    let mut added: Vec<String> =
        super::finalizers(object).into_iter().filter(|it| !before.contains(it)).collect();
    added.sort();
    added.dedup();
    let is_known =
        |it: &str| it.contains('/') || matches!(it, super::ORPHAN | super::FOREGROUND | "kubernetes");
    let warning = |finalizer: &String| {
        let path = if finalizer.contains('.') { " including a path (/)" } else { "" };
        format!(
            "metadata.finalizers: {}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with other \
             finalizer writers",
            crate::field::quote(finalizer)
        )
    };
    added.iter().filter(|it| !is_known(it)).take(MOST).map(warning).collect()
}

/// Drops owners that stand there twice; returns what its caller is warned of. `when` says what came before.
pub fn drop_repeated_owners(object: &mut Object, when: &str) -> Option<String> {
    let owners = object.0.get_mut("metadata")?.get_mut("ownerReferences")?.as_array_mut()?;
    let mut kept: Vec<Value> = Vec::with_capacity(owners.len());
    let mut seen = HashSet::new();
    let mut repeated = Vec::new();
    for owner in owners.drain(..) {
        if seen.insert(owner.to_string()) {
            kept.push(owner);
        } else {
            repeated.push(owner.get("uid").and_then(Value::as_str).unwrap_or_default().to_owned());
        }
    }
    *owners = kept;
    (!repeated.is_empty()).then(|| {
        format!(
            ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may reject such \
             requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            repeated.join(", ")
        )
    })
}
