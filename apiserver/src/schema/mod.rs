//! What objects have to look like: structural schemas as CRD documents carry them.
//!
//! A [`Schema`] is read once from a document ([`Schema::from_json`]), then asked to prune, default and validate objects, in that order, as
//! kube-apiserver does with custom resources. Which field is a list by key, a set or atomic is asked by server-side apply. Patterns run on
//! `regex`, whose time is linear in the text. Rules in CEL (`x-kubernetes-validations`) are not evaluated: [`Schema::has_rules`] tells, so
//! that whoever serves the resource can say so at start.

mod coerce;
mod format;
mod lists;
mod metadata;
mod parse;
mod pattern;
mod read;
mod structural;
#[cfg(test)]
mod tests;
mod uri;
mod validate;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

pub use coerce::Coerced;
pub use format::Format;
pub use parse::SchemaError;
pub(crate) use read::{DEPTH, Notes, Seed, go_name, read_value};
pub use read::{Read, ReadError, read};

/// A structural schema. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Schema {
    root: Arc<Node>,
    source: Arc<Value>,
}

impl Default for Schema {
    /// The schema that everything satisfies and nothing is pruned by.
    fn default() -> Self {
        let root = Node { preserve: true, ..Node::default() };
        let source = serde_json::json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        Self { root: Arc::new(root), source: Arc::new(source) }
    }
}

impl Schema {
    /// Reads `openAPIV3Schema` of a CRD document.
    ///
    /// # Errors
    /// The schema is not structural, says something that is not supported, or has a default that it does not allow itself.
    pub fn from_json(source: Value) -> Result<Self, SchemaError> {
        let root = parse::node(&source, &mut parse::Path::default())?;
        structural::check(&root)?;
        Ok(Self { root: Arc::new(root), source: Arc::new(source) })
    }

    /// The schema as the document has it, for OpenAPI.
    #[must_use]
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// The schema's top.
    #[must_use]
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Whether there are rules in CEL, which are not evaluated.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        self.root.has_rules()
    }
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A JSON object.
    Object,
    /// A list.
    Array,
    /// A text.
    String,
    /// A number without a fraction.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
}

/// How the items of a list are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// The list is one value.
    #[default]
    Atomic,
    /// By their values.
    Set,
    /// By these fields.
    Map(Vec<String>),
}

/// What a schema says of the fields that it does not name.
#[derive(Clone, Debug, Default)]
pub enum Additional {
    /// Nothing.
    #[default]
    Unsaid,
    /// They are as they are, or not at all.
    Allowed(bool),
    /// They look like this.
    Like(Box<Node>),
}

/// One place of a schema.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// The type of the value; `None` where any is right.
    pub kind: Option<Kind>,
    /// The fields that are known.
    pub properties: BTreeMap<String, Node>,
    /// The fields that are not.
    pub additional: Additional,
    /// What items of a list look like.
    pub items: Option<Box<Node>>,
    /// How they are told apart.
    pub list: ListType,
    /// Whether the object is one value for server-side apply.
    pub atomic: bool,
    /// Whether it may be null.
    pub nullable: bool,
    /// Whether it is an integer or a text.
    pub int_or_string: bool,
    /// Whether unknown fields are kept.
    pub preserve: bool,
    /// Whether it is a Kubernetes object itself.
    pub embedded: bool,
    /// What stands there if nothing is given.
    pub default: Option<Value>,
    /// Whether there are rules in CEL here.
    pub rules: bool,
    pub(crate) checks: Checks,
}

/// What is asked of a value besides its type.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    pub(crate) required: Vec<String>,
    pub(crate) enumeration: Vec<Value>,
    pub(crate) minimum: Option<Bound>,
    pub(crate) maximum: Option<Bound>,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) format: Option<Format>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) all_of: Vec<Node>,
    pub(crate) any_of: Vec<Node>,
    pub(crate) one_of: Vec<Node>,
    pub(crate) not: Option<Box<Node>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) value: f64,
    pub(crate) exclusive: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) text: String,
    pub(crate) regex: regex::Regex,
}

impl Node {
    /// What a field of an object looks like; `None` if the schema says nothing of it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(match &self.additional {
            Additional::Like(node) => Some(node),
            _ => None,
        })
    }

    fn has_rules(&self) -> bool {
        let below = self.properties.values().chain(self.items.as_deref());
        let like = match &self.additional {
            Additional::Like(node) => Some(&**node),
            _ => None,
        };
        self.rules || below.chain(like).any(Self::has_rules)
    }
}
