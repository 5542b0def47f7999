//! Reading a structural schema.
//!
//! Kubernetes drops keywords that it does not know and refuses those that would make a schema not structural; so does this, and names the place.

use serde_json::{Map, Value};

use super::{Additional, Bound, Checks, Format, Kind, ListType, Node, Pattern, pattern};

/// Why a schema cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A keyword has a value of the wrong type.
    #[error("{path}: {keyword} has to be {expected}")]
    Malformed {
        /// Where in the schema: `spec.items`.
        path: String,
        /// The keyword.
        keyword: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// A keyword is not allowed in structural schemas.
    #[error("{path}: {keyword} is not supported in structural schemas")]
    Unsupported {
        /// Where in the schema.
        path: String,
        /// The keyword.
        keyword: String,
    },
    /// There is no type, and nothing that would stand for it.
    #[error("{path}: a type is required")]
    Untyped {
        /// Where in the schema.
        path: String,
    },
    /// A pattern is no regular expression, or too large a one.
    #[error("{path}: the pattern cannot be used: {reason}")]
    Pattern {
        /// Where in the schema.
        path: String,
        /// What the parser says.
        reason: String,
    },
    /// A cluster would refuse it.
    #[error("{path}: {reason}")]
    Broken {
        /// Where in the schema.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A list by keys lacks its keys, or an object for items.
    #[error(
        "{path}: a list of type map needs x-kubernetes-list-map-keys, and objects with those fields as items"
    )]
    ListKeys {
        /// Where in the schema.
        path: String,
    },
}

/// Keywords that make a schema not structural.
const FORBIDDEN: [&str; 6] =
    ["$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "id"];

/// Where the reader is.
#[derive(Default)]
pub(super) struct Path(Vec<String>);

impl Path {
    fn text(&self) -> String {
        if self.0.is_empty() { "openAPIV3Schema".to_owned() } else { self.0.join(".") }
    }
}

/// Reads one place and everything below it.
pub(super) fn node(source: &Value, path: &mut Path) -> Result<Node, SchemaError> {
    let node = read(source, path, node)?;
    if node.kind.is_none() && !node.int_or_string && !node.preserve {
        return Err(SchemaError::Untyped { path: path.text() });
    }
    Ok(node)
}

/// As [`node`], for what stands below `allOf` and the like, where types are not repeated.
fn untyped(source: &Value, path: &mut Path) -> Result<Node, SchemaError> {
    read(source, path, untyped)
}

fn read(
    source: &Value,
    path: &mut Path,
    below: fn(&Value, &mut Path) -> Result<Node, SchemaError>,
) -> Result<Node, SchemaError> {
    let Some(source) = source.as_object() else {
        return Err(SchemaError::Malformed {
            path: path.text(),
            keyword: "the schema".to_owned(),
            expected: "an object",
        });
    };
    Reader { source, path, below }.node()
}

struct Reader<'a, 'p> {
    source: &'a Map<String, Value>,
    path: &'p mut Path,
    /// How what stands below is read.
    below: fn(&Value, &mut Path) -> Result<Node, SchemaError>,
}

impl Reader<'_, '_> {
    fn node(&mut self) -> Result<Node, SchemaError> {
        if let Some(keyword) = FORBIDDEN.iter().find(|it| self.source.contains_key(**it)) {
            return Err(self.unsupported(keyword));
        }
        if self.flag("uniqueItems")? {
            return Err(self.unsupported("uniqueItems"));
        }
        let node = Node {
            kind: self.kind()?,
            properties: self.properties()?,
            additional: self.additional()?,
            items: self.below("items", self.below)?,
            list: self.list()?,
            atomic: self.text("x-kubernetes-map-type")? == Some("atomic"),
            nullable: self.flag("nullable")?,
            int_or_string: self.flag("x-kubernetes-int-or-string")?,
            preserve: self.flag("x-kubernetes-preserve-unknown-fields")?,
            embedded: self.flag("x-kubernetes-embedded-resource")?,
            default: self.source.get("default").filter(|it| !it.is_null()).cloned(),
            rules: self
                .source
                .get("x-kubernetes-validations")
                .is_some_and(|it| it != &Value::Array(Vec::new())),
            checks: self.checks()?,
        };
        self.check_list(&node)?;
        Ok(node)
    }

    fn checks(&mut self) -> Result<Checks, SchemaError> {
        Ok(Checks {
            required: self.texts("required")?,
            enumeration: self.list_of("enum")?.to_vec(),
            minimum: self.bound("minimum", "exclusiveMinimum")?,
            maximum: self.bound("maximum", "exclusiveMaximum")?,
            multiple_of: self.number("multipleOf")?,
            min_length: self.count("minLength")?,
            max_length: self.count("maxLength")?,
            pattern: self.pattern()?,
            format: self.text("format")?.and_then(Format::named),
            min_items: self.count("minItems")?,
            max_items: self.count("maxItems")?,
            min_properties: self.count("minProperties")?,
            max_properties: self.count("maxProperties")?,
            all_of: self.several("allOf")?,
            any_of: self.several("anyOf")?,
            one_of: self.several("oneOf")?,
            not: self.below("not", untyped)?,
        })
    }

    fn malformed(&self, keyword: &str, expected: &'static str) -> SchemaError {
        SchemaError::Malformed { path: self.path.text(), keyword: keyword.to_owned(), expected }
    }

    fn unsupported(&self, keyword: &str) -> SchemaError {
        SchemaError::Unsupported { path: self.path.text(), keyword: keyword.to_owned() }
    }

    fn get<'s, T>(
        &'s self,
        keyword: &str,
        read: impl FnOnce(&'s Value) -> Option<T>,
        expected: &'static str,
    ) -> Result<Option<T>, SchemaError> {
        match self.source.get(keyword) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.malformed(keyword, expected)),
        }
    }

    fn flag(&self, keyword: &str) -> Result<bool, SchemaError> {
        Ok(self.get(keyword, Value::as_bool, "true or false")?.unwrap_or(false))
    }

    fn text(&self, keyword: &str) -> Result<Option<&str>, SchemaError> {
        self.get(keyword, Value::as_str, "a text")
    }

    fn number(&self, keyword: &str) -> Result<Option<f64>, SchemaError> {
        self.get(keyword, Value::as_f64, "a number")
    }

    fn count(&self, keyword: &str) -> Result<Option<u64>, SchemaError> {
        self.get(keyword, Value::as_u64, "a number that is not negative")
    }

    fn list_of(&self, keyword: &str) -> Result<&[Value], SchemaError> {
        let list = self.get(keyword, Value::as_array, "a list")?;
        Ok(list.map_or(&[], Vec::as_slice))
    }

    fn texts(&self, keyword: &str) -> Result<Vec<String>, SchemaError> {
        let read = |it: &Value| it.as_str().map(str::to_owned).ok_or(());
        let texts: Result<_, ()> = self.list_of(keyword)?.iter().map(read).collect();
        texts.map_err(|()| self.malformed(keyword, "a list of texts"))
    }

    fn bound(&self, keyword: &str, exclusive: &str) -> Result<Option<Bound>, SchemaError> {
        let exclusive = self.flag(exclusive)?;
        Ok(self.number(keyword)?.map(|value| Bound { value, exclusive }))
    }

    fn kind(&self) -> Result<Option<Kind>, SchemaError> {
        let read = |it: &Value| match it.as_str()? {
            "" => Some(None),
            "object" => Some(Some(Kind::Object)),
            "array" => Some(Some(Kind::Array)),
            "string" => Some(Some(Kind::String)),
            "integer" => Some(Some(Kind::Integer)),
            "number" => Some(Some(Kind::Number)),
            "boolean" => Some(Some(Kind::Boolean)),
            _ => None,
        };
        let expected = "one of object, array, string, integer, number and boolean";
        Ok(self.get("type", read, expected)?.flatten())
    }

    fn pattern(&self) -> Result<Option<Pattern>, SchemaError> {
        let Some(text) = self.text("pattern")?.filter(|it| !it.is_empty()) else { return Ok(None) };
        let regex = pattern::compile(text)
            .map_err(|reason| SchemaError::Pattern { path: self.path.text(), reason })?;
        Ok(Some(Pattern { text: text.to_owned(), regex }))
    }

    fn properties(&mut self) -> Result<std::collections::BTreeMap<String, Node>, SchemaError> {
        let Some(properties) = self.source.get("properties").filter(|it| !it.is_null()) else {
            return Ok(Default::default());
        };
        let Some(properties) = properties.as_object() else {
            return Err(self.malformed("properties", "an object"));
        };
        // The type of a field of an object's metadata is known; documents may restrict the name alone, and leave out the types.
        let read = if self.path.0.first().is_some_and(|it| it == "metadata") { untyped } else { self.below };
        let mut nodes = std::collections::BTreeMap::new();
        for (name, source) in properties {
            nodes.insert(name.clone(), self.step(name, source, read)?);
        }
        Ok(nodes)
    }

    fn additional(&mut self) -> Result<Additional, SchemaError> {
        let Some(source) = self.source.get("additionalProperties") else { return Ok(Additional::Unsaid) };
        match source {
            Value::Null => Ok(Additional::Unsaid),
            Value::Bool(allowed) => Ok(Additional::Allowed(*allowed)),
            Value::Object(map) if map.is_empty() => Ok(Additional::Allowed(true)),
            other => Ok(Additional::Like(Box::new(self.step("*", other, self.below)?))),
        }
    }

    fn below(
        &mut self,
        keyword: &str,
        read: fn(&Value, &mut Path) -> Result<Node, SchemaError>,
    ) -> Result<Option<Box<Node>>, SchemaError> {
        match self.source.get(keyword) {
            None | Some(Value::Null) => Ok(None),
            Some(source) => self.step(keyword, source, read).map(|it| Some(Box::new(it))),
        }
    }

    fn several(&mut self, keyword: &str) -> Result<Vec<Node>, SchemaError> {
        let sources = self.list_of(keyword)?.to_vec();
        sources.iter().map(|it| self.step(keyword, it, untyped)).collect()
    }

    fn step(
        &mut self,
        name: &str,
        source: &Value,
        read: fn(&Value, &mut Path) -> Result<Node, SchemaError>,
    ) -> Result<Node, SchemaError> {
        self.path.0.push(name.to_owned());
        let node = read(source, self.path)?;
        self.path.0.pop();
        Ok(node)
    }

    fn list(&self) -> Result<ListType, SchemaError> {
        match self.text("x-kubernetes-list-type")? {
            None | Some("" | "atomic") => Ok(ListType::Atomic),
            Some("set") => Ok(ListType::Set),
            Some("map") => Ok(ListType::Map(self.texts("x-kubernetes-list-map-keys")?)),
            Some(_) => Err(self.malformed("x-kubernetes-list-type", "one of atomic, set and map")),
        }
    }

    fn check_list(&self, node: &Node) -> Result<(), SchemaError> {
        let ListType::Map(keys) = &node.list else { return Ok(()) };
        let has = |key| node.items.as_ref().is_some_and(|it| it.properties.contains_key(key));
        if keys.is_empty() || !keys.iter().all(|it| has(it.as_str())) {
            return Err(SchemaError::ListKeys { path: self.path.text() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::super::Schema;
    use super::*;

    fn refused(source: Value) -> String {
        Schema::from_json(source).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_structural_is_refused_by_its_place() {
        let below = |it: Value| json!({"type": "object", "properties": {"spec": it}});
        assert_eq!(refused(below(json!({}))), "spec: a type is required");
        assert_eq!(
            refused(below(json!({"$ref": "#/x"}))),
            "spec: $ref is not supported in structural schemas"
        );
        assert_eq!(
            refused(below(json!({"type": "array", "uniqueItems": true}))),
            "spec: uniqueItems is not supported in structural schemas"
        );
        assert_eq!(
            refused(below(json!({"type": "text"}))),
            "spec: type has to be one of object, array, string, integer, number and boolean"
        );
        assert!(refused(below(json!({"type": "string", "pattern": "("}))).contains("unclosed group"));
        assert!(
            refused(below(json!({"type": "string", "pattern": "(a{1000}){1000}"}))).contains("size limit")
        );
        let list = json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["a"]});
        assert!(refused(below(list)).contains("list-map-keys"));
    }

    #[test]
    fn rules_in_cel_are_told() {
        let rules = json!([{"rule": "self.a > 1"}]);
        let item = json!({"type": "object", "x-kubernetes-validations": rules});
        let schema = json!({"type": "object", "properties": {"a": {"type": "array", "items": item}}});
        assert!(Schema::from_json(schema).unwrap().has_rules());
        assert!(!Schema::from_json(json!({"type": "object"})).unwrap().has_rules());
    }
}
