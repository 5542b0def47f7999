//! How objects and the server itself are shown. Bytes in, bytes out; no I/O.
//!
//! Lists and watches are long and their objects are stored as JSON, so tables and metadata are made from the text of an object by looking at the
//! parts that are wanted and skipping the rest ([`Table`], [`metadata`]); no tree of the whole object is built. What the server says of itself,
//! [`discovery`] and [`openapi`], is made once from the registry.

pub mod accept;
mod duration;
mod path;

pub use duration::human_duration;
pub use path::{JsonPath, JsonPathError};
