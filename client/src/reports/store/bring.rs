//! Reports that come from another store: each keeps its version, is written, and is read back and compared.
//!
//! What stands there already under its version is renewed by the same request that writes, so that whoever has seen it there
//! before can tell; see the two rules of [`crate::migrate`]'s depots.

use std::borrow::Cow;
use std::collections::HashSet;

use larder_wire::{Request, Statement};

use super::moves::{STANDING, Standing, read_standing, standing_of};
use super::rows::{Row, Stored, WHOLE, read_stored};
use super::write::{Batch, Entry, bytes, checked, looked_into, outcomes, statements, version_of};
use super::{Put, ReportError, ReportStore};
use crate::reports::extract::{ExtractError, Extractor};
use crate::reports::kept::{Kept, describes};
use crate::reports::packed::{self, PackedError};
use crate::reports::{Report, ReportKey, Version};

/// What a look at a report that was moved has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// Payload and everything else are the same bit for bit.
    Same,
    /// A newer report has taken its place.
    Newer(Version),
    /// It is not there, or an older one is.
    Missing,
    /// It is there under its version, and is another one.
    Different,
}

/// What became of a report that came from another store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// Its version stood there already, and was marked as brought once more.
    Renewed,
    /// It was put, or not.
    Put(Put),
}

/// A report on its way from another store: it keeps its version.
#[derive(Clone, Debug, PartialEq)]
pub struct Moving {
    report: Report,
    sequence: i64,
    kept: Kept,
    over: Option<Version>,
}

/// How often what was moved is read back before it counts as an outage.
const ATTEMPTS: u32 = 3;

impl Moving {
    /// A report of the version that its `scanned_at` and `sequence` make. It is looked into here, which takes a millisecond or two, or more if
    /// the payload is large.
    ///
    /// # Errors
    /// It cannot be stored: [`ReportError::ClockAhead`], [`ReportError::TooLarge`].
    pub fn new(report: Report, sequence: i64) -> Result<Self, ReportError> {
        Self::with(report, sequence, &mut Extractor::new())
    }

    /// As [`Moving::new`], one of many, with what is kept from one to the next.
    pub(crate) fn with(
        report: Report,
        sequence: i64,
        extractor: &mut Extractor,
    ) -> Result<Self, ReportError> {
        let kept = looked_into(&report, extractor)?;
        Ok(Self { report, sequence, kept, over: None })
    }

    /// Whether findings or checks were read out of the payload, so that it is whole.
    pub(crate) fn is_read(&self) -> bool {
        !self.report.is_given() && (self.kept.packed.is_some() || self.kept.checks.is_some())
    }

    /// The same, with the findings that it is given and no others: its payload stays closed.
    ///
    /// # Errors
    /// As for [`Moving::new`].
    pub fn closed(report: Report, sequence: i64) -> Result<Self, ReportError> {
        let kept = checked(&report, Kept::given)?;
        Ok(Self { report, sequence, kept, over: None })
    }

    /// The same, which may replace this version although that was written later. Without it, an earlier scan that was written later stays: the
    /// report may have been deleted before that, elsewhere.
    #[must_use]
    pub fn over(self, version: Option<Version>) -> Self {
        Self { over: version, ..self }
    }

    /// The report.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Version {
        version_of(&self.report, self.sequence)
    }

    /// Why its payload could not be looked into, though it says that it can. It is stored without findings.
    #[must_use]
    pub fn unread(&self) -> Option<&ExtractError> {
        self.kept.unread.as_ref()
    }

    /// Bytes that it takes in a request, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        bytes(&self.report, &self.kept)
    }

    /// Whether this is what stands there.
    fn is(&self, stored: &Stored) -> bool {
        let (ours, theirs) = (&self.report, &stored.report);
        ours.payload == theirs.payload
            && ours.encoding == theirs.encoding
            && describes(ours, theirs)
            && ours.is_given() == stored.given
            && same_findings(self.kept.packed.as_deref(), stored.packed.as_deref())
            && self.kept.checks.as_deref() == stored.checks.as_deref()
    }
}

/// Whether two blobs hold the same findings. A neighbour of another release may have packed the same report in another way, or in one that is
/// not known here.
fn same_findings(ours: Option<&[u8]>, theirs: Option<&[u8]>) -> bool {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours != theirs => match packed::decode(theirs) {
            Ok(theirs) => packed::decode(ours).is_ok_and(|ours| ours == theirs),
            Err(error) => matches!(error, PackedError::Version(_)),
        },
        (ours, theirs) => ours == theirs,
    }
}

impl ReportStore {
    /// Writes reports that come from another store, under the versions that they have: older ones than those that are there change nothing,
    /// and neither do those that were deleted since. In batches as [`ReportStore::put_many`].
    ///
    /// # Errors
    /// The database did not do it.
    pub async fn put_moved(&self, reports: &[Moving]) -> Result<Vec<Put>, ReportError> {
        let moved = self.bring_moved(reports).await?.into_iter().zip(reports);
        let put = |(moved, report): (Moved, &Moving)| match moved {
            Moved::Put(put) => put,
            Moved::Renewed => Put::Stored(report.version()),
        };
        Ok(moved.map(put).collect())
    }

    /// As [`ReportStore::put_moved`], and says which of them stood there already.
    pub(crate) async fn bring_moved(&self, reports: &[Moving]) -> Result<Vec<Moved>, ReportError> {
        let mut puts = Vec::with_capacity(reports.len());
        let mut batch = Batch::default();
        for Moving { report, sequence, kept, over } in reports {
            let kept = Cow::Borrowed(kept);
            let entry = Entry { report, sequence: *sequence, kept, upload: None, over: *over };
            if !batch.takes(&entry) {
                puts.extend(self.bring(std::mem::take(&mut batch).entries).await?);
            }
            batch.push(entry);
        }
        puts.extend(self.bring(batch.entries).await?);
        Ok(puts)
    }

    /// Reads back what was moved and compares it. The answers are in the order of `reports`.
    ///
    /// # Errors
    /// The database did not do it.
    pub async fn confirm(&self, reports: &[Moving]) -> Result<Vec<Confirmed>, ReportError> {
        Ok(self.read_back(reports, &[]).await?.0)
    }

    /// The same, and what stands under `keys` in the same snapshot.
    pub(crate) async fn read_back(
        &self,
        reports: &[Moving],
        keys: &[ReportKey],
    ) -> Result<(Vec<Confirmed>, Vec<Standing>), ReportError> {
        let mut attempts = 1;
        loop {
            match self.try_to_read_back(reports, keys).await {
                Err(ReportError::Database(error)) if error.may_pass() && attempts < ATTEMPTS => attempts += 1,
                done => return done,
            }
        }
    }

    async fn try_to_read_back(
        &self,
        reports: &[Moving],
        keys: &[ReportKey],
    ) -> Result<(Vec<Confirmed>, Vec<Standing>), ReportError> {
        let wanted: Vec<&str> = reports.iter().map(|it| it.report.key.as_str()).collect();
        let wanted = serde_json::to_string(&wanted).unwrap_or_default();
        let select = format!("SELECT {WHOLE} FROM report WHERE key IN (SELECT value FROM json_each(?1))");
        let request = Request::new([Statement::with(select, [wanted.into()]), standing_of(keys)]);
        let mut order: Vec<usize> = (0..reports.len()).collect();
        order.sort_unstable_by_key(|&index| &reports[index].report.key);
        let (mut found, mut standing) =
            (vec![Confirmed::Missing; reports.len()], Vec::with_capacity(keys.len()));
        let mut compare = |stored: &Stored| {
            let first = order.partition_point(|&index| reports[index].report.key < stored.report.key);
            let same_key = |index: &&usize| reports[**index].report.key == stored.report.key;
            for &index in order[first..].iter().take_while(same_key) {
                found[index] = compared(&reports[index], stored);
            }
        };
        let mut in_pieces = Vec::new();
        let mut rows = self.database.stream(&request).await?;
        while let Some(row) = rows.next().await? {
            if row.len() == STANDING {
                standing.push(read_standing(row)?);
                continue;
            }
            let (stored, upload) = read_stored(row)?;
            self.met(stored.version);
            match upload {
                Some(_) => in_pieces.push((stored, upload)),
                None => compare(&stored),
            }
        }
        drop(rows);
        for (stored, upload) in in_pieces {
            // Where its pieces are gone, so is the report.
            if let Some(whole) = self.whole(stored, upload).await? {
                compare(&whole);
            }
        }
        Ok((found, standing))
    }

    /// Writes what comes from another store. What stands there already is renewed before, by the same transaction.
    async fn bring(&self, mut entries: Vec<Entry<'_>>) -> Result<Vec<Moved>, ReportError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        self.upload_large(&mut entries).await?;
        let mut statements = statements(&entries);
        statements.insert(0, Statement::many(RENEW, entries.iter().map(Entry::version)));
        let mut results = self.run(statements, &entries).await?;
        let renewed = if results.is_empty() { Vec::new() } else { results.remove(0).rows };
        let renewed: HashSet<String> =
            renewed.into_iter().map(|row| Row(row.into_iter()).text()).collect::<Result<_, _>>()?;
        let puts = self.seen(outcomes(&entries, results)?)?;
        let moved = |(entry, put): (&Entry<'_>, Put)| match put {
            Put::Stored(_) if renewed.contains(entry.report.key.as_str()) => Moved::Renewed,
            put => Moved::Put(put),
        };
        Ok(entries.iter().zip(puts).map(moved).collect())
    }
}

fn compared(moving: &Moving, stored: &Stored) -> Confirmed {
    match stored.version.cmp(&moving.version()) {
        std::cmp::Ordering::Greater => Confirmed::Newer(stored.version),
        std::cmp::Ordering::Less => Confirmed::Missing,
        std::cmp::Ordering::Equal if moving.is(stored) => Confirmed::Same,
        std::cmp::Ordering::Equal => Confirmed::Different,
    }
}

/// What was brought once more is told from what somebody found here before.
const RENEW: &str = "UPDATE report SET renewals = renewals + 1 WHERE key = ?1 AND scanned_at = ?2 AND sequence = ?3 RETURNING key";
