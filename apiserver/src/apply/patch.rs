//! JSON patches (RFC 6902) and merge patches (RFC 7386).

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

/// How many operations a patch may have.
const OPERATIONS: usize = 10_000;
/// How many bytes its copies may add: a patch of a few operations could double an object again and again.
const COPIED: usize = 3 << 20;

/// How many items of lists its operations may move: to put something before a million others ten thousand times takes minutes.
const MOVED: usize = 20_000_000;

/// Why a patch was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// It is no patch: a 400.
    #[error("{0}")]
    Malformed(String),
    /// It has too many operations: a 413.
    #[error("The allowed maximum operations in a JSON patch is {OPERATIONS}, got {0}")]
    TooMany(usize),
    /// An operation or a test fails, or its copies are too large: a 422. The message of the Status is always the same; this one is for logs.
    #[error("{0}")]
    Failed(String),
}

/// Applies a JSON patch.
///
/// # Errors
/// It is no patch, too large, or fails; `document` is left half done then.
pub fn json_patch(document: &mut Value, patch: &[u8]) -> Result<(), PatchError> {
    let operations: Vec<Value> = serde_json::from_slice(patch)
        .map_err(|it| PatchError::Malformed(format!("error decoding patch: {it}")))?;
    if operations.len() > OPERATIONS {
        return Err(PatchError::TooMany(operations.len()));
    }
    let Patch(operations) = serde_json::from_value(operations.into())
        .map_err(|it| PatchError::Malformed(format!("error decoding patch: {it}")))?;
    let (mut copied, mut moved) = (0, 0);
    for operation in &operations {
        moved += lists_of(operation)
            .filter_map(|it| document.pointer(it)?.as_array())
            .map(Vec::len)
            .sum::<usize>();
        if moved > MOVED {
            return Err(PatchError::Failed(format!(
                "the operations move {moved} items of lists, more than {MOVED}"
            )));
        }
        if let PatchOperation::Copy(copy) = operation {
            copied += document.pointer(copy.from.as_str()).map_or(0, size);
            if copied > COPIED {
                let text = format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {COPIED}"
                );
                return Err(PatchError::Failed(text));
            }
        }
        json_patch::patch_unsafe(document, std::slice::from_ref(operation))
            .map_err(|it| PatchError::Failed(it.to_string()))?;
    }
    Ok(())
}

/// What may be lists into which an operation puts something, or out of which it takes something.
fn lists_of(operation: &PatchOperation) -> impl Iterator<Item = &str> {
    let (to, from) = match operation {
        PatchOperation::Add(it) => (parent(&it.path), None),
        PatchOperation::Remove(it) => (parent(&it.path), None),
        PatchOperation::Move(it) => (parent(&it.path), parent(&it.from)),
        PatchOperation::Copy(it) => (parent(&it.path), None),
        PatchOperation::Replace(_) | PatchOperation::Test(_) => (None, None),
    };
    to.into_iter().chain(from)
}

fn parent(path: &json_patch::jsonptr::Pointer) -> Option<&str> {
    path.as_str().rsplit_once('/').map(|it| it.0)
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

/// Applies a merge patch.
///
/// # Errors
/// It is no JSON object.
pub fn merge_patch(document: &mut Value, patch: &[u8]) -> Result<(), PatchError> {
    let patch = crate::schema::read(patch)
        .map_err(|it| PatchError::Malformed(format!("error decoding patch: {it}")))?;
    json_patch::merge(document, &Value::Object(patch.object));
    Ok(())
}
