//! Writing answers, piece by piece, into a buffer that the caller sends off whenever it is full.
//!
//! The order of calls is always: [`Encoder::start`]; for each statement either [`Encoder::columns`], any number
//! of [`Encoder::row`]s and [`Encoder::end`], or [`Encoder::changed`], or [`Encoder::failed`]; last
//! [`Encoder::finish`] or [`Encoder::abort`]. An encoder keeps only what it needs to punctuate.

mod csv;
mod json;
mod msgpack;
mod ndjson;
mod rqlite;

pub use csv::Csv;
pub use json::Json;
pub use msgpack::{Msgpack, MsgpackStream};
pub use ndjson::Ndjson;
pub use rqlite::{Rqlite, RqliteOptions};

use crate::error::Error;
use crate::result::{Column, Ints, RowShape, StatementResult};
use crate::value::Row;

/// How the caller wants rows to be written, where the format leaves a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Arrays or objects.
    pub rows: RowShape,
    /// Numbers or strings.
    pub ints: Ints,
    /// One row a line, for people.
    pub pretty: bool,
}

/// What stands at the end of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Trailer {
    /// Seconds from arrival to answer.
    pub time: f64,
    /// See [`crate::Response::seq`].
    pub seq: u64,
    /// Whether this is the first answer, given again.
    pub replayed: bool,
    /// How many statements failed, where each stands for itself.
    pub errors: usize,
    /// Rows that the whole answer holds.
    pub rows: u64,
}

/// Writes an answer in one format.
pub trait Encoder: Send {
    /// The media type of the answer.
    fn media_type(&self) -> &'static str;
    /// Whether the pieces may be sent before the answer is whole. Where not, the answer is limited in size.
    fn streams(&self) -> bool {
        true
    }
    /// Whether an answer that ends in [`Encoder::abort`] says so by its own form, and is as such complete.
    fn ends_with_errors(&self) -> bool {
        false
    }
    /// Opens the answer.
    fn start(&mut self, out: &mut Vec<u8>);
    /// Opens the rows of statement `index`.
    fn columns(&mut self, out: &mut Vec<u8>, index: usize, columns: &[Column]);
    /// Writes one row.
    fn row(&mut self, out: &mut Vec<u8>, row: &dyn Row);
    /// Closes the rows of a statement that changed nothing: how many there were, and the seconds they took.
    fn end(&mut self, out: &mut Vec<u8>, rows: u64, time: f64);
    /// Writes what a statement of a write did, its rows included.
    fn changed(&mut self, out: &mut Vec<u8>, index: usize, result: &StatementResult);
    /// Writes that one statement failed while the others stand.
    fn failed(&mut self, out: &mut Vec<u8>, index: usize, error: &Error);
    /// Closes the answer.
    fn finish(&mut self, out: &mut Vec<u8>, trailer: &Trailer);
    /// Closes an answer that cannot be finished, so that a reader learns why. What was opened is closed.
    fn abort(&mut self, out: &mut Vec<u8>, error: &Error);
}
