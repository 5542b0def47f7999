//! What can be told of reports without reading them: pages of a list, and figures of each class. It reads one index and no payload.

use larder_wire::{Request, Statement, Value};

use super::range::{Range, chunks};
use super::rows::Row;
use super::{ReportError, ReportStore, key_of, time};
use crate::reports::extract::Summary;
use crate::reports::{Asset, Encoding, ReportKey, Version};
use jiff::Timestamp;

/// Which page of which list.
#[derive(Clone, Copy, Debug, Default)]
pub struct List<'l> {
    /// The keys begin with this; every character stands for itself.
    pub prefix: &'l str,
    /// The page begins behind this key: the last one of the page before.
    pub after: Option<&'l str>,
    /// Lines on the page: at most 1000, which 0 means too.
    pub limit: usize,
    /// Only these keys, any number of them in any order.
    pub allowed: Option<&'l [ReportKey]>,
}

/// Lines on a page, at most.
const PAGE: usize = 1000;

/// A page of a list, in the order of the keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The lines.
    pub reports: Vec<Listed>,
    /// Whether there is more; the next page begins behind the last line of this.
    pub more: bool,
}

/// A line of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// The report.
    pub key: ReportKey,
    /// Its version.
    pub version: Version,
    /// The version of the scanner or of its database.
    pub scanner_version: String,
    /// What its payload is.
    pub encoding: Encoding,
    /// What it speaks of.
    pub asset: Asset,
    /// The bytes of its payload.
    pub size: usize,
    /// How many findings it has, and how bad they are.
    pub summary: Summary,
}

/// Figures of the reports of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassStats {
    /// The class.
    pub class: String,
    /// How many there are.
    pub reports: u64,
    /// The bytes of their payloads.
    pub bytes: u64,
    /// When the oldest was scanned.
    pub oldest: Timestamp,
    /// When the newest was scanned.
    pub newest: Timestamp,
    /// How many have a finding.
    pub with_findings: u64,
}

const LINE: &str = "key, scanned_at, sequence, scanner_version, encoding, name, namespace, service, image, os, node, repository, tag, \
                    size, critical, high, medium, low, score, score_v3";

impl ReportStore {
    /// A page of a list.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn list(&self, list: List<'_>) -> Result<Page, ReportError> {
        let limit = if list.limit == 0 { PAGE } else { list.limit.min(PAGE) };
        let range = Range::of(list.prefix).after(list.after);
        let parts = match list.allowed {
            None => vec![(range, None)],
            Some(keys) => {
                let chunks = chunks(keys.iter().map(ReportKey::as_str).collect(), &range);
                chunks.into_iter().map(|(range, keys)| (range, Some(keys))).collect()
            }
        };
        let mut reports = Vec::new();
        for (range, keys) in parts {
            // One line more than fits tells whether there is more.
            let wanted = limit + 1 - reports.len();
            if wanted > 0 {
                self.lines(&range, keys, wanted, &mut reports).await?;
            }
        }
        let more = reports.len() > limit;
        reports.truncate(limit);
        Ok(Page { reports, more })
    }

    async fn lines(
        &self,
        range: &Range,
        keys: Option<String>,
        limit: usize,
        lines: &mut Vec<Listed>,
    ) -> Result<(), ReportError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut arguments = vec![Value::from(range.from.as_str()), range.to.as_str().into(), limit.into()];
        let mut only = "";
        if let Some(keys) = keys {
            arguments.push(keys.into());
            only = "AND key IN (SELECT value FROM json_each(?4)) ";
        }
        let select =
            format!("SELECT {LINE} FROM report WHERE key >= ?1 AND key < ?2 {only}ORDER BY key LIMIT ?3");
        let mut rows = self.database.stream(&Request::new([Statement::with(select, arguments)])).await?;
        while let Some(row) = rows.next().await? {
            lines.push(read_line(Row(row.into_iter()))?);
        }
        Ok(())
    }

    /// How many reports there are whose keys begin with `prefix`.
    ///
    /// # Errors
    /// As for [`ReportStore::list`].
    pub async fn count(&self, prefix: &str) -> Result<u64, ReportError> {
        let Range { from, to } = Range::of(prefix);
        let select = "SELECT COUNT(*) FROM report WHERE key >= ?1 AND key < ?2";
        self.counted(Statement::with(select, [from.into(), to.into()])).await
    }

    /// How many reports are in no answer to a question: nobody could look into their payloads (gob, damaged or other JSON), or was to.
    ///
    /// # Errors
    /// As for [`ReportStore::list`].
    pub async fn count_closed(&self) -> Result<u64, ReportError> {
        // Those with a finding are ruled out by the index of summaries, so that few rows are looked up.
        let select = "SELECT COUNT(*) FROM report \
                      WHERE id IN (SELECT id FROM report WHERE critical + high + medium + low = 0) \
                      AND findings IS NULL AND checks IS NULL";
        self.counted(Statement::new(select)).await
    }

    async fn counted(&self, select: Statement) -> Result<u64, ReportError> {
        let response = self.database.query(&Request::new([select])).await?;
        let rows = response.results.into_iter().flat_map(|it| it.rows);
        let count = rows.map(|row| Row(row.into_iter()).length()).next().transpose()?;
        Ok(count.unwrap_or(0) as u64)
    }

    /// Figures of each class, in the order of their names.
    ///
    /// # Errors
    /// As for [`ReportStore::list`].
    pub async fn stats(&self) -> Result<Vec<ClassStats>, ReportError> {
        let select = "SELECT class, COUNT(*), SUM(size), MIN(scanned_at), MAX(scanned_at), \
                      SUM(CASE WHEN critical + high + medium + low > 0 THEN 1 ELSE 0 END) \
                      FROM report GROUP BY class ORDER BY class";
        let response = self.database.query(&Request::new([Statement::new(select)])).await?;
        response
            .results
            .into_iter()
            .flat_map(|it| it.rows)
            .map(|row| read_stats(Row(row.into_iter())))
            .collect()
    }
}

fn read_line(mut row: Row) -> Result<Listed, ReportError> {
    Ok(Listed {
        key: key_of(row.text()?)?,
        version: row.version()?,
        scanner_version: row.text()?,
        encoding: row.encoding()?,
        asset: row.asset()?,
        size: row.length()?,
        summary: row.summary()?,
    })
}

fn read_stats(mut row: Row) -> Result<ClassStats, ReportError> {
    Ok(ClassStats {
        class: row.text()?,
        reports: row.length()? as u64,
        bytes: row.length()? as u64,
        oldest: time(row.integer()?),
        newest: time(row.integer()?),
        with_findings: row.length()? as u64,
    })
}
