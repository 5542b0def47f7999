//! JSON patches (RFC 6902) as Kubernetes applies them, which is as `gopkg.in/evanphx/json-patch.v4` does.
//!
//! What that does beyond the RFC is relied on by clients: `replace` sets a field that is missing, `test` finds a missing field equal to null, `copy`
//! takes a missing field for null, and an index below zero counts from the end. An operation that misses its `value` has null.

use serde_json::{Map, Value};

use super::patch::PatchError;
use crate::field::quote;
use crate::schema::{self, DEPTH};

/// How many fields that mean nothing are told.
const MOST: usize = 100;
/// How many operations a patch may have.
const OPERATIONS: usize = 10_000;
/// How many bytes its copies may add: a patch of a few operations could double an object again and again.
const COPIED: usize = 3 << 20;
/// How many items of lists its operations may move: to put something before a million others ten thousand times takes minutes.
const MOVED: usize = 20_000_000;

/// Applies a JSON patch; null is one of no operations. Tells what its operations hold that does not belong there, as warnings have it.
///
/// # Errors
/// It is no patch, too large, or fails; `document` is left half done then.
pub fn json_patch(document: &mut Value, patch: &[u8]) -> Result<Vec<String>, PatchError> {
    let (patch, duplicates) = schema::read_value(patch).map_err(malformed)?;
    let operations = match patch {
        Value::Null => Vec::new(),
        Value::Array(operations) => operations,
        other => {
            let of = schema::go_name(&other);
            return Err(malformed(format_args!(
                "json: cannot unmarshal {of} into Go value of type []handlers.jsonPatchOp"
            )));
        }
    };
    if operations.len() > OPERATIONS {
        return Err(PatchError::TooMany { most: OPERATIONS, count: operations.len() });
    }
    let mut told: Vec<String> =
        duplicates.iter().map(|it| format!("json patch duplicate field {}", quote(it))).collect();
    let mut patcher = Patcher { document, copied: 0, moved: 0 };
    let operations: Vec<Operation> = operations
        .into_iter()
        .enumerate()
        .map(|(index, it)| Operation::read(index, it, &mut told))
        .collect::<Result<_, _>>()?;
    operations.into_iter().try_for_each(|it| patcher.apply(it)).map_err(PatchError::Failed)?;
    Ok(told)
}

fn malformed(why: impl std::fmt::Display) -> PatchError {
    PatchError::Malformed(format!("error decoding patch: {why}"))
}

/// One step of a patch; what it does not need may be missing.
struct Operation {
    kind: String,
    path: Option<String>,
    from: Option<String>,
    value: Value,
}

impl Operation {
    /// Reads the operation at an index of a patch. Fields that mean nothing are told.
    fn read(index: usize, operation: Value, told: &mut Vec<String>) -> Result<Self, PatchError> {
        let wrong = |value: &Value, what: &str| {
            let of = schema::go_name(value);
            malformed(format_args!("json: cannot unmarshal {of} into Go {what}"))
        };
        let mut fields = match operation {
            Value::Null => Map::new(),
            Value::Object(fields) => fields,
            other => return Err(wrong(&other, "value of type handlers.jsonPatchOp")),
        };
        let mut text = |name: &str| match fields.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(&other, &format!("struct field jsonPatchOp.{name} of type string"))),
        };
        let (kind, path, from) = (text("op")?.unwrap_or_default(), text("path")?, text("from")?);
        let value = fields.remove("value").unwrap_or_default();
        let unknown =
            fields.keys().map(|it| format!("json patch unknown field {}", quote(&format!("[{index}].{it}"))));
        told.extend(unknown.take(MOST.saturating_sub(told.len())));
        Ok(Self { kind, path, from, value })
    }
}

/// A document with the patch under way.
struct Patcher<'d> {
    document: &'d mut Value,
    copied: usize,
    moved: usize,
}

type Step<T> = Result<T, String>;

impl Patcher<'_> {
    fn apply(&mut self, operation: Operation) -> Step<()> {
        let Operation { kind, path, from, value } = operation;
        if matches!(kind.as_str(), "add" | "replace") {
            self.fits(path.as_deref().unwrap_or_default(), &value)?;
        }
        let path = path.as_deref().ok_or("operation missing path field");
        let from = from.as_deref().ok_or("operation, missing from field");
        match kind.as_str() {
            "add" => self.add(path?, value),
            "remove" => self.remove(path?).map(drop),
            "replace" => self.replace(path?, value),
            "move" => {
                let value = self.remove(from?)?;
                let nodes = self.fits(path?, &value)?;
                shift(&mut self.moved, nodes)?;
                self.add(path?, value)
            }
            "copy" => {
                let value = self.copied(from?)?;
                self.fits(path?, &value)?;
                self.add(path?, value)
            }
            "test" => self.test(path?, &value),
            _ => Err(format!("Unexpected kind: {kind}")),
        }
    }

    /// Whether the document stays as flat as documents are that were read, with this value there. Tells how many values are in it.
    fn fits(&self, path: &str, value: &Value) -> Step<usize> {
        let mut nodes = 0;
        let depth = path.matches('/').count() + depth(value, &mut nodes);
        if depth > DEPTH { Err(format!("exceeded max depth of {DEPTH}")) } else { Ok(nodes) }
    }

    fn add(&mut self, path: &str, value: Value) -> Step<()> {
        let moved = &mut self.moved;
        match parent(self.document, path)? {
            (Value::Object(fields), name) => _ = fields.insert(name, value),
            (Value::Array(items), name) => {
                let index = if name == "-" { items.len() } else { index(&name, items.len() + 1)? };
                shift(moved, items.len())?;
                items.insert(index, value);
            }
            _ => return Err(missing(path)),
        }
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Step<Value> {
        let moved = &mut self.moved;
        match parent(self.document, path)? {
            (Value::Object(fields), name) => fields.remove(&name).ok_or_else(|| missing(path)),
            (Value::Array(items), name) => {
                let index = index(&name, items.len())?;
                shift(moved, items.len())?;
                Ok(items.remove(index))
            }
            _ => Err(missing(path)),
        }
    }

    fn replace(&mut self, path: &str, value: Value) -> Step<()> {
        if path.is_empty() {
            *self.document = value;
            return Ok(());
        }
        match parent(self.document, path)? {
            (Value::Object(fields), name) => _ = fields.insert(name, value),
            (Value::Array(items), name) => {
                let index = index(&name, items.len())?;
                items[index] = value;
            }
            _ => return Err(missing(path)),
        }
        Ok(())
    }

    fn test(&mut self, path: &str, expected: &Value) -> Step<()> {
        let found = if path.is_empty() { &*self.document } else { self.value(path)? };
        if found == expected { Ok(()) } else { Err(format!("testing value {path} failed")) }
    }

    /// What stands at a path; null where its parent has no such field.
    fn value(&mut self, path: &str) -> Step<&Value> {
        match parent(self.document, path)? {
            (Value::Object(fields), name) => Ok(fields.get(&name).unwrap_or(&Value::Null)),
            (Value::Array(items), name) => Ok(&items[index(&name, items.len())?]),
            _ => Err(missing(path)),
        }
    }

    fn copied(&mut self, from: &str) -> Step<Value> {
        let size = size(self.value(from)?);
        self.copied += size;
        if self.copied > COPIED {
            return Err(format!(
                "Unable to complete the copy, the accumulated size increase of copy is {}, exceeding the limit {COPIED}",
                self.copied
            ));
        }
        self.value(from).cloned()
    }
}

/// What a path leads into, and its last step. What stands before its first slash means nothing.
fn parent<'d>(document: &'d mut Value, path: &str) -> Step<(&'d mut Value, String)> {
    let mut steps: Vec<String> =
        path.split('/').skip(1).map(|it| it.replace("~1", "/").replace("~0", "~")).collect();
    let last = steps.pop().ok_or_else(|| missing(path))?;
    let mut place = document;
    for step in steps {
        let next = match place {
            Value::Object(fields) => fields.get_mut(&step),
            Value::Array(items) => {
                let index = index(&step, items.len())?;
                items.get_mut(index)
            }
            _ => None,
        };
        place = next.ok_or_else(|| missing(path))?;
    }
    Ok((place, last))
}

/// An index into a list of `length` items; one below zero counts from its end.
fn index(step: &str, length: usize) -> Step<usize> {
    let number: i64 = step.parse().map_err(|_| format!("value was not a proper array index: '{step}'"))?;
    let invalid = || format!("Unable to access invalid index: {number}");
    let magnitude = usize::try_from(number.unsigned_abs()).map_err(|_| invalid())?;
    let index = if number < 0 { length.checked_sub(magnitude) } else { Some(magnitude) };
    index.filter(|it| *it < length).ok_or_else(invalid)
}

fn missing(path: &str) -> String {
    format!("operation does not apply: doc is missing path: \"{path}\"")
}

fn shift(moved: &mut usize, items: usize) -> Step<()> {
    *moved += items;
    if *moved > MOVED {
        return Err(format!("the operations move {moved} items of lists, more than {MOVED}"));
    }
    Ok(())
}

/// How deep a value is nested; `nodes` is raised by how many values it has.
fn depth(value: &Value, nodes: &mut usize) -> usize {
    *nodes += 1;
    match value {
        Value::Object(fields) => 1 + fields.values().map(|it| depth(it, nodes)).max().unwrap_or_default(),
        Value::Array(items) => 1 + items.iter().map(|it| depth(it, nodes)).max().unwrap_or_default(),
        _ => 0,
    }
}

/// About how many bytes a value has as JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| name.len() + 4 + size(value)).sum::<usize>() + 2
        }
        Value::Array(items) => items.iter().map(|it| size(it) + 1).sum::<usize>() + 2,
        Value::String(text) => text.len() + 2,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn leaves(patch: Value, expected: Value) {
        let mut document = json!({"a": {"b": 1, "n": null}, "l": [1, 2, 3], "x/y": {"~": 0}});
        json_patch(&mut document, patch.to_string().as_bytes()).expect("applies");
        assert_eq!(document, expected, "{patch}");
    }

    #[track_caller]
    fn fails(operation: Value) {
        let mut document = json!({"a": {"b": 1, "n": null}, "l": [1, 2, 3], "t": "x"});
        let patch = json!([operation]).to_string();
        let done = json_patch(&mut document, patch.as_bytes());
        assert!(matches!(done, Err(PatchError::Failed(_))), "{patch}: {done:?}");
    }

    #[test]
    fn operations_do_what_they_do_in_kubernetes() {
        let rest = json!({"~": 0});
        leaves(
            json!([{"op": "replace", "path": "/a/new", "value": 2}, {"op": "replace", "path": "/l/-1", "value": 9}]),
            json!({"a": {"b": 1, "n": null, "new": 2}, "l": [1, 2, 9], "x/y": rest}),
        );
        leaves(
            json!([{"op": "add", "path": "/l/-1", "value": 4}, {"op": "add", "path": "/l/-", "value": 5}, {"op": "remove", "path": "/l/-5"}]),
            json!({"a": {"b": 1, "n": null}, "l": [2, 3, 4, 5], "x/y": rest}),
        );
        leaves(
            json!([
                {"op": "test", "path": "/a/none", "value": null}, {"op": "test", "path": "/a/none"}, {"op": "test", "path": "/a/n"},
                {"op": "test", "path": "/x~1y/~0", "value": 0}, {"op": "test", "path": "/l", "value": [1, 2, 3]},
                {"op": "copy", "from": "/a/none", "path": "/a/c"}, {"op": "add", "path": "/a/d"},
                {"op": "move", "from": "/x~1y", "path": "/l/0"},
            ]),
            json!({"a": {"b": 1, "n": null, "c": null, "d": null}, "l": [{"~": 0}, 1, 2, 3]}),
        );
        leaves(json!([{"op": "replace", "path": "", "value": {"z": 1}}]), json!({"z": 1}));
    }

    /// Each copy would double the depth, and each addition add to it, until walking the document takes more stack than there is.
    #[test]
    fn no_patch_makes_a_document_deeper_than_documents_may_be() {
        let nested = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!({"a": inner}));
        let copies: Vec<Value> = (0..12)
            .map(|it| json!({"op": "copy", "from": "/a", "path": format!("/a{}", "/a".repeat(1 << it))}))
            .collect();
        let down = json!({"op": "add", "path": format!("/a{}", "/a".repeat(60)), "value": nested(60)});
        let moved = json!({"op": "move", "from": "/b", "path": format!("/a{}", "/a".repeat(60))});
        for patch in [json!(copies), json!([down]), json!([moved])] {
            let mut document = json!({"a": nested(61), "b": nested(60)});
            let done = json_patch(&mut document, patch.to_string().as_bytes());
            assert!(
                matches!(&done, Err(PatchError::Failed(why)) if why.contains("max depth")),
                "{patch}: {done:?}"
            );
        }
        let mut document = json!({"a": nested(60)});
        let last = json!([{"op": "add", "path": format!("/a{}", "/a".repeat(60)), "value": nested(38)}]);
        assert!(json_patch(&mut document, last.to_string().as_bytes()).is_ok());
        assert!(schema::read(document.to_string().as_bytes()).is_ok());
    }

    #[test]
    fn what_does_not_apply_fails() {
        for operation in [
            json!({"op": "add", "path": "", "value": {}}),
            json!({"op": "add", "path": "/none/x", "value": 1}),
            json!({"op": "add", "path": "/a/n/x", "value": 1}),
            json!({"op": "add", "path": "/t/x", "value": 1}),
            json!({"op": "add", "path": "/l/5", "value": 1}),
            json!({"op": "add", "path": "/l/-5", "value": 1}),
            json!({"op": "add", "path": "/l/x", "value": 1}),
            json!({"op": "add", "value": 1}),
            json!({"op": "remove", "path": "/a/none"}),
            json!({"op": "remove", "path": "/l/3"}),
            json!({"op": "replace", "path": "/l/3", "value": 1}),
            json!({"op": "replace", "path": "/l/-", "value": 1}),
            json!({"op": "move", "from": "/a/none", "path": "/b"}),
            json!({"op": "move", "path": "/b"}),
            json!({"op": "copy", "from": "/none/x", "path": "/b"}),
            json!({"op": "test", "path": "/a/b", "value": 2}),
            json!({"op": "test", "path": "/a/b"}),
            json!({"op": "test", "path": "/none/x", "value": null}),
            json!({"op": "merge", "path": "/a"}),
            json!({"path": "/a"}),
        ] {
            fails(operation);
        }
    }
}
