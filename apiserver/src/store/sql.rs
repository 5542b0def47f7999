//! SQL that is put together piece by piece, each with what is bound to it.

use larder_client::wire::{Statement, Value};

/// SQL as it grows, with what is bound to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sql {
    text: String,
    values: Vec<Value>,
}

impl Sql {
    pub(crate) fn new(text: &str, values: impl IntoIterator<Item = Value>) -> Self {
        Self { text: text.to_owned(), values: values.into_iter().collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(crate) fn push(&mut self, text: &str, values: impl IntoIterator<Item = Value>) {
        self.text.push_str(text);
        self.values.extend(values);
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.push(&other.text, other.values);
    }

    pub(crate) fn statement(self) -> Statement {
        Statement::with(self.text, self.values)
    }
}
