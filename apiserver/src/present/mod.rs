//! How objects and the server itself are shown. Bytes in, bytes out; no I/O.
//!
//! Lists and watches are long and their objects are stored as JSON, so tables and metadata are made from the text of an object by looking at the
//! parts that are wanted and skipping the rest ([`Presenter`]); no tree of the whole object is built. What the server says of itself,
//! [`discovery`] and [`openapi`], is made once from the registry.

pub mod accept;
pub mod discovery;
mod duration;
pub mod openapi;
mod path;
mod presenter;
mod select;
mod table;
#[cfg(test)]
mod tests;

pub use duration::human_duration;
pub use path::{JsonPath, JsonPathError};
pub use presenter::{ListMeta, Presenter};
pub use table::IncludeObject;

/// An object that is stored cannot be shown: its text is no JSON object with metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored object cannot be read: {0}")]
pub struct Unreadable(String);
