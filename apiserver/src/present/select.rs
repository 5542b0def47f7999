//! Taking single values out of the JSON text of an object, without a tree of the rest.
//!
//! A [`Wanted`] is a tree of field names; the reader goes down where the object has them and skips what is not asked for. It stops once
//! everything that can be there was seen: of an object whose metadata comes first, metadata alone is read.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

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
    let mut found = Found { metadata: None, is_done: false };
    let top = Top { wanted, tell, found: &mut found };
    let read = serde_json::Deserializer::from_slice(json).deserialize_map(top);
    match (read, found.metadata) {
        // It stopped before the end, of which the deserializer complains.
        (_, Some(metadata)) if found.is_done => Ok(metadata),
        (Err(error), _) => Err(Unreadable(error.to_string())),
        (Ok(()), Some(metadata)) => Ok(metadata),
        (Ok(()), None) => Err(Unreadable("there is no metadata".to_owned())),
    }
}

/// The text of the metadata of an object.
pub(super) fn metadata(json: &[u8]) -> Result<&str, Unreadable> {
    values(json, &Wanted::default(), &mut |_, _| ())
}

struct Found<'j> {
    metadata: Option<&'j str>,
    is_done: bool,
}

struct Top<'a, 't, 'j> {
    wanted: &'a Wanted,
    tell: &'a mut Tell<'t>,
    found: &'a mut Found<'j>,
}

impl<'j> Visitor<'j> for Top<'_, '_, 'j> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'j>>(self, mut fields: A) -> Result<(), A::Error> {
        let metadata = usize::from(!self.wanted.below.contains_key("metadata"));
        let mut missing = self.wanted.below.len() + metadata;
        while let Some(name) = fields.next_key_seed(Name)? {
            let wanted = self.wanted.below.get(name.as_ref());
            match (name.as_ref(), wanted) {
                ("metadata", wanted) => {
                    let text = fields.next_value::<&RawValue>()?.get();
                    self.found.metadata = Some(text);
                    if let Some(wanted) = wanted {
                        let mut inner = serde_json::Deserializer::from_str(text);
                        let below = Below { wanted, tell: &mut *self.tell };
                        below.deserialize(&mut inner).map_err(serde::de::Error::custom)?;
                    }
                    missing -= 1;
                }
                (_, Some(wanted)) => {
                    fields.next_value_seed(Below { wanted, tell: &mut *self.tell })?;
                    missing -= 1;
                }
                (_, None) => _ = fields.next_value::<IgnoredAny>()?,
            }
            if missing == 0 {
                self.found.is_done = true;
                return Ok(());
            }
        }
        Ok(())
    }
}

/// A field's name, copied only if it is written with escapes.
struct Name;

impl<'j> DeserializeSeed<'j> for Name {
    type Value = std::borrow::Cow<'j, str>;
    fn deserialize<D: serde::Deserializer<'j>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'j> Visitor<'j> for Name {
    type Value = std::borrow::Cow<'j, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'j str) -> Result<Self::Value, E> {
        Ok(name.into())
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(name.to_owned().into())
    }
}

/// One place below the top.
struct Below<'a, 't> {
    wanted: &'a Wanted,
    tell: &'a mut Tell<'t>,
}

impl<'j> DeserializeSeed<'j> for Below<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'j>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.wanted.numbers.is_empty() {
            return deserializer.deserialize_any(self);
        }
        let value = <Value as serde::Deserialize>::deserialize(deserializer)?;
        self.wanted.tell(&value, self.tell);
        Ok(())
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

impl<'j> Visitor<'j> for Below<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'j>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key_seed(Name)? {
            match self.wanted.below.get(name.as_ref()) {
                Some(wanted) => fields.next_value_seed(Below { wanted, tell: &mut *self.tell })?,
                None => _ = fields.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'j>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}
