//! Taking fields out of an object.

use serde_json::{Map, Value};

use super::element::Element;
use super::set::FieldSet;
use super::shape::{FormOf, Shape};

/// The value without what is in the set. What nothing is left of becomes null.
pub(super) fn remove(value: &Value, removed: &FieldSet, shape: Shape<'_>) -> Value {
    match (shape.forms_of(Some(value)).first(), value) {
        (FormOf::Map, Value::Object(fields)) if !shape.is_atomic_map() => {
            remove_fields(fields, removed, shape)
        }
        (FormOf::List, Value::Array(items)) if shape.list().is_some() => remove_items(items, removed, shape),
        (FormOf::Scalar, value) => value.clone(),
        _ => Value::Null,
    }
}

fn remove_fields(fields: &Map<String, Value>, removed: &FieldSet, shape: Shape<'_>) -> Value {
    let mut kept = Map::new();
    for (name, value) in fields {
        let step = Element::Field(name.clone());
        if removed.has(&step) {
            continue;
        }
        let value = match removed.below(&step).filter(|it| !it.is_empty()) {
            Some(below) => remove(value, below, shape.field(name)),
            None => value.clone(),
        };
        kept.insert(name.clone(), value);
    }
    if kept.is_empty() { Value::Null } else { Value::Object(kept) }
}

fn remove_items(items: &[Value], removed: &FieldSet, shape: Shape<'_>) -> Value {
    let mut kept = Vec::new();
    for item in items {
        let step = shape.element(item).ok();
        if step.as_ref().is_some_and(|it| removed.has(it)) {
            continue;
        }
        let below = step.as_ref().and_then(|it| removed.below(it)).filter(|it| !it.is_empty());
        kept.push(below.map_or_else(|| item.clone(), |it| remove(item, it, shape.item())));
    }
    if kept.is_empty() { Value::Null } else { Value::Array(kept) }
}
