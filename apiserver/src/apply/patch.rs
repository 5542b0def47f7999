//! Merge patches (RFC 7386), and why patches are refused.

use serde_json::Value;

use crate::schema::{self, ReadError};

/// Why a patch was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// It is no patch: a 400.
    #[error("{0}")]
    Malformed(String),
    /// It has too many operations: a 413.
    #[error("The allowed maximum operations in a JSON patch is {most}, got {count}")]
    TooMany {
        /// Operations that a patch may have.
        most: usize,
        /// Operations that it has.
        count: usize,
    },
    /// An operation or a test fails, or its copies are too large: a 422. The message of the Status is always the same; this one is for logs.
    #[error("{0}")]
    Failed(String),
}

/// Applies a merge patch.
///
/// # Errors
/// It is no JSON object.
pub fn merge_patch(document: &mut Value, patch: &[u8]) -> Result<(), PatchError> {
    let patch = schema::read(patch).map_err(|it| match it {
        ReadError::NotAnObject("null") => PatchError::Malformed("Invalid JSON Patch".to_owned()),
        it => PatchError::Malformed(format!("error decoding patch: {it}")),
    })?;
    ::json_patch::merge(document, &Value::Object(patch.object));
    Ok(())
}
