//! What left this database for another store: the keys of reports and tombstones that a mover took out, in their order.
//!
//! Whoever reads two stores one after the other has to know what left the second between his questions. So a removal that nothing here covers,
//! no tombstone and no newer report, notes the key in its own transaction, under the next number; the last number is a [`Mark`], and every
//! answer that is [`Told`] says what left since the caller's. Deletions and replacements are not noted: they leave something that says more.
//!
//! The last 10,000 are remembered, which is much more than leave between two questions. Who names an older mark is told that it is not known.

use std::collections::BTreeSet;

use larder_wire::{Request, Statement, StatementReply};

use super::range::Range;
use super::rows::Row;
use super::{ReportError, key_of};
use crate::reports::ReportKey;

/// Departures that are remembered.
const REMEMBERED: i64 = 10_000;
/// Departures that are told of at once. More of them are as good as unknown.
const TOLD: usize = 1000;
/// The statements of [`left`].
const STATEMENTS: usize = 2;

/// A moment of a store: how many reports and tombstones had left it until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub i64);

/// What left a store until some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departures {
    /// The moment.
    pub until: Mark,
    /// The keys that left after the moment that the caller named and until this one: all of those that he asked about, and perhaps others.
    /// `None` if he named no moment, or one that the store does not remember.
    pub since: Option<BTreeSet<ReportKey>>,
}

/// An answer of one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Told<T> {
    /// The answer.
    pub answer: T,
    /// What had left by then.
    pub departures: Departures,
}

impl Departures {
    /// What a store of `until` says to somebody who names `since`, if it remembers all of `since` and later, and `keys` left after that.
    #[must_use]
    pub fn new(
        until: Mark,
        remembered: Mark,
        since: Option<Mark>,
        keys: impl IntoIterator<Item = ReportKey>,
    ) -> Self {
        // A mark that lies ahead is that of a database which stood in the place of this one.
        let known = since.filter(|it| (remembered..=until).contains(it));
        Self { until, since: known.map(|_| keys.into_iter().collect()) }
    }

    /// Whether a key may have left.
    #[must_use]
    pub fn may_include(&self, key: &ReportKey) -> bool {
        self.since.as_ref().is_none_or(|it| it.contains(key))
    }

    /// Both, where the same was asked in two transactions.
    pub(super) fn and(self, later: Self) -> Self {
        let both = |mut one: BTreeSet<_>, mut other| {
            one.append(&mut other);
            one
        };
        Self { until: self.until, since: self.since.zip(later.since).map(|(one, other)| both(one, other)) }
    }
}

impl<T> Told<T> {
    /// The same with another answer.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Told<U> {
        Told { answer: change(self.answer), departures: self.departures }
    }
}

/// Notes, before it is removed, that what `condition` names in `table` leaves.
pub(super) fn depart(table: &str, condition: &str) -> [String; STATEMENTS] {
    [
        format!(
            "INSERT INTO departure (number, key) \
             SELECT COALESCE((SELECT MAX(number) FROM departure), 0) + 1, key FROM {table} WHERE {condition}"
        ),
        format!("DELETE FROM departure WHERE number <= (SELECT MAX(number) FROM departure) - {REMEMBERED}"),
    ]
}

/// Asks what left of a range since a mark; the answer is read by [`read_left`]. They are the last statements of a request.
pub(super) fn left(since: Option<Mark>, range: &Range) -> [Statement; STATEMENTS] {
    let since = since.map_or(i64::MAX, |it| it.0);
    let bound = [since.into(), range.from.as_str().into(), range.to.as_str().into()];
    [
        Statement::new("SELECT (SELECT MIN(number) FROM departure), (SELECT MAX(number) FROM departure)"),
        Statement::with(
            format!(
                "SELECT key FROM departure WHERE number > ?1 AND key >= ?2 AND key < ?3 LIMIT {}",
                TOLD + 1
            ),
            bound,
        ),
    ]
}

/// A request that asks what left as well.
pub(super) fn with_left(mut statements: Vec<Statement>, since: Option<Mark>, range: &Range) -> Request {
    statements.extend(left(since, range));
    Request::new(statements)
}

/// Takes the answer to [`left`] off the results of a request.
pub(super) fn read_left(
    results: &mut Vec<StatementReply>,
    since: Option<Mark>,
) -> Result<Departures, ReportError> {
    let mut results = results.split_off(results.len().saturating_sub(STATEMENTS)).into_iter();
    let mut rows = || results.next().map(|it| it.rows).unwrap_or_default();
    let ends = rows().into_iter().next().unwrap_or_default();
    let mut ends = Row(ends.into_iter());
    // None yet is as if one had left before every mark that anybody may name.
    let (first, last) = (ends.optional_integer()?.unwrap_or(1), ends.optional_integer()?.unwrap_or(0));
    let keys = rows();
    let since = since.filter(|_| keys.len() <= TOLD);
    let keys: Result<BTreeSet<_>, _> =
        keys.into_iter().map(|row| key_of(Row(row.into_iter()).text()?)).collect();
    Ok(Departures::new(Mark(last), Mark(first - 1), since, keys?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(remembered: i64, mark: Option<i64>) -> Option<usize> {
        let key = ReportKey::new("workload/1").expect("a key");
        Departures::new(Mark(20), Mark(remembered), mark.map(Mark), [key]).since.map(|it| it.len())
    }

    #[test]
    fn only_a_mark_that_is_remembered_tells_what_left() {
        assert_eq!(since(10, Some(10)), Some(1));
        assert_eq!(since(10, Some(20)), Some(1));
        assert_eq!(since(10, Some(9)), None, "some may be forgotten");
        assert_eq!(since(10, Some(21)), None, "another database stood here");
        assert_eq!(since(10, None), None);
    }
}
