//! Golden files: what a form looks like, kept beside the tests. `UPDATE_GOLDEN=1 cargo test -p larder-wire` writes
//! them anew; the difference is then read by a person.

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::path::Path;

/// Compares with `tests/golden/<name>`.
pub(crate) fn assert_golden(name: &str, actual: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(
        String::from_utf8_lossy(actual),
        String::from_utf8_lossy(&expected),
        "{name} is not what it was"
    );
}

/// The golden file as a body, without the line break that editors put at its end.
pub(crate) fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read(path).unwrap().trim_ascii_end().to_vec()
}

/// MessagePack objects as text, one a line: like JSON, with integers and doubles apart and blobs as `h'…'`.
pub(crate) fn msgpack_as_text(bytes: &[u8]) -> String {
    let mut rest = bytes;
    let mut text = String::new();
    while !rest.is_empty() {
        let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
        text += &deserializer.deserialize_any(Shown).unwrap();
        text.push('\n');
    }
    text
}

struct Shown;

impl<'de> serde::de::DeserializeSeed<'de> for Shown {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shown {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }
    fn visit_unit<E>(self) -> Result<String, E> {
        Ok("nil".to_owned())
    }
    fn visit_bool<E>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }
    fn visit_i64<E>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }
    fn visit_u64<E>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }
    fn visit_f64<E>(self, value: f64) -> Result<String, E> {
        Ok(format!("{value:?}"))
    }
    fn visit_str<E>(self, value: &str) -> Result<String, E> {
        Ok(format!("{value:?}"))
    }
    fn visit_bytes<E>(self, value: &[u8]) -> Result<String, E> {
        let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("h'{digits}'"))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<String, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Shown)? {
            items.push(item);
        }
        Ok(format!("[{}]", items.join(", ")))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(Shown)? {
            entries.push(format!("{key}: {}", map.next_value_seed(Shown)?));
        }
        Ok(format!("{{{}}}", entries.join(", ")))
    }
}
