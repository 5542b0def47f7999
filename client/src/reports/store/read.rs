//! Reading whole reports: one, or many as a stream in the order of their keys.
//!
//! A stream that breaks off goes on behind the last report that came, so it outlives a slow reader, a deadline and a restart of the
//! database. It is therefore no snapshot: a report that is written meanwhile may be in it or not.

use std::collections::VecDeque;

use larder_wire::{Request, Statement, Value};

use super::departures::{Mark, Told, read_left, with_left};
use super::range::{Range, chunks};
use super::rows::{AS_GIVEN, Row, Stored, Upload, WHOLE, WITHOUT_FINDINGS, read_stored};
use super::{ReportError, ReportStore, unreadable};
use crate::database::{DatabaseError, Rows};
use crate::reports::{ReportKey, Version};

/// What a store knows of a key, in one snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The report.
    pub report: Option<Stored>,
    /// The sequence of the tombstone; the report, if there is one, is newer.
    pub tombstone: Option<i64>,
}

/// Which reports to stream, and how much of them.
#[derive(Clone, Debug)]
pub struct Selection<'s> {
    which: Which<'s>,
    columns: &'static str,
}

#[derive(Clone, Debug)]
enum Which<'s> {
    Prefix(&'s str),
    Keys(Vec<&'s str>),
}

impl<'s> Selection<'s> {
    /// Those whose keys begin with `prefix`, in which every character stands for itself.
    #[must_use]
    pub fn prefix(prefix: &'s str) -> Self {
        Self { which: Which::Prefix(prefix), columns: WITHOUT_FINDINGS }
    }

    /// Those of some keys, any number of them in any order. Texts that are no keys name nothing.
    pub fn keys<K: AsRef<str> + ?Sized + 's>(keys: impl IntoIterator<Item = &'s K>) -> Self {
        let keys = keys.into_iter().map(AsRef::as_ref).collect();
        Self { which: Which::Keys(keys), columns: WITHOUT_FINDINGS }
    }

    /// The same, with findings and checks where the writer gave them.
    #[must_use]
    pub fn as_given(self) -> Self {
        Self { columns: AS_GIVEN, ..self }
    }

    /// The same, with findings and checks.
    #[must_use]
    pub fn with_findings(self) -> Self {
        Self { columns: WHOLE, ..self }
    }
}

/// Reports in the order of their keys, as they come.
pub struct ReportStream {
    store: ReportStore,
    columns: &'static str,
    /// What is left: ranges, each with the keys in it, as JSON, if only those are wanted.
    left: VecDeque<(Range, Option<String>)>,
    rows: Option<Box<dyn Rows>>,
    failures: u32,
}

/// How often a stream is begun anew without a report in between.
const PATIENCE: u32 = 3;

impl ReportStore {
    /// The report of a key.
    ///
    /// # Errors
    /// The database did not answer. An outage is never told as absence.
    pub async fn get(&self, key: &ReportKey) -> Result<Option<Stored>, ReportError> {
        Ok(self.find(key).await?.report)
    }

    /// The report of a key, and whether there is a tombstone.
    ///
    /// # Errors
    /// As for [`ReportStore::get`].
    pub async fn find(&self, key: &ReportKey) -> Result<Found, ReportError> {
        Ok(self.find_since(key, None).await?.answer)
    }

    /// As [`ReportStore::find`], with what left since a mark.
    pub(crate) async fn find_since(
        &self,
        key: &ReportKey,
        since: Option<Mark>,
    ) -> Result<Told<Found>, ReportError> {
        let mut missing = None;
        loop {
            let arguments = || [Value::from(key.as_str())];
            let statements = vec![
                Statement::with(format!("SELECT {WHOLE} FROM report WHERE key = ?1"), arguments()),
                Statement::with("SELECT sequence FROM tombstone WHERE key = ?1", arguments()),
            ];
            let request = with_left(statements, since, &Range::one(key.as_str()));
            let mut results = self.database.query(&request).await?.results;
            let departures = read_left(&mut results, since)?;
            let found = |report, tombstone| Told { answer: Found { report, tombstone }, departures };
            let mut rows = results.into_iter().map(|it| it.rows);
            let (report, tombstone) = (rows.next().unwrap_or_default(), rows.next().unwrap_or_default());
            let tombstone =
                tombstone.into_iter().next().map(|row| Row(row.into_iter()).integer()).transpose()?;
            let Some(row) = report.into_iter().next() else { return Ok(found(None, tombstone)) };
            let (stored, upload) = read_stored(row)?;
            // Where its pieces are gone, so is the report: the next look finds what came instead.
            if let Some(report) = self.whole(stored, upload).await? {
                return Ok(found(Some(report), tombstone));
            }
            if upload.is_some() && missing == upload {
                return Err(unreadable(key.as_str(), "pieces of its payload are missing"));
            }
            missing = upload;
        }
    }

    /// Many reports, in the order of their keys. Nothing is asked of the database before the first is waited for.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use larder_client::{database::Embedded, reports::{Clock, ReportStore, Selection}, schema};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let database = Arc::new(Embedded::open(directory.path())?);
    /// # schema::prepare(&*database).await?;
    /// # let reports = ReportStore::new(database, Arc::new(Clock::new(1)));
    /// let mut stream = reports.get_many(Selection::prefix("image/"));
    /// while let Some(stored) = stream.next().await? {
    ///     println!("{}: {} bytes", stored.report.key, stored.report.payload.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn get_many(&self, selection: Selection<'_>) -> ReportStream {
        let Selection { which, columns } = selection;
        let left = match which {
            Which::Prefix(prefix) => VecDeque::from([(Range::of(prefix), None)]),
            Which::Keys(keys) => {
                let chunks = chunks(keys, &Range::of(""));
                chunks.into_iter().map(|(range, keys)| (range, Some(keys))).collect()
            }
        };
        ReportStream { store: self.clone(), columns, left, rows: None, failures: 0 }
    }

    /// The versions of some reports, in the order of the keys; `None` where there is none.
    ///
    /// # Errors
    /// As for [`ReportStore::get`].
    pub async fn versions(&self, keys: &[ReportKey]) -> Result<Vec<Option<Version>>, ReportError> {
        const AT_ONCE: usize = 1000;
        let select =
            "SELECT r.scanned_at, r.sequence FROM (SELECT ?1 AS key) k LEFT JOIN report r ON r.key = k.key";
        let mut versions = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            let statement = Statement::many(select, keys.iter().map(|key| vec![key.as_str().into()]));
            let rows = self.database.query(&Request::new([statement])).await?.results;
            for row in rows.into_iter().flat_map(|it| it.rows) {
                let absent = row.contains(&Value::Null);
                versions.push(if absent { None } else { Some(self.met(Row(row.into_iter()).version()?)) });
            }
        }
        Ok(versions)
    }

    /// Whether there is a report of this key.
    ///
    /// # Errors
    /// As for [`ReportStore::get`].
    pub async fn exists(&self, key: &ReportKey) -> Result<bool, ReportError> {
        Ok(self.versions(std::slice::from_ref(key)).await?.iter().any(Option::is_some))
    }

    /// The report with its payload; `None` if that is gone.
    async fn whole(&self, mut stored: Stored, upload: Option<Upload>) -> Result<Option<Stored>, ReportError> {
        self.met(stored.version);
        if let Some(upload) = upload {
            let Some(payload) = self.download(upload).await? else { return Ok(None) };
            stored.report.payload = payload;
        }
        Ok(Some(stored))
    }
}

impl ReportStream {
    /// The next report; `None` once all came.
    ///
    /// # Errors
    /// The database failed for longer than a few attempts, or a row cannot be read. Asked again, the stream goes on behind the last report.
    pub async fn next(&mut self) -> Result<Option<Stored>, ReportError> {
        loop {
            match self.row().await {
                Ok(Some(row)) => {
                    let (stored, upload) = read_stored(row)?;
                    self.passed(stored.report.key.as_str());
                    let key = stored.report.key.clone();
                    if let Some(whole) = self.store.whole(stored, upload).await? {
                        return Ok(Some(whole));
                    }
                    if let Some(instead) = self.store.get(&key).await? {
                        return Ok(Some(instead));
                    }
                }
                Ok(None) if self.left.is_empty() => return Ok(None),
                Ok(None) => self.rows = None,
                Err(error) => self.failed(error)?,
            }
        }
    }

    async fn row(&mut self) -> Result<Option<Vec<Value>>, DatabaseError> {
        if self.rows.is_none() {
            let Some(request) = self.request() else { return Ok(None) };
            self.rows = Some(self.store.database.stream(&request).await?);
        }
        let Some(rows) = &mut self.rows else { return Ok(None) };
        let row = rows.next().await?;
        if row.is_none() {
            self.left.pop_front();
        }
        Ok(row)
    }

    fn request(&self) -> Option<Request> {
        let (Range { from, to }, keys) = self.left.front()?;
        let mut arguments = vec![Value::from(from.as_str()), to.as_str().into()];
        let mut only = "";
        if let Some(keys) = keys {
            arguments.push(keys.as_str().into());
            only = "AND key IN (SELECT value FROM json_each(?3)) ";
        }
        let columns = self.columns;
        let select = format!("SELECT {columns} FROM report WHERE key >= ?1 AND key < ?2 {only}ORDER BY key");
        Some(Request::new([Statement::with(select, arguments)]))
    }

    /// Notes how far the stream has come.
    fn passed(&mut self, key: &str) {
        self.failures = 0;
        if let Some((range, _)) = self.left.front_mut() {
            range.from = format!("{key}\u{1}");
        }
    }

    fn failed(&mut self, error: DatabaseError) -> Result<(), DatabaseError> {
        self.rows = None;
        self.failures += 1;
        if error.may_pass() && self.failures < PATIENCE {
            return Ok(());
        }
        self.failures = 0;
        Err(error)
    }
}

impl std::fmt::Debug for ReportStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReportStream").field("ranges_left", &self.left.len()).finish_non_exhaustive()
    }
}
