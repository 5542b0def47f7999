//! An object of etcd as one of this store, the other way round, and whether the two are the same.
//!
//! The way in keeps everything but the revision. On the way out kube-apiserver gives every object a new uid, creation time and generation; there
//! is no way to tell it others.

use serde_json::{Map, Value};

use super::cluster::is_ours;
use super::definition::ENTRANCE;
use super::entrance::Old;
use crate::object::Object;
use crate::registry::Resource;
use crate::store::{Draft, StoreError, Stored};

/// An object in etcd that carries this annotation was copied and compared, and lost its finalizers so that it can go.
pub(super) const RELEASED: &str = "larder.dev/released";

/// What kube-apiserver sets by itself and lets nobody set.
const GIVEN: [&str; 8] = [
    "uid",
    "creationTimestamp",
    "generation",
    "resourceVersion",
    "selfLink",
    "managedFields",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// The object as it is to be stored here, under the version that its CRD stores.
pub(super) fn draft(resource: &Resource, version: &str, old: &Old) -> Draft {
    let mut object = old.object.clone();
    let metadata = object.metadata_mut();
    metadata.remove("resourceVersion");
    metadata.remove("selfLink");
    let (through, as_of) =
        (format!("{}/{ENTRANCE}", resource.group), format!("{}/{version}", resource.group));
    for entry in metadata.get_mut("managedFields").and_then(Value::as_array_mut).into_iter().flatten() {
        if entry["apiVersion"] == *through {
            entry["apiVersion"] = as_of.as_str().into();
        }
    }
    if is_released(old) {
        annotations(&mut object).remove(RELEASED);
    }
    for (name, value) in &resource.marks {
        annotations(&mut object).insert(name.clone(), value.as_str().into());
    }
    object.0.remove("apiVersion");
    object.0.remove("kind");
    let uid = old.object.meta("uid").unwrap_or_default().to_owned();
    let fields = fields(resource, version, &object);
    Draft { key: old.key.clone(), uid, version: version.to_owned(), object, fields }
}

/// The values of the selectable fields.
fn fields(resource: &Resource, version: &str, object: &Object) -> Vec<(String, String)> {
    let selectable = resource.version(version).map(|it| it.selectable.as_slice()).unwrap_or_default();
    let value = |path: &[String]| {
        let (first, rest) = path.split_first()?;
        let found = rest.iter().try_fold(object.0.get(first)?, |at, name| at.get(name))?;
        match found {
            Value::String(text) => Some(text.clone()),
            Value::Bool(_) | Value::Number(_) => Some(found.to_string()),
            _ => None,
        }
    };
    selectable.iter().filter_map(|path| Some((path.join("."), value(path)?))).collect()
}

/// Whether what stands here is what is to stand here.
pub(super) fn is_same(draft: &Draft, stored: &Stored) -> bool {
    let Ok(mut object) = stored.object("", "") else { return false };
    object.metadata_mut().remove("resourceVersion");
    object.0.remove("apiVersion");
    object.0.remove("kind");
    object == draft.object
}

/// Whether the object lost its finalizers, and nothing else, so that it can go.
pub(super) fn is_released(old: &Old) -> bool {
    let annotations = old.object.metadata().and_then(|it| it.get("annotations"));
    annotations.is_some_and(|it| it.get(RELEASED).is_some())
}

/// Whether something has to be done before the object can go from etcd.
pub(super) fn has_finalizers(old: &Old) -> bool {
    let finalizers = old.object.metadata().and_then(|it| it.get("finalizers")).and_then(Value::as_array);
    finalizers.is_some_and(|it| !it.is_empty())
}

/// The object as it is to stand in etcd again, without what kube-apiserver gives.
pub(super) fn outgoing(resource: &Resource, stored: &Stored) -> Result<Object, StoreError> {
    let mut object = stored.object("", "")?;
    strip(&mut object, &resource.marks);
    Ok(object)
}

/// Whether what stands in etcd is what is to stand there.
pub(super) fn is_back(outgoing: &Object, old: &Old) -> bool {
    let mut there = old.object.clone();
    strip(&mut there, &[]);
    there == *outgoing
}

/// Who manages which fields, as it was here, in the versions that etcd's are `served` in: of another version kube-apiserver could not make anything.
/// Nobody, if that is so: an empty list would change nothing.
pub(super) fn managers(group: &str, served: &[String], stored: &Stored) -> Result<Value, StoreError> {
    let managers = stored.object("", "")?.metadata_mut().remove("managedFields");
    let mut managers = managers.and_then(|it| it.as_array().cloned()).unwrap_or_default();
    let is_served = |it: &Value| served.iter().any(|name| it["apiVersion"] == format!("{group}/{name}"));
    managers.retain(|it| !is_ours(it) && is_served(it));
    if managers.is_empty() {
        managers.push(Value::Object(Map::new()));
    }
    Ok(managers.into())
}

/// Whether this server manages fields of the object, and so has not said yet who does.
pub(super) fn is_managed(old: &Old) -> bool {
    let managers = old.object.metadata().and_then(|it| it.get("managedFields")).and_then(Value::as_array);
    managers.into_iter().flatten().any(is_ours)
}

pub(super) fn is_terminating(stored: &Stored) -> bool {
    stored.object("", "").is_ok_and(|it| it.meta("deletionTimestamp").is_some())
}

fn strip(object: &mut Object, marks: &[(String, String)]) {
    for field in GIVEN {
        object.metadata_mut().remove(field);
    }
    object.0.remove("apiVersion");
    object.0.remove("kind");
    let annotations = annotations(object);
    for (name, value) in marks {
        if annotations.get(name).is_some_and(|it| *it == **value) {
            annotations.remove(name);
        }
    }
    if annotations.is_empty() {
        object.metadata_mut().remove("annotations");
    }
}

fn annotations(object: &mut Object) -> &mut Map<String, Value> {
    let metadata = object.metadata_mut();
    let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
    if !annotations.is_object() {
        *annotations = Value::Object(Map::new());
    }
    annotations.as_object_mut().expect("it was made an object")
}
