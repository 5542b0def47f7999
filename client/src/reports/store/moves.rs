//! What is asked of the store when reports are moved out of it, and of what was moved in: states of rows and tombstones that can be told from
//! every other state, and removals of exactly those.

use larder_wire::{Request, Statement, Value};

use super::departures::{Mark, Told, depart, read_left, with_left};
use super::range::Range;
use super::rows::{Row, Stored};
use super::write::{remove_parts, retire};
use super::{ReportError, ReportStore, key_of, time};
use crate::reports::{ReportKey, Version, kept, packed};
use jiff::Timestamp;

/// A state of a report's row: no other that it ever had is equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowStamp {
    id: i64,
    renewals: i64,
}

/// A state of a tombstone: no other that it ever had is equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TombstoneStamp {
    sequence: i64,
    deleted_at: i64,
}

/// A tombstone as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedTombstone {
    pub(crate) key: ReportKey,
    pub(crate) sequence: i64,
    pub(crate) deleted_at: Timestamp,
    pub(crate) stamp: TombstoneStamp,
}

/// The version of a report, and the sequence of its tombstone.
pub(crate) type Standing = (Option<Version>, Option<i64>);

/// What stands in a range, and what stands under some keys, of one moment.
pub(crate) struct Versions {
    pub(crate) listed: Vec<(ReportKey, Version)>,
    /// Whether there are more in the range.
    pub(crate) more: bool,
    pub(crate) beside: Vec<Standing>,
}

impl ReportStore {
    /// The state of a report's row, and the size of its payload.
    pub(crate) async fn stamp(&self, key: &ReportKey) -> Result<Option<(RowStamp, u64)>, ReportError> {
        let select = "SELECT id, renewals, size FROM report WHERE key = ?1";
        let mut rows = self.rows(Statement::with(select, [key.as_str().into()])).await?;
        let Some(row) = rows.pop() else { return Ok(None) };
        let mut row = Row(row.into_iter());
        let stamp = RowStamp { id: row.integer()?, renewals: row.integer()? };
        Ok(Some((stamp, row.length()?.try_into().unwrap_or(u64::MAX))))
    }

    /// Removes a report in exactly this state, without a tombstone; says whether it did.
    pub(crate) async fn remove_exactly(&self, key: &ReportKey, stamp: RowStamp) -> Result<bool, ReportError> {
        const STILL: &str = "key = ?1 AND id = ?2 AND renewals = ?3";
        let bound = || [Value::from(key.as_str()), stamp.id.into(), stamp.renewals.into()];
        let [note, forget] = depart("report", STILL);
        self.remove_by([
            Statement::with(note, bound()),
            Statement::new(forget),
            Statement::with(retire(STILL), bound()),
            Statement::with(remove_parts(STILL), bound()),
            Statement::with(format!("DELETE FROM report WHERE {STILL}"), bound()),
        ])
        .await
    }

    /// Removes a tombstone in exactly this state; says whether it did.
    pub(crate) async fn unbury_exactly(
        &self,
        key: &ReportKey,
        stamp: TombstoneStamp,
    ) -> Result<bool, ReportError> {
        const STILL: &str = "key = ?1 AND sequence = ?2 AND deleted_at = ?3";
        let bound = || [Value::from(key.as_str()), stamp.sequence.into(), stamp.deleted_at.into()];
        let [note, forget] = depart("tombstone", STILL);
        self.remove_by([
            Statement::with(note, bound()),
            Statement::new(forget),
            Statement::with(format!("DELETE FROM tombstone WHERE {STILL}"), bound()),
        ])
        .await
    }

    /// Whether the last statement removed something.
    async fn remove_by<const N: usize>(&self, statements: [Statement; N]) -> Result<bool, ReportError> {
        let response = self.database.execute(&Request::new(statements)).await?;
        Ok(response.results.last().is_some_and(|it| it.rows_affected > 0))
    }

    /// The tombstones behind `after`, in the order of their keys.
    pub(crate) async fn graves(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ListedTombstone>, ReportError> {
        let from = Range::of("").after(after).from;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let select = "SELECT key, sequence, deleted_at FROM tombstone WHERE key >= ?1 ORDER BY key LIMIT ?2";
        let rows = self.rows(Statement::with(select, [from.into(), limit.into()])).await?;
        let read = |row: Vec<Value>| {
            let mut row = Row(row.into_iter());
            let (key, sequence, deleted_at) = (key_of(row.text()?)?, row.integer()?, row.integer()?);
            let stamp = TombstoneStamp { sequence, deleted_at };
            Ok(ListedTombstone { key, sequence, deleted_at: time(deleted_at), stamp })
        };
        rows.into_iter().map(read).collect()
    }

    /// The versions and the tombstones of some keys, in their order and in one snapshot.
    pub(crate) async fn standing(&self, keys: &[ReportKey]) -> Result<Vec<Standing>, ReportError> {
        self.rows(standing_of(keys)).await?.into_iter().map(read_standing).collect()
    }

    /// As [`ReportStore::standing`], with what left since a mark.
    pub(crate) async fn standing_since(
        &self,
        keys: &[ReportKey],
        since: Option<Mark>,
    ) -> Result<Told<Vec<Standing>>, ReportError> {
        let request = with_left(vec![standing_of(keys)], since, &Range::around(keys));
        let mut results = self.database.query(&request).await?.results;
        let departures = read_left(&mut results, since)?;
        let rows = results.into_iter().flat_map(|it| it.rows);
        Ok(Told { answer: rows.map(read_standing).collect::<Result<_, _>>()?, departures })
    }

    /// The versions of a range, in order, `limit` at most and whether there are more; what stands under some keys, as
    /// [`ReportStore::standing`] says; and what left since a mark.
    pub(crate) async fn versions_since(
        &self,
        range: (&str, Option<&str>),
        limit: usize,
        beside: &[ReportKey],
        since: Option<Mark>,
    ) -> Result<Told<Versions>, ReportError> {
        let range = Range::of(range.0).after(range.1);
        let select =
            "SELECT key, scanned_at, sequence FROM report WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3";
        let more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let bound = [range.from.as_str().into(), range.to.as_str().into(), more.into()];
        let statements = vec![Statement::with(select, bound), standing_of(beside)];
        let request = with_left(statements, since, &range);
        let mut results = self.database.query(&request).await?.results;
        let departures = read_left(&mut results, since)?;
        let mut rows = results.into_iter().map(|it| it.rows);
        let (listed, beside) = (rows.next().unwrap_or_default(), rows.next().unwrap_or_default());
        let read = |row: Vec<Value>| {
            let mut row = Row(row.into_iter());
            Ok::<_, ReportError>((key_of(row.text()?)?, row.version()?))
        };
        let more = listed.len() > limit;
        let listed = listed.into_iter().take(limit).map(read).collect::<Result<_, _>>()?;
        let beside = beside.into_iter().map(read_standing).collect::<Result<_, _>>()?;
        Ok(Told { answer: Versions { listed, more, beside }, departures })
    }

    async fn rows(&self, statement: Statement) -> Result<Vec<Vec<Value>>, ReportError> {
        let response = self.database.query(&Request::new([statement])).await?;
        Ok(response.results.into_iter().flat_map(|it| it.rows).collect())
    }
}

/// Asks for the versions and the tombstones of some keys, in their order.
fn standing_of(keys: &[ReportKey]) -> Statement {
    let select = "SELECT r.scanned_at, r.sequence, t.sequence FROM (SELECT ?1 AS key) k \
                  LEFT JOIN report r ON r.key = k.key LEFT JOIN tombstone t ON t.key = k.key";
    Statement::many(select, keys.iter().map(|key| vec![key.as_str().into()]))
}

fn read_standing(row: Vec<Value>) -> Result<Standing, ReportError> {
    let mut row = Row(row.into_iter());
    let version = match (row.optional_integer()?, row.optional_integer()?) {
        (Some(scanned_at), Some(sequence)) => Some(Version { scanned_at: time(scanned_at), sequence }),
        _ => None,
    };
    Ok((version, row.optional_integer()?))
}

impl Stored {
    /// The report with its findings and checks, as its writer gave them; `None` if they cannot be read.
    pub(crate) fn unpacked(self) -> Option<crate::reports::Report> {
        if !self.given {
            return Some(self.report);
        }
        let findings = self.packed.map(|it| packed::decode(&it)).transpose().ok()?;
        let checks = self.checks.map(|it| kept::unpack_checks(&it).ok_or(())).transpose().ok()?;
        Some(crate::reports::Report { findings, checks, ..self.report })
    }
}
