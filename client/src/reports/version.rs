//! Which of two reports is newer.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// When a report was scanned, then which write of it this is. Compared in this order, it says who is newer whichever
/// store holds what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// When the scan was made.
    pub scanned_at: Timestamp,
    /// The writer's sequence, from a [`Clock`].
    pub sequence: i64,
}

impl Version {
    /// The version of what was scanned at a time and written under a sequence. Both stores have to say the same of it, and a database keeps
    /// nanoseconds since 1970 in 64 bits: what lies outside of 1677 to 2262 is taken for the nearest time that does not. A scan of the year 1, as Go
    /// writes an unknown time, is older than all others all the same.
    #[must_use]
    pub fn new(scanned_at: Timestamp, sequence: i64) -> Self {
        Self { scanned_at: time(nanoseconds(scanned_at)), sequence }
    }
}

/// Nanoseconds since 1970, or the nearest number that there is.
pub(crate) fn nanoseconds(time: Timestamp) -> i64 {
    let nanoseconds = time.as_nanosecond();
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}

/// The time so many nanoseconds from 1970.
pub(crate) fn time(nanoseconds: i64) -> Timestamp {
    // Every number of 64 bits is within what a timestamp holds.
    Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default()
}

/// Bits of a sequence that tell writers apart. What they leave lasts until the year 2255.
const WRITER_BITS: u32 = 10;
/// The bits of a sequence that tell writers apart, all set.
const WRITER: i64 = (1 << WRITER_BITS) - 1;

/// The last microsecond of which sequences are made, in the year 2255. There is room behind it: whatever has to stand above one can.
const LAST: i64 = (i64::MAX >> WRITER_BITS) - (1 << 30);

/// The least sequence that a clock gives at a time. A time that no sequence has room for is taken for the nearest that one has.
pub(crate) fn earliest(time: Timestamp) -> i64 {
    time.as_microsecond().clamp(0, LAST) << WRITER_BITS
}

/// The microsecond since 1970 that a sequence was given in, if its clock was not pushed.
pub(crate) const fn microsecond(sequence: i64) -> i64 {
    sequence >> WRITER_BITS
}

/// Gives out sequences: microseconds since 1970 in the upper bits, a number of this writer's own in the lower 10. They grow strictly, and
/// beyond every sequence that was [seen](Clock::see), so that a write that follows on a read never stands before it. One of the
/// year 2255 comes from no clock, and is not followed: nothing could come behind it.
#[derive(Debug)]
pub struct Clock {
    writer: i64,
    last: Mutex<i64>,
    /// Microseconds since 1970 as somebody else counts them, in place of the system's.
    driven: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// A clock of the writer `writer`, of which the lower 10 bits are taken: two writers in one microsecond are told apart by it.
    #[must_use]
    pub fn new(writer: u16) -> Self {
        Self { writer: i64::from(writer) & WRITER, last: Mutex::new(0), driven: None }
    }

    /// A clock whose time is given, in microseconds since 1970: for tests of what happens when clocks differ.
    #[must_use]
    pub fn driven(writer: u16, microseconds: Arc<AtomicI64>) -> Self {
        Self { driven: Some(microseconds), ..Self::new(writer) }
    }

    /// A sequence greater than all that this clock gave or saw.
    pub fn next(&self) -> i64 {
        let now = self.now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let time = now.max(microsecond(*last) + 1).min(i64::MAX >> WRITER_BITS);
        // Behind the last microsecond that there is, the bits of the writer go on counting.
        *last = (time << WRITER_BITS | self.writer).max(last.saturating_add(1));
        *last
    }

    /// The greatest sequence that a clock gives at a time, if it is not pushed.
    #[must_use]
    pub fn latest(time: Timestamp) -> i64 {
        earliest(time) | WRITER
    }

    /// A sequence greater than all that this clock gave, and than `sequence`.
    pub fn above(&self, sequence: i64) -> i64 {
        self.see(sequence);
        self.next().max(sequence.saturating_add(1))
    }

    fn now(&self) -> i64 {
        if let Some(driven) = &self.driven {
            return driven.load(Ordering::Relaxed);
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX >> WRITER_BITS)
    }

    /// Takes note of a sequence that somebody else gave.
    pub fn see(&self, sequence: i64) {
        if microsecond(sequence) >= LAST {
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (*last).max(sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    #[test]
    fn sequences_grow_also_beyond_what_was_seen() {
        let clock = Clock::new(7);
        let (first, second) = (clock.next(), clock.next());
        assert!(first < second);
        clock.see(second + (1 << 40));
        assert!(clock.next() > second + (1 << 40));
        assert_eq!(clock.next() & WRITER, 7);
    }

    #[test]
    fn what_no_clock_gives_is_not_followed_and_can_be_outbid() {
        let clock = Clock::new(7);
        let soon = Clock::latest(Timestamp::now() + SignedDuration::from_secs(60));
        for far in [i64::MAX, i64::MAX - 2, earliest(Timestamp::MAX), Clock::latest(Timestamp::MAX)] {
            clock.see(far);
            assert!(clock.next() <= soon);
            assert!(clock.above(far) > far || far == i64::MAX);
        }
        assert!(clock.next() <= soon);
    }

    #[test]
    fn there_is_room_for_two_centuries() {
        let time: Timestamp = "2250-01-01T00:00:00Z".parse().expect("a time");
        assert_eq!(microsecond(earliest(time)), time.as_microsecond());
        assert!(earliest(Timestamp::MAX) > earliest(time));
    }

    #[test]
    fn what_a_clock_gives_lies_between_the_latest_before_and_after() {
        let before = Clock::latest(Timestamp::now() - SignedDuration::from_secs(1));
        let given = Clock::new(u16::MAX).next();
        assert!(before < given && given <= Clock::latest(Timestamp::now()));
        assert!(Clock::latest(Timestamp::MIN) < given && given < Clock::latest(Timestamp::MAX));
    }

    #[test]
    fn the_scan_counts_before_the_sequence() {
        let version = |second, sequence| Version {
            scanned_at: Timestamp::from_second(second).expect("in range"),
            sequence,
        };
        assert!(version(2, 1) > version(1, 9) && version(1, 9) > version(1, 8));
    }
}
