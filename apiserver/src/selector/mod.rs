//! Selectors: which objects a list, a watch or a deletion is about, as the query of a request writes it.
//!
//! Grammar and error texts are Kubernetes' (`k8s.io/apimachinery`, `labels` and `fields`). An error here is a 400 with its text as the message.

mod field;
mod label;

pub use field::fields;
pub use label::labels;

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub(crate) String);

impl SelectorError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}
