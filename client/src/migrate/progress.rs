//! How far a move is: what metrics and bars are drawn from.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::decision::{Because, Skip};
use super::times::Times;
use crate::fallback::shelf::LoosePiece;

/// Skipped reports that are named, at most; the others are counted only.
pub(super) const NAMED: usize = 32;

/// Where a move stands. The counts are of the pass that runs, or ran last.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// What is going on.
    pub phase: Phase,
    /// Passes that were begun.
    pub passes: u64,
    /// Reports that were found so far; all of them once `listed`.
    pub total: u64,
    /// Whether everything is listed.
    pub listed: bool,
    /// Reports that were written to the other depot, verified, and removed.
    pub moved: u64,
    /// Reports that stood in the other depot already, and were removed.
    pub already_there: u64,
    /// Reports that were removed since the other depot has newer ones.
    pub older: u64,
    /// Reports that were removed since they had been deleted.
    pub deleted: u64,
    /// Reports that were written or deleted by somebody else meanwhile; the next pass looks at them.
    pub changed: u64,
    /// Reports that stay, by reason.
    pub skipped: BTreeMap<Skip, u64>,
    /// The first of those that stay.
    pub named: Vec<Skipped>,
    /// Tombstones that went over.
    pub tombstones: u64,
    /// Tombstones whose time was over.
    pub forgotten: u64,
    /// Bytes of the payloads that were read.
    pub bytes: u64,
    /// How long those that are gone were under way, from when they were asked for until they were removed.
    pub times: Times,
    /// When the pass began.
    pub started: Option<Instant>,
    /// How long the pass took, once it is over.
    pub took: Option<Duration>,
    /// When a pass last went to its end and left nothing.
    pub clean: Option<Timestamp>,
    /// Why the last pass did not go to its end.
    pub error: Option<String>,
    /// What the passes before did.
    pub earlier: Totals,
}

/// What was done in several passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// As [`Progress::moved`].
    pub moved: u64,
    /// As [`Progress::already_there`].
    pub already_there: u64,
    /// As [`Progress::older`].
    pub older: u64,
    /// As [`Progress::deleted`].
    pub deleted: u64,
    /// As [`Progress::tombstones`].
    pub tombstones: u64,
    /// As [`Progress::bytes`].
    pub bytes: u64,
    /// As [`Progress::times`].
    pub times: Times,
    /// How long the passes took.
    pub took: Duration,
}

impl Totals {
    fn add(&mut self, pass: &Progress) {
        self.moved += pass.moved;
        self.already_there += pass.already_there;
        self.older += pass.older;
        self.deleted += pass.deleted;
        self.tombstones += pass.tombstones;
        self.bytes += pass.bytes;
        self.times.add(&pass.times);
        self.took += pass.elapsed();
    }
}

/// What a mover does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Waits for the next pass.
    #[default]
    Idle,
    /// Waits until it may run.
    Waiting(String),
    /// Moves reports.
    Reports,
    /// Moves reports that are too large to share memory with others.
    Large,
    /// Moves tombstones.
    Tombstones,
}

/// A report that stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its key, or the name of what is no report.
    pub key: String,
    /// The reason.
    pub skip: Skip,
    /// The reason in the words of who found it.
    pub detail: String,
}

impl From<&LoosePiece> for Skipped {
    fn from(piece: &LoosePiece) -> Self {
        let detail = "it is a piece of a value whose first piece is gone".to_owned();
        Self { key: piece.raw.clone(), skip: Skip::Undecodable, detail }
    }
}

impl Progress {
    /// Reports that are done with, one way or the other.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.gone() + self.changed + self.left()
    }

    /// Reports that were found and are not done with: the lag, in reports.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.total.saturating_sub(self.done())
    }

    /// Reports that are no longer where they were.
    #[must_use]
    pub fn gone(&self) -> u64 {
        self.moved + self.already_there + self.older + self.deleted
    }

    /// Reports that stay.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.skipped.values().sum()
    }

    /// Reports done with in a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
    pub fn rate(&self) -> f64 {
        let seconds = self.elapsed().as_secs_f64();
        if seconds > 0.0 { self.done() as f64 / seconds } else { 0.0 }
    }

    /// How long the pass runs, or ran.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.took.or(self.started.map(|at| at.elapsed())).unwrap_or_default()
    }

    pub(super) fn begin(&mut self) {
        let (passes, clean, earlier) = (self.passes + 1, self.clean, self.totals());
        let started = Some(Instant::now());
        *self = Self { phase: Phase::Reports, passes, clean, started, earlier, ..Self::default() };
    }

    /// What all passes did, this one included.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = self.earlier.clone();
        totals.add(self);
        totals
    }

    pub(super) fn count(&mut self, because: Because, was_there: bool, begun: Instant) {
        self.times.note(begun.elapsed());
        *match because {
            Because::Moved if was_there => &mut self.already_there,
            Because::Moved => &mut self.moved,
            Because::Older => &mut self.older,
            Because::Deleted => &mut self.deleted,
        } += 1;
    }

    pub(super) fn skip_unnamed(&mut self, skip: Skip, count: u64) {
        if count > 0 {
            *self.skipped.entry(skip).or_default() += count;
        }
    }

    pub(super) fn skip(&mut self, skipped: Skipped) {
        self.skip_unnamed(skipped.skip, 1);
        if self.named.len() < NAMED {
            self.named.push(skipped);
        }
    }
}
