//! Deleting reports: one, or all of a kind.
//!
//! A deleted report leaves a tombstone, so that a copy in another store does not come back. Those of a kind are found first and then deleted
//! a few hundred at a time, each only if it is still the one that was found: what is written meanwhile stays, and no write waits for long.

use larder_wire::{Request, Response, Statement, Value};

use super::range::{Range, chunks};
use super::rows::{Row, bound};
use super::write::{remove_parts, retire};
use super::{ReportError, ReportStore, Tombstone, nanoseconds, now};
use crate::reports::{Clock, ReportKey, Version};
use jiff::Timestamp;

/// How often a deletion is made anew above a report from a clock that is ahead.
const RAISES: usize = 8;
/// Reports that are deleted at once.
const AT_ONCE: usize = 500;

/// A report that was found to be deleted, if it is still this one.
struct Victim {
    key: String,
    version: Version,
}

impl ReportStore {
    /// Deletes a report, if there is one, and leaves a tombstone in any case; says whether there was one.
    ///
    /// # Errors
    /// The database did not do it.
    pub async fn delete(&self, key: &ReportKey) -> Result<bool, ReportError> {
        let mut existed = false;
        let mut sequence = self.clock.next();
        for _ in 0..RAISES {
            // What is written after this request was sent has a greater sequence, and stays however late the request comes.
            let tombstone = Tombstone { key: key.clone(), sequence };
            existed |= self.bury(std::slice::from_ref(&tombstone)).await? > 0;
            let survivor = self.standing(std::slice::from_ref(key)).await?.pop().and_then(|it| it.0);
            let Some(survivor) = survivor.filter(|it| it.sequence > tombstone.sequence) else { break };
            sequence = self.clock.above(survivor.sequence);
        }
        Ok(existed)
    }

    /// Deletes every report whose key begins with `prefix`; says how many.
    ///
    /// # Errors
    /// The database did not do it; part of it may be done.
    pub async fn delete_prefix(&self, prefix: &str) -> Result<u64, ReportError> {
        self.delete_where(Range::of(prefix), "1 = 1", Vec::new()).await
    }

    /// Deletes every report whose key begins with `prefix` and is not in `live`, any number in any order; says how many. What was written
    /// after `as_of`, when the live ones were counted, stays.
    ///
    /// # Errors
    /// As for [`ReportStore::delete_prefix`].
    pub async fn retain(
        &self,
        prefix: &str,
        live: &[ReportKey],
        as_of: Timestamp,
    ) -> Result<u64, ReportError> {
        let newest = Clock::latest(as_of);
        let mut count = 0;
        for (range, keys) in chunks(live.iter().map(ReportKey::as_str).collect(), &Range::of(prefix)) {
            let condition = "key NOT IN (SELECT value FROM json_each(?4)) AND sequence <= ?5";
            count += self.delete_where(range, condition, vec![keys.into(), newest.into()]).await?;
        }
        Ok(count)
    }

    /// Deletes every report whose key begins with `prefix` and that was scanned before a time; says how many. Those of which nobody knows when they
    /// were scanned stay.
    ///
    /// # Errors
    /// As for [`ReportStore::delete_prefix`].
    pub async fn expire(&self, prefix: &str, before: Timestamp) -> Result<u64, ReportError> {
        self.delete_where(
            Range::of(prefix),
            "scanned_at < ?4 AND scanned_at > 0",
            vec![nanoseconds(before).into()],
        )
        .await
    }

    /// Deletes what is in a range and meets a condition, in which the arguments are numbered from 4 on.
    async fn delete_where(
        &self,
        range: Range,
        condition: &str,
        arguments: Vec<Value>,
    ) -> Result<u64, ReportError> {
        let select = format!(
            "SELECT key, scanned_at, sequence FROM report WHERE key >= ?1 AND key < ?2 AND {condition} ORDER BY key LIMIT ?3"
        );
        let (mut count, mut range) = (0, range);
        loop {
            let limit = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
            let mut all = vec![Value::from(range.from.as_str()), range.to.as_str().into(), limit.into()];
            all.extend(arguments.iter().cloned());
            let victims = self.victims(Statement::with(select.as_str(), all)).await?;
            let Some(last) = victims.last() else { return Ok(count) };
            range = range.after(Some(&last.key));
            count += self.bury_all(&victims).await?;
            if victims.len() < AT_ONCE {
                return Ok(count);
            }
        }
    }

    async fn victims(&self, select: Statement) -> Result<Vec<Victim>, ReportError> {
        let response = self.database.query(&Request::new([select])).await?;
        let read = |row: Vec<Value>| {
            let mut row = Row(row.into_iter());
            Ok(Victim { key: row.text()?, version: row.version()? })
        };
        response.results.into_iter().flat_map(|it| it.rows).map(read).collect()
    }

    async fn bury_all(&self, victims: &[Victim]) -> Result<u64, ReportError> {
        const STILL: &str = "key = ?1 AND scanned_at = ?2 AND sequence = ?3";
        let entomb = format!(
            "INSERT INTO tombstone (key, sequence, deleted_at) \
             SELECT key, CASE WHEN sequence >= ?4 THEN MIN(sequence, 9223372036854775806) + 1 ELSE ?4 END, ?5 FROM report WHERE {STILL} \
             ON CONFLICT (key) DO UPDATE SET sequence = excluded.sequence, deleted_at = excluded.deleted_at \
             WHERE excluded.sequence > tombstone.sequence"
        );
        let (sequence, now) = (self.clock.next(), now());
        let entombed = victims.iter().map(|it| [it.bound(), vec![sequence.into(), now.into()]].concat());
        let request = Request::new([
            Statement::many(entomb, entombed),
            Statement::many(retire(STILL), victims.iter().map(Victim::bound)),
            Statement::many(remove_parts(STILL), victims.iter().map(Victim::bound)),
            Statement::many(format!("DELETE FROM report WHERE {STILL}"), victims.iter().map(Victim::bound)),
        ]);
        Ok(deleted(&self.database.execute(&request).await?))
    }
}

impl Victim {
    fn bound(&self) -> Vec<Value> {
        let [scanned_at, sequence] = bound(self.version);
        vec![self.key.as_str().into(), scanned_at, sequence]
    }
}

/// What the last of four statements changed.
pub(super) fn deleted(response: &Response) -> u64 {
    response.results.get(3).map_or(0, |it| it.rows_affected)
}
