//! Requests, and answers without what differs from server to server.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    Get,
    Replace,
    JsonPatch,
    MergePatch,
    Apply,
    Delete,
}

/// One request for an object of the namespace `default`.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) verb: Verb,
    pub(crate) name: String,
    /// Whether it is for `/status`.
    pub(crate) status: bool,
    /// As it is sent; where it holds `"$VERSION"`, each server's own resource version of the object is put.
    pub(crate) body: String,
    pub(crate) manager: &'static str,
    pub(crate) force: bool,
    pub(crate) validation: &'static str,
}

impl Request {
    pub(crate) fn new(verb: Verb, name: &str, body: &Value) -> Self {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        Self {
            verb,
            name: name.to_owned(),
            status: false,
            body,
            manager: "tester",
            force: false,
            validation: "Warn",
        }
    }

    pub(crate) fn by(self, manager: &'static str) -> Self {
        Self { manager, ..self }
    }

    pub(crate) fn status(self) -> Self {
        Self { status: true, ..self }
    }

    pub(crate) fn force(self) -> Self {
        Self { force: true, ..self }
    }

    pub(crate) fn strict(self) -> Self {
        Self { validation: "Strict", ..self }
    }

    pub(crate) fn text(self, body: &str) -> Self {
        Self { body: body.to_owned(), ..self }
    }
}

/// An object of the resource.
pub(crate) fn thing(name: &str, fields: Value) -> Value {
    let mut object = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": name}});
    for (name, value) in fields.as_object().unwrap() {
        match (name.as_str(), value.as_object()) {
            ("metadata", Some(more)) => {
                for (name, value) in more {
                    object["metadata"][name] = value.clone();
                }
            }
            _ => object[name] = value.clone(),
        }
    }
    object
}

/// What a server says.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) warnings: Vec<String>,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn comparable(mut self) -> Self {
        forget(&mut self.body);
        self
    }
}

fn forget(body: &mut Value) {
    if let Some(details) = body.get_mut("details").and_then(Value::as_object_mut) {
        details.remove("uid");
        // The real one looks at the metadata of an update two or three times, and tells what it finds each time.
        if let Some(causes) = details.get_mut("causes").and_then(Value::as_array_mut) {
            let mut seen = BTreeSet::new();
            causes.retain(|it| seen.insert(it.to_string()));
            causes.sort_by_key(Value::to_string);
        }
    }
    // Of several errors the real one tells in the order of a Go map, which is none.
    if body.pointer("/details/causes/1").is_some() && body["reason"] == "Invalid" {
        body["message"] = "…".into();
    }
    let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    for name in ["uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"] {
        if let Some(value) = metadata.get_mut(name) {
            *value = "…".into();
        }
    }
    let Some(entries) = metadata.get_mut("managedFields").and_then(Value::as_array_mut) else { return };
    for entry in entries.iter_mut() {
        if let Some(time) = entry.get_mut("time") {
            *time = "…".into();
        }
    }
    // Entries are in the order of their times, which are of one second here or of two.
    entries.sort_by_key(Value::to_string);
}
