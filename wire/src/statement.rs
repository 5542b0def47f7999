//! A statement and what is bound to it, in each of the forms in which a caller may write it.
//!
//! `"SQL"`, `["SQL", p1, p2]`, `["SQL", {"name": v}]` or
//! `{"sql": "SQL", "params": […] or {…}, "many": [[…], …], "expect_rows": n}`.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use std::fmt;

use crate::context::Context;
use crate::value::{Value, ValueSeed, ValueVisitor, wrapped_value};

/// One SQL statement with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Exactly one statement of SQL; a trailing semicolon and comments are fine.
    pub sql: String,
    /// What is bound to its parameters.
    pub args: Args,
    /// How many rows the statement has to return or, where it returns none, to change; otherwise everything is rolled back.
    pub expect_rows: Option<u64>,
}

/// What is bound to a statement: one set of arguments, or one for each of many executions.
#[derive(Clone, Debug, PartialEq)]
pub enum Args {
    /// The statement runs once.
    One(Bindings),
    /// The statement runs once for each element, in order, under one result.
    Many(Vec<Bindings>),
}

/// One set of arguments.
#[derive(Clone, Debug, PartialEq)]
pub enum Bindings {
    /// By position: `?`, `?NNN`.
    Positional(Vec<Value>),
    /// By name: `:name`, `@name`, `$name`; the prefix may be left out.
    Named(Vec<(String, Value)>),
}

impl Bindings {
    /// No arguments.
    pub const NONE: Self = Self::Positional(Vec::new());

    /// The arguments, if they go by position.
    #[must_use]
    pub fn positional(&self) -> Option<&[Value]> {
        match self {
            Self::Positional(values) => Some(values),
            Self::Named(_) => None,
        }
    }

    /// All arguments, whatever they go by.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        let (positional, named) = match self {
            Self::Positional(values) => (values.as_slice(), [].as_slice()),
            Self::Named(pairs) => ([].as_slice(), pairs.as_slice()),
        };
        positional.iter().chain(named.iter().map(|(_, value)| value))
    }
}

impl Args {
    /// Each set of arguments in turn.
    pub fn sets(&self) -> &[Bindings] {
        match self {
            Self::One(bindings) => std::slice::from_ref(bindings),
            Self::Many(sets) => sets,
        }
    }
}

impl Statement {
    /// A statement without arguments.
    pub fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), args: Args::One(Bindings::NONE), expect_rows: None }
    }

    /// A statement with arguments by position.
    ///
    /// ```
    /// use larder_wire::Statement;
    /// let statement = Statement::with("SELECT * FROM t WHERE a = ? AND b = ?", [1.into(), "x".into()]);
    /// ```
    pub fn with(sql: impl Into<String>, values: impl Into<Vec<Value>>) -> Self {
        Self { args: Args::One(Bindings::Positional(values.into())), ..Self::new(sql) }
    }

    /// A statement that runs once for each row of arguments.
    pub fn many(sql: impl Into<String>, rows: impl IntoIterator<Item = Vec<Value>>) -> Self {
        Self { args: Args::Many(rows.into_iter().map(Bindings::Positional).collect()), ..Self::new(sql) }
    }

    /// The same statement, which now has to return or change exactly `rows` rows.
    #[must_use]
    pub fn expecting(self, rows: u64) -> Self {
        Self { expect_rows: Some(rows), ..self }
    }
}

impl Serialize for Bindings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Positional(values) => values.serialize(serializer),
            Self::Named(pairs) => serializer.collect_map(pairs.iter().map(|(name, value)| (name, value))),
        }
    }
}

impl Serialize for Statement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let (Args::One(Bindings::Positional(values)), None) = (&self.args, self.expect_rows) {
            let mut seq = serializer.serialize_seq(Some(1 + values.len()))?;
            seq.serialize_element(&self.sql)?;
            for value in values {
                seq.serialize_element(value)?;
            }
            return seq.end();
        }
        let mut map = serializer.serialize_map(Some(2 + usize::from(self.expect_rows.is_some())))?;
        map.serialize_entry("sql", &self.sql)?;
        match &self.args {
            Args::One(bindings) => map.serialize_entry("params", bindings)?,
            Args::Many(sets) => map.serialize_entry("many", sets)?,
        }
        if let Some(rows) = self.expect_rows {
            map.serialize_entry("expect_rows", &rows)?;
        }
        map.end()
    }
}

/// Reads one statement in any of its forms.
pub(crate) struct StatementSeed<'c>(pub(crate) &'c Context);

impl<'de> DeserializeSeed<'de> for StatementSeed<'_> {
    type Value = Statement;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Statement, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StatementSeed<'_> {
    type Value = Statement;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a statement: "SQL", ["SQL", args…] or {"sql": …, "params": …} (arguments need [["SQL", args…]])"#)
    }

    fn visit_str<E>(self, sql: &str) -> Result<Statement, E> {
        Ok(Statement::new(sql))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Statement, A::Error> {
        let sql: String = seq
            .next_element_seed(SqlSeed)?
            .ok_or_else(|| A::Error::custom("an empty array is no statement: it starts with the SQL"))?;
        let mut values = Vec::new();
        while let Some(arg) = seq.next_element_seed(ArgSeed(self.0))? {
            match arg {
                Arg::Value(value) => values.push(value),
                Arg::Named(pairs) => {
                    if !values.is_empty() || seq.next_element_seed(ArgSeed(self.0))?.is_some() {
                        return Err(A::Error::custom("named arguments cannot be mixed with positional ones"));
                    }
                    return Ok(Statement { args: Args::One(Bindings::Named(pairs)), ..Statement::new(sql) });
                }
            }
        }
        Ok(Statement::with(sql, values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Statement, A::Error> {
        let (mut sql, mut params, mut many, mut expect_rows) = (None, None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "sql" => once(&key, &mut sql, map.next_value_seed(SqlSeed)?)?,
                "params" => once(&key, &mut params, map.next_value_seed(BindingsSeed(self.0))?)?,
                "many" => once(&key, &mut many, map.next_value_seed(ManySeed(self.0))?)?,
                "expect_rows" => once(&key, &mut expect_rows, map.next_value::<Option<u64>>()?)?,
                _ => {
                    return Err(A::Error::custom(format_args!(
                        "unknown field {key:?} of a statement: expected sql, params, many, expect_rows"
                    )));
                }
            }
        }
        let args = match (params, many) {
            (Some(_), Some(_)) => return Err(A::Error::custom("params and many exclude each other")),
            (params, None) => Args::One(params.unwrap_or(Bindings::NONE)),
            (None, Some(sets)) => Args::Many(sets),
        };
        let sql = sql.ok_or_else(|| A::Error::missing_field("sql"))?;
        Ok(Statement { sql, args, expect_rows: expect_rows.flatten() })
    }
}

/// Stores the value of a key that may stand only once in its object.
pub(crate) fn once<T, E: serde::de::Error>(key: &str, slot: &mut Option<T>, value: T) -> Result<(), E> {
    if slot.replace(value).is_some() {
        return Err(E::custom(format_args!("duplicate field {key:?}")));
    }
    Ok(())
}

/// The text of a statement; says what was found instead, since this is the commonest slip.
pub(crate) struct SqlSeed;

impl<'de> DeserializeSeed<'de> for SqlSeed {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for SqlSeed {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the SQL of a statement as a string")
    }
    fn visit_str<E>(self, sql: &str) -> Result<String, E> {
        Ok(sql.to_owned())
    }
}

/// An element behind the SQL in the array form: a value, or all arguments by name.
enum Arg {
    Value(Value),
    Named(Vec<(String, Value)>),
}

struct ArgSeed<'c>(&'c Context);

impl<'de> DeserializeSeed<'de> for ArgSeed<'_> {
    type Value = Arg;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Arg, D::Error> {
        self.0.count_value::<D::Error>()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ArgSeed<'_> {
    type Value = Arg;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} or an object of named arguments", Expectation)
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<Arg, E> {
        ValueVisitor.visit_unit().map(Arg::Value)
    }
    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Arg, E> {
        ValueVisitor.visit_bool(value).map(Arg::Value)
    }
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Arg, E> {
        ValueVisitor.visit_i64(value).map(Arg::Value)
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Arg, E> {
        ValueVisitor.visit_u64(value).map(Arg::Value)
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Arg, E> {
        ValueVisitor.visit_f64(value).map(Arg::Value)
    }
    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Arg, E> {
        ValueVisitor.visit_str(value).map(Arg::Value)
    }
    fn visit_bytes<E: serde::de::Error>(self, value: &[u8]) -> Result<Arg, E> {
        ValueVisitor.visit_bytes(value).map(Arg::Value)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Arg, A::Error> {
        let Some(key) = map.next_key::<String>()? else { return Ok(Arg::Named(Vec::new())) };
        if let Some(value) = wrapped_value(&key, &mut map)? {
            return Ok(Arg::Value(value));
        }
        named(Some(key), map, || ValueSeed(self.0)).map(Arg::Named)
    }
}

/// The forms of a value, for messages.
struct Expectation;

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ValueVisitor.expecting(f)
    }
}

/// Reads the rest of an object of named arguments; a name may stand once.
pub(crate) fn named<'de, A: MapAccess<'de>, S: DeserializeSeed<'de, Value = Value>>(
    mut key: Option<String>,
    mut map: A,
    value: impl Fn() -> S,
) -> Result<Vec<(String, Value)>, A::Error> {
    let mut pairs: Vec<(String, Value)> = Vec::new();
    loop {
        let name = match key.take() {
            Some(name) => name,
            None => match map.next_key()? {
                Some(name) => name,
                None => return Ok(pairs),
            },
        };
        if pairs.iter().any(|(seen, _)| *seen == name) {
            return Err(A::Error::custom(format_args!("duplicate argument {name:?}")));
        }
        if pairs.len() >= MAX_NAMED {
            return Err(A::Error::custom(format_args!("more than {MAX_NAMED} named arguments")));
        }
        pairs.push((name, map.next_value_seed(value())?));
    }
}

/// Names are matched one by one; this many is more than anybody writes by hand.
const MAX_NAMED: usize = 1000;

/// `params`: an array of values, or an object of named ones.
struct BindingsSeed<'c>(&'c Context);

impl<'de> DeserializeSeed<'de> for BindingsSeed<'_> {
    type Value = Bindings;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Bindings, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for BindingsSeed<'_> {
    type Value = Bindings;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of arguments or an object of named ones")
    }
    fn visit_unit<E>(self) -> Result<Bindings, E> {
        Ok(Bindings::NONE)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Bindings, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(ValueSeed(self.0))? {
            values.push(value);
        }
        // There may be hundreds of thousands of sets, mostly of a few values.
        values.shrink_to_fit();
        Ok(Bindings::Positional(values))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Bindings, A::Error> {
        named(None, map, || ValueSeed(self.0)).map(Bindings::Named)
    }
}

/// `many`: an array of what `params` may be.
struct ManySeed<'c>(&'c Context);

impl<'de> DeserializeSeed<'de> for ManySeed<'_> {
    type Value = Vec<Bindings>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ManySeed<'_> {
    type Value = Vec<Bindings>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of argument arrays")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut sets = Vec::new();
        while let Some(set) = seq.next_element_seed(BindingsSeed(self.0))? {
            // An empty set costs memory too, so it counts as a value.
            self.0.count_value::<A::Error>()?;
            sets.push(set);
        }
        Ok(sets)
    }
}
