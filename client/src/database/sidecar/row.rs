//! A row of the MessagePack stream, taken value by value as its bytes arrive.
//!
//! A payload is most of a row, and comes in several pieces. It is copied once, from the pieces into memory of its own; nothing
//! is put together before it is looked at, and nothing is looked at twice.

use bytes::{Buf as _, Bytes};
use larder_wire::Value;

use super::boundary::big_endian;

/// Bytes of a row, at most: far above what a sidecar keeps in one.
const LIMIT: usize = 1 << 30;
/// Memory that is taken for a value before its bytes are there, at most.
const ROOM: usize = 16 << 20;
/// The same for the values of a row.
const VALUES: usize = 1 << 10;

/// A row that may have arrived in part.
#[derive(Debug, Default)]
pub(super) struct Row {
    values: Vec<Value>,
    /// Values that are still to come; nothing between two rows.
    left: Option<usize>,
    long: Option<Long>,
    bytes: usize,
}

/// A text or a blob whose bytes are arriving.
#[derive(Debug)]
struct Long {
    is_text: bool,
    bytes: Vec<u8>,
    missing: usize,
}

/// What stands at the beginning of a value.
enum Head {
    Value(Value),
    Long { is_text: bool, length: usize },
}

impl Row {
    /// Whether a row has begun and is not over.
    pub(super) fn is_begun(&self) -> bool {
        self.left.is_some()
    }

    /// Takes what has arrived of a row, and no more than that; gives the row once it is whole. Until then it leaves no more than the beginning of
    /// a value, too short to be understood.
    pub(super) fn read(&mut self, arrived: &mut Bytes) -> Result<Option<Vec<Value>>, String> {
        let mut left = match self.left {
            Some(left) => left,
            None => match count(arrived) {
                Some((length, count)) => {
                    arrived.advance(length);
                    self.values.reserve(count.min(VALUES));
                    count
                }
                None => return Ok(None),
            },
        };
        loop {
            self.left = Some(left);
            if let Some(long) = &mut self.long {
                if !long.take(arrived) {
                    return Ok(None);
                }
                let value = self.long.take().map(Long::value).transpose()?;
                self.values.extend(value);
            }
            if left == 0 {
                (self.left, self.bytes) = (None, 0);
                return Ok(Some(std::mem::take(&mut self.values)));
            }
            let Some((length, head)) = head(arrived)? else { return Ok(None) };
            arrived.advance(length);
            left -= 1;
            match head {
                Head::Value(value) => self.values.push(value),
                Head::Long { is_text, length } => self.begin(is_text, length)?,
            }
        }
    }

    fn begin(&mut self, is_text: bool, length: usize) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(length);
        if self.bytes > LIMIT {
            return Err(format!("a row of it is longer than {LIMIT} bytes"));
        }
        self.long = Some(Long { is_text, bytes: Vec::with_capacity(length.min(ROOM)), missing: length });
        Ok(())
    }
}

impl Long {
    /// Takes what is missing, as far as it is there; says whether nothing is missing any more.
    fn take(&mut self, arrived: &mut Bytes) -> bool {
        let length = self.missing.min(arrived.len());
        self.bytes.extend_from_slice(&arrived[..length]);
        arrived.advance(length);
        self.missing -= length;
        self.missing == 0
    }

    fn value(self) -> Result<Value, String> {
        match self.is_text {
            false => Ok(Value::Blob(self.bytes)),
            true => match String::from_utf8(self.bytes) {
                Ok(text) => Ok(Value::Text(text)),
                Err(_) => Err("a text of it is not UTF-8".to_owned()),
            },
        }
    }
}

/// Whether a MessagePack object that begins with this byte is an array (fixarray, array 16, array 32).
pub(super) fn is_array(first: u8) -> bool {
    matches!(first, 0x90..=0x9f | 0xdc | 0xdd)
}

/// How many values an array has, and the length of the bytes that say so; `None` if they are not all there.
fn count(bytes: &[u8]) -> Option<(usize, usize)> {
    let (&marker, rest) = bytes.split_first()?;
    match marker {
        0xdc => rest.get(..2).map(|count| (3, big_endian(count) as usize)),
        0xdd => rest.get(..4).map(|count| (5, big_endian(count) as usize)),
        _ => Some((1, usize::from(marker & 0x0f))),
    }
}

/// The value at the start of `bytes`, or how long it is, with the length of what says so; `None` if that is not all there.
fn head(bytes: &[u8]) -> Result<Option<(usize, Head)>, String> {
    let Some((&marker, rest)) = bytes.split_first() else { return Ok(None) };
    let size = match marker {
        0xc4 | 0xcc | 0xd0 | 0xd9 => 1,
        0xc5 | 0xcd | 0xd1 | 0xda => 2,
        0xc6 | 0xca | 0xce | 0xd2 | 0xdb => 4,
        0xcb | 0xcf | 0xd3 => 8,
        _ => 0,
    };
    let Some(number) = rest.get(..size).map(big_endian) else { return Ok(None) };
    let value = match marker {
        0xa0..=0xbf => return long(1, true, u64::from(marker & 0x1f)),
        0xd9..=0xdb => return long(1 + size, true, number),
        0xc4..=0xc6 => return long(1 + size, false, number),
        0xc0 => Value::Null,
        0xc2 | 0xc3 => Value::Integer((marker & 1).into()),
        0x00..=0x7f => Value::Integer(marker.into()),
        0xe0..=0xff => Value::Integer((marker as i8).into()),
        0xcc..=0xcf => Value::Integer(
            i64::try_from(number).map_err(|_| format!("integer {number} is out of the range of 64 bits"))?,
        ),
        0xd0 => Value::Integer((number as i8).into()),
        0xd1 => Value::Integer((number as i16).into()),
        0xd2 => Value::Integer((number as i32).into()),
        0xd3 => Value::Integer(number as i64),
        0xca => Value::Real(f32::from_bits(number as u32).into()),
        0xcb => Value::Real(f64::from_bits(number)),
        _ => return Err(format!("a row of it holds a MessagePack marker {marker:#04x} that is no value")),
    };
    Ok(Some((1 + size, Head::Value(value))))
}

fn long(head: usize, is_text: bool, length: u64) -> Result<Option<(usize, Head)>, String> {
    // What is too long for memory is refused where it begins.
    Ok(Some((head, Head::Long { is_text, length: usize::try_from(length).unwrap_or(usize::MAX) })))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

    use proptest::prelude::*;

    use super::*;

    /// Reads rows from bytes that arrive in pieces, as a stream does.
    fn read(pieces: &[&[u8]]) -> Result<Vec<Vec<Value>>, String> {
        let (mut row, mut rows, mut arrived) = (Row::default(), Vec::new(), Bytes::new());
        for piece in pieces {
            arrived = [&arrived, *piece].concat().into();
            while row.is_begun() || !arrived.is_empty() {
                match row.read(&mut arrived)? {
                    Some(whole) => rows.push(whole),
                    None => break,
                }
            }
            assert!(arrived.len() < 9, "{} bytes are left", arrived.len());
        }
        assert!(!row.is_begun() && arrived.is_empty(), "the last row is not whole");
        Ok(rows)
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::Integer),
            (0_u32..63, any::<bool>()).prop_map(|(bits, minus)| {
                Value::Integer(if minus { -(1_i64 << bits) } else { 1_i64 << bits })
            }),
            any::<f64>().prop_filter("cannot be stored", |it| !it.is_nan()).prop_map(Value::Real),
            ".{0,40}".prop_map(Value::Text),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Blob),
        ]
    }

    proptest! {
        #[test]
        fn rows_come_as_they_were_sent_however_they_are_cut(
            rows in prop::collection::vec(prop::collection::vec(value(), 0..20), 0..5),
            size in 1_usize..100,
        ) {
            let bytes: Vec<u8> = rows.iter().flat_map(|row| rmp_serde::to_vec(row).unwrap()).collect();
            let pieces: Vec<_> = bytes.chunks(size).collect();
            prop_assert_eq!(read(&pieces), Ok(rows.clone()));
            prop_assert_eq!(read(&[&bytes]), Ok(rows));
        }

        #[test]
        fn what_is_read_is_what_others_read(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut arrived = Bytes::from([&[0x91], &bytes[..]].concat());
            let ours = Row::default().read(&mut arrived);
            let theirs = rmp_serde::from_slice::<Vec<Value>>(&[&[0x91], &bytes[..]].concat());
            // What is not whole is an error there; a text that is none is a blob there, and maps may stand for values.
            if let (Ok(Some(ours)), Ok(theirs)) = (ours, theirs) {
                prop_assert_eq!(ours, theirs);
            }
        }
    }

    #[test]
    fn long_values_come_in_one_piece_or_many() {
        let row: Vec<Value> = vec![
            "".into(),
            "b".repeat(200).as_str().into(),
            Value::Blob(vec![1; 300]),
            "c".repeat(70_000).as_str().into(),
            Value::Blob(vec![2; 70_000]),
            1.5.into(),
        ];
        let many: Vec<Value> = (0..70_000).map(Value::Integer).collect();
        let rows = vec![row, vec![], many];
        let bytes: Vec<u8> = rows.iter().flat_map(|row| rmp_serde::to_vec(row).unwrap()).collect();
        for size in [1, 1000, 60_000, bytes.len()] {
            assert_eq!(read(&bytes.chunks(size).collect::<Vec<_>>()).as_ref(), Ok(&rows), "{size}");
        }
    }

    #[test]
    fn what_is_no_row_is_an_error() {
        let error = |bytes: &[u8]| Row::default().read(&mut Bytes::copy_from_slice(bytes)).unwrap_err();
        assert!(error(&[0x91, 0xc1]).contains("0xc1"));
        assert!(error(&[0x91, 0x91, 1]).contains("0x91"));
        assert!(error(&[0x91, 0xa1, 0xff]).contains("UTF-8"));
        assert!(error(&[0x91, 0xcf, 0xff, 0, 0, 0, 0, 0, 0, 0]).contains("out of the range"));
        assert!(error(&[0x91, 0xc6, 0xff, 0xff, 0xff, 0xff]).contains("longer than"));
    }
}
