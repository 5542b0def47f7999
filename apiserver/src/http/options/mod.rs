//! What a request asks for besides the object: options in its query, and for deletions in its body. Each is parsed into a type here and nowhere
//! else; what is wrong is a 400 (not to be read) or a 422 (read, and not allowed).

mod delete;
mod list;
mod query;
mod write;

pub(crate) use delete::delete_options;
pub(crate) use list::{ListOptions, Match, revision};
pub(crate) use query::{Query, duration};
pub(crate) use write::{FieldValidation, Write, WriteOptions};
