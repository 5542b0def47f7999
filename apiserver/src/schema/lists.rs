//! Lists that are sets or maps: no item twice.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::validate::{at, each_field};
use super::{ListType, Node};
use crate::field::FieldError;

/// The errors of all lists of an object.
pub(super) fn unique(object: &Map<String, Value>, node: &Node) -> Vec<FieldError> {
    let mut errors = Vec::new();
    each_field(object, node, &mut String::new(), |value, node, path| walk(value, node, path, &mut errors));
    errors
}

fn walk(value: &Value, node: &Node, path: &mut String, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(object) => {
            each_field(object, node, path, |value, node, path| walk(value, node, path, errors));
        }
        Value::Array(items) => {
            match &node.list {
                ListType::Atomic => {}
                ListType::Set => repeated(items.iter().cloned(), path, errors),
                ListType::Map(keys) => check_map(items, keys, path, errors),
            }
            for (index, item) in items.iter().enumerate() {
                if let Some(node) = &node.items {
                    at(path, format_args!("[{index}]"), |path| walk(item, node, path, errors));
                }
            }
        }
        _ => {}
    }
}

fn check_map(items: &[Value], keys: &[String], path: &str, errors: &mut Vec<FieldError>) {
    let strange = items.iter().position(|it| !it.is_object() && !it.is_null());
    if let Some(index) = strange {
        let detail = "must be an object for an array of list-type map";
        errors.push(FieldError::invalid(&format!("{path}[{index}]"), &items[index], detail));
        return;
    }
    let key_of = |item: &Value| {
        let fields = keys.iter().filter_map(|it| Some((it.clone(), item.get(it)?.clone())));
        Value::Object(fields.collect())
    };
    repeated(items.iter().map(key_of), path, errors);
}

/// Each value that is there again is told once, where it is there for the second time.
fn repeated(values: impl Iterator<Item = Value>, path: &str, errors: &mut Vec<FieldError>) {
    let mut seen: HashMap<String, u32> = HashMap::new();
    for (index, value) in values.enumerate() {
        let times = seen.entry(value.to_string()).or_default();
        *times += 1;
        if *times == 2 {
            errors.push(FieldError::duplicate(&format!("{path}[{index}]"), &value));
        }
    }
}
