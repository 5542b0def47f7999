//! The body of a request: statements and how to run them, decoded under limits.
//!
//! What a body may cost in memory is bounded by its own length and by [`crate::MAX_STATEMENTS`] and [`crate::MAX_VALUES`],
//! since a statement of three bytes becomes a struct of a hundred.

mod json;
mod msgpack;
mod rqlite;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt;

use crate::context::{BodyError, Context};
use crate::result::{Ints, RowShape};
use crate::statement::{Bindings, Statement, StatementSeed, once};
use crate::value::Value;

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

impl Request {
    /// A request for these statements, with every choice left to the server.
    pub fn new(statements: impl Into<Vec<Statement>>) -> Self {
        Self { statements: statements.into(), ..Self::default() }
    }

    /// Bytes of memory that the statements and values take beside their text.
    #[must_use]
    pub fn structure_bytes(&self) -> usize {
        let of_set = |set: &Bindings| {
            let values = match set {
                Bindings::Positional(values) => values.capacity() * size_of::<Value>(),
                Bindings::Named(pairs) => pairs.capacity() * size_of::<(String, Value)>(),
            };
            size_of::<Bindings>() + values
        };
        let of_statement =
            |it: &Statement| size_of::<Statement>() + it.args.sets().iter().map(of_set).sum::<usize>();
        self.statements.iter().map(of_statement).sum()
    }

    /// Bytes that it has as MessagePack, about: never much less.
    #[must_use]
    pub fn length(&self) -> usize {
        /// The marker and the length of a text or a number.
        const HEAD: usize = 9;
        let of_value = |value: &Value| HEAD + value.borrowed().heap_size();
        let of_set = |set: &Bindings| match set {
            Bindings::Positional(values) => HEAD + values.iter().map(of_value).sum::<usize>(),
            Bindings::Named(pairs) => {
                HEAD + pairs.iter().map(|(name, value)| HEAD + name.len() + of_value(value)).sum::<usize>()
            }
        };
        let of_statement = |it: &Statement| {
            size_of::<Statement>() + it.sql.len() + it.args.sets().iter().map(of_set).sum::<usize>()
        };
        size_of::<Self>() + self.statements.iter().map(of_statement).sum::<usize>()
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
        json::read(body, &context, RequestSeed(&context))
    }

    /// Reads a MessagePack body of the same shape, with blobs as `bin`.
    ///
    /// # Errors
    /// As for JSON; text that is not UTF-8.
    pub fn from_msgpack(body: &[u8]) -> Result<Self, BodyError> {
        msgpack::read(body)
    }

    /// Reads a JSON body of rqlite's `/db/execute`, `/db/query` and `/db/request`: an array of `"SQL"`, `["SQL", p1, …]` or
    /// `["SQL", {"name": v}]`, where an array of numbers from 0 to 255 is a blob (<https://rqlite.io/docs/api/api/>).
    ///
    /// # Errors
    /// As for JSON.
    pub fn from_rqlite_json(body: &[u8]) -> Result<Self, BodyError> {
        let context = Context::default();
        json::read(body, &context, rqlite::Body(&context))
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
        statements(self.0, StatementSeed, &mut seq).map(Request::new)
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
        statements(self.0, StatementSeed, &mut seq)
    }
}

/// Reads statements, each by a seed of its own, to the end of their array.
fn statements<'de, 'c, A, S>(
    context: &'c Context,
    seed: fn(&'c Context) -> S,
    seq: &mut A,
) -> Result<Vec<Statement>, A::Error>
where
    A: SeqAccess<'de>,
    S: DeserializeSeed<'de, Value = Statement>,
{
    let mut statements = Vec::new();
    loop {
        context.enter_statement(statements.len());
        let Some(statement) = seq.next_element_seed(seed(context))? else { break };
        context.count_statement(statements.len() + 1)?;
        statements.push(statement);
    }
    context.leave_statements();
    Ok(statements)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

    use super::*;

    #[test]
    fn a_request_is_about_as_long_as_is_said() {
        let row =
            || vec![Value::Null, i64::MIN.into(), "text".into(), Value::Blob(vec![0; 70_000]), 1.5.into()];
        let named =
            vec![("name".to_owned(), Value::from("x")), ("body".to_owned(), Value::Blob(vec![1; 300]))];
        let requests = [
            Request::default(),
            Request::new([Statement::new("SELECT 1")]),
            Request::new([
                Statement::many("INSERT", (0..3).map(|_| row())),
                Statement::with("DELETE", row()),
            ]),
            Request::new([Statement {
                args: crate::Args::One(Bindings::Named(named)),
                ..Statement::new("SELECT :name")
            }]),
        ];
        for request in requests {
            let (said, length) = (request.length(), rmp_serde::to_vec_named(&request).unwrap().len());
            assert!((length..length + 1000).contains(&said), "{said} for {length}");
        }
    }
}
