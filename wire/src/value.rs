//! SQL values as callers write and read them.
//!
//! JSON has no bytes, no exact integers beyond what a reader chooses, no infinities. Those three are
//! written as objects with one reserved key: `{"$blob": "base64"}`, `{"$int": "9223372036854775807"}`,
//! `{"$real": "Infinity"}`. No string and no array is ever guessed to be something else.

use base64::Engine as _;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Unexpected, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt;
use std::num::IntErrorKind;

use crate::context::Context;

/// Base64 with the standard alphabet; padding is written, and optional when read.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One SQL value, owned. The five storage classes of SQLite (<https://sqlite.org/datatype3.html>).
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A signed 64-bit integer; booleans arrive as 0 and 1.
    Integer(i64),
    /// An IEEE 754 double. Never NaN in a request: SQLite would store NULL in its place.
    Real(f64),
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// One SQL value, borrowed from a row that is being stepped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// SQL NULL.
    Null,
    /// A signed 64-bit integer.
    Integer(i64),
    /// An IEEE 754 double.
    Real(f64),
    /// UTF-8 text. Text that is not valid UTF-8 is handed over as a [`ValueRef::Blob`], so that nothing is lost.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

/// A row of a result: how encoders see what an engine is stepping through.
pub trait Row {
    /// How many columns the row has.
    fn len(&self) -> usize;
    /// The value in column `index`, which is below [`Row::len`].
    fn get(&self, index: usize) -> ValueRef<'_>;
    /// Whether the row has no columns.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Row for Vec<Value> {
    fn len(&self) -> usize {
        Vec::len(self)
    }
    fn get(&self, index: usize) -> ValueRef<'_> {
        self[index].borrowed()
    }
}

impl Value {
    /// The same value, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Text(value) => ValueRef::Text(value),
            Self::Blob(value) => ValueRef::Blob(value),
        }
    }
}

impl ValueRef<'_> {
    /// A copy that outlives the row.
    #[must_use]
    pub fn to_owned(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Integer(value) => Value::Integer(value),
            Self::Real(value) => Value::Real(value),
            Self::Text(value) => Value::Text(value.to_owned()),
            Self::Blob(value) => Value::Blob(value.to_owned()),
        }
    }

    /// The storage class, in lower case: what a result calls the type of a column that was declared with none.
    #[must_use]
    pub fn storage_class(self) -> &'static str {
        match self {
            Self::Null => "",
            Self::Integer(_) => "integer",
            Self::Real(_) => "real",
            Self::Text(_) => "text",
            Self::Blob(_) => "blob",
        }
    }

    /// Bytes that the value occupies beyond its tag, for accounting.
    #[must_use]
    pub fn heap_size(self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Blob(blob) => blob.len(),
            _ => 0,
        }
    }
}

macro_rules! value_from {
    ($($from:ty => |$it:ident| $into:expr;)*) => {
        $(impl From<$from> for Value {
            fn from($it: $from) -> Self { $into }
        })*
    };
}

value_from! {
    i64 => |it| Self::Integer(it);
    i32 => |it| Self::Integer(it.into());
    u32 => |it| Self::Integer(it.into());
    bool => |it| Self::Integer(it.into());
    f64 => |it| Self::Real(it);
    &str => |it| Self::Text(it.to_owned());
    String => |it| Self::Text(it);
    Vec<u8> => |it| Self::Blob(it);
    &[u8] => |it| Self::Blob(it.to_owned());
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.borrowed().serialize(serializer)
    }
}

impl Serialize for ValueRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let textual = serializer.is_human_readable();
        let wrapped = |serializer: S, key, value: &str| {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(key, value)?;
            map.end()
        };
        match *self {
            Self::Null => serializer.serialize_unit(),
            Self::Integer(value) => serializer.serialize_i64(value),
            Self::Real(value) if textual && !value.is_finite() => {
                wrapped(serializer, "$real", non_finite(value))
            }
            Self::Real(value) => serializer.serialize_f64(value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Blob(value) if textual => wrapped(serializer, "$blob", &BASE64.encode(value)),
            Self::Blob(value) => serializer.serialize_bytes(value),
        }
    }
}

/// The name of a double that JSON has no number for.
pub(crate) fn non_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

impl<'de> serde::Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ValueSeed(&Context::unbounded()).deserialize(deserializer)
    }
}

/// Reads one value and counts it against the request's limit.
pub(crate) struct ValueSeed<'c>(pub(crate) &'c Context);

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.0.count_value::<D::Error>()?;
        deserializer.deserialize_any(ValueVisitor)
    }
}

pub(crate) struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            r#"null, a boolean, a number, a string, {"$blob": "base64"}, {"$int": "…"} or {"$real": "…"}"#,
        )
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Integer).map_err(|_| out_of_range(value))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        if value.is_nan() {
            return Err(E::custom("NaN cannot be stored: SQLite would keep NULL in its place"));
        }
        Ok(Value::Real(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }
    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Blob(value.to_owned()))
    }
    fn visit_byte_buf<E>(self, value: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Blob(value))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let Some(key) = map.next_key::<String>()? else {
            return Err(A::Error::invalid_type(Unexpected::Map, &self));
        };
        let Some(value) = wrapped_value(&key, &mut map)? else {
            return Err(A::Error::custom(format_args!(
                "unknown value form {key:?}: expected $blob, $int or $real"
            )));
        };
        Ok(value)
    }
}

/// Reads what stands behind a reserved key and the end of the object; `None` if `key` is not reserved.
pub(crate) fn wrapped_value<'de, A: MapAccess<'de>>(
    key: &str,
    map: &mut A,
) -> Result<Option<Value>, A::Error> {
    let value = match key {
        "$blob" => map.next_value_seed(Wrapped(decode_blob))?,
        "$int" => map.next_value_seed(Wrapped(decode_int))?,
        "$real" => map.next_value_seed(Wrapped(decode_real))?,
        _ => return Ok(None),
    };
    match map.next_key::<String>()? {
        None => Ok(Some(value)),
        Some(extra) => {
            Err(A::Error::custom(format_args!("{key:?} stands alone in its object, but {extra:?} follows")))
        }
    }
}

/// A string that is decoded from where it lies, without a copy of the text.
struct Wrapped(fn(&str) -> Result<Value, String>);

impl<'de> DeserializeSeed<'de> for Wrapped {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Wrapped {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        (self.0)(text).map_err(E::custom)
    }
}

fn decode_blob(text: &str) -> Result<Value, String> {
    BASE64.decode(text).map(Value::Blob).map_err(|error| format!("$blob is not base64: {error}"))
}

fn decode_int(text: &str) -> Result<Value, String> {
    text.parse().map(Value::Integer).map_err(|error: std::num::ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => out_of_range_message(text),
        _ => format!("$int {text:?} is not a signed 64-bit integer"),
    })
}

fn decode_real(text: &str) -> Result<Value, String> {
    match text {
        "Infinity" => Ok(Value::Real(f64::INFINITY)),
        "-Infinity" => Ok(Value::Real(f64::NEG_INFINITY)),
        "NaN" => Err("NaN cannot be stored: SQLite would keep NULL in its place".to_owned()),
        _ => Err(format!("$real {text:?} is neither Infinity nor -Infinity")),
    }
}

fn out_of_range<E: serde::de::Error>(literal: impl fmt::Display) -> E {
    E::custom(out_of_range_message(literal))
}

/// The errors of a body are told apart by how this begins.
pub(crate) fn out_of_range_message(literal: impl fmt::Display) -> String {
    format!("integer {literal} is out of the range of 64 bits")
}
