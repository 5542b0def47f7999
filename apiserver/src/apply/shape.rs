//! What server-side apply has to know of a schema: which values are one, which are made of parts, and how the parts are told apart.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::element::Element;
use crate::schema::{Additional, Kind, ListType, Node, Schema};

/// What is known of a place in an object.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape<'s> {
    /// A place of a schema; `keeps` says that unknown fields are kept here, as a place above said.
    Node { node: &'s Node, keeps: bool, is_object: bool },
    /// Nothing: objects are made of fields, lists are one value.
    Deduced,
    /// It is one value.
    Leaf,
    /// The schema does not know this field.
    Unknown,
}

/// What a value may be. Of several the first that is there counts, in the order of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forms {
    pub(super) map: bool,
    pub(super) scalar: bool,
    pub(super) list: bool,
}

/// One of the forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FormOf {
    Map,
    Scalar,
    List,
}

/// The metadata that every object has, as its Go type is tagged.
static METADATA: LazyLock<Schema> = LazyLock::new(|| {
    let text = || json!({"type": "string"});
    let texts = json!({"type": "object", "additionalProperties": text()});
    let owner = json!({"type": "object", "x-kubernetes-map-type": "atomic", "required": ["uid"], "properties": {
        "apiVersion": text(), "kind": text(), "name": text(), "uid": text(), "controller": {"type": "boolean"},
        "blockOwnerDeletion": {"type": "boolean"}
    }});
    let schema = json!({"type": "object", "properties": {
        "name": text(), "generateName": text(), "namespace": text(), "selfLink": text(), "uid": text(),
        "resourceVersion": text(), "generation": {"type": "integer"}, "creationTimestamp": text(),
        "deletionTimestamp": text(), "deletionGracePeriodSeconds": {"type": "integer"},
        "labels": texts, "annotations": texts,
        "finalizers": {"type": "array", "items": text(), "x-kubernetes-list-type": "set"},
        "ownerReferences": {"type": "array", "items": owner, "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"]}
    }});
    Schema::from_json(schema).expect("the schema is written here")
});
static TEXT: LazyLock<Node> = LazyLock::new(|| Node { kind: Some(Kind::String), ..Node::default() });

impl<'s> Shape<'s> {
    /// The top of an object.
    pub(super) fn top(schema: &'s Schema) -> Self {
        let node = schema.root();
        Self::Node { node, keeps: node.preserve, is_object: true }
    }

    fn of(node: &'s Node, keeps: bool) -> Self {
        Self::Node { node, keeps: keeps || node.preserve, is_object: node.embedded }
    }

    /// What a value here may be.
    pub(super) fn forms(self) -> Forms {
        const ANY: Forms = Forms { map: true, scalar: true, list: true };
        match self {
            Self::Deduced | Self::Unknown => ANY,
            Self::Leaf => Forms { map: true, scalar: true, list: true },
            Self::Node { node, .. } => match node.kind {
                None => ANY,
                Some(Kind::Object) => Forms { map: true, scalar: false, list: false },
                Some(Kind::Array) => Forms { map: false, scalar: false, list: true },
                Some(_) => Forms { map: false, scalar: true, list: false },
            },
        }
    }

    /// What a value here may be, as far as the value itself tells.
    pub(super) fn forms_of(self, value: Option<&Value>) -> Forms {
        const NONE: Forms = Forms { map: false, scalar: false, list: false };
        let forms = self.forms();
        match value {
            Some(Value::Object(_)) if forms.map => Forms { map: true, ..NONE },
            Some(Value::Array(_)) if forms.list => Forms { list: true, ..NONE },
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) if forms.scalar => {
                Forms { scalar: true, ..NONE }
            }
            _ => forms,
        }
    }

    /// Whether an object here is one value.
    pub(super) fn is_atomic_map(self) -> bool {
        match self {
            Self::Node { node, .. } => node.atomic,
            Self::Leaf => true,
            Self::Deduced | Self::Unknown => false,
        }
    }

    /// How items of a list here are told apart; `None` if the list is one value.
    pub(super) fn list(self) -> Option<&'s ListType> {
        match self {
            Self::Node { node, .. } if node.list != ListType::Atomic => Some(&node.list),
            _ => None,
        }
    }

    /// What a field of an object here is.
    pub(super) fn field(self, name: &str) -> Self {
        let (node, keeps, is_object) = match self {
            Self::Node { node, keeps, is_object } => (node, keeps, is_object),
            Self::Deduced => return Self::Deduced,
            Self::Leaf => return Self::Leaf,
            Self::Unknown => return Self::Unknown,
        };
        match name {
            "metadata" if is_object => {
                return Self::Node { node: METADATA.root(), keeps: false, is_object: false };
            }
            "apiVersion" | "kind" if is_object => return Self::of(&TEXT, false),
            _ => {}
        }
        match (node.properties.get(name), &node.additional) {
            (Some(node), _) => Self::of(node, keeps),
            (None, Additional::Like(node)) => Self::of(node, keeps),
            (None, Additional::Allowed(true)) => Self::Deduced,
            (None, Additional::Unsaid) if keeps || node.properties.is_empty() => Self::Deduced,
            _ => Self::Unknown,
        }
    }

    /// What an item of a list here is.
    pub(super) fn item(self) -> Self {
        match self {
            Self::Node { node, keeps, .. } => {
                node.items.as_deref().map_or(Self::Leaf, |it| Self::of(it, keeps))
            }
            other => other,
        }
    }

    /// What is behind a step.
    pub(super) fn step(self, step: &Element) -> Self {
        match step {
            Element::Field(name) => self.field(name),
            Element::Key(_) => self.item(),
            Element::Value(_) | Element::Index(_) => Self::Leaf,
        }
    }

    /// Whether the schema names this field.
    pub(super) fn names(self, name: &str) -> bool {
        match self {
            Self::Node { node, is_object, .. } => {
                node.properties.contains_key(name)
                    || is_object && matches!(name, "apiVersion" | "kind" | "metadata")
            }
            _ => false,
        }
    }

    /// By which step an item of a list here is reached.
    pub(super) fn element(self, item: &Value) -> Result<Element, String> {
        match self.list() {
            Some(ListType::Map(keys)) => self.key(item, keys),
            _ => match item {
                Value::Object(_) => {
                    Err("associative list without keys has an element that's a map type".to_owned())
                }
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Null => {
                    Err("associative list without keys has an element that's an explicit null".to_owned())
                }
                scalar => Ok(Element::Value(scalar.clone())),
            },
        }
    }

    fn key(self, item: &Value, keys: &[String]) -> Result<Element, String> {
        let item = match item {
            Value::Object(item) => item,
            Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
            _ => return Err("associative list with keys may not have non-map elements".to_owned()),
        };
        let default = |name: &str| match self.item() {
            Self::Node { node, .. } => node.properties.get(name)?.default.clone(),
            _ => None,
        };
        let value = |name: &String| Some((name.clone(), item.get(name).cloned().or_else(|| default(name))?));
        let mut found: Vec<(String, Value)> = keys.iter().filter_map(value).collect();
        if found.is_empty() {
            let keys: Vec<String> = keys.iter().map(|it| crate::field::quote(it)).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default \
                 values for any key fields)",
                keys.join(" ")
            ));
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Element::Key(found))
    }
}

impl Forms {
    /// The form that counts.
    pub(super) fn first(self) -> FormOf {
        match self {
            Self { map: true, .. } => FormOf::Map,
            Self { scalar: true, .. } => FormOf::Scalar,
            _ => FormOf::List,
        }
    }
}

/// The fields of an object, if it is one with any.
pub(super) fn fields(value: Option<&Value>) -> Option<&serde_json::Map<String, Value>> {
    value.and_then(Value::as_object)
}

/// The items of a list, if it is one.
pub(super) fn items(value: Option<&Value>) -> Option<&Vec<Value>> {
    value.and_then(Value::as_array)
}
