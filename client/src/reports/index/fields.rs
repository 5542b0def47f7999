//! The values of a row, taken one after the other as what the schema says they are.

use larder_wire::{StatementReply, Value};

use super::IndexError;

/// The values of a row that were not taken yet.
pub(crate) struct Fields(std::vec::IntoIter<Value>);

impl Fields {
    pub(crate) fn new(row: Vec<Value>) -> Self {
        Self(row.into_iter())
    }

    pub(crate) fn integer(&mut self) -> Result<i64, IndexError> {
        match self.0.next() {
            Some(Value::Integer(number)) => Ok(number),
            _ => Err(IndexError::Shape("an integer is missing")),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, IndexError> {
        match self.0.next() {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(IndexError::Shape("a text is missing")),
        }
    }

    pub(crate) fn blob(&mut self) -> Result<Vec<u8>, IndexError> {
        self.optional_blob()?.ok_or(IndexError::Shape("a blob is missing"))
    }

    pub(crate) fn optional_blob(&mut self) -> Result<Option<Vec<u8>>, IndexError> {
        match self.0.next() {
            Some(Value::Blob(bytes)) => Ok(Some(bytes)),
            Some(Value::Null) => Ok(None),
            _ => Err(IndexError::Shape("a blob is missing")),
        }
    }
}

/// The rows of a statement.
pub(crate) fn rows(reply: &mut StatementReply) -> impl Iterator<Item = Fields> + use<> {
    std::mem::take(&mut reply.rows).into_iter().map(Fields::new)
}

/// The one number that a statement gives; 0 if it gives none.
pub(crate) fn number(reply: &mut StatementReply) -> Result<i64, IndexError> {
    rows(reply).next().map_or(Ok(0), |mut it| it.integer())
}

/// A list for `json_each`.
pub(crate) fn json(ids: impl IntoIterator<Item = i64>) -> Value {
    let mut text = String::from("[");
    for id in ids {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&id.to_string());
    }
    text.push(']');
    Value::Text(text)
}

/// A number of a vulnerability as SQL sorts it.
pub(crate) fn to_sql(vulnerability: u64) -> i64 {
    (vulnerability ^ 1 << 63).cast_signed()
}

/// The number of a vulnerability that SQL gave.
pub(crate) fn from_sql(number: i64) -> u64 {
    number.cast_unsigned() ^ 1 << 63
}
