//! The body of a request: statements and how to run them, decoded under limits.
//!
//! What a body may cost in memory is bounded by its own length and by [`MAX_STATEMENTS`] and [`MAX_VALUES`],
//! since a statement of three bytes becomes a struct of a hundred.

use serde::de::Visitor;
use serde::de::{Deserialize as _, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::cell::Cell;
use std::fmt;

use crate::result::{Ints, RowShape};
use crate::statement::{Statement, StatementSeed, once};
use crate::value::Value;

/// Statements in one request, at most.
pub const MAX_STATEMENTS: usize = 10_000;
/// Values bound in one request, at most.
pub const MAX_VALUES: usize = 1_000_000;

/// What `/execute`, `/query` and `/describe` are asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Run in this order.
    pub statements: Vec<Statement>,
    /// All or nothing (the default of a write), or each statement for itself.
    pub atomic: Option<bool>,
    /// How long the request may take from its arrival, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// How rows are written in the answer.
    pub rows: Option<RowShape>,
    /// How integers are written in the answer.
    pub ints: Option<Ints>,
}

/// Why a body was not understood.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct BodyError {
    /// One of the `BODY_…` and `VALUE_…` codes of [`crate::code`].
    pub code: &'static str,
    /// What is wrong, and what would be right.
    pub message: String,
    /// In which statement, counted from 0, where that is known.
    pub statement: Option<usize>,
    /// At which byte of the (decompressed) body, where that is known.
    pub offset: Option<usize>,
}

impl Request {
    /// A request for these statements, with every choice left to the server.
    pub fn new(statements: impl Into<Vec<Statement>>) -> Self {
        Self { statements: statements.into(), ..Self::default() }
    }

    /// Reads one SQL statement given as plain text.
    ///
    /// # Errors
    /// The text is empty or not UTF-8.
    pub fn from_text(body: &[u8]) -> Result<Self, BodyError> {
        let malformed = |message: &str, offset| BodyError {
            code: crate::code::BODY_MALFORMED,
            message: message.to_owned(),
            statement: None,
            offset,
        };
        let sql = std::str::from_utf8(body)
            .map_err(|error| malformed("the SQL is not UTF-8", Some(error.valid_up_to())))?;
        if sql.trim().is_empty() {
            return Err(malformed("the body is empty: expected one SQL statement", None));
        }
        Ok(Self::new([Statement::new(sql)]))
    }

    /// Reads a JSON body: an array of statements, or an envelope.
    ///
    /// # Errors
    /// The body is not JSON, not a request, or over a limit; an integer does not fit into 64 bits.
    pub fn from_json(body: &[u8]) -> Result<Self, BodyError> {
        let context = Context::default();
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let request = RequestSeed(&context)
            .deserialize(&mut deserializer)
            .and_then(|request| deserializer.end().map(|()| request))
            .map_err(|error| {
                context.error(&without_position(&error), offset_of(body, error.line(), error.column()))
            })?;
        request.reject_rounded_integers(body)?;
        Ok(request)
    }

    /// Reads a MessagePack body of the same shape, with blobs as `bin`.
    ///
    /// # Errors
    /// As for JSON.
    pub fn from_msgpack(body: &[u8]) -> Result<Self, BodyError> {
        let context = Context::default();
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(body);
        // The shape of a request is four levels deep; what is deeper is no request.
        deserializer.set_max_depth(16);
        let request = RequestSeed(&context)
            .deserialize(&mut deserializer)
            .map_err(|error| context.error(&msgpack_message(&error), None))?;
        // The decoder does not say where it stands, only that nothing is left when it is asked for more: for
        // something without parts, so that a part that is missing is not taken for the end.
        match bool::deserialize(&mut deserializer) {
            Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(request),
            _ => Err(context.error("bytes follow the request", None)),
        }
    }

    /// `serde_json` reads an integer literal beyond 64 bits as a double. A double of that size is rare, so
    /// the text is looked at again only if there is one.
    fn reject_rounded_integers(&self, body: &[u8]) -> Result<(), BodyError> {
        let values = self.statements.iter().flat_map(|it| it.args.sets()).flat_map(|it| it.values());
        let suspicious = |value: &Value| matches!(value, Value::Real(real) if real.abs() >= 9.2e18);
        if !values.into_iter().any(suspicious) {
            return Ok(());
        }
        match find_wide_integer(body) {
            None => Ok(()),
            Some(found) => Err(BodyError {
                code: crate::code::VALUE_OUT_OF_RANGE,
                message: format!("integer {} is out of the range of 64 bits", found.literal),
                statement: Some(found.statement),
                offset: Some(found.offset),
            }),
        }
    }
}

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("statements", &self.statements)?;
        if let Some(atomic) = self.atomic {
            map.serialize_entry("atomic", &atomic)?;
        }
        if let Some(timeout_ms) = self.timeout_ms {
            map.serialize_entry("timeout_ms", &timeout_ms)?;
        }
        if let Some(rows) = self.rows {
            map.serialize_entry("rows", rows.name())?;
        }
        if let Some(ints) = self.ints {
            map.serialize_entry("ints", ints.name())?;
        }
        map.end()
    }
}

/// Where the decoder is and how much it has read: for messages and limits.
#[derive(Debug, Default)]
pub(crate) struct Context {
    statement: Cell<Option<usize>>,
    values: Cell<usize>,
    too_large: Cell<bool>,
    unbounded: bool,
}

impl Context {
    pub(crate) fn unbounded() -> Self {
        Self { unbounded: true, ..Self::default() }
    }

    pub(crate) fn count_value<E: serde::de::Error>(&self) -> Result<(), E> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > MAX_VALUES && !self.unbounded {
            self.too_large.set(true);
            return Err(E::custom(format_args!("more than {MAX_VALUES} values in one request")));
        }
        Ok(())
    }

    fn error(&self, message: &str, offset: Option<usize>) -> BodyError {
        let code = if self.too_large.get() {
            crate::code::BODY_TOO_LARGE
        } else if message.contains("out of the range") {
            crate::code::VALUE_OUT_OF_RANGE
        } else {
            crate::code::BODY_MALFORMED
        };
        BodyError { code, message: message.to_owned(), statement: self.statement.get(), offset }
    }
}

/// Reads an array of statements or an envelope.
struct RequestSeed<'c>(&'c Context);

impl<'de> DeserializeSeed<'de> for RequestSeed<'_> {
    type Value = Request;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Request, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RequestSeed<'_> {
    type Value = Request;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"an array of statements or {"statements": […], …}"#)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Request, A::Error> {
        statements(self.0, &mut seq).map(Request::new)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Request, A::Error> {
        let (mut statements, mut atomic, mut timeout_ms, mut rows, mut ints) = (None, None, None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "statements" => once(&key, &mut statements, map.next_value_seed(StatementsSeed(self.0))?)?,
                "atomic" => once(&key, &mut atomic, map.next_value()?)?,
                "timeout_ms" => once(&key, &mut timeout_ms, map.next_value()?)?,
                "rows" => once(&key, &mut rows, map.next_value()?)?,
                "ints" => once(&key, &mut ints, map.next_value()?)?,
                _ => {
                    return Err(A::Error::custom(format_args!(
                        "unknown field {key:?} of a request: expected statements, atomic, timeout_ms, rows, ints"
                    )));
                }
            }
        }
        let statements = statements.ok_or_else(|| A::Error::missing_field("statements"))?;
        Ok(Request { statements, atomic, timeout_ms, rows, ints })
    }
}

struct StatementsSeed<'c>(&'c Context);

impl<'de> DeserializeSeed<'de> for StatementsSeed<'_> {
    type Value = Vec<Statement>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for StatementsSeed<'_> {
    type Value = Vec<Statement>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of statements")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        statements(self.0, &mut seq)
    }
}

fn statements<'de, A: SeqAccess<'de>>(context: &Context, seq: &mut A) -> Result<Vec<Statement>, A::Error> {
    let mut statements = Vec::new();
    loop {
        context.statement.set(Some(statements.len()));
        let Some(statement) = seq.next_element_seed(StatementSeed(context))? else { break };
        if statements.len() == MAX_STATEMENTS {
            context.too_large.set(true);
            return Err(A::Error::custom(format_args!(
                "more than {MAX_STATEMENTS} statements in one request"
            )));
        }
        statements.push(statement);
    }
    context.statement.set(None);
    Ok(statements)
}

/// The message without the ` at line 1 column 9` that `serde_json` appends: the byte offset says it.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

fn msgpack_message(error: &rmp_serde::decode::Error) -> String {
    use rmp_serde::decode::Error;
    match error {
        Error::Syntax(message) | Error::Uncategorized(message) => message.clone(),
        Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => "the body ends too early".to_owned(),
        other => other.to_string(),
    }
}

/// The byte at which `serde_json` stood: it counts lines from 1 and columns in bytes, the column being how many it has read.
fn offset_of(body: &[u8], line: usize, column: usize) -> Option<usize> {
    let before: usize =
        body.split_inclusive(|&byte| byte == b'\n').take(line.checked_sub(1)?).map(<[u8]>::len).sum();
    Some((before + column.saturating_sub(1)).min(body.len()))
}

struct WideInteger {
    literal: String,
    offset: usize,
    statement: usize,
}

/// The first integer literal, outside strings, that does not fit into 64 bits. `body` is valid JSON of a request.
fn find_wide_integer(body: &[u8]) -> Option<WideInteger> {
    // Commas at the depth of the statements array count the statements before.
    let statements_depth =
        if body.iter().find(|it| !it.is_ascii_whitespace()) == Some(&b'{') { 2 } else { 1 };
    let (mut depth, mut statement, mut at) = (0, 0, 0);
    while at < body.len() {
        match body[at] {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b',' if depth == statements_depth => statement += 1,
            b'"' => at = end_of_string(body, at),
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let length = body[at..].iter().take_while(|byte| is_part(byte)).count();
                let literal = String::from_utf8_lossy(&body[at..at + length]);
                let integral = !literal.contains(['.', 'e', 'E']);
                if integral && literal.parse::<i64>().is_err() {
                    return Some(WideInteger { literal: literal.into_owned(), offset: at, statement });
                }
                at += length - 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The closing quote of the string that opens at `start`.
fn end_of_string(body: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < body.len() && body[at] != b'"' {
        at += if body[at] == b'\\' { 2 } else { 1 };
    }
    at
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_msgpack_body_is_one_request_and_nothing_else() {
        let request = Request::new([Statement::with("SELECT ?", [Value::Blob(vec![0, 1]), 7.into()])]);
        let body = rmp_serde::to_vec_named(&request).unwrap();
        assert_eq!(Request::from_msgpack(&body).unwrap(), request);
        assert!(Request::from_msgpack(&body[..body.len() - 1]).is_err());
        // A whole value, an array without its elements, and a marker that means nothing.
        for rest in [0xc0, 0x91, 0xc1] {
            let error = Request::from_msgpack(&[&body[..], &[rest]].concat()).unwrap_err();
            assert_eq!(error.message, "bytes follow the request", "{rest:#x}");
        }
    }
}
