//! Where a MessagePack object ends (<https://github.com/msgpack/msgpack/blob/master/spec.md>), found without
//! decoding it. The search goes on where it stopped when more bytes have come, so that a long one costs one
//! pass however small the pieces are in which it arrives.

/// How far the search for the end of one object has come.
#[derive(Debug)]
pub(super) struct Boundary {
    at: usize,
    /// Values that still have to be passed.
    pending: u64,
}

impl Default for Boundary {
    fn default() -> Self {
        Self { at: 0, pending: 1 }
    }
}

impl Boundary {
    /// The length of the object at the start of `bytes`, or `None` if it is not whole yet.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, String> {
        while self.pending > 0 {
            let Some(token) = Token::read(bytes.get(self.at..).unwrap_or_default())? else { return Ok(None) };
            let end = self.at + token.length;
            if end > bytes.len() {
                return Ok(None);
            }
            self.at = end;
            self.pending += token.values;
            self.pending -= 1;
        }
        Ok(Some(self.at))
    }
}

/// A marker with its payload, and how many values follow it as its content.
struct Token {
    length: usize,
    values: u64,
}

impl Token {
    fn read(bytes: &[u8]) -> Result<Option<Self>, String> {
        let Some(&marker) = bytes.first() else { return Ok(None) };
        let plain = |length| Ok(Some(Self { length, values: 0 }));
        // The length of the payload, or the number of values, stands behind the marker in `size` bytes.
        let sized = |size: usize| bytes.get(1..=size).map(big_endian);
        let payload = |size: usize, extra: usize| {
            Ok(sized(size).map(|length| Self { length: 1 + size + extra + length as usize, values: 0 }))
        };
        let content = |size: usize, each: u64| {
            Ok(sized(size).map(|count| Self { length: 1 + size, values: count * each }))
        };
        match marker {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => plain(1),
            0x80..=0x8f => Ok(Some(Self { length: 1, values: u64::from(marker & 0x0f) * 2 })),
            0x90..=0x9f => Ok(Some(Self { length: 1, values: u64::from(marker & 0x0f) })),
            0xa0..=0xbf => plain(1 + usize::from(marker & 0x1f)),
            0xcc | 0xd0 => plain(2),
            0xcd | 0xd1 => plain(3),
            0xca | 0xce | 0xd2 => plain(5),
            0xcb | 0xcf | 0xd3 => plain(9),
            0xc4 | 0xd9 => payload(1, 0),
            0xc5 | 0xda => payload(2, 0),
            0xc6 | 0xdb => payload(4, 0),
            0xdc => content(2, 1),
            0xdd => content(4, 1),
            0xde => content(2, 2),
            0xdf => content(4, 2),
            0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => {
                Err(format!("it holds a MessagePack marker {marker:#04x} that is not used"))
            }
        }
    }
}

/// A number of up to eight bytes.
pub(super) fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_wire::Value;

    /// Two rows one after the other: the first ends where it was written to end, in one piece and byte by byte.
    #[test]
    fn an_object_ends_where_its_encoder_stopped() {
        let long = "x".repeat(70_000);
        let rows: [Vec<Value>; 6] = [
            vec![],
            vec![Value::Null, Value::Integer(-1), Value::Integer(127), Value::Integer(i64::MIN)],
            vec![Value::Integer(300), Value::Integer(70_000), Value::Integer(i64::MAX), Value::Real(1.5)],
            vec!["".into(), "a".repeat(31).as_str().into(), "b".repeat(200).as_str().into(), long.into()],
            vec![Value::Blob(vec![0; 3]), Value::Blob(vec![1; 300]), Value::Blob(vec![2; 70_000])],
            (0..70_000).map(Value::Integer).collect(),
        ];
        for row in rows {
            let mut bytes = rmp_serde::to_vec(&row).expect("encodes");
            let length = bytes.len();
            bytes.extend_from_slice(&[0x93, 1, 2]);
            assert_eq!(Boundary::default().find(&bytes), Ok(Some(length)));
            let mut slow = Boundary::default();
            for end in 0..length {
                assert_eq!(slow.find(&bytes[..end]), Ok(None));
            }
            assert_eq!(slow.find(&bytes[..length]), Ok(Some(length)));
        }
    }

    #[test]
    fn what_is_no_row_is_an_error() {
        assert!(Boundary::default().find(&[0xc1]).is_err());
        assert!(Boundary::default().find(&[0x91, 0xd4, 0, 0]).is_err());
    }
}
