//! The bodies of rqlite's clients (<https://rqlite.io/docs/api/api/>): an array of `"SQL"`, `["SQL", p1, …]` or
//! `["SQL", {"name": v}]`, where an array of numbers from 0 to 255 is a blob.
//!
//! Two of rqlite's habits are left out since they change data: a string of the form `x'..'` stays text, and an integer
//! beyond 64 bits is refused instead of rounded.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

use super::{Request, statements};
use crate::context::Context;
use crate::statement::{Args, Bindings, SqlSeed, Statement, named};
use crate::value::{Value, ValueVisitor};

/// Reads the array of statements.
pub(super) struct Body<'c>(pub(super) &'c Context);

impl<'de> DeserializeSeed<'de> for Body<'_> {
    type Value = Request;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Request, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = Request;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of statements")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Request, A::Error> {
        statements(self.0, RqliteStatement, &mut seq).map(Request::new)
    }
}

struct RqliteStatement<'c>(&'c Context);

impl<'de> DeserializeSeed<'de> for RqliteStatement<'_> {
    type Value = Statement;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Statement, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RqliteStatement<'_> {
    type Value = Statement;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a statement: "SQL", ["SQL", args…] or ["SQL", {"name": arg}]"#)
    }

    fn visit_str<E>(self, sql: &str) -> Result<Statement, E> {
        Ok(Statement::new(sql))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Statement, A::Error> {
        let sql: String = seq
            .next_element_seed(SqlSeed)?
            .ok_or_else(|| A::Error::custom("an empty array is no statement: it starts with the SQL"))?;
        let mut bindings: Option<Bindings> = None;
        while let Some(arg) = seq.next_element_seed(RqliteArg(self.0))? {
            match (&mut bindings, arg) {
                (None, Arg::Value(value)) => bindings = Some(Bindings::Positional(vec![value])),
                (None, Arg::Named(pairs)) => bindings = Some(Bindings::Named(pairs)),
                (Some(Bindings::Positional(values)), Arg::Value(value)) => values.push(value),
                _ => {
                    return Err(A::Error::custom(
                        "named arguments stand in one object, and not beside positional ones",
                    ));
                }
            }
        }
        Ok(Statement { args: Args::One(bindings.unwrap_or(Bindings::NONE)), ..Statement::new(sql) })
    }
}

enum Arg {
    Value(Value),
    Named(Vec<(String, Value)>),
}

/// What stands behind the SQL: a value, or an object of values by name.
struct RqliteArg<'c>(&'c Context);

impl<'de> DeserializeSeed<'de> for RqliteArg<'_> {
    type Value = Arg;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Arg, D::Error> {
        self.0.count_value::<D::Error>()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RqliteArg<'_> {
    type Value = Arg;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FORMS}, or an object of named ones")
    }
    fn visit_unit<E: Error>(self) -> Result<Arg, E> {
        ValueVisitor.visit_unit().map(Arg::Value)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Arg, E> {
        ValueVisitor.visit_bool(value).map(Arg::Value)
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Arg, E> {
        ValueVisitor.visit_i64(value).map(Arg::Value)
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Arg, E> {
        ValueVisitor.visit_u64(value).map(Arg::Value)
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Arg, E> {
        ValueVisitor.visit_f64(value).map(Arg::Value)
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Arg, E> {
        ValueVisitor.visit_str(value).map(Arg::Value)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Arg, A::Error> {
        bytes(seq).map(Arg::Value)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Arg, A::Error> {
        named(None, map, || RqliteValue(self.0)).map(Arg::Named)
    }
}

/// The forms of a value, for messages.
const FORMS: &str = "null, a boolean, a number, a string, an array of bytes";

/// A value that stands under a name, where an object has no meaning.
struct RqliteValue<'c>(&'c Context);

impl<'de> DeserializeSeed<'de> for RqliteValue<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match RqliteArg(self.0).deserialize(deserializer)? {
            Arg::Value(value) => Ok(value),
            Arg::Named(_) => Err(D::Error::custom(format_args!("an object is no value: expected {FORMS}"))),
        }
    }
}

fn bytes<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Value, A::Error> {
    let mut bytes = Vec::new();
    while let Some(byte) = seq.next_element::<u8>()? {
        bytes.push(byte);
    }
    Ok(Value::Blob(bytes))
}
