//! Reading an object from JSON text, and which of its fields stand there twice.
//!
//! Objects, and lists within them, may be nested [`DEPTH`] deep. Kubernetes takes a hundred times that; here whatever walks an object may do so by
//! recursion, and what is written down of its fields is deeper by some levels and has to be read by clients that take no more than 128. Numbers become what Go makes of them: integers of 64 bits where they are written as such or have no
//! fraction, doubles otherwise. Of a field that stands there twice the last one counts.

use std::fmt::{self, Write as _};

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How many duplicate fields are told.
const MOST: usize = 100;
/// How deep values may be nested.
pub(crate) const DEPTH: usize = 100;

/// A JSON object that was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    /// The object.
    pub object: Map<String, Value>,
    /// The paths of fields that stood there twice: `spec.list[0].x`; a hundred at most.
    pub duplicates: Vec<String>,
}

/// Why a text is no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is no JSON, or nested too deep.
    #[error("{0}")]
    Json(String),
    /// It is JSON, but no object.
    #[error("json: cannot unmarshal {0} into Go value of type map[string]interface {{}}")]
    NotAnObject(&'static str),
}

/// Reads a JSON object.
///
/// # Errors
/// The text is no JSON, nested too deep, or no object.
pub fn read(text: &[u8]) -> Result<Read, ReadError> {
    let (value, duplicates) = read_value(text)?;
    Read::of(value, duplicates)
}

impl Read {
    /// What was read, if it is an object.
    pub(crate) fn of(value: Value, duplicates: Vec<String>) -> Result<Self, ReadError> {
        match value {
            Value::Object(object) => Ok(Self { object, duplicates }),
            other => Err(ReadError::NotAnObject(go_name(&other))),
        }
    }
}

/// Reads JSON, and the paths of fields that stand there twice.
///
/// # Errors
/// The text is no JSON, or nested too deep.
pub(crate) fn read_value(text: &[u8]) -> Result<(Value, Vec<String>), ReadError> {
    let mut notes = Notes::default();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Seed(&mut notes).deserialize(&mut deserializer);
    let value = value.and_then(|it| deserializer.end().map(|()| it));
    Ok((value.map_err(|it| ReadError::Json(it.to_string()))?, notes.duplicates))
}

/// What Go's decoder calls a JSON value.
pub(crate) fn go_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What is noted while a value is read.
#[derive(Default)]
pub(crate) struct Notes {
    path: String,
    depth: usize,
    duplicates: Vec<String>,
}

impl Notes {
    /// The paths of fields that stood there twice.
    pub(crate) fn into_duplicates(self) -> Vec<String> {
        self.duplicates
    }
}

/// Reads a value.
pub(crate) struct Seed<'a>(pub(crate) &'a mut Notes);

impl Seed<'_> {
    /// Goes a level down, if there may be one.
    fn down<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.0.depth += 1;
        if self.0.depth > DEPTH {
            Err(E::custom(format_args!("exceeded max depth of {DEPTH}")))
        } else {
            Ok(())
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        #[expect(clippy::cast_precision_loss, reason = "Go reads it as a double")]
        Ok(i64::try_from(value).map_or_else(|_| double(value as f64), Value::from))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(double(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        self.down()?;
        let mut list = Vec::new();
        let length = self.0.path.len();
        loop {
            write!(self.0.path, "[{}]", list.len()).expect("a String takes everything");
            let item = items.next_element_seed(Seed(self.0))?;
            self.0.path.truncate(length);
            match item {
                Some(item) => list.push(item),
                None => {
                    self.0.depth -= 1;
                    return Ok(Value::Array(list));
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<Value, A::Error> {
        self.down()?;
        let mut object = Map::new();
        let length = self.0.path.len();
        while let Some(name) = fields.next_key::<String>()? {
            if length > 0 {
                self.0.path.push('.');
            }
            self.0.path.push_str(&name);
            let value = fields.next_value_seed(Seed(self.0))?;
            if object.insert(name, value).is_some() && self.0.duplicates.len() < MOST {
                self.0.duplicates.push(self.0.path.clone());
            }
            self.0.path.truncate(length);
        }
        self.0.depth -= 1;
        Ok(Value::Object(object))
    }
}

/// A double; one without a fraction that fits is an integer, since that is how Go writes it.
pub(crate) fn double(value: f64) -> Value {
    // Up to 2^53 every integer is a double.
    const EXACT: f64 = 9_007_199_254_740_991.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "it was looked at")]
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn duplicates(text: &str) -> Vec<String> {
        read(text.as_bytes()).unwrap().duplicates
    }

    #[test]
    fn fields_that_stand_there_twice_are_told_and_the_last_one_counts() {
        let text = r#"{"a":1,"spec":{"x":1,"x":2,"list":[{"y":1},{"y":1,"y":2}]},"a":3}"#;
        assert_eq!(duplicates(text), ["spec.x", "spec.list[1].y", "a"]);
        let object = read(text.as_bytes()).unwrap().object;
        assert_eq!(Value::Object(object), json!({"a": 3, "spec": {"x": 2, "list": [{"y": 1}, {"y": 2}]}}));
        assert_eq!(duplicates(r#"{"a":{"b":1},"b":1}"#), [""; 0]);
    }

    #[test]
    fn numbers_are_what_go_makes_of_them() {
        let object = read(br#"{"a":[1.0,1.5,-0.0,9223372036854775808,1e400]}"#);
        assert!(matches!(object, Err(ReadError::Json(_))));
        let object = read(br#"{"a":[1.0,1.5,9223372036854775807,9223372036854775808]}"#).unwrap().object;
        assert_eq!(object["a"], json!([1, 1.5, 9_223_372_036_854_775_807_i64, 9_223_372_036_854_775_808.0]));
    }

    #[test]
    fn what_is_no_object_or_too_deep_is_refused() {
        let deep = |n: usize| format!("{}1{}", r#"{"a":"#.repeat(n), "}".repeat(n));
        assert!(read(deep(DEPTH).as_bytes()).is_ok());
        let flat = format!(r#"{{"a":[{}]}}"#, vec!["[{}]"; 200].join(","));
        assert!(read(flat.as_bytes()).is_ok());
        for text in [
            deep(DEPTH + 1),
            "[".repeat(100_000),
            r#"{"a":"#.repeat(1_000_000),
            "{} x".to_owned(),
            String::new(),
        ] {
            assert!(matches!(read(text.as_bytes()), Err(ReadError::Json(_))), "{}", text.len());
        }
        assert_eq!(read(b"[]"), Err(ReadError::NotAnObject("array")));
        assert!(read(b"{\"a\":\"\xff\"}").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn what_serde_reads_is_read(text in r#"[{}\[\]:,"a0.eE -]{0,60}"#) {
            let ours = read(text.as_bytes()).is_ok();
            prop_assert_eq!(ours, serde_json::from_str::<Map<String, Value>>(&text).is_ok());
        }
    }
}
