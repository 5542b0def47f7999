//! The metadata of an object as Kubernetes' types have it (`metav1.ObjectMeta`): fields of known types, unknown ones dropped, empty ones left out.
//!
//! What is of the wrong type is refused in the words of Go's JSON decoder, since kube-apiserver decodes metadata into its types even for
//! custom resources. Whether names and labels are good ones is asked by [`crate::rules`].

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::Node;
use super::read::go_name;
use super::validate::{at, at_field, each_field};
use crate::field::{FieldError, quote};
use crate::rules;

/// What a field is made of.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Integer,
    Flag,
    Time,
    /// Texts by texts.
    Texts,
    List,
    /// Any JSON object.
    Object,
    Many(&'static Type),
}

struct Type {
    /// As Go names it.
    name: &'static str,
    fields: &'static [(&'static str, Shape)],
    /// Fields that stand there even if they are empty.
    always: &'static [&'static str],
}

static OBJECT_META: Type = Type {
    name: "ObjectMeta",
    fields: &[
        ("name", Shape::Text),
        ("generateName", Shape::Text),
        ("namespace", Shape::Text),
        ("selfLink", Shape::Text),
        ("uid", Shape::Text),
        ("resourceVersion", Shape::Text),
        ("generation", Shape::Integer),
        ("creationTimestamp", Shape::Time),
        ("deletionTimestamp", Shape::Time),
        ("deletionGracePeriodSeconds", Shape::Integer),
        ("labels", Shape::Texts),
        ("annotations", Shape::Texts),
        ("ownerReferences", Shape::Many(&OWNER)),
        ("finalizers", Shape::List),
        ("managedFields", Shape::Many(&MANAGED)),
    ],
    always: &[],
};
static OWNER: Type = Type {
    name: "OwnerReference",
    fields: &[
        ("apiVersion", Shape::Text),
        ("kind", Shape::Text),
        ("name", Shape::Text),
        ("uid", Shape::Text),
        ("controller", Shape::Flag),
        ("blockOwnerDeletion", Shape::Flag),
    ],
    always: &["apiVersion", "kind", "name", "uid"],
};
static MANAGED: Type = Type {
    name: "ManagedFieldsEntry",
    fields: &[
        ("manager", Shape::Text),
        ("operation", Shape::Text),
        ("apiVersion", Shape::Text),
        ("time", Shape::Time),
        ("fieldsType", Shape::Text),
        ("fieldsV1", Shape::Object),
        ("subresource", Shape::Text),
    ],
    always: &[],
};

/// Normalises `metadata` of an object, if it has one. The paths of unknown fields are added to `unknown`.
pub(super) fn coerce_in(
    object: &mut Map<String, Value>,
    path: &str,
    unknown: &mut Vec<String>,
) -> Result<(), String> {
    let Some(metadata) = object.get_mut("metadata") else { return Ok(()) };
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    let Value::Object(fields) = metadata else {
        return Err(format!(
            "json: cannot unmarshal {} into Go value of type v1.ObjectMeta",
            go_name(metadata)
        ));
    };
    let mut coercer = Coercer { path: path.to_owned(), unknown };
    coercer.fields(fields, &OBJECT_META, "ObjectMeta")
}

struct Coercer<'a> {
    path: String,
    unknown: &'a mut Vec<String>,
}

impl Coercer<'_> {
    /// `place` is the field as Go's errors name it: `OwnerReference.ownerReferences`.
    fn fields(&mut self, object: &mut Map<String, Value>, of: &Type, place: &str) -> Result<(), String> {
        let names: Vec<String> = object.keys().cloned().collect();
        for name in names {
            let Some((_, shape)) = of.fields.iter().find(|it| it.0 == name) else {
                object.remove(&name);
                self.note(&name);
                continue;
            };
            let Some(value) = object.get_mut(&name) else { continue };
            let length = self.path.len();
            self.path.push('.');
            self.path.push_str(&name);
            let keeps = self.value(value, *shape, &format!("{place}.{name}"))?;
            self.path.truncate(length);
            if !keeps && !of.always.contains(&name.as_str()) {
                object.remove(&name);
            }
        }
        for name in of.always {
            object.entry(*name).or_insert_with(|| Value::String(String::new()));
        }
        Ok(())
    }

    fn note(&mut self, name: &str) {
        let Self { path, unknown } = self;
        at_field(path, name, |path| unknown.push(path.clone()));
    }

    /// Whether the value is one that stands there.
    fn value(&mut self, value: &mut Value, shape: Shape, place: &str) -> Result<bool, String> {
        match (shape, &mut *value) {
            (Shape::Text, Value::Null) => {
                *value = Value::String(String::new());
                Ok(false)
            }
            (_, Value::Null) => Ok(false),
            (Shape::Text, Value::String(text)) => Ok(!text.is_empty()),
            (Shape::Integer, Value::Number(number)) if number.is_i64() => {
                Ok(number.as_i64() != Some(0) || place.ends_with("Seconds"))
            }
            (Shape::Flag, Value::Bool(_)) => Ok(true),
            (Shape::Time, Value::String(text)) => {
                *text = time(text)?;
                Ok(true)
            }
            (Shape::Object, Value::Object(_)) => Ok(true),
            (Shape::Texts, Value::Object(map)) => texts(map.values_mut(), place).map(|()| !map.is_empty()),
            (Shape::List, Value::Array(list)) => texts(list.iter_mut(), place).map(|()| !list.is_empty()),
            (Shape::Many(of), Value::Array(list)) => self.items(list, of, place),
            (shape, other) => Err(mismatch(other, place, shape.go_type())),
        }
    }

    fn items(&mut self, list: &mut [Value], of: &Type, place: &str) -> Result<bool, String> {
        let inner = format!("{}.{}", of.name, place.rsplit('.').next().unwrap_or_default());
        let length = self.path.len();
        for (index, item) in list.iter_mut().enumerate() {
            self.path.push_str(&format!("[{index}]"));
            if item.is_null() {
                *item = Value::Object(Map::new());
            }
            match item {
                Value::Object(object) => self.fields(object, of, &inner)?,
                other => return Err(mismatch(other, place, &format!("v1.{}", of.name))),
            }
            self.path.truncate(length);
        }
        Ok(!list.is_empty())
    }
}

impl Shape {
    fn go_type(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Integer => "int64",
            Self::Flag => "bool",
            Self::Time => "string",
            Self::Texts => "map[string]string",
            Self::List => "[]string",
            Self::Object => "v1.FieldsV1",
            Self::Many(of) if of.name == "OwnerReference" => "[]v1.OwnerReference",
            Self::Many(_) => "[]v1.ManagedFieldsEntry",
        }
    }
}

fn mismatch(value: &Value, place: &str, of: &str) -> String {
    // Go says which number it was only where the field is a number itself.
    let name = match value {
        Value::Number(number) if of == "int64" => format!("number {number}"),
        other => go_name(other).to_owned(),
    };
    format!("json: cannot unmarshal {name} into Go struct field {place} of type {of}")
}

fn texts<'v>(values: impl Iterator<Item = &'v mut Value>, place: &str) -> Result<(), String> {
    for value in values {
        match value {
            Value::String(_) => {}
            Value::Null => *value = Value::String(String::new()),
            other => return Err(mismatch(other, place, "string")),
        }
    }
    Ok(())
}

/// A time in UTC, without fractions of a second, as `metav1.Time` is written.
fn time(text: &str) -> Result<String, String> {
    let wrong = || {
        let text = quote(text);
        format!("parsing time {text} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text} as \"2006\"")
    };
    let is_zoned = text.ends_with(['Z', 'z']) || text.len() > 6 && text[..].contains(['+', '-']);
    let timestamp: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
    if !is_zoned || !text.contains(['T', 't']) {
        return Err(wrong());
    }
    Ok(timestamp.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// What is wrong with objects within the object: they need an API version and a kind, and metadata as all objects have it.
pub(super) fn embedded(object: &Map<String, Value>, node: &Node) -> Vec<FieldError> {
    let mut errors = Vec::new();
    each_field(object, node, &mut String::new(), |value, node, path| walk(value, node, path, &mut errors));
    errors
}

fn walk(value: &Value, node: &Node, path: &mut String, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(object) => {
            if node.embedded {
                check_embedded(object, path, errors);
            }
            each_field(object, node, path, |value, node, path| walk(value, node, path, errors));
        }
        Value::Array(items) => {
            let Some(node) = &node.items else { return };
            for (index, item) in items.iter().enumerate() {
                at(path, format_args!("[{index}]"), |path| walk(item, node, path, errors));
            }
        }
        _ => {}
    }
}

fn check_embedded(object: &Map<String, Value>, path: &mut String, errors: &mut Vec<FieldError>) {
    for (name, wrong) in [("apiVersion", wrong_version as fn(&str) -> Option<String>), ("kind", wrong_kind)] {
        at_field(path, name, |path| match object.get(name) {
            None => errors.push(FieldError::required(path, "")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(FieldError::invalid_text(path, "", "must not be empty"));
            }
            Some(Value::String(text)) => {
                errors.extend(wrong(text).map(|it| FieldError::invalid_text(path, text, &it)));
            }
            Some(other) => errors.push(FieldError::invalid(path, other, "must be a string")),
        });
    }
    if let Some(metadata) = object.get("metadata").and_then(Value::as_object) {
        at_field(path, "metadata", |path| errors.extend(rules::check_embedded(metadata, path)));
    }
}

fn wrong_version(text: &str) -> Option<String> {
    (text.matches('/').count() > 1).then(|| format!("unexpected GroupVersion string: {text}"))
}

fn wrong_kind(text: &str) -> Option<String> {
    let wrong = rules::names::kind(text);
    (!wrong.is_empty())
        .then(|| format!("may have mixed case, but should otherwise match: {}", wrong.join(",")))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::*;

    fn coerced(metadata: Value) -> Result<(Value, Vec<String>), String> {
        let mut object = Map::from_iter([("metadata".to_owned(), metadata)]);
        let mut unknown = Vec::new();
        coerce_in(&mut object, "metadata", &mut unknown)?;
        Ok((object["metadata"].take(), unknown))
    }

    #[test]
    fn metadata_takes_the_shape_of_its_type() {
        let (metadata, unknown) = coerced(json!({
            "name": "a", "generateName": "", "bar": 2, "labels": {"a": null}, "annotations": {}, "finalizers": [],
            "creationTimestamp": null, "deletionTimestamp": "2024-01-01T01:00:00.5+01:00", "generation": 0,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "foo": 1, "controller": null}]
        }))
        .unwrap();
        assert_eq!(
            metadata,
            json!({
                "name": "a", "labels": {"a": ""}, "deletionTimestamp": "2024-01-01T00:00:00Z",
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": ""}]
            })
        );
        assert_eq!(unknown, ["metadata.bar", "metadata.ownerReferences[0].foo"]);
    }

    #[test]
    fn what_is_of_another_type_is_refused_in_the_words_of_go() {
        for (metadata, error) in [
            (
                json!({"labels": {"a": 1}}),
                "cannot unmarshal number into Go struct field ObjectMeta.labels of type string",
            ),
            (
                json!({"labels": "x"}),
                "cannot unmarshal string into Go struct field ObjectMeta.labels of type map[string]string",
            ),
            (
                json!({"name": 1}),
                "cannot unmarshal number into Go struct field ObjectMeta.name of type string",
            ),
            (
                json!({"finalizers": "x"}),
                "cannot unmarshal string into Go struct field ObjectMeta.finalizers of type []string",
            ),
            (
                json!({"ownerReferences": [{"apiVersion": 1}]}),
                "cannot unmarshal number into Go struct field OwnerReference.ownerReferences.apiVersion of type string",
            ),
            (
                json!({"generation": "x"}),
                "cannot unmarshal string into Go struct field ObjectMeta.generation of type int64",
            ),
            (json!([]), "cannot unmarshal array into Go value of type v1.ObjectMeta"),
        ] {
            assert_eq!(coerced(metadata).unwrap_err(), format!("json: {error}"));
        }
        assert!(coerced(json!({"creationTimestamp": "x"})).unwrap_err().starts_with("parsing time \"x\" as"));
        assert!(coerced(json!({"creationTimestamp": "2024-01-01"})).is_err());
    }
}
