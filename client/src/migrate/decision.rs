//! What becomes of a report that is offered to a depot: a pure function of what both sides hold.
//!
//! It decides after the write and the reading back, never before: what counts is what stands there now.

use std::fmt;

use crate::reports::Version;

/// The report that is offered, as the depot holds it from which it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its version.
    pub version: Version,
    /// The tombstone beside it.
    pub tombstone: Option<i64>,
    /// Whether nobody knows when it was scanned, so that it may be newer than its version.
    pub undated: bool,
}

/// What the other depot holds after the write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct There {
    /// The version that stands there.
    pub version: Option<Version>,
    /// The tombstone beside it.
    pub tombstone: Option<i64>,
    /// Whether what stands there is what was offered, bit for bit.
    pub same: bool,
    /// Whether nobody knows when what stands there was scanned, so that it may be newer than its version.
    pub undated: bool,
}

impl fmt::Display for There {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(Version { scanned_at, sequence }) => {
                write!(f, "a report scanned at {scanned_at} and written as {sequence}")?;
            }
            None => f.write_str("no report")?,
        }
        match self.tombstone {
            Some(sequence) => write!(f, ", deleted up to {sequence}"),
            None => Ok(()),
        }
    }
}

/// What to do with the copy that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is safe to remove it.
    Remove(Because),
    /// It stays where it is.
    Leave(Skip),
}

/// Why a copy can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// The other depot has it.
    Moved,
    /// The other depot has a newer one.
    Older,
    /// It was deleted after it had been written.
    Deleted,
}

/// Why a report stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Skip {
    /// It has more bytes than are moved.
    Oversize,
    /// Nobody can say what it is.
    Undecodable,
    /// A part of it is missing.
    Incomplete,
    /// It was scanned later than now.
    Future,
    /// The other depot does not take it.
    Refused,
    /// The other depot has something else under the same version.
    Different,
    /// The other depot has an earlier scan that was written later.
    Crossed,
    /// Nobody knows when it was scanned, and the other depot has something else; or the other way round.
    Undated,
    /// The other depot neither has it nor anything newer, though it had said to have written it.
    Missing,
}

impl Skip {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Oversize,
        Self::Undecodable,
        Self::Incomplete,
        Self::Future,
        Self::Refused,
        Self::Different,
        Self::Crossed,
        Self::Undated,
        Self::Missing,
    ];

    /// The reason in a word, as metrics have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Oversize => "oversize",
            Self::Undecodable => "undecodable",
            Self::Incomplete => "incomplete",
            Self::Future => "future",
            Self::Refused => "refused",
            Self::Different => "different",
            Self::Crossed => "crossed",
            Self::Undated => "undated",
            Self::Missing => "missing",
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Decides about a copy.
///
/// A tombstone counts wherever it stands. In particular one beside the offered report kills what is older than it in the other depot: that
/// may be scanned later and still be dead, and a dead report is no reason to drop a living one.
#[must_use]
pub fn decide(offer: &Offer, there: &There) -> Decision {
    let deleted = offer.tombstone.max(there.tombstone);
    let dead = |version: Version| deleted.is_some_and(|at| at > version.sequence);
    match there.version {
        _ if dead(offer.version) => Decision::Remove(Because::Deleted),
        None => Decision::Leave(Skip::Missing),
        Some(other) if dead(other) => Decision::Leave(Skip::Missing),
        Some(other) if other < offer.version && there.undated => Decision::Leave(Skip::Undated),
        Some(other) if other < offer.version && other.sequence > offer.version.sequence => {
            Decision::Leave(Skip::Crossed)
        }
        Some(other) if other < offer.version => Decision::Leave(Skip::Missing),
        Some(other) if other > offer.version && offer.undated => Decision::Leave(Skip::Undated),
        Some(other) if other > offer.version => Decision::Remove(Because::Older),
        Some(_) if there.same => Decision::Remove(Because::Moved),
        Some(_) => Decision::Leave(Skip::Different),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn version(second: i64, sequence: i64) -> Version {
        Version { scanned_at: Timestamp::from_second(second).expect("in range"), sequence }
    }

    /// The offered report is (5, 50) throughout.
    #[track_caller]
    fn decides(
        beside: Option<i64>,
        there: Option<(i64, i64)>,
        tombstone: Option<i64>,
        same: bool,
        expected: Decision,
    ) {
        let offer = Offer { version: version(5, 50), tombstone: beside, undated: false };
        let version = there.map(|(second, sequence)| version(second, sequence));
        assert_eq!(decide(&offer, &There { version, tombstone, same, undated: false }), expected);
    }

    #[test]
    fn what_stands_there_bit_for_bit_was_moved() {
        decides(None, Some((5, 50)), None, true, Decision::Remove(Because::Moved));
        decides(Some(40), Some((5, 50)), Some(49), true, Decision::Remove(Because::Moved));
        decides(None, Some((5, 50)), None, false, Decision::Leave(Skip::Different));
    }

    #[test]
    fn an_older_copy_goes() {
        decides(None, Some((6, 1)), None, false, Decision::Remove(Because::Older));
        decides(None, Some((5, 51)), None, false, Decision::Remove(Because::Older));
    }

    #[test]
    fn what_may_be_newer_than_is_known_stays() {
        let offer = Offer { version: version(0, 0), tombstone: None, undated: true };
        let there = |sequence, same| There { version: Some(version(0, sequence)), same, ..There::default() };
        assert_eq!(decide(&offer, &there(1, false)), Decision::Leave(Skip::Undated));
        assert_eq!(decide(&offer, &there(0, true)), Decision::Remove(Because::Moved));
        let deleted = There { tombstone: Some(2), ..there(1, false) };
        assert_eq!(decide(&offer, &deleted), Decision::Remove(Because::Deleted));
        let offer = Offer { version: version(5, 50), tombstone: None, undated: false };
        for sequence in [1, 60] {
            let undated = There { undated: true, ..there(sequence, false) };
            assert_eq!(decide(&offer, &undated), Decision::Leave(Skip::Undated));
        }
    }

    #[test]
    fn what_is_not_there_stays() {
        decides(None, None, None, false, Decision::Leave(Skip::Missing));
        decides(None, Some((5, 49)), None, false, Decision::Leave(Skip::Missing));
        decides(None, Some((4, 50)), None, false, Decision::Leave(Skip::Missing));
        decides(None, Some((4, 51)), None, false, Decision::Leave(Skip::Crossed));
    }

    #[test]
    fn a_deleted_report_goes_wherever_the_tombstone_stands() {
        for there in [None, Some((5, 50)), Some((9, 60))] {
            decides(Some(51), there, None, true, Decision::Remove(Because::Deleted));
            decides(None, there, Some(51), true, Decision::Remove(Because::Deleted));
        }
        decides(None, Some((5, 50)), Some(50), true, Decision::Remove(Because::Moved));
    }

    #[test]
    fn a_dead_report_of_a_later_scan_is_no_reason_to_drop_a_living_one() {
        decides(Some(40), Some((9, 30)), None, false, Decision::Leave(Skip::Missing));
        decides(None, Some((9, 30)), Some(40), false, Decision::Leave(Skip::Missing));
    }
}
