//! Tombstones: what was deleted, for as long as a copy may turn up elsewhere.

use jiff::Timestamp;
use larder_wire::{Request, Statement, Value};

use super::range::Range;
use super::remove::deleted;
use super::rows::Row;
use super::write::{remove_parts, retire};
use super::{ReportError, ReportStore, key_of, nanoseconds, now};
use crate::reports::ReportKey;

/// A report was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tombstone {
    /// The report.
    pub key: ReportKey,
    /// Reports under this key of a lesser sequence are deleted, wherever they turn up.
    pub sequence: i64,
}

/// Tombstones on a page, at most.
const PAGE: usize = 1000;

impl ReportStore {
    /// The sequence of a tombstone, if there is one.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn tombstone(&self, key: &ReportKey) -> Result<Option<i64>, ReportError> {
        let select = "SELECT sequence FROM tombstone WHERE key = ?1";
        let request = Request::new([Statement::with(select, [key.as_str().into()])]);
        let rows = self.database.query(&request).await?.results.into_iter().flat_map(|it| it.rows);
        rows.map(|row| Row(row.into_iter()).integer()).next().transpose()
    }

    /// The tombstones behind `after`, in the order of their keys, up to `limit` and 1000.
    ///
    /// # Errors
    /// As for [`ReportStore::tombstone`].
    pub async fn tombstones(&self, after: Option<&str>, limit: usize) -> Result<Vec<Tombstone>, ReportError> {
        let Range { from, to } = Range::of("").after(after);
        let limit = i64::try_from(limit.min(PAGE)).unwrap_or(i64::MAX);
        let select = "SELECT key, sequence FROM tombstone WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3";
        let request = Request::new([Statement::with(select, [from.into(), to.into(), limit.into()])]);
        let read = |row: Vec<Value>| {
            let mut row = Row(row.into_iter());
            Ok(Tombstone { key: key_of(row.text()?)?, sequence: row.integer()? })
        };
        self.database.query(&request).await?.results.into_iter().flat_map(|it| it.rows).map(read).collect()
    }

    /// Writes tombstones that come from another store: of two the later stays, and what stands below one is deleted. Says how many reports
    /// were.
    ///
    /// # Errors
    /// The database did not do it; part of it may be done.
    pub async fn bury(&self, tombstones: &[Tombstone]) -> Result<u64, ReportError> {
        const BELOW: &str = "key = ?1 AND sequence < ?2";
        // The time grows each time: whoever found the tombstone before cannot remove it any more.
        let entomb = "INSERT INTO tombstone (key, sequence, deleted_at) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO UPDATE SET \
                      sequence = CASE WHEN excluded.sequence > tombstone.sequence THEN excluded.sequence ELSE tombstone.sequence END, \
                      deleted_at = CASE WHEN excluded.deleted_at > tombstone.deleted_at THEN excluded.deleted_at \
                      ELSE tombstone.deleted_at + 1 END";
        let mut count = 0;
        for tombstones in tombstones.chunks(PAGE) {
            let bound = |it: &Tombstone| vec![Value::from(it.key.as_str()), it.sequence.into()];
            let now = now();
            let request = Request::new([
                Statement::many(entomb, tombstones.iter().map(|it| [bound(it), vec![now.into()]].concat())),
                Statement::many(retire(BELOW), tombstones.iter().map(bound)),
                Statement::many(remove_parts(BELOW), tombstones.iter().map(bound)),
                Statement::many(format!("DELETE FROM report WHERE {BELOW}"), tombstones.iter().map(bound)),
            ]);
            count += deleted(&self.database.execute(&request).await?);
            tombstones.iter().for_each(|it| self.clock.see(it.sequence));
        }
        Ok(count)
    }

    /// Forgets tombstones that were written here before a time; says how many. Nothing is left by then that they would hide, so they are not noted
    /// as what a mover takes out is.
    ///
    /// # Errors
    /// As for [`ReportStore::bury`].
    pub async fn purge_tombstones(&self, before: Timestamp) -> Result<u64, ReportError> {
        let delete = "DELETE FROM tombstone WHERE deleted_at < ?1";
        let request = Request::new([Statement::with(delete, [nanoseconds(before).into()])]);
        Ok(self.database.execute(&request).await?.results.first().map_or(0, |it| it.rows_affected))
    }
}
