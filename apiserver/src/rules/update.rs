//! Updating an object: what stays as it was, what must not change, and what becomes of it.

use serde_json::{Map, Value};

use super::{finalizers, generation, metadata};
use crate::field::FieldError;
use crate::object::Object;
use crate::registry::{Resource, Version};

/// Which part of an object a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it; the status only if it has no path of its own.
    Main,
    /// The status.
    Status,
}

/// Keeps of the old object what an update does not change, and raises the generation if anything outside metadata did. Both are of the same
/// version.
pub fn begin_update(new: &mut Object, old: &Object, version: &Version, part: Part) {
    match part {
        Part::Status => keep_all_but_status(new, old),
        Part::Main => {
            if version.status {
                keep(&mut new.0, &old.0, "status");
            }
            keep(new.metadata_mut(), old.metadata().unwrap_or(&Map::new()), "generation");
            if !is_same_outside_metadata(new, old) {
                new.metadata_mut().insert("generation".to_owned(), (generation(old) + 1).into());
            }
        }
    }
    keep_metadata(new, old);
}

/// `field` of the new map becomes what it is in the old one.
fn keep(new: &mut Map<String, Value>, old: &Map<String, Value>, field: &str) {
    match old.get(field) {
        Some(value) => _ = new.insert(field.to_owned(), value.clone()),
        None => _ = new.remove(field),
    }
}

fn keep_all_but_status(new: &mut Object, old: &Object) {
    let status = new.0.remove("status");
    let managed = new.metadata_mut().remove("managedFields");
    *new = old.clone();
    match status {
        Some(status) => _ = new.0.insert("status".to_owned(), status),
        None => _ = new.0.remove("status"),
    }
    match managed {
        Some(managed) => _ = new.metadata_mut().insert("managedFields".to_owned(), managed),
        None => _ = new.metadata_mut().remove("managedFields"),
    }
}

fn keep_metadata(new: &mut Object, old: &Object) {
    let empty = Map::new();
    let old = old.metadata().unwrap_or(&empty);
    let new = new.metadata_mut();
    if !new.contains_key("uid") {
        keep(new, old, "uid");
    }
    if old.contains_key("creationTimestamp") {
        keep(new, old, "creationTimestamp");
    }
    if old.contains_key("deletionTimestamp") {
        keep(new, old, "deletionTimestamp");
    }
    if !new.contains_key("deletionGracePeriodSeconds") {
        keep(new, old, "deletionGracePeriodSeconds");
    }
    // It is no field of objects any more; what a client sends is forgotten.
    new.remove("selfLink");
}

fn is_same_outside_metadata(a: &Object, b: &Object) -> bool {
    let rest = |it: &Object| {
        let fields = it.0.iter().filter(|it| !matches!(it.0.as_str(), "metadata" | "apiVersion" | "kind"));
        fields.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
    };
    a.0.len() == b.0.len() && rest(a) == rest(b)
}

/// What is wrong with an update: metadata that must not change, metadata as such, then what its schema says, unless `schema` is false. What was
/// wrong before and did not change is let pass, as Kubernetes does.
#[must_use]
pub fn check_update(
    new: &Object,
    old: &Object,
    resource: &Resource,
    version: &Version,
    part: Part,
    schema: bool,
) -> Vec<FieldError> {
    let mut errors = metadata::check(new, resource.scope);
    check_transition(new, old, &mut errors);
    if schema {
        errors.extend(match part {
            Part::Main => version.schema.validate_update(&new.0, &old.0),
            Part::Status => version.schema.validate_status(&new.0, &old.0),
        });
    }
    errors
}

fn check_transition(new: &Object, old: &Object, errors: &mut Vec<FieldError>) {
    if old.meta("deletionTimestamp").is_some() {
        let before: std::collections::HashSet<String> = finalizers(old).into_iter().collect();
        let mut added: Vec<String> = finalizers(new).into_iter().filter(|it| !before.contains(it)).collect();
        if !added.is_empty() {
            added.sort();
            added.dedup();
            let added: Vec<String> = added.iter().map(|it| crate::field::quote(it)).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            errors.push(FieldError::forbidden("metadata.finalizers", &detail));
        }
    }
    let value = |object: &Object, field: &str| object.metadata().and_then(|it| it.get(field)).cloned();
    for field in
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
    {
        let (new, old) = (value(new, field), value(old, field));
        if new != old {
            let missing = if field.starts_with("deletion") { Value::Null } else { Value::from("") };
            let shown = new.unwrap_or(missing);
            errors.push(FieldError::invalid(&format!("metadata.{field}"), &shown, "field is immutable"));
        }
    }
}

/// What an update comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing changes: nothing is written and nobody is told.
    None,
    /// The object is written.
    Write,
    /// The last finalizer of an object that is being deleted is gone: it is deleted.
    Delete,
}

/// What an update comes to. Managed fields that differ in nothing but their times do not count as a change, and get back their old times.
#[must_use]
pub fn effect(new: &mut Object, old: &Object) -> Effect {
    if same_but_times(new, old) {
        let managed = old.metadata().and_then(|it| it.get("managedFields")).cloned();
        if let Some(managed) = managed {
            new.metadata_mut().insert("managedFields".to_owned(), managed);
        }
    }
    let grace = old.metadata().and_then(|it| it.get("deletionGracePeriodSeconds")).and_then(Value::as_i64);
    if finalizers(new).is_empty() && old.meta("deletionTimestamp").is_some() && grace.unwrap_or_default() == 0
    {
        return Effect::Delete;
    }
    if new == old { Effect::None } else { Effect::Write }
}

fn same_but_times(new: &Object, old: &Object) -> bool {
    let fields = |it: &Object| {
        let list = it.metadata().and_then(|it| it.get("managedFields")).and_then(Value::as_array).cloned();
        let mut list = list.unwrap_or_default();
        for entry in list.iter_mut().filter_map(Value::as_object_mut) {
            entry.remove("time");
        }
        list
    };
    let rest = |it: &Object| {
        let metadata = it.metadata().map(|it| {
            let fields = it.iter().filter(|it| it.0 != "managedFields" && it.0 != "resourceVersion");
            fields.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
        });
        metadata.unwrap_or_default()
    };
    is_same_outside_metadata(new, old) && rest(new) == rest(old) && fields(new) == fields(old)
}
