//! Reading a body as MessagePack (<https://github.com/msgpack/msgpack/blob/master/spec.md>).
//!
//! `rmp_serde` is not used here: it hands over text that is not UTF-8 as bytes, so that a slip of the caller would be
//! stored as a blob, and it does not say where it stands. The visitors of a request ask for nothing below
//! a value, so the depth of a body costs no stack.

use rmp::Marker;
use serde::de::value::{BorrowedStrDeserializer, Error};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::{Request, RequestSeed};
use crate::context::{BodyError, Context};

pub(super) fn read(body: &[u8]) -> Result<Request, BodyError> {
    let context = Context::default();
    let mut reader = Reader { body, at: 0, item: 0 };
    let request = RequestSeed(&context)
        .deserialize(&mut reader)
        .map_err(|error| context.error(&error.to_string(), Some(reader.item)))?;
    if reader.at < body.len() {
        return Err(context.error("bytes follow the request", Some(reader.at)));
    }
    Ok(request)
}

struct Reader<'de> {
    body: &'de [u8],
    at: usize,
    /// Where the item begins that was read last, for messages.
    item: usize,
}

impl<'de> Reader<'de> {
    fn take(&mut self, length: usize) -> Result<&'de [u8], Error> {
        let Some((taken, _)) = self.body[self.at..].split_at_checked(length) else {
            self.item = self.body.len();
            return Err(Error::custom("the body ends too early"));
        };
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(u8::from_be_bytes)
    }
    fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }
    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    fn marker(&mut self) -> Result<Marker, Error> {
        self.item = self.at;
        self.u8().map(Marker::from_u8)
    }

    fn text(&mut self, length: u32) -> Result<&'de str, Error> {
        let bytes = self.take(length as usize)?;
        std::str::from_utf8(bytes).map_err(|_| Error::custom("a string is not UTF-8: bytes are sent as bin"))
    }

    fn visit_text<V: Visitor<'de>>(&mut self, length: u32, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.text(length)?)
    }

    fn visit_bytes<V: Visitor<'de>>(&mut self, length: u32, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_bytes(self.take(length as usize)?)
    }

    fn visit_array<V: Visitor<'de>>(&mut self, count: u32, visitor: V) -> Result<V::Value, Error> {
        let mut items = Items { reader: self, left: count };
        let visited = visitor.visit_seq(&mut items)?;
        items.end().map(|()| visited)
    }

    fn visit_map<V: Visitor<'de>>(&mut self, count: u32, visitor: V) -> Result<V::Value, Error> {
        let mut items = Items { reader: self, left: count };
        let visited = visitor.visit_map(&mut items)?;
        items.end().map(|()| visited)
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.marker()? {
            Marker::Null => visitor.visit_unit(),
            Marker::True => visitor.visit_bool(true),
            Marker::False => visitor.visit_bool(false),
            Marker::FixPos(value) => visitor.visit_u64(value.into()),
            Marker::U8 => visitor.visit_u64(self.u8()?.into()),
            Marker::U16 => visitor.visit_u64(self.u16()?.into()),
            Marker::U32 => visitor.visit_u64(self.u32()?.into()),
            Marker::U64 => visitor.visit_u64(u64::from_be_bytes(self.array()?)),
            Marker::FixNeg(value) => visitor.visit_i64(value.into()),
            Marker::I8 => visitor.visit_i64(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => visitor.visit_i64(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => visitor.visit_i64(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => visitor.visit_i64(i64::from_be_bytes(self.array()?)),
            Marker::F32 => visitor.visit_f64(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => visitor.visit_f64(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(length) => self.visit_text(length.into(), visitor),
            Marker::Str8 => self.u8().and_then(|length| self.visit_text(length.into(), visitor)),
            Marker::Str16 => self.u16().and_then(|length| self.visit_text(length.into(), visitor)),
            Marker::Str32 => self.u32().and_then(|length| self.visit_text(length, visitor)),
            Marker::Bin8 => self.u8().and_then(|length| self.visit_bytes(length.into(), visitor)),
            Marker::Bin16 => self.u16().and_then(|length| self.visit_bytes(length.into(), visitor)),
            Marker::Bin32 => self.u32().and_then(|length| self.visit_bytes(length, visitor)),
            Marker::FixArray(count) => self.visit_array(count.into(), visitor),
            Marker::Array16 => self.u16().and_then(|count| self.visit_array(count.into(), visitor)),
            Marker::Array32 => self.u32().and_then(|count| self.visit_array(count, visitor)),
            Marker::FixMap(count) => self.visit_map(count.into(), visitor),
            Marker::Map16 => self.u16().and_then(|count| self.visit_map(count.into(), visitor)),
            Marker::Map32 => self.u32().and_then(|count| self.visit_map(count, visitor)),
            other => Err(Error::custom(format_args!("{other:?} is no part of a request"))),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.body.get(self.at) == Some(&Marker::Null.to_u8()) {
            self.marker()?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let name: &str = serde::Deserialize::deserialize(self)?;
        visitor.visit_enum(BorrowedStrDeserializer::new(name))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The items of an array or the entries of a map, of which `left` are still to come.
struct Items<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: u32,
}

impl<'de> Items<'_, 'de> {
    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn end(&self) -> Result<(), Error> {
        if self.left > 0 { Err(Error::custom("an array or a map is too long")) } else { Ok(()) }
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        self.next(seed)
    }
}

impl<'de> MapAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        self.next(seed)
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(&mut *self.reader)
    }
}
