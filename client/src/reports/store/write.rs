//! Putting reports: one or many, each looked into, and a batch of them in one request. Those that are moved here from another store take the same
//! way, which [`super::bring`] leads to.
//!
//! A batch runs five statements for all of its reports: what the index still counts of an older one is kept as retired, its pieces and its row
//! go, the new row comes unless there is one, and the last statement tells what stands there now. No statement raises a sequence: a request may
//! come late, after its caller gave up, and must bring nothing back that was deleted since. Who lives and is refused asks again with a greater one.

use std::borrow::Cow;
use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use larder_wire::{Kind, Request, Statement, StatementReply, Value};

use super::departures::{Departures, Mark, Told, left, read_left};
use super::parts::{PART, all_there};
use super::range::Range;
use super::rows::{COLUMNS, Row, Upload, bound, columns, texts};
use super::{PAYLOAD_LIMIT, ReportError, ReportStore};
use crate::reports::extract::Extractor;
use crate::reports::kept::{self, Kept, PACKED};
use crate::reports::{Report, Version};

/// What became of a report that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It stands there, as this version.
    Stored(Version),
    /// A newer one stands there, of this version, and nothing was changed; or an earlier scan that was written later.
    Superseded(Version),
    /// It was deleted after it had been written: there is a tombstone of this sequence.
    Suppressed(i64),
}

/// Scans may be ahead of our clock by this much.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);
/// Bytes of each text of a report.
const TEXT_LIMIT: usize = kept::TEXT;
/// Bytes and reports in one request: below what a sidecar takes, above what makes a difference.
const BATCH_BYTES: usize = 4 << 20;
const BATCH_REPORTS: usize = 256;

/// A report that is to be written.
pub(super) struct Entry<'e> {
    pub(super) report: &'e Report,
    pub(super) sequence: i64,
    pub(super) kept: Cow<'e, Kept>,
    pub(super) upload: Option<Upload>,
    pub(super) over: Option<Version>,
}

/// How often a put is made anew under a greater sequence.
const RAISES: usize = 8;

impl ReportStore {
    /// Puts a report. One that was scanned earlier than the one that is there changes nothing.
    ///
    /// # Errors
    /// It cannot be stored ([`ReportError::ClockAhead`], [`ReportError::TooLarge`]), or the database did not do it.
    pub async fn put(&self, report: &Report) -> Result<Put, ReportError> {
        let puts = self.put_many(std::slice::from_ref(report)).await?;
        puts.into_iter().next().ok_or_else(|| super::unreadable(report.key.as_str(), "nothing is told of it"))
    }

    /// Puts reports, some MiB at a time, each of which is all or nothing. If there is an error, those of the batches before it are stored;
    /// putting all of them once more is harmless.
    ///
    /// # Errors
    /// As for [`ReportStore::put`].
    pub async fn put_many(&self, reports: &[Report]) -> Result<Vec<Put>, ReportError> {
        let entries: Vec<_> = reports.iter().map(|report| (report, self.clock.next())).collect();
        let mut puts = self.put_sequenced(&entries).await?;
        for (put, report) in puts.iter_mut().zip(reports) {
            let mut raises = 0;
            while is_in_the_way(put, report) {
                if raises == RAISES {
                    return Err(ReportError::Contended { key: report.key.clone() });
                }
                raises += 1;
                // The clock has seen what stands in the way.
                let raised = self.put_sequenced(&[(report, self.clock.next())]).await?;
                *put = raised.into_iter().next().unwrap_or(*put);
            }
        }
        Ok(puts)
    }

    /// As [`ReportStore::put_many`], under sequences of the caller's that are never raised: below a tombstone nothing changes, nor where an
    /// earlier scan stands that was written later, since the report may have been deleted in between, elsewhere.
    ///
    /// # Errors
    /// As for [`ReportStore::put`].
    pub async fn put_sequenced(&self, reports: &[(&Report, i64)]) -> Result<Vec<Put>, ReportError> {
        Ok(self.put_since(reports, None).await?.answer)
    }

    /// As [`ReportStore::put_sequenced`], with what left since a mark.
    pub(crate) async fn put_since(
        &self,
        reports: &[(&Report, i64)],
        since: Option<Mark>,
    ) -> Result<Told<Vec<Put>>, ReportError> {
        let mut puts = Puts { since, made: Vec::with_capacity(reports.len()), departures: None };
        let mut batch = Batch::default();
        let mut extractor = Extractor::new();
        for &(report, sequence) in reports {
            let kept = if report.payload.len() < ASIDE {
                looked_into(report, &mut extractor)?
            } else {
                looked_into_aside(report.clone()).await?
            };
            let entry = Entry { report, sequence, kept: Cow::Owned(kept), upload: None, over: None };
            if !batch.takes(&entry) {
                self.write(std::mem::take(&mut batch).entries, &mut puts).await?;
            }
            batch.push(entry);
        }
        self.write(batch.entries, &mut puts).await?;
        // If there was nothing to do, nothing is known.
        let departures = puts.departures.unwrap_or(Departures { until: Mark(0), since: None });
        Ok(Told { answer: puts.made, departures })
    }

    async fn write(&self, mut entries: Vec<Entry<'_>>, puts: &mut Puts) -> Result<(), ReportError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.upload_large(&mut entries).await?;
        let mut statements = statements(&entries);
        let keys: Vec<_> = entries.iter().map(|it| it.report.key.clone()).collect();
        statements.extend(left(puts.since, &Range::around(&keys)));
        let mut results = self.run(statements, &entries).await?;
        puts.told(read_left(&mut results, puts.since)?);
        puts.made.extend(self.seen(outcomes(&entries, results)?)?);
        Ok(())
    }

    /// Runs the statements of a batch.
    pub(super) async fn run(
        &self,
        statements: Vec<Statement>,
        entries: &[Entry<'_>],
    ) -> Result<Vec<StatementReply>, ReportError> {
        let large = || entries.iter().find(|it| it.upload.is_some());
        match self.database.execute(&Request::new(statements)).await {
            Ok(response) => Ok(response.results),
            Err(error) if error.kind() == Some(Kind::Expectation) => match large() {
                Some(entry) => Err(ReportError::Swept { key: entry.report.key.clone() }),
                None => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn upload_large(&self, entries: &mut [Entry<'_>]) -> Result<(), ReportError> {
        for entry in entries {
            if entry.report.payload.len() > PART {
                entry.upload = Some(self.upload(&entry.report.payload).await?);
            }
        }
        Ok(())
    }

    /// Has the clock see what was found.
    pub(super) fn seen(&self, puts: Vec<Put>) -> Result<Vec<Put>, ReportError> {
        for put in &puts {
            match *put {
                Put::Stored(version) | Put::Superseded(version) => drop(self.met(version)),
                Put::Suppressed(sequence) => self.clock.see(sequence),
            }
        }
        Ok(puts)
    }
}

/// What became of the batches until now.
struct Puts {
    since: Option<Mark>,
    made: Vec<Put>,
    departures: Option<Departures>,
}

impl Puts {
    fn told(&mut self, departures: Departures) {
        self.departures = Some(match self.departures.take() {
            Some(before) => before.and(departures),
            None => departures,
        });
    }
}

/// Whether a put was refused for its sequence alone.
fn is_in_the_way(put: &Put, report: &Report) -> bool {
    match put {
        Put::Stored(_) => false,
        Put::Superseded(standing) => standing.scanned_at < report.scanned_at,
        Put::Suppressed(_) => true,
    }
}

/// Entries that go together.
#[derive(Default)]
pub(super) struct Batch<'e> {
    pub(super) entries: Vec<Entry<'e>>,
    keys: HashSet<&'e str>,
    bytes: usize,
}

impl<'e> Batch<'e> {
    /// Whether there is room. Of two reports under one key the second sees what became of the first, so it has to wait.
    pub(super) fn takes(&self, entry: &Entry<'e>) -> bool {
        let fits = self.bytes + bytes(entry.report, &entry.kept) <= BATCH_BYTES;
        let is_new = !self.keys.contains(entry.report.key.as_str());
        self.entries.is_empty() || (fits && is_new && self.entries.len() < BATCH_REPORTS)
    }

    pub(super) fn push(&mut self, entry: Entry<'e>) {
        self.bytes += bytes(entry.report, &entry.kept);
        self.keys.insert(entry.report.key.as_str());
        self.entries.push(entry);
    }
}

/// Bytes of a report in a request. A payload that goes in pieces is not in it.
pub(super) fn bytes(report: &Report, kept: &Kept) -> usize {
    const AROUND: usize = 512;
    let blob = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let payload = if report.payload.len() > PART { 0 } else { report.payload.len() };
    AROUND + report.key.as_str().len() + payload + blob(&kept.packed) + blob(&kept.checks)
}

/// Payloads from this length on are looked into on a thread that others do not wait for.
const ASIDE: usize = 1 << 20;

async fn looked_into_aside(report: Report) -> Result<Kept, ReportError> {
    let key = report.key.clone();
    let looking = tokio::task::spawn_blocking(move || looked_into(&report, &mut Extractor::new()));
    looking.await.unwrap_or_else(|_| Err(super::unreadable(key.as_str(), "looking into it did not end")))
}

/// Looks into a report, and whether it can be stored.
pub(super) fn looked_into(report: &Report, extractor: &mut Extractor) -> Result<Kept, ReportError> {
    checked(report, |report| Kept::with(report, extractor))
}

/// What is kept of a report, if it can be stored.
pub(super) fn checked(report: &Report, keep: impl FnOnce(&Report) -> Kept) -> Result<Kept, ReportError> {
    let limited = |what, size, limit| {
        let key = report.key.clone();
        if size > limit { Err(ReportError::TooLarge { key, what, size, limit }) } else { Ok(()) }
    };
    if report.scanned_at.duration_since(Timestamp::now()) > AHEAD {
        return Err(ReportError::ClockAhead { key: report.key.clone(), scanned_at: report.scanned_at });
    }
    limited("payload", report.payload.len(), PAYLOAD_LIMIT)?;
    limited("scanner_version", report.scanner_version.len(), TEXT_LIMIT)?;
    for (name, text) in texts(&report.asset) {
        limited(name, text.len(), TEXT_LIMIT)?;
    }
    let kept = keep(report);
    if let Some(lost) = kept.lost {
        return Err(ReportError::Unkept { key: report.key.clone(), lost });
    }
    limited("findings", kept.packed.as_ref().map_or(0, Vec::len), PACKED)?;
    limited("checks", kept.checks.as_ref().map_or(0, Vec::len), PACKED)?;
    Ok(kept)
}

pub(super) fn version_of(report: &Report, sequence: i64) -> Version {
    Version::new(report.scanned_at, sequence)
}

/// What holds of a report that was not deleted since it was written.
const NOT_SUPPRESSED: &str = "NOT EXISTS (SELECT 1 FROM tombstone t WHERE t.key = ?1 AND t.sequence > ?3)";
/// What holds of a standing report that was written earlier, or may be replaced all the same.
const YIELDS: &str = "(sequence <= ?3 OR (scanned_at = ?4 AND sequence = ?5))";

/// What a batch runs. The first five are always there, in the order that [`outcomes`] knows.
pub(super) fn statements(entries: &[Entry<'_>]) -> Vec<Statement> {
    let older = format!("key = ?1 AND (scanned_at, sequence) < (?2, ?3) AND {NOT_SUPPRESSED} AND {YIELDS}");
    let places: Vec<String> = (4..=26).map(|number| format!("?{number}")).collect();
    let insert = format!(
        "INSERT INTO report (key, scanned_at, sequence, {COLUMNS}) SELECT ?1, ?2, ?3, {} \
         WHERE NOT EXISTS (SELECT 1 FROM report WHERE key = ?1) AND {NOT_SUPPRESSED} RETURNING id",
        places.join(", ")
    );
    let versions = || entries.iter().map(Entry::version_over);
    let mut statements = vec![
        Statement::many(retire(&older), versions()),
        Statement::many(remove_parts(&older), versions()),
        Statement::many(format!("DELETE FROM report WHERE {older}"), versions()),
        Statement::many(insert, entries.iter().map(Entry::row)),
        Statement::many(STANDS_THERE, entries.iter().map(|it| vec![it.report.key.as_str().into()])),
    ];
    let names: Vec<_> = entries.iter().flat_map(|it| &it.kept.names).collect();
    if !names.is_empty() {
        let insert = "INSERT INTO vulnerability_name (id, name) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING";
        let row = |(id, name): &(crate::reports::VulnerabilityId, String)| {
            vec![Value::Integer(id.get().cast_signed()), name.as_str().into()]
        };
        statements.push(Statement::many(insert, names.into_iter().map(row)));
    }
    let uploads: Vec<_> = entries.iter().filter_map(|it| it.upload).collect();
    if !uploads.is_empty() {
        statements.push(all_there(&uploads));
        let delete = "DELETE FROM payload_part WHERE upload = ?1 AND NOT EXISTS (SELECT 1 FROM report WHERE upload = ?1)";
        statements.push(Statement::many(delete, uploads.into_iter().map(|it| vec![it.number.into()])));
    }
    statements
}

const STANDS_THERE: &str = "SELECT r.id, r.scanned_at, r.sequence, t.sequence FROM (SELECT ?1 AS key) k \
                            LEFT JOIN report r ON r.key = k.key LEFT JOIN tombstone t ON t.key = k.key";

/// Keeps the findings of the reports that `condition` names, if the index counts them.
pub(super) fn retire(condition: &str) -> String {
    format!(
        "INSERT INTO retired (report, class, findings) SELECT id, class, findings FROM report WHERE {condition} \
         AND findings IS NOT NULL AND critical + high + medium + low > 0 \
         AND id <= (SELECT value FROM counter WHERE name = 'indexed')"
    )
}

/// Removes the pieces of the payloads of the reports that `condition` names.
pub(super) fn remove_parts(condition: &str) -> String {
    format!(
        "DELETE FROM payload_part WHERE upload IN (SELECT upload FROM report WHERE {condition} AND upload IS NOT NULL)"
    )
}

impl Entry<'_> {
    /// Key, scan, sequence.
    pub(super) fn version(&self) -> Vec<Value> {
        let [scanned_at, sequence] = bound(version_of(self.report, self.sequence));
        vec![self.report.key.as_str().into(), scanned_at, sequence]
    }

    /// The same, and what it may replace in any case.
    fn version_over(&self) -> Vec<Value> {
        let mut version = self.version();
        version.extend(self.over.map_or([Value::Null, Value::Null], bound));
        version
    }

    fn row(&self) -> Vec<Value> {
        let mut row = self.version();
        row.extend(columns(self.report, &self.kept, self.upload));
        row
    }
}

/// What became of the entries of a batch.
pub(super) fn outcomes(entries: &[Entry<'_>], results: Vec<StatementReply>) -> Result<Vec<Put>, ReportError> {
    let mut results = results.into_iter().skip(3).map(|it| it.rows);
    let inserted = results.next().unwrap_or_default();
    let inserted: HashSet<i64> =
        inserted.into_iter().map(|row| Row(row.into_iter()).integer()).collect::<Result<_, _>>()?;
    let there = results.next().unwrap_or_default();
    if there.len() != entries.len() {
        return Err(super::unreadable("", "the database does not tell what became of each report"));
    }
    entries.iter().zip(there).map(|(entry, row)| outcome(entry, Row(row.into_iter()), &inserted)).collect()
}

fn outcome(entry: &Entry<'_>, mut row: Row, inserted: &HashSet<i64>) -> Result<Put, ReportError> {
    let key = entry.report.key.as_str();
    let standing = match row.optional_integer()? {
        Some(id) => Some((id, row.version()?)),
        None => {
            let _ = (row.optional_integer()?, row.optional_integer()?);
            None
        }
    };
    let tombstone = row.optional_integer()?;
    match (standing, tombstone) {
        (Some((id, version)), _) if inserted.contains(&id) => Ok(Put::Stored(version)),
        // It was written before.
        (Some((_, version)), _) if version == version_of(entry.report, entry.sequence) => {
            Ok(Put::Stored(version))
        }
        (Some((_, version)), Some(tombstone))
            if tombstone > entry.sequence && version < version_of(entry.report, entry.sequence) =>
        {
            Ok(Put::Suppressed(tombstone))
        }
        (Some((_, version)), _) => Ok(Put::Superseded(version)),
        (None, Some(tombstone)) => Ok(Put::Suppressed(tombstone)),
        (None, None) => Err(super::unreadable(key, "it was neither stored nor refused")),
    }
}
