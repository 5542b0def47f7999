//! The time that begins a report in Go's own encoding (<https://pkg.go.dev/encoding/gob>), and nothing else of it.
//!
//! A stream is messages, each behind its length. The first define types, beginning with that of the value; then the value comes, field by field,
//! and a field that has its zero value does not. Of NeuVector's reports the first field is `ScannedAt`; of another type nothing is read.

use jiff::{SignedDuration, Timestamp};

/// The field that says when a scan was made.
const FIELD: &[u8] = b"ScannedAt";
/// Seconds from the beginning of the year 1, where Go's times begin, to 1970.
const YEAR_1: i64 = 62_135_596_800;
/// Forms of a time: the second one has seconds in its zone.
const FORMS: [(u8, usize); 2] = [(1, 15), (2, 16)];

/// When the report that `bytes` begin with says that it was made. They may break off behind that.
pub(super) fn scanned_at(bytes: &[u8]) -> Option<Timestamp> {
    let mut stream = Gob(bytes);
    let length = stream.length()?;
    let mut definition = Gob(stream.take(length)?);
    let of = definition.integer()?.checked_neg()?;
    if definition.first_field()? != FIELD {
        return None;
    }
    loop {
        let length = stream.length()?;
        match stream.integer_of(length)? {
            // The definition of a type within.
            (type_id, rest) if type_id < 0 => drop(stream.take(rest)?),
            (type_id, _) => return if type_id == of { stream.time() } else { None },
        }
    }
}

/// What is left to read.
struct Gob<'b>(&'b [u8]);

impl<'b> Gob<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, left) = self.0.split_at_checked(length)?;
        self.0 = left;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    /// Small numbers are a byte; others stand behind the number of their bytes, which is negated.
    fn number(&mut self) -> Option<u64> {
        let first = self.byte()?;
        if first < 128 {
            return Some(first.into());
        }
        let length = usize::from(first.wrapping_neg());
        let bytes = self.take(length).filter(|it| it.len() <= 8)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn length(&mut self) -> Option<usize> {
        self.number()?.try_into().ok()
    }

    /// The lowest bit says that the others are turned round.
    fn integer(&mut self) -> Option<i64> {
        let number = self.number()?;
        let magnitude = (number >> 1).cast_signed();
        Some(if number & 1 == 1 { !magnitude } else { magnitude })
    }

    /// An integer, and how much is left behind it of what has `length` bytes.
    fn integer_of(&mut self, length: usize) -> Option<(i64, usize)> {
        let before = self.0.len();
        let integer = self.integer()?;
        Some((integer, length.checked_sub(before - self.0.len())?))
    }

    fn expect(&mut self, bytes: &[u8]) -> Option<()> {
        (self.take(bytes.len())? == bytes).then_some(())
    }

    fn text(&mut self) -> Option<&'b [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// The name of the first field of a structure that is defined: what is common to all types, its name and number; then the fields, each with
    /// its name. Every number that is expected here says how many fields further on the next one is.
    fn first_field(&mut self) -> Option<&'b [u8]> {
        self.expect(&[3, 1, 1])?;
        self.text()?;
        self.expect(&[1])?;
        self.integer()?;
        self.expect(&[0, 1])?;
        self.number()?;
        self.expect(&[1])?;
        self.text()
    }

    /// The first field of a value, if it is there: a form, seconds, nanoseconds, and a zone, which makes no difference.
    fn time(&mut self) -> Option<Timestamp> {
        self.expect(&[1])?;
        let time = self.text()?;
        let (form, time) = time.split_first()?;
        if !FORMS.contains(&(*form, 1 + time.len())) {
            return None;
        }
        let (seconds, time) = time.split_first_chunk()?;
        let nanoseconds = i32::from_be_bytes(*time.first_chunk()?);
        let since_1970 = i64::from_be_bytes(*seconds).checked_sub(YEAR_1)?;
        let second = Timestamp::from_second(since_1970).ok()?;
        second.checked_add(SignedDuration::from_nanos(nanoseconds.into())).ok()
    }
}

/// A small report that was made at a second since 1970.
#[cfg(test)]
pub(super) fn report(second: i64) -> Vec<u8> {
    let mut gob = tests::bytes(tests::SMALL);
    let time = gob.len() - 22;
    gob[time..time + 8].copy_from_slice(&(second + YEAR_1).to_be_bytes());
    gob[time + 8..time + 12].fill(0);
    gob
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `CLUSScanReport` of 2024, as Go 1.26 writes it, with all types that NeuVector's has in it; without what comes behind the version.
    const WHOLE: &str = include_str!("gob_report.hex");
    /// Small ones: `struct { ScannedAt time.Time; Version string }`, the second without a time, the third in a zone with seconds.
    pub(super) const SMALL: &str = "37ffa90301010e434c55535363616e5265706f727401ffaa00010201095363616e6e6564417401ff8200010756657273696f6e010c0000\
         0010ff810501010454696d6501ff820000001bffaa010f010000000eddececee075bcd15ffff0105332e34323200";
    const ZERO: &str = "37ffa90301010e434c55535363616e5265706f727401ffaa00010201095363616e6e6564417401ff8200010756657273696f6e010c0000\
         0010ff810501010454696d6501ff820000000affaa0205332e34323200";
    const ODD: &str = "37ffa90301010e434c55535363616e5265706f727401ffaa00010201095363616e6e6564417401ff8200010756657273696f6e010c0000\
         0010ff810501010454696d6501ff820000001cffaa0110020000000eddecd0cd000000050078010105332e34323200";
    /// `struct { Made, ScannedAt time.Time }`.
    const OTHER: &str = "2cffa7030101054f7468657201ffa800010201044d61646501ff820001095363616e6e6564417401ff8200000010ff810501010454696d6501\
         ff8200000025ffa8010f010000000eddececee075bcd15ffff010f010000000eddececee075bcd15ffff00";

    pub(super) fn bytes(hexadecimal: &str) -> Vec<u8> {
        let digits = hexadecimal.trim().as_bytes().chunks_exact(2);
        digits
            .map(|it| u8::from_str_radix(std::str::from_utf8(it).expect("digits"), 16).expect("digits"))
            .collect()
    }

    #[track_caller]
    fn says(gob: &[u8], expected: Option<&str>) {
        assert_eq!(scanned_at(gob), expected.map(|it| it.parse().expect("a time")));
    }

    #[test]
    fn a_report_says_when_it_was_made() {
        says(&bytes(WHOLE), Some("2024-06-01T10:20:30.123456789Z"));
        says(&bytes(SMALL), Some("2024-06-01T10:20:30.123456789Z"));
        says(&bytes(ODD), Some("2024-06-01T08:20:29.000000005Z"));
    }

    #[test]
    fn what_says_nothing_and_what_is_no_report_is_not_dated() {
        says(&bytes(ZERO), None);
        says(&bytes(OTHER), None);
        says(b"\x01\x02 a gob", None);
        says(b"", None);
    }

    #[test]
    fn what_breaks_off_or_is_damaged_is_not_dated_otherwise() {
        let whole = bytes(WHOLE);
        let time = scanned_at(&whole);
        for length in 0..whole.len() {
            assert!(scanned_at(&whole[..length]).is_none_or(|it| Some(it) == time), "{length}");
        }
        // Whatever a byte is changed to, it is read to an end.
        for (index, change) in (0..whole.len()).flat_map(|index| [0x01, 0x80, 0xff].map(|it| (index, it))) {
            let mut damaged = whole.clone();
            damaged[index] ^= change;
            let _ = scanned_at(&damaged);
        }
    }
}
