//! When to fold and what to merge.
//!
//! A question pays for what is pending and retired by the finding, and for each segment once more for the vulnerabilities that another has
//! too. So little is left pending and segments are few; how few depends on whether reports trickle in or are moved by the thousand.

use std::sync::Arc;

use larder_wire::{Request, Statement};

use super::IndexError;
use super::change;
use super::fields::{Fields, number, rows};
use super::merge::merge;
use super::run::{self, Run};
use crate::database::Database;

/// Pending findings that questions lay over the index without being slow.
const PENDING: i64 = 64 << 10;
/// What a pending report costs a question beside its findings, counted in findings.
const REPORT: i64 = 128;
/// Retired reports that questions may have to subtract, if that is more than one in [`RETIRED_SHARE`] of the reports.
const RETIRED: i64 = 256;
const RETIRED_SHARE: i64 = 32;
/// A segment takes part in a merge if it is at most so many times as large as those after it together.
const LIKE: i64 = 3;
/// Segments that are left alone while reports come by the thousand.
const IN_BULK: usize = 64;
/// How often a fold is tried again when a report of it was replaced at the same time.
const ATTEMPTS: usize = 8;

/// How reports arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A few at a time: questions come first.
    Steady,
    /// By the thousand, with [`Index::compact`] at the end: of ten thousand, each report is merged once.
    Bulk,
}

/// A live segment.
struct Segment {
    id: i64,
    low: i64,
    high: i64,
    postings: i64,
    retired: i64,
}

/// The index of a database. Any number of clients may keep it at once; what one does in vain because another was faster is done again.
#[derive(Clone)]
pub struct Index {
    database: Arc<dyn Database>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

impl Index {
    /// The index of this database, whose schema is [prepared](crate::schema::prepare).
    #[must_use]
    pub fn new(database: Arc<dyn Database>) -> Self {
        Self { database }
    }

    /// Folds what is pending if it is much, and merges what is due. Call it after some writes; it is cheap if there is nothing to do.
    /// [`Upkeep`](crate::migrate::Upkeep) does so by itself.
    ///
    /// # Errors
    /// Any [`IndexError`]; the index is as right after it as before.
    pub async fn keep_up(&self, pace: Pace) -> Result<(), IndexError> {
        change::discard_abandoned(self.database()).await?;
        let enough = match pace {
            Pace::Steady => PENDING,
            Pace::Bulk => run::FINDINGS,
        };
        while self.pending().await? > enough {
            self.fold().await?;
        }
        let segments = self.segments().await?;
        match due(&segments, self.reports().await?, pace) {
            Due::Nothing => Ok(()),
            Due::Merge(range) => self.merge(&segments[range]).await.map(drop),
            Due::Remake(range) => self.remake(&segments[range]).await.map(drop),
        }
    }

    /// Turns the oldest pending reports into a segment; false if none is pending.
    ///
    /// # Errors
    /// Any [`IndexError`]; [`IndexError::Contended`] if reports of it were replaced again and again.
    pub async fn fold(&self) -> Result<bool, IndexError> {
        for _ in 0..ATTEMPTS {
            let low = run::indexed(self.database()).await?;
            let Some(end) = run::end(self.database(), low, i64::MAX).await? else { return Ok(false) };
            let run = run::read(self.database(), low, end).await?;
            if change::fold(self.database(), run).await? {
                return Ok(true);
            }
        }
        Err(IndexError::Contended)
    }

    /// Makes one segment of everything: the end of a migration, and what makes questions fastest.
    ///
    /// # Errors
    /// As for [`Index::fold`].
    pub async fn compact(&self) -> Result<(), IndexError> {
        while self.fold().await? {}
        for _ in 0..ATTEMPTS {
            let segments = self.segments().await?;
            let done = if segments.iter().any(|it| it.retired > 0) {
                self.remake(&segments).await?
            } else if segments.len() > 1 {
                self.merge(&segments).await?
            } else {
                true
            };
            if done {
                return Ok(());
            }
        }
        Err(IndexError::Contended)
    }

    /// How many reports are gone of which the index still says what they said, see [`Questions`](crate::reports::questions::Questions::exact_up_to).
    ///
    /// # Errors
    /// The database did not tell.
    pub async fn retired(&self) -> Result<u64, IndexError> {
        Ok(self.number("SELECT COUNT(*) FROM retired").await?.unsigned_abs())
    }

    /// Makes those segments anew in which reports are that are gone.
    ///
    /// # Errors
    /// As for [`Index::fold`].
    pub async fn tidy(&self) -> Result<(), IndexError> {
        for _ in 0..ATTEMPTS {
            let segments = self.segments().await?;
            let Some(range) = dead(&segments) else { return Ok(()) };
            if self.remake(&segments[range]).await? {
                return Ok(());
            }
        }
        Err(IndexError::Contended)
    }

    /// Makes all segments anew from the reports, without a look at what is in them: for an index that is damaged.
    ///
    /// # Errors
    /// As for [`Index::fold`].
    pub async fn rebuild(&self) -> Result<(), IndexError> {
        for _ in 0..ATTEMPTS {
            if self.remake(&self.segments().await?).await? {
                return Ok(());
            }
        }
        Err(IndexError::Contended)
    }

    fn database(&self) -> &dyn Database {
        &*self.database
    }

    /// Puts neighbouring segments together. False if somebody else had changed them.
    async fn merge(&self, segments: &[Segment]) -> Result<bool, IndexError> {
        let from: Vec<i64> = segments.iter().map(|it| it.id).collect();
        let mut scaffold = Vec::new();
        let merged = self.merge_beside(&from, range(segments), &mut scaffold).await;
        let done = match merged {
            Ok(Some(target)) => change::switch(self.database(), &from, Some(target), &[], &[]).await,
            Ok(None) => Ok(false),
            Err(error) => Err(error),
        };
        self.clear(done, &scaffold).await
    }

    /// Makes neighbouring segments anew from their reports, without those that are retired. False if somebody else had changed them.
    async fn remake(&self, segments: &[Segment]) -> Result<bool, IndexError> {
        if segments.is_empty() {
            return Ok(true);
        }
        let from: Vec<i64> = segments.iter().map(|it| it.id).collect();
        let mut scaffold = Vec::new();
        let done = self.remake_beside(&from, range(segments), &mut scaffold).await;
        self.clear(done, &scaffold).await
    }

    async fn remake_beside(
        &self,
        from: &[i64],
        (mut low, end): (i64, i64),
        scaffold: &mut Vec<i64>,
    ) -> Result<bool, IndexError> {
        let (begin, mut retired) = (low, Vec::new());
        while low < end {
            let rest = run::End { high: end, findings: 0 };
            let run = run::end(self.database(), low, end).await?.unwrap_or(rest);
            let run = run::read(self.database(), low, run).await?;
            low = run.high;
            retired.extend_from_slice(&run.retired);
            if !run.blocks.is_empty() && !self.stand_beside(run, scaffold).await? {
                return Ok(false);
            }
        }
        let runs = scaffold.clone();
        let target = match runs[..] {
            [] => None,
            [only] => Some(only),
            _ => match self.merge_beside(&runs, (begin, end), scaffold).await? {
                Some(target) => Some(target),
                None => return Ok(false),
            },
        };
        let scaffold: Vec<i64> = runs.into_iter().filter(|&it| Some(it) != target).collect();
        change::switch(self.database(), from, target, &scaffold, &retired).await
    }

    /// Writes a run as a segment that does not count yet.
    async fn stand_beside(&self, run: Run, scaffold: &mut Vec<i64>) -> Result<bool, IndexError> {
        let segment = change::begin(self.database(), run.low, run.high).await?;
        scaffold.push(segment);
        change::append(self.database(), segment, run.blocks, run.postings).await
    }

    /// Merges into a new segment that does not count yet.
    async fn merge_beside(
        &self,
        from: &[i64],
        (low, high): (i64, i64),
        scaffold: &mut Vec<i64>,
    ) -> Result<Option<i64>, IndexError> {
        let target = change::begin(self.database(), low, high).await?;
        scaffold.push(target);
        Ok(merge(self.database(), from, target).await?.then_some(target))
    }

    /// Clears away what was built if it was in vain.
    async fn clear(&self, done: Result<bool, IndexError>, scaffold: &[i64]) -> Result<bool, IndexError> {
        if !matches!(done, Ok(true)) {
            // If this fails too, whoever comes after the time of grace does it.
            let _ = change::discard(self.database(), scaffold).await;
        }
        done
    }

    /// How much is pending, in findings, about: up to those that one run takes.
    async fn pending(&self) -> Result<i64, IndexError> {
        let sql = format!(
            "SELECT SUM(findings) FROM (SELECT critical + high + medium + low + {REPORT} AS findings FROM report \
             WHERE id > (SELECT value FROM counter WHERE name = 'indexed') ORDER BY id LIMIT 1024)"
        );
        self.number(&sql).await
    }

    /// How many reports there are, about: as far as segments go.
    async fn reports(&self) -> Result<i64, IndexError> {
        self.number("SELECT COUNT(*) FROM report").await
    }

    async fn number(&self, sql: &str) -> Result<i64, IndexError> {
        let sql = format!("SELECT COALESCE(({sql}), 0)");
        let mut response = self.database.query(&Request::new([Statement::new(sql)])).await?;
        number(response.results.first_mut().ok_or(IndexError::Shape("a result is missing"))?)
    }

    async fn segments(&self) -> Result<Vec<Segment>, IndexError> {
        let sql = "SELECT id, low, high, postings, \
                   (SELECT COUNT(*) FROM retired WHERE report > segment.low AND report <= segment.high) \
                   FROM segment WHERE live = 1 ORDER BY low";
        let mut response = self.database.query(&Request::new([Statement::new(sql)])).await?;
        let reply = response.results.first_mut().ok_or(IndexError::Shape("a result is missing"))?;
        rows(reply).map(Segment::read).collect()
    }
}

impl Segment {
    fn read(mut row: Fields) -> Result<Self, IndexError> {
        Ok(Self {
            id: row.integer()?,
            low: row.integer()?,
            high: row.integer()?,
            postings: row.integer()?,
            retired: row.integer()?,
        })
    }
}

fn range(segments: &[Segment]) -> (i64, i64) {
    (segments.first().map_or(0, |it| it.low), segments.last().map_or(0, |it| it.high))
}

#[derive(Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Merge(std::ops::Range<usize>),
    Remake(std::ops::Range<usize>),
}

/// What is due with these segments, oldest first.
fn due(segments: &[Segment], reports: i64, pace: Pace) -> Due {
    let retired: i64 = segments.iter().map(|it| it.retired).sum();
    if retired > RETIRED.max(reports / RETIRED_SHARE)
        && let Some(range) = dead(segments)
    {
        return Due::Remake(range);
    }
    let begin = match pace {
        Pace::Bulk if segments.len() <= IN_BULK => return Due::Nothing,
        Pace::Bulk => segments.len() - IN_BULK,
        Pace::Steady => like_the_last(segments),
    };
    if segments.len() - begin > 1 { Due::Merge(begin..segments.len()) } else { Due::Nothing }
}

/// From the first to the last segment with reports that are gone.
fn dead(segments: &[Segment]) -> Option<std::ops::Range<usize>> {
    let is_dead = |it: &Segment| it.retired > 0;
    let (first, last) = (segments.iter().position(is_dead)?, segments.iter().rposition(is_dead)?);
    Some(first..last + 1)
}

/// From which segment on none is much larger than those after it.
fn like_the_last(segments: &[Segment]) -> usize {
    let (mut begin, mut after) = (segments.len(), 0);
    for (number, segment) in segments.iter().enumerate().rev() {
        if after > 0 && segment.postings > LIKE * after {
            break;
        }
        after += segment.postings;
        begin = number;
    }
    begin
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(sizes: &[(i64, i64)]) -> Vec<Segment> {
        let segment = |(number, &(postings, retired)): (usize, &(i64, i64))| {
            let low = number as i64 * 10;
            Segment { id: low, low, high: low + 10, postings, retired }
        };
        sizes.iter().enumerate().map(segment).collect()
    }

    #[test]
    fn segments_of_like_size_are_merged() {
        let due = |sizes: &[i64]| {
            let sizes: Vec<_> = sizes.iter().map(|&it| (it, 0)).collect();
            due(&segments(&sizes), 0, Pace::Steady)
        };
        assert_eq!(due(&[]), Due::Nothing);
        assert_eq!(due(&[7]), Due::Nothing);
        assert_eq!(due(&[100, 7]), Due::Nothing);
        assert_eq!(due(&[100, 7, 6]), Due::Merge(1..3));
        assert_eq!(due(&[100, 30, 7]), Due::Nothing);
        assert_eq!(due(&[100, 30, 7, 5]), Due::Merge(0..4));
    }

    #[test]
    fn in_bulk_many_are_merged_at_once() {
        assert_eq!(due(&segments(&[(5, 0); IN_BULK]), 0, Pace::Bulk), Due::Nothing);
        assert_eq!(due(&segments(&[(5, 0); IN_BULK + 1]), 0, Pace::Bulk), Due::Merge(1..IN_BULK + 1));
    }

    #[test]
    fn segments_with_many_dead_are_made_anew() {
        let sizes = [(9, 0), (9, 200), (9, 0), (9, 57), (1, 0)];
        assert_eq!(due(&segments(&sizes), 100, Pace::Bulk), Due::Remake(1..4));
        assert_eq!(due(&segments(&sizes), 100_000, Pace::Bulk), Due::Nothing);
    }
}
