//! Which assets have a vulnerability.
//!
//! Two reads, and yet an answer of one moment, that of the second: the first says which of the reports up to the watermark have it, which can
//! only become fewer; the second takes those of them that are still there, and looks through whatever is newer than that watermark itself.

use larder_wire::{Request, Statement};

use super::Questions;
use super::asset::{AssetSummary, COLUMNS};
use super::filter::{AssetFilter, Condition};
use crate::reports::index::IndexError;
use crate::reports::index::block::Unpacker;
use crate::reports::index::fields::{Fields, from_sql, json, number, rows, to_sql};
use crate::reports::index::traits::Ratings;
use crate::reports::{Finding, VulnerabilityId, packed};

/// An asset that has a vulnerability.
#[derive(Clone, Debug, PartialEq)]
pub struct Affected {
    /// The asset.
    pub summary: AssetSummary,
    /// The packages that have it.
    pub findings: Vec<Finding>,
}

/// A page of assets that have a vulnerability, in order of their keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AffectedPage {
    /// The rows.
    pub rows: Vec<Affected>,
    /// How many there are on all pages together.
    pub total: u64,
    /// Behind which key the next page begins; `None` if this is the last.
    pub next: Option<String>,
}

impl Questions {
    /// A page of the assets that have a vulnerability, behind the key `after`.
    ///
    /// # Errors
    /// Any [`IndexError`].
    pub async fn affected(
        &self,
        vulnerability: &str,
        filter: &AssetFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<AffectedPage, IndexError> {
        let (indexed, having) = self.having(VulnerabilityId::of(vulnerability)).await?;
        let search = Search { name: vulnerability, condition: filter.condition(), indexed, having };
        let mut page = AffectedPage::default();
        let mut behind = after.unwrap_or_default().to_owned();
        loop {
            let (mut rows, last, total) = search.read(self, &behind, limit).await?;
            page.total = total;
            rows.retain(|it| search.condition.admits(it.summary.key.as_str()));
            page.rows.extend(rows);
            match last {
                Some(last) if page.rows.len() <= limit => behind = last,
                _ => break,
            }
        }
        if page.rows.len() > limit {
            page.rows.truncate(limit);
            page.next = page.rows.last().map(|it| it.summary.key.to_string());
        }
        Ok(page)
    }

    /// The watermark, and the reports up to it that have the vulnerability, among them some that are gone.
    async fn having(&self, id: VulnerabilityId) -> Result<(i64, Vec<i64>), IndexError> {
        let blocks = "SELECT segment.id, first, summary, block.postings FROM segment JOIN block ON segment = segment.id \
                      AND first = (SELECT MAX(first) FROM block WHERE segment = segment.id AND first <= ?) \
                      WHERE live = 1 ORDER BY low";
        let request = Request::new([
            Statement::new("SELECT value FROM counter WHERE name = 'indexed'"),
            Statement::with(blocks, [to_sql(id.get()).into()]),
        ]);
        let mut response = self.database.query(&request).await?;
        let [indexed, blocks] = &mut response.results[..] else {
            return Err(IndexError::Shape("a result is missing"));
        };
        let (mut unpacker, mut ratings, mut having) = (Unpacker::new()?, Ratings::new(), Vec::new());
        for mut row in rows(blocks) {
            let (segment, first) = (row.integer()?, from_sql(row.integer()?));
            let damaged = || IndexError::block(segment, first);
            let entries = unpacker.summary(first, &row.blob()?, &mut ratings).map_err(damaged())?;
            let Ok(wanted) = entries.binary_search_by_key(&id.get(), |it| it.id) else { continue };
            let read = unpacker.postings(&row.blob()?, &entries, |entry, report| {
                if entry == wanted {
                    having.push(report.cast_signed());
                }
            });
            read.map_err(damaged())?;
        }
        Ok((number(indexed)?, having))
    }
}

/// The second read.
struct Search<'a> {
    name: &'a str,
    condition: Condition,
    indexed: i64,
    having: Vec<i64>,
}

impl Search<'_> {
    /// The rows behind a key, up to one more than `limit`; the last key that was looked at, if there may be more; and how many there are in all.
    async fn read(
        &self,
        questions: &Questions,
        behind: &str,
        limit: usize,
    ) -> Result<(Vec<Affected>, Option<String>, u64), IndexError> {
        let limit = limit.saturating_add(1);
        let mut response = questions.database.query(&self.request(behind, limit)).await?;
        let [keys, indexed, pending] = &mut response.results[..] else {
            return Err(IndexError::Shape("a result is missing"));
        };
        let mut total = 0;
        for mut row in rows(keys) {
            let (count, key) = (row.integer()?, row.text()?);
            total += if self.condition.is_complete() || self.condition.admits(&key) { count } else { 0 };
        }
        let whole = indexed.rows.len() < limit;
        let mut found = Vec::new();
        let mut last = None;
        for row in rows(indexed) {
            let row = self.asset(row)?;
            last = Some(row.summary.key.to_string()).filter(|_| !whole);
            found.push(row);
        }
        found.retain(|it| !it.findings.is_empty());
        for row in rows(pending) {
            let row = self.asset(row)?;
            if row.findings.is_empty() {
                continue;
            }
            let key = row.summary.key.as_str();
            total += i64::from(self.condition.admits(key));
            if key > behind && last.as_deref().is_none_or(|last| key < last) {
                found.push(row);
            }
        }
        found.sort_unstable_by(|one, two| one.summary.key.cmp(&two.summary.key));
        Ok((found, last, total.unsigned_abs()))
    }

    fn request(&self, behind: &str, limit: usize) -> Request {
        let Condition { sql, values, .. } = &self.condition;
        let list = || json(self.having.iter().copied());
        let with = |more: Vec<larder_wire::Value>| values.iter().cloned().chain(more).collect::<Vec<_>>();
        let among = "id IN (SELECT value FROM json_each(?))";
        let count = if self.condition.is_complete() { "COUNT(*), ''" } else { "1, key" };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Request::new([
            Statement::with(
                format!("SELECT {count} FROM report WHERE {sql} AND {among}"),
                with(vec![list()]),
            ),
            Statement::with(
                format!(
                    "SELECT {COLUMNS}, findings FROM report WHERE id IN \
                     (SELECT id FROM report WHERE {sql} AND {among} AND key > ? ORDER BY key LIMIT ?) ORDER BY key"
                ),
                with(vec![list(), behind.into(), limit.into()]),
            ),
            Statement::with(
                format!(
                    "SELECT {COLUMNS}, findings FROM report WHERE {sql} AND id > ? AND findings IS NOT NULL"
                ),
                with(vec![self.indexed.into()]),
            ),
        ])
    }

    /// An asset, with what it has of the vulnerability.
    fn asset(&self, mut row: Fields) -> Result<Affected, IndexError> {
        let (report, summary) = AssetSummary::read(&mut row)?;
        let findings = match row.optional_blob()? {
            Some(blob) => packed::decode_of(&blob, self.name)
                .map_err(|error| IndexError::Findings { report, reason: error.to_string() })?,
            None => Vec::new(),
        };
        Ok(Affected { summary, findings })
    }
}
