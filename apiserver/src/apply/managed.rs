//! Managed fields: who owns which fields of an object, as its metadata keeps it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::set::FieldSet;
use crate::object::Object;

/// Who owns fields, and how it came to them. Of those who apply the version is not part of who they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) is_applier: bool,
    /// Empty for those who apply.
    pub(super) version: String,
    pub(super) subresource: String,
}

/// What it owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) set: FieldSet,
    /// `GROUP/VERSION` of the object as it was written.
    pub(super) version: String,
    pub(super) time: Option<String>,
}

/// All owners of an object.
pub(super) type Managed = BTreeMap<Manager, Owned>;

impl Manager {
    /// As errors name it.
    pub(super) fn shown(&self) -> String {
        let mut text = crate::field::quote(&self.name);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {}", crate::field::quote(&self.subresource)));
        }
        if !self.is_applier {
            text.push_str(&format!(" using {}", self.version));
        }
        text
    }
}

/// What a client said of the managed fields of an object.
pub(super) enum Said {
    /// That there are none any more.
    Reset,
    /// Nothing, or nothing that can be read.
    Nothing,
    /// This.
    Managed(Managed),
}

/// Reads the managed fields of an object that a client sent.
pub(super) fn said(object: &Object) -> Said {
    let list = object.metadata().and_then(|it| it.get("managedFields"));
    match list.and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => Said::Reset,
        Some([one]) if one.as_object().is_some_and(Map::is_empty) => Said::Reset,
        _ => match decode(object) {
            Ok(managed) if !managed.is_empty() => Said::Managed(managed),
            _ => Said::Nothing,
        },
    }
}

/// Reads the managed fields of a stored object.
pub(super) fn decode(object: &Object) -> Result<Managed, String> {
    let list = object.metadata().and_then(|it| it.get("managedFields")).and_then(Value::as_array);
    list.into_iter().flatten().enumerate().map(|(index, it)| entry(index, it)).collect()
}

fn entry(index: usize, entry: &Value) -> Result<(Manager, Owned), String> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_applier = match text("operation").as_str() {
        "Apply" => true,
        "Update" => false,
        _ => return Err("operation must be `Apply` or `Update`".to_owned()),
    };
    let version = text("apiVersion");
    if version.is_empty() {
        return Err("apiVersion must not be empty".to_owned());
    }
    match text("fieldsType").as_str() {
        "FieldsV1" => {}
        "" => return Err(format!("missing fieldsType in managed fields entry {index}")),
        other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {index}")),
    }
    let manager = Manager {
        name: text("manager"),
        is_applier,
        version: if is_applier { String::new() } else { version.clone() },
        subresource: text("subresource"),
    };
    let set = FieldSet::from_json(entry.get("fieldsV1").unwrap_or(&Value::Null))?;
    let time = Some(text("time")).filter(|it| !it.is_empty());
    Ok((manager, Owned { set, version, time }))
}

/// Writes the managed fields into an object; none at all if there are none.
pub(super) fn encode(managed: &Managed, object: &mut Object) {
    let metadata = object.metadata_mut();
    if managed.is_empty() {
        metadata.remove("managedFields");
        return;
    }
    let mut entries: Vec<(&Manager, &Owned)> = managed.iter().collect();
    entries.sort_by(|a, b| {
        let key = |it: &(&Manager, &Owned)| (!it.0.is_applier, it.1.time.clone(), it.0.name.clone());
        key(a)
            .cmp(&key(b))
            .then_with(|| a.1.version.cmp(&b.1.version))
            .then_with(|| a.0.subresource.cmp(&b.0.subresource))
    });
    let entries: Vec<Value> = entries.into_iter().map(|it| value(it.0, it.1)).collect();
    metadata.insert("managedFields".to_owned(), entries.into());
}

fn value(manager: &Manager, owned: &Owned) -> Value {
    let mut value = json!({
        "operation": if manager.is_applier { "Apply" } else { "Update" },
        "apiVersion": owned.version, "fieldsType": "FieldsV1", "fieldsV1": owned.set.to_json()
    });
    let optional = [
        ("manager", Some(&manager.name)),
        ("subresource", Some(&manager.subresource)),
        ("time", owned.time.as_ref()),
    ];
    for (name, text) in optional {
        if let Some(text) = text.filter(|it| !it.is_empty()) {
            value[name] = text.as_str().into();
        }
    }
    value
}
