//! Which fields a configuration speaks of, and whether the schema knows them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::element::{Element, Path};
use super::set::FieldSet;
use super::shape::{FormOf, Shape};

/// The set of everything that a configuration sets.
pub(super) fn fields_of(value: &Value, shape: Shape<'_>) -> FieldSet {
    let mut set = FieldSet::default();
    collect(value, shape, &mut Vec::new(), &mut set);
    set
}

fn collect(value: &Value, shape: Shape<'_>, path: &mut Path, set: &mut FieldSet) {
    match (shape.forms_of(Some(value)).first(), value) {
        (FormOf::Map, _) if shape.is_atomic_map() => set.insert(path),
        (FormOf::Map, Value::Object(fields)) => {
            for (name, value) in fields {
                path.push(Element::Field(name.clone()));
                collect(value, shape.field(name), path, set);
                let is_empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                if is_empty || !shape.names(name) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        (FormOf::List, _) if shape.list().is_none() => set.insert(path),
        (FormOf::List, Value::Array(items)) => collect_items(items, shape, path, set),
        (FormOf::Scalar, _) => set.insert(path),
        _ => {}
    }
}

fn collect_items(items: &[Value], shape: Shape<'_>, path: &mut Path, set: &mut FieldSet) {
    let mut seen = BTreeSet::new();
    let mut repeated = BTreeSet::new();
    let steps: Vec<Option<Element>> = items.iter().map(|it| shape.element(it).ok()).collect();
    for step in steps.iter().flatten() {
        if !seen.insert(step) {
            repeated.insert(step);
        }
    }
    for (item, step) in items.iter().zip(&steps) {
        let Some(step) = step else { continue };
        path.push(step.clone());
        if !repeated.contains(step) {
            collect(item, shape.item(), path, set);
        }
        set.insert(path);
        path.pop();
    }
}

/// What of a configuration does not fit the schema, in the words of structured-merge-diff; each with its path.
pub(super) fn misfits(value: &Value, shape: Shape<'_>) -> Vec<String> {
    let mut errors = Vec::new();
    check(value, shape, &mut String::new(), &mut errors);
    errors
}

/// How many misfits are told.
const MOST: usize = 20;

fn check(value: &Value, shape: Shape<'_>, path: &mut String, errors: &mut Vec<String>) {
    if errors.len() >= MOST || value.is_null() {
        return;
    }
    let length = path.len();
    match (shape, shape.forms_of(Some(value)).first(), value) {
        (Shape::Unknown, ..) => errors.push(format!("{path}: field not declared in schema")),
        (Shape::Leaf, ..) => {}
        (_, FormOf::Map, Value::Object(fields)) => {
            for (name, value) in fields {
                path.push('.');
                path.push_str(name);
                check(value, shape.field(name), path, errors);
                path.truncate(length);
            }
        }
        (_, FormOf::List, Value::Array(items)) => check_items(items, shape, path, errors),
        (_, FormOf::Scalar, Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            check_scalar(value, shape, path, errors)
        }
        (_, form, other) => {
            let expected = match form {
                FormOf::Map => "map",
                FormOf::List => "list",
                FormOf::Scalar => "scalar",
            };
            errors.push(format!("{path}: expected {expected}, got {other}"));
        }
    }
}

fn check_scalar(value: &Value, shape: Shape<'_>, path: &str, errors: &mut Vec<String>) {
    use crate::schema::Kind;
    let Shape::Node { node, .. } = shape else { return };
    let expected = match (node.kind, value) {
        (Some(Kind::Integer | Kind::Number), Value::String(_) | Value::Bool(_)) => "numeric (int or float)",
        (Some(Kind::String), Value::Number(_) | Value::Bool(_)) => "string",
        (Some(Kind::Boolean), Value::Number(_) | Value::String(_)) => "boolean",
        _ => return,
    };
    errors.push(format!("{path}: expected {expected}, got {value}"));
}

fn check_items(items: &[Value], shape: Shape<'_>, path: &mut String, errors: &mut Vec<String>) {
    let length = path.len();
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        if shape.list().is_none() {
            path.push_str(&format!("[{index}]"));
        } else {
            match shape.element(item) {
                Err(error) => return errors.push(format!("{path}: element {index}: {error}")),
                Ok(step) => {
                    let text = step.to_string();
                    if !seen.insert(step) {
                        errors.push(format!("{path}: duplicate entries for key {text}"));
                    }
                    path.push_str(&text);
                }
            }
        }
        check(item, shape.item(), path, errors);
        path.truncate(length);
    }
}
