//! Numbers in as few bytes as they need: seven bits a byte, the lowest first, as Protocol Buffers and SQLite's journals do.

/// What is wrong with bytes that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Appends a number.
pub(crate) fn push(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes that are read from the front.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next number.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        match *self.0 {
            [first @ 0..0x80, ref rest @ ..] => {
                self.0 = rest;
                Ok(u64::from(first))
            }
            [first, second @ 0..0x80, ref rest @ ..] => {
                self.0 = rest;
                Ok(u64::from(first & 0x7f) | u64::from(second) << 7)
            }
            _ => self.long_number(),
        }
    }

    fn long_number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(Malformed("it ends within a number"))?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed("a number is longer than 64 bits"))
    }

    /// The next number, as a length or a count of things that take `least` bytes each: more than could follow are refused,
    /// so that nobody allocates for them.
    pub(crate) fn count(&mut self, least: usize) -> Result<usize, Malformed> {
        let number = usize::try_from(self.number()?).map_err(|_| Malformed("a count is too large"))?;
        match number.checked_mul(least) {
            Some(bytes) if bytes <= self.0.len() => Ok(number),
            _ => Err(Malformed("it holds less than it says")),
        }
    }

    /// The next `length` bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed("it is too short"))?;
        self.0 = rest;
        Ok(bytes)
    }

    /// Refuses anything that is left.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("it is too long")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let numbers = [0, 1, 127, 128, 16_383, 16_384, 1 << 35, i64::MAX.cast_unsigned(), u64::MAX];
        let mut bytes = Vec::new();
        numbers.iter().for_each(|&it| push(&mut bytes, it));
        let mut reader = Reader(&bytes);
        numbers.iter().for_each(|&it| assert_eq!(reader.number(), Ok(it)));
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for bytes in
            [&[][..], &[0x80], &[0xff; 10], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]]
        {
            assert!(Reader(bytes).number().is_err(), "{bytes:?}");
        }
        assert!(Reader(&[200, 1, 0]).count(1).is_err());
    }
}
