//! What goes over the wire between Larder and its callers, and nothing else: statements and values in,
//! results and errors out, as JSON and as MessagePack.
//!
//! This crate knows no SQL engine, no HTTP and no clock. [`Request`] is what `/execute`, `/query` and
//! `/describe` accept; [`encode`] writes what they answer, row by row, into a caller's buffer, so that a
//! result of any length costs the memory of one chunk; [`Response`] is the same answer as a client reads it.
//!
//! ```
//! use larder_wire::{Request, Value};
//!
//! let body = br#"[["INSERT INTO t VALUES (?, ?)", 9007199254740993, {"$blob": "AAEC"}]]"#;
//! let request = Request::from_json(body).unwrap();
//! let larder_wire::Args::One(args) = &request.statements[0].args else { panic!() };
//! assert_eq!(args.positional().unwrap(), [Value::Integer(9007199254740993), Value::Blob(vec![0, 1, 2])]);
//! ```

mod context;
pub mod encode;
mod error;
mod request;
mod result;
mod role;
mod statement;
mod value;

pub use context::{BodyError, MAX_STATEMENTS, MAX_VALUES};
pub use error::{Applied, Error, ErrorReply, Kind, code};
pub use request::Request;
pub use result::{
    Column, Description, Ints, PlanStep, Response, RowShape, Rows, StatementReply, StatementResult,
};
pub use role::Role;
pub use statement::{Args, Bindings, Statement};
pub use value::{Row, Value, ValueRef};

/// The media type of the MessagePack form of requests and answers.
pub const MSGPACK: &str = "application/vnd.msgpack";
/// The media type of a streamed answer as MessagePack: the objects of [`NDJSON`], one after the other.
pub const MSGPACK_STREAM: &str = "application/vnd.larder.msgpack-stream";
/// The media type of a streamed answer as JSON, one document a line.
pub const NDJSON: &str = "application/x-ndjson";
/// The media type of the JSON form of requests and answers.
pub const JSON: &str = "application/json";
/// The media type of a single row set as comma-separated values (RFC 4180).
pub const CSV: &str = "text/csv";
