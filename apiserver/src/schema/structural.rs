//! What a schema has to be like to be served by a cluster: structural, with lists by key that have their keys, and with defaults that it allows.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Additional, Kind, ListType, Node, Schema, SchemaError};

/// Looks at a schema as a whole.
pub(super) fn check(root: &Node) -> Result<(), SchemaError> {
    let mut walk = Walk { path: Vec::new() };
    if root.kind != Some(Kind::Object) {
        return Err(walk.wrong("type has to be object at the top"));
    }
    if !matches!(root.additional, Additional::Unsaid) {
        return Err(walk.wrong("additionalProperties may not be used at the top"));
    }
    walk.node(root)
}

struct Walk {
    path: Vec<String>,
}

impl Walk {
    fn wrong(&self, reason: impl Into<String>) -> SchemaError {
        let path = if self.path.is_empty() { "openAPIV3Schema".to_owned() } else { self.path.join(".") };
        SchemaError::Broken { path, reason: reason.into() }
    }

    fn below<T>(
        &mut self,
        step: &str,
        run: impl FnOnce(&mut Self) -> Result<T, SchemaError>,
    ) -> Result<T, SchemaError> {
        self.path.push(step.to_owned());
        let result = run(self)?;
        self.path.pop();
        Ok(result)
    }

    fn node(&mut self, node: &Node) -> Result<(), SchemaError> {
        self.types(node)?;
        self.list(node)?;
        self.default(node)?;
        for part in alternatives(node) {
            self.part(part, node)?;
        }
        for (name, inner) in &node.properties {
            // The metadata of an object is what Kubernetes says, so little is said of it.
            let is_meta = self.path.is_empty() && name == "metadata";
            self.below(name, |it| if is_meta { Ok(()) } else { it.node(inner) })?;
        }
        if let Some(items) = &node.items {
            self.below("items", |it| it.node(items))?;
        }
        match &node.additional {
            Additional::Like(inner) => self.below("additionalProperties", |it| it.node(inner)),
            _ => Ok(()),
        }
    }

    fn types(&self, node: &Node) -> Result<(), SchemaError> {
        let wrong = if node.kind == Some(Kind::Array) && node.items.is_none() {
            "items are required where the type is array"
        } else if node.atomic && node.kind != Some(Kind::Object) {
            "type has to be object where x-kubernetes-map-type is set"
        } else if node.list != ListType::Atomic && node.kind != Some(Kind::Array) {
            "type has to be array where x-kubernetes-list-type is set"
        } else if node.embedded && node.kind != Some(Kind::Object) {
            "type has to be object where x-kubernetes-embedded-resource is set"
        } else if node.embedded && !node.preserve && node.properties.is_empty() {
            "properties are required where x-kubernetes-embedded-resource is set without x-kubernetes-preserve-unknown-fields"
        } else if node.int_or_string && (node.preserve || node.embedded) {
            "x-kubernetes-int-or-string excludes the others"
        } else if matches!(node.additional, Additional::Allowed(false)) {
            "additionalProperties may not be false"
        } else if !matches!(node.additional, Additional::Unsaid) && !node.properties.is_empty() {
            "properties and additionalProperties exclude each other"
        } else {
            return Ok(());
        };
        Err(self.wrong(wrong))
    }

    fn list(&self, node: &Node) -> Result<(), SchemaError> {
        let (Some(items), false) = (&node.items, node.list == ListType::Atomic) else { return Ok(()) };
        if items.nullable {
            return Err(self.wrong("items of a set or of a list by keys may not be nullable"));
        }
        let ListType::Map(keys) = &node.list else {
            let is_one_value = match items.kind {
                Some(Kind::Object) => items.atomic,
                Some(Kind::Array) => items.list == ListType::Atomic,
                _ => true,
            };
            let wrong = "items of a set have to be atomic";
            return if is_one_value { Ok(()) } else { Err(self.wrong(wrong)) };
        };
        for (at, key) in keys.iter().enumerate() {
            let Some(field) = items.properties.get(key) else { continue };
            let wrong = if keys[..at].contains(key) {
                "stands there twice"
            } else if matches!(field.kind, Some(Kind::Object | Kind::Array)) {
                "may not be an object or a list"
            } else if field.nullable {
                "may not be nullable"
            } else if field.default.is_none() && !items.checks.required.contains(key) {
                "has to be required, or to have a default"
            } else {
                continue;
            };
            return Err(self.wrong(format!("the key {key} of a list by keys {wrong}")));
        }
        Ok(())
    }

    /// A default has to be what the schema asks for there.
    fn default(&self, node: &Node) -> Result<(), SchemaError> {
        let Some(default) = &node.default else { return Ok(()) };
        let holder =
            Node { properties: BTreeMap::from([("default".to_owned(), node.clone())]), ..Node::default() };
        let holder = Schema::of(holder, Value::Null);
        let object = Map::from_iter([("default".to_owned(), default.clone())]);
        let coerced = holder.coerce(&mut object.clone()).map_err(|it| self.wrong(it))?;
        if let Some(unknown) = coerced.unknown.first() {
            return Err(self.wrong(format!("the default may not have unknown fields, as {unknown}")));
        }
        match holder.validate(&object).first() {
            Some(error) => Err(self.wrong(format!("the default is not what the schema allows: {error}"))),
            None => Ok(()),
        }
    }

    /// What stands below `allOf` and the like only restricts what is said outside.
    fn part(&mut self, part: &Node, outside: &Node) -> Result<(), SchemaError> {
        let wrong = if part.kind.is_some() && !outside.int_or_string {
            "type"
        } else if part.default.is_some() {
            "default"
        } else if part.nullable {
            "nullable"
        } else if !matches!(part.additional, Additional::Unsaid) {
            "additionalProperties"
        } else if part.preserve || part.embedded || part.int_or_string || part.list != ListType::Atomic {
            "what begins with x-kubernetes-"
        } else {
            return self.part_below(part, outside);
        };
        Err(self.wrong(format!("{wrong} may not stand below allOf, anyOf, oneOf or not")))
    }

    fn part_below(&mut self, part: &Node, outside: &Node) -> Result<(), SchemaError> {
        for inner in alternatives(part) {
            self.part(inner, outside)?;
        }
        for (name, inner) in &part.properties {
            let is_meta = self.path.is_empty() && name == "metadata";
            let Some(there) = outside.properties.get(name) else {
                let reason =
                    "a field below allOf, anyOf, oneOf or not has to be among the properties outside too";
                return if is_meta { Ok(()) } else { self.below(name, |it| Err(it.wrong(reason))) };
            };
            self.below(name, |it| if is_meta { Ok(()) } else { it.part(inner, there) })?;
        }
        match (&part.items, &outside.items) {
            (Some(inner), Some(there)) => self.below("items", |it| it.part(inner, there)),
            (Some(_), None) => {
                Err(self.wrong("items below allOf, anyOf, oneOf or not have to be outside too"))
            }
            (None, _) => Ok(()),
        }
    }
}

fn alternatives(node: &Node) -> impl Iterator<Item = &Node> {
    let checks = &node.checks;
    checks.all_of.iter().chain(&checks.any_of).chain(&checks.one_of).chain(checks.not.as_deref())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::*;

    #[track_caller]
    fn refused(spec: Value, why: &str) {
        let source = json!({"type": "object", "properties": {"spec": spec}});
        let error = Schema::from_json(source.clone()).unwrap_err().to_string();
        assert!(error.contains(why), "{source}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }

    #[test]
    fn what_a_cluster_would_refuse_is_refused() {
        refused(
            json!({"type": "integer", "default": "x"}),
            "spec: the default is not what the schema allows",
        );
        refused(
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "default": {"b": 1}}),
            "may not have unknown fields, as default.b",
        );
        refused(json!({"type": "array"}), "items are required");
        refused(json!({"type": "object", "additionalProperties": false}), "may not be false");
        refused(
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
            "exclude each other",
        );
        refused(json!({"type": "string", "anyOf": [{"type": "string"}]}), "type may not stand below");
        refused(
            json!({"type": "object", "oneOf": [{"properties": {"a": {}}}]}),
            "among the properties outside",
        );
        refused(json!({"type": "object", "x-kubernetes-embedded-resource": true}), "properties are required");
        refused(json!({"type": "string", "x-kubernetes-list-type": "set"}), "has to be array");
        let list = |items: Value| json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"], "items": items});
        refused(
            list(json!({"type": "object", "properties": {"a": {"type": "string"}}})),
            "required, or to have a default",
        );
        refused(
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}}),
            "items of a set have to be atomic",
        );
        for top in
            [json!({"type": "string"}), json!({"type": "object", "additionalProperties": {"type": "string"}})]
        {
            assert!(Schema::from_json(top).unwrap_err().to_string().contains("at the top"));
        }
    }

    #[test]
    fn what_a_cluster_takes_is_taken() {
        for spec in [
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
            json!({"type": "object", "default": {}, "properties": {"a": {"type": "string", "default": "x"}}}),
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "oneOf": [{"required": ["a"]}, {"properties": {"a": {"enum": ["x"]}}}]}),
            json!({"type": "string", "nullable": true}),
        ] {
            let source =
                json!({"type": "object", "properties": {"spec": spec, "metadata": {"type": "object"}}});
            assert!(
                Schema::from_json(source.clone()).is_ok(),
                "{source}: {:?}",
                Schema::from_json(source.clone()).err()
            );
        }
    }
}
