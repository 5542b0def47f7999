//! From reports with findings to vulnerabilities with reports.
//!
//! What a report says is noted mark by mark; sorting the marks turns them around. The same is done for a run that becomes a segment and for
//! the reports that a question lays over the index because no segment has them yet.

use std::convert::Infallible;

use super::entry::{Counts, Entry, KINDS, Kind};
use super::merger::Batch;
use super::traits::{Rating, Ratings, Traits};
use crate::reports::Severity;
use crate::reports::packed::Mark;

/// A finding as it is sorted.
#[derive(Clone, Copy, Debug)]
struct Hit {
    vulnerability: u64,
    published: u32,
    modified: u32,
    /// Which report, as it was noted.
    report: u32,
    /// Severity 2 bits, mended, unmended, score, score_v3 8 bits each, rating 12 bits.
    bits: u32,
}

/// Ratings that fit into a [`Hit`]: what distributions say is a handful. Those beyond are kept as unrated.
const RATINGS: u32 = 1 << 12;

impl Hit {
    fn new(report: u32, mark: &Mark, rating: Rating) -> Self {
        let rating = if rating.0 < RATINGS { rating.0 } else { 0 };
        let bits = mark.severity as u32
            | u32::from(mark.has_fix) << 2
            | u32::from(!mark.has_fix) << 3
            | u32::from(mark.score) << 4
            | u32::from(mark.score_v3) << 12
            | rating << 20;
        let (published, modified) = (mark.published, mark.modified);
        Self { vulnerability: mark.vulnerability.get(), published, modified, report, bits }
    }

    fn traits(&self) -> Traits {
        Traits {
            severity: severity(self.bits & 3),
            score: (self.bits >> 4) as u8,
            score_v3: (self.bits >> 12) as u8,
            mended: self.bits >> 2 & 1 == 1,
            unmended: self.bits >> 3 & 1 == 1,
            rating: Rating(self.bits >> 20),
            published: self.published,
            modified: self.modified,
        }
    }
}

fn severity(number: u32) -> Severity {
    match number {
        0 => Severity::Low,
        1 => Severity::Medium,
        2 => Severity::High,
        _ => Severity::Critical,
    }
}

/// Notes reports, in ascending order of their ids.
#[derive(Debug, Default)]
pub(crate) struct Inverter {
    reports: Vec<(u64, Kind)>,
    hits: Vec<Hit>,
}

impl Inverter {
    /// With room for so many marks: they are most of what the index takes while it is made.
    pub(crate) fn with_room_for(findings: usize) -> Self {
        Self { reports: Vec::new(), hits: Vec::with_capacity(findings) }
    }

    /// Begins a report; the marks that follow are its own.
    pub(crate) fn report(&mut self, id: u64, kind: Kind) {
        self.reports.push((id, kind));
    }

    /// Notes a finding of the report that was begun last.
    pub(crate) fn mark(&mut self, mark: &Mark, rating: Rating) {
        let report = self.reports.len().saturating_sub(1) as u32;
        self.hits.push(Hit::new(report, mark, rating));
    }

    /// All vulnerabilities in order of their numbers, with the reports that have them.
    pub(crate) fn finish(self, ratings: &Ratings) -> Batch {
        let mut batch = Batch::default();
        let Ok(()) = self.each(ratings, |entry, reports| {
            batch.entries.push(entry);
            batch.reports.extend_from_slice(reports);
            Ok::<_, Infallible>(())
        });
        batch
    }

    /// Hands over each of them, so that no more than one is held beside the marks.
    pub(crate) fn each<E>(
        mut self,
        ratings: &Ratings,
        mut each: impl FnMut(Entry, &[u64]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.hits.sort_unstable_by_key(|hit| (hit.vulnerability, hit.report));
        let mut reports = Vec::new();
        for group in self.hits.chunk_by(|one, two| one.vulnerability == two.vulnerability) {
            let mut traits = group[0].traits();
            let mut counts: Counts = [0; KINDS];
            let mut last = None;
            reports.clear();
            for hit in group {
                traits.join(&hit.traits(), ratings);
                if last.replace(hit.report) != Some(hit.report) {
                    let (id, kind) = self.reports[hit.report as usize];
                    counts[kind as usize] += 1;
                    reports.push(id);
                }
            }
            each(Entry { id: group[0].vulnerability, counts, traits }, &reports)?;
        }
        Ok(())
    }
}
