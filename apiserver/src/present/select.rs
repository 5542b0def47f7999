//! Taking single values out of the JSON text of an object, without a tree of the rest.
//!
//! A [`Wanted`] is a tree of field names; the reader goes down where the object has them and skips what is not asked for: from quote to quote,
//! counting brackets, which is several times as fast as to look at every number and word between them. It stops once everything that can be
//! there was seen: of an object whose metadata comes first, metadata alone is read. That the text is JSON was seen to when it was stored; what
//! is none is an error or is shown as it is, and never more.

use std::borrow::Cow;
use std::collections::BTreeMap;

use memchr::memchr2;
use serde_json::Value;

use super::Unreadable;

/// Which values are wanted: field names, and at their ends the numbers under which values are told.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    numbers: Vec<usize>,
    below: BTreeMap<String, Wanted>,
}

impl Wanted {
    /// Asks for the value behind some names, under a number.
    pub(super) fn add(&mut self, names: &[String], number: usize) {
        let mut at = self;
        for name in names {
            at = at.below.entry(name.clone()).or_default();
        }
        at.numbers.push(number);
    }
}

/// Is told each number and value that was found.
pub(super) type Tell<'t> = dyn FnMut(usize, &Value) + 't;

/// Takes the wanted values out of an object, and returns the text of its metadata.
pub(super) fn values<'j>(
    json: &'j [u8],
    wanted: &Wanted,
    tell: &mut Tell<'_>,
) -> Result<&'j str, Unreadable> {
    if !wanted.numbers.is_empty() {
        // A path that begins with no name may lead anywhere.
        let value = serde_json::from_slice(json).map_err(|it| unreadable(&it.to_string()))?;
        wanted.tell(&value, tell);
        return metadata(json);
    }
    let mut metadata = None;
    let mut missing = wanted.below.len() + usize::from(!wanted.below.contains_key("metadata"));
    let mut cursor = Cursor { text: json, at: 0 };
    cursor.fields(&mut |name, cursor| {
        let wanted = wanted.below.get(name);
        if name == "metadata" {
            let text = cursor.value()?;
            metadata = Some(text);
            if let Some(wanted) = wanted {
                Cursor { text, at: 0 }.walk(wanted, tell)?;
            }
        } else if let Some(wanted) = wanted {
            cursor.walk(wanted, tell)?;
        } else {
            cursor.value()?;
            return Ok(true);
        }
        missing = missing.saturating_sub(1);
        Ok(missing > 0)
    })?;
    let metadata =
        metadata.filter(|it| it.first() == Some(&b'{')).ok_or_else(|| unreadable("there is no metadata"))?;
    std::str::from_utf8(metadata).map_err(|it| unreadable(&it.to_string()))
}

/// The text of the metadata of an object.
pub(super) fn metadata(json: &[u8]) -> Result<&str, Unreadable> {
    values(json, &Wanted::default(), &mut |_, _| ())
}

fn unreadable(why: &str) -> Unreadable {
    Unreadable(why.to_owned())
}

/// Whether to go on.
type Each<'j, 'f> = dyn FnMut(&str, &mut Cursor<'j>) -> Result<bool, Unreadable> + 'f;

struct Cursor<'j> {
    text: &'j [u8],
    at: usize,
}

impl<'j> Cursor<'j> {
    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.text.get(self.at) {
            if !byte.is_ascii_whitespace() {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    fn expect(&mut self, byte: u8) -> Result<(), Unreadable> {
        if self.peek() != Some(byte) {
            return Err(unreadable(&format!("expected {:?} at byte {}", byte as char, self.at)));
        }
        self.at += 1;
        Ok(())
    }

    /// Calls `each` with every field of an object, to take its value.
    fn fields(&mut self, each: &mut Each<'j, '_>) -> Result<(), Unreadable> {
        self.expect(b'{')?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let name = self.name()?;
            self.expect(b':')?;
            if !each(&name, self)? {
                return Ok(());
            }
            match self.peek() {
                Some(b',') => self.at += 1,
                _ => return self.expect(b'}'),
            }
        }
    }

    fn name(&mut self) -> Result<Cow<'j, str>, Unreadable> {
        self.expect(b'"')?;
        let start = self.at;
        self.skip_text()?;
        let raw = &self.text[start..self.at - 1];
        if raw.contains(&b'\\') {
            let text = serde_json::from_slice(&self.text[start - 1..self.at]);
            return text.map(Cow::Owned).map_err(|it| unreadable(&it.to_string()));
        }
        std::str::from_utf8(raw).map(Cow::Borrowed).map_err(|it| unreadable(&it.to_string()))
    }

    /// Goes behind the closing quote.
    fn skip_text(&mut self) -> Result<(), Unreadable> {
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let found = memchr2(b'"', b'\\', rest).ok_or_else(|| unreadable("a text does not end"))?;
            self.at += found + 1;
            if rest[found] == b'"' {
                return Ok(());
            }
            self.at += 1;
        }
    }

    /// Takes a value as it stands there.
    fn value(&mut self) -> Result<&'j [u8], Unreadable> {
        let first = self.peek().ok_or_else(|| unreadable("a value is missing"))?;
        let start = self.at;
        match first {
            b'"' => {
                self.at += 1;
                self.skip_text()?;
            }
            b'{' | b'[' => self.skip_brackets()?,
            _ => {
                let is_end = |it: &u8| matches!(it, b',' | b'}' | b']') || it.is_ascii_whitespace();
                let rest = &self.text[start..];
                self.at = start + rest.iter().position(is_end).unwrap_or(rest.len());
            }
        }
        if self.at == start {
            return Err(unreadable("a value is missing"));
        }
        Ok(&self.text[start..self.at])
    }

    fn skip_brackets(&mut self) -> Result<(), Unreadable> {
        let mut depth = 0_usize;
        while let Some(byte) = self.text.get(self.at) {
            self.at += 1;
            match byte {
                b'"' => self.skip_text()?,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
        Err(unreadable("a bracket is not closed"))
    }

    /// Goes through a value, and tells what is wanted of it.
    fn walk(&mut self, wanted: &Wanted, tell: &mut Tell<'_>) -> Result<(), Unreadable> {
        if !wanted.numbers.is_empty() {
            let value = serde_json::from_slice(self.value()?).map_err(|it| unreadable(&it.to_string()))?;
            wanted.tell(&value, tell);
            return Ok(());
        }
        if self.peek() != Some(b'{') {
            return self.value().map(|_| ());
        }
        self.fields(&mut |name, cursor| {
            match wanted.below.get(name) {
                Some(wanted) => cursor.walk(wanted, tell)?,
                None => _ = cursor.value()?,
            }
            Ok(true)
        })
    }
}

impl Wanted {
    fn tell(&self, value: &Value, tell: &mut Tell<'_>) {
        self.numbers.iter().for_each(|number| tell(*number, value));
        for (name, wanted) in &self.below {
            if let Some(value) = value.get(name) {
                wanted.tell(value, tell);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a\"\\\\{}\\[\\],:\u{1}ä]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-c\"\\\\{]{0,2}", inner, 0..5)
                    .prop_map(|it| Value::Object(it.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_wanted_is_found_as_a_parser_finds_it(
            value in json_value(),
            paths in proptest::collection::vec(proptest::collection::vec("[a-c\"\\\\{]{0,2}", 0..4), 1..5),
            pretty in any::<bool>(),
        ) {
            let object = json!({"a": value, "metadata": {"name": "x"}, "b": [value], "z": value});
            let text = if pretty { format!("{object:#}") } else { object.to_string() };
            let mut wanted = Wanted::default();
            paths.iter().enumerate().for_each(|(number, path)| wanted.add(path, number));
            let mut found = vec![None; paths.len()];
            let metadata = values(text.as_bytes(), &wanted, &mut |number, value| found[number] = Some(value.clone())).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(metadata).unwrap(), object["metadata"].clone());
            for (path, found) in paths.iter().zip(found) {
                let value = path.iter().try_fold(&object, |value, name| value.as_object()?.get(name));
                prop_assert_eq!(found.as_ref(), value, "{:?}", path);
            }
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'{'), Just(b'}'), Just(b'['),
            Just(b']'), Just(b':'), Just(b','), Just(b'\\'), any::<u8>()], 0..60)) {
            let mut wanted = Wanted::default();
            wanted.add(&["a".to_owned()], 0);
            let _ = values(&bytes, &wanted, &mut |_, _| ());
        }
    }
}
