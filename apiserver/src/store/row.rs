//! Rows of the store's own tables, read column by column.

use larder_client::wire::Value;

use super::error::damaged;
use super::{Revision, StoreError};

/// A row of which the next column is taken.
pub(super) struct Row(std::vec::IntoIter<Value>);

impl From<Vec<Value>> for Row {
    fn from(values: Vec<Value>) -> Self {
        Self(values.into_iter())
    }
}

impl Row {
    pub(super) fn revision(&mut self) -> Result<Revision, StoreError> {
        match self.0.next() {
            Some(Value::Integer(number)) => Revision::try_from(number).map_err(damaged),
            other => Err(unexpected("a number", other.as_ref())),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        self.optional_text()?.ok_or_else(|| unexpected("a text", None))
    }

    pub(super) fn optional_text(&mut self) -> Result<Option<String>, StoreError> {
        match self.0.next() {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(None),
            other => Err(unexpected("a text", other.as_ref())),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        match self.0.next() {
            Some(Value::Blob(bytes)) => Ok(bytes),
            other => Err(unexpected("bytes", other.as_ref())),
        }
    }

    /// Takes a column, and says whether there is something in it.
    pub(super) fn optional_revision(&mut self) -> Result<Option<Revision>, StoreError> {
        match self.0.next() {
            Some(Value::Null) => Ok(None),
            Some(Value::Integer(number)) => Revision::try_from(number).map(Some).map_err(damaged),
            other => Err(unexpected("a number or nothing", other.as_ref())),
        }
    }

    /// Leaves columns aside.
    pub(super) fn skip(&mut self, columns: usize) {
        self.0.by_ref().take(columns).for_each(drop);
    }
}

fn unexpected(what: &str, found: Option<&Value>) -> StoreError {
    let found = match found {
        None | Some(Value::Null) => "nothing",
        Some(Value::Integer(_)) => "an integer",
        Some(Value::Real(_)) => "a real",
        Some(Value::Text(_)) => "a text",
        Some(Value::Blob(_)) => "bytes",
    };
    damaged(format_args!("{what} should stand where {found} stands"))
}

/// A revision as a value of SQL.
pub(super) fn number(revision: Revision) -> Value {
    // Microseconds since 1970 take 51 bits; beyond 63 nobody has written anything.
    Value::Integer(i64::try_from(revision).unwrap_or(i64::MAX))
}
