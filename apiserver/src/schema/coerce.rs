//! Bringing an object into the shape of its schema: unknown fields out, nulls that mean nothing out, defaults in.
//!
//! Metadata is brought into the shape that Kubernetes' own types give it, whatever the schema says of it.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::validate::at_field;
use super::{Additional, Node, Schema, metadata};
use crate::field::FieldError;

/// How many unknown fields are told. All of them are dropped.
const MOST: usize = 100;

/// What was found when an object was coerced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coerced {
    /// The paths of fields that are not known and were dropped: `spec.list[0].x`; a hundred at most.
    pub unknown: Vec<String>,
}

impl Schema {
    /// Drops what the schema does not know, and nulls where null is no value; normalises metadata.
    ///
    /// # Errors
    /// Metadata that is not of its type, or `apiVersion` or `kind` that is no text, in the words of Go: a 400.
    pub fn coerce(&self, object: &mut Map<String, Value>) -> Result<Coerced, String> {
        if let Some(name) =
            ["apiVersion", "kind"].iter().find(|it| object.get(**it).is_some_and(|it| !it.is_string()))
        {
            return Err(format!(".{name} accessor error: {} is not a string", object[*name]));
        }
        let mut unknown = Unknown::default();
        metadata::coerce_in(object, "metadata", &mut unknown.paths)?;
        let known = unknown.paths.len();
        prune_fields(object, Some(&self.root), true, &mut unknown);
        unknown.paths[known..].sort();
        drop_nulls(object, &self.root);
        if self.contains.embedded {
            coerce_embedded(object, &self.root, &mut unknown)?;
        }
        unknown.paths.truncate(MOST);
        Ok(Coerced { unknown: unknown.paths })
    }

    /// Normalises metadata and leaves everything else: what an apply leaves behind is of the schema already, and its nulls are values.
    ///
    /// # Errors
    /// As for [`Schema::coerce`].
    pub fn coerce_metadata(&self, object: &mut Map<String, Value>) -> Result<(), String> {
        let mut unknown = Unknown::default();
        metadata::coerce_in(object, "metadata", &mut unknown.paths)?;
        if self.contains.embedded { coerce_embedded(object, &self.root, &mut unknown) } else { Ok(()) }
    }

    /// Puts defaults where nothing is given, or null where null is no value.
    pub fn fill_defaults(&self, object: &mut Map<String, Value>) {
        if self.contains.defaults {
            fill_fields(object, &self.root);
        }
    }
}

#[derive(Default)]
struct Unknown {
    path: String,
    paths: Vec<String>,
}

impl Unknown {
    fn note(&mut self, name: &str) {
        if self.paths.len() < MOST * 2 {
            let Self { path, paths } = self;
            at_field(path, name, |path| paths.push(path.clone()));
        }
    }

    fn below<T>(&mut self, name: &str, run: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        let result = run(self);
        self.path.truncate(length);
        result
    }

    fn item<T>(&mut self, index: usize, run: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        write!(self.path, "[{index}]").expect("a String takes everything");
        let result = run(self);
        self.path.truncate(length);
        result
    }
}

fn is_of_objects(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

fn prune(value: &mut Value, node: Option<&Node>, unknown: &mut Unknown) {
    match value {
        Value::Object(object) => prune_fields(object, node, false, unknown),
        Value::Array(items) => {
            let keeps = node.is_some_and(|it| it.preserve);
            let below = node.and_then(|it| it.items.as_deref());
            for (index, item) in items.iter_mut().enumerate() {
                match below {
                    None if keeps => {}
                    _ => unknown.item(index, |unknown| prune(item, below, unknown)),
                }
            }
        }
        _ => {}
    }
}

fn prune_fields(object: &mut Map<String, Value>, node: Option<&Node>, is_top: bool, unknown: &mut Unknown) {
    let is_object = is_top || node.is_some_and(|it| it.embedded);
    object.retain(|name, value| {
        if is_object && is_of_objects(name) {
            return true;
        }
        let Some(node) = node else {
            unknown.note(name);
            return false;
        };
        match (node.properties.get(name), &node.additional) {
            (Some(below), _) => unknown.below(name, |unknown| prune(value, Some(below), unknown)),
            (None, Additional::Like(below)) => {
                unknown.below(name, |unknown| prune(value, Some(below), unknown))
            }
            (None, Additional::Allowed(_)) if !node.preserve => {
                unknown.below(name, |unknown| prune(value, None, unknown));
            }
            (None, _) if node.preserve => {}
            (None, _) => {
                unknown.note(name);
                return false;
            }
        }
        true
    });
}

fn is_meaningless(value: &Value, node: &Node) -> bool {
    value.is_null() && !node.nullable && node.default.is_none()
}

fn drop_nulls(object: &mut Map<String, Value>, node: &Node) {
    object.retain(|name, value| {
        let Some(node) = node.field(name) else { return true };
        if is_meaningless(value, node) {
            return false;
        }
        drop_nulls_below(value, node);
        true
    });
}

fn drop_nulls_below(value: &mut Value, node: &Node) {
    match value {
        Value::Object(object) => drop_nulls(object, node),
        Value::Array(items) => {
            if let Some(node) = &node.items {
                items.iter_mut().for_each(|it| drop_nulls_below(it, node));
            }
        }
        _ => {}
    }
}

fn fill_fields(object: &mut Map<String, Value>, node: &Node) {
    let is_missing =
        |value: Option<&Value>, node: &Node| value.is_none_or(|it| it.is_null() && !node.nullable);
    for (name, below) in &node.properties {
        if let Some(default) = &below.default
            && is_missing(object.get(name), below)
        {
            object.insert(name.clone(), default.clone());
        }
    }
    for (name, value) in object.iter_mut() {
        if let Some(below) = node.field(name) {
            fill_null(value, below);
            fill(value, below);
        }
    }
}

/// A null of a list or of a map becomes the default of its items; where there is none it stays.
fn fill_null(value: &mut Value, node: &Node) {
    if value.is_null()
        && !node.nullable
        && let Some(default) = &node.default
    {
        *value = default.clone();
    }
}

fn fill(value: &mut Value, node: &Node) {
    match value {
        Value::Object(object) => fill_fields(object, node),
        Value::Array(items) => {
            let Some(node) = &node.items else { return };
            for item in items {
                fill_null(item, node);
                fill(item, node);
            }
        }
        _ => {}
    }
}

/// Normalises the metadata of objects within the object.
fn coerce_embedded(
    object: &mut Map<String, Value>,
    node: &Node,
    unknown: &mut Unknown,
) -> Result<(), String> {
    for (name, value) in object.iter_mut() {
        if let Some(node) = node.field(name) {
            unknown.below(name, |unknown| coerce_embedded_value(value, node, unknown))?;
        }
    }
    Ok(())
}

fn check_type_names(object: &Map<String, Value>, path: &str) -> Result<(), String> {
    for name in ["apiVersion", "kind"] {
        if let Some(other) = object.get(name).filter(|it| !it.is_string()) {
            return Err(FieldError::invalid(&format!("{path}.{name}"), other, "must be a string").to_string());
        }
    }
    Ok(())
}

fn coerce_embedded_value(value: &mut Value, node: &Node, unknown: &mut Unknown) -> Result<(), String> {
    match value {
        Value::Object(object) => {
            if node.embedded {
                check_type_names(object, &unknown.path)?;
                let path = format!("{}.metadata", unknown.path);
                metadata::coerce_in(object, &path, &mut unknown.paths)?;
            }
            coerce_embedded(object, node, unknown)
        }
        Value::Array(items) => {
            let Some(node) = &node.items else { return Ok(()) };
            items.iter_mut().enumerate().try_for_each(|(index, it)| {
                unknown.item(index, |unknown| coerce_embedded_value(it, node, unknown))
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::*;

    fn schema() -> Schema {
        Schema::from_json(json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "a": {"type": "string", "default": "x"},
                "n": {"type": "string", "nullable": true},
                "list": {"type": "array", "items": {"type": "object", "properties": {
                    "b": {"type": "integer", "default": 1}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {
                    "c": {"type": "string"}}}},
                "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
                    "known": {"type": "object", "properties": {"d": {"type": "string"}}}}},
                "template": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {
                    "spec": {"type": "object"}}}
            }}
        }}))
        .unwrap()
    }

    fn coerced(object: Value) -> (Value, Vec<String>) {
        let mut object = object.as_object().unwrap().clone();
        let coerced = schema().coerce(&mut object).unwrap();
        (Value::Object(object), coerced.unknown)
    }

    #[test]
    fn what_is_not_known_is_dropped_and_told() {
        let (object, unknown) = coerced(json!({
            "apiVersion": "g/v1", "kind": "K", "top": 1,
            "metadata": {"name": "a", "foo": 1, "labels": {"x": "y"}},
            "spec": {
                "z": 1, "list": [{"b": 1, "q": 2}], "map": {"k": {"c": "", "q": {}}},
                "any": {"free": {"x": 1}, "known": {"d": "", "q": 1}},
                "template": {"apiVersion": "v1", "kind": "T", "metadata": {"name": "t", "q": 1}, "q": 1}
            }
        }));
        assert_eq!(
            unknown,
            [
                "metadata.foo",
                "spec.any.known.q",
                "spec.list[0].q",
                "spec.map.k.q",
                "spec.template.q",
                "spec.z",
                "top",
                "spec.template.metadata.q"
            ]
        );
        assert_eq!(
            object,
            json!({
                "apiVersion": "g/v1", "kind": "K",
                "metadata": {"name": "a", "labels": {"x": "y"}},
                "spec": {
                    "list": [{"b": 1}], "map": {"k": {"c": ""}},
                    "any": {"free": {"x": 1}, "known": {"d": ""}},
                    "template": {"apiVersion": "v1", "kind": "T", "metadata": {"name": "t"}}
                }
            })
        );
    }

    #[test]
    fn nulls_are_dropped_where_null_is_no_value_and_defaults_fill_the_gaps() {
        let (object, _) =
            coerced(json!({"spec": {"a": null, "n": null, "list": [{"b": null}, null], "map": null}}));
        assert_eq!(object, json!({"spec": {"a": null, "n": null, "list": [{"b": null}, null]}}));
        let mut object = object.as_object().unwrap().clone();
        schema().fill_defaults(&mut object);
        assert_eq!(Value::Object(object), json!({"spec": {"a": "x", "n": null, "list": [{"b": 1}, null]}}));
    }
}
