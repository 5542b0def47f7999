//! What controllers asked and were told, and whether the laws hold for it.
//!
//! Time is counted in turns. Calls overlap, so a law speaks of what had ended before something else began: an acknowledged put is found by every
//! read that begins after it, unless a delete that may have come after it was begun before the read ended.

use std::collections::BTreeMap;

use jiff::Timestamp;
use larder_client::fallback::{Answered, Put, PutAnswer, ReportsError};
use larder_client::reports::{ReportKey, Version};

use crate::log::note;

/// A span of turns. It has no end while the call is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    begin: u64,
    end: Option<u64>,
}

impl Span {
    fn ended_before(&self, turn: u64) -> bool {
        self.end.is_some_and(|end| end < turn)
    }
}

#[derive(Debug)]
struct PutRecord {
    key: ReportKey,
    scanned_at: Timestamp,
    span: Span,
    /// The version that was acknowledged.
    stored: Option<Version>,
    /// Whether an older controller wrote it, of which a listing knows nothing.
    is_foreign: bool,
}

#[derive(Debug)]
struct DeleteRecord {
    /// What it was asked of: one key, or all that begin so.
    of: Doomed,
    span: Span,
    /// Whether it was said that everything is gone that was asked for.
    is_acknowledged: bool,
}

#[derive(Debug)]
pub(crate) enum Doomed {
    Key(ReportKey),
    Prefix(String),
}

impl Doomed {
    fn takes(&self, key: &ReportKey) -> bool {
        match self {
            Self::Key(it) => it == key,
            Self::Prefix(prefix) => key.as_str().starts_with(prefix.as_str()),
        }
    }
}

/// Something that was told of a key.
#[derive(Debug)]
pub(crate) enum Told {
    Nothing,
    /// A report, by the number of the put that is written in its payload.
    Report {
        put: usize,
        scanned_at: Timestamp,
        version: Version,
    },
    /// A line of a listing.
    Listed(Version),
}

/// All that happened.
#[derive(Debug, Default)]
pub(crate) struct History {
    turn: u64,
    puts: Vec<PutRecord>,
    deletes: Vec<DeleteRecord>,
    pub(crate) reads: u64,
    pub(crate) complete: u64,
    pub(crate) certain_absences: u64,
    pub(crate) happened: Happened,
}

/// What a schedule was about, besides calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Happened {
    /// Reports that were moved home, and that were taken out.
    pub(crate) home: u64,
    pub(crate) out: u64,
    /// Moves that were killed, and that ended early by themselves.
    pub(crate) killed: u64,
    pub(crate) halted: u64,
    /// Reports that an older controller wrote.
    pub(crate) foreign: u64,
    /// Times that the primary was said to be no longer needed.
    pub(crate) removable: u64,
}

impl Happened {
    pub(crate) fn add(&mut self, other: Self) {
        self.home += other.home;
        self.out += other.out;
        self.killed += other.killed;
        self.halted += other.halted;
        self.foreign += other.foreign;
        self.removable += other.removable;
    }

    /// Whether each of them happened.
    pub(crate) fn everything(&self) -> bool {
        [self.home, self.out, self.killed, self.halted, self.foreign, self.removable].iter().all(|it| *it > 0)
    }
}

impl History {
    /// Time goes on.
    pub(crate) fn tick(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    pub(crate) fn now(&self) -> u64 {
        self.turn
    }

    fn begin(&mut self) -> Span {
        Span { begin: self.tick(), end: None }
    }

    pub(crate) fn begin_put(&mut self, key: &ReportKey, scanned_at: Timestamp) -> usize {
        let span = self.begin();
        note(|| format!("{}: put {} of {key} at {scanned_at} begins", span.begin, self.puts.len()));
        self.puts.push(PutRecord { key: key.clone(), scanned_at, span, stored: None, is_foreign: false });
        self.puts.len() - 1
    }

    /// What an older controller wrote: it is there as soon as it is written, under a sequence that a reader derives.
    pub(crate) fn end_foreign_put(&mut self, number: usize) {
        let end = self.tick();
        note(|| format!("{end}: put {number} was that of an older controller"));
        let put = &mut self.puts[number];
        put.span.end = Some(end);
        put.is_foreign = true;
        self.happened.foreign += 1;
        put.stored = Some(Version { scanned_at: put.scanned_at, sequence: i64::MIN });
    }

    pub(crate) fn end_put(&mut self, number: usize, answer: &Result<PutAnswer, ReportsError>) {
        let end = self.tick();
        let put = &mut self.puts[number];
        put.span.end = Some(end);
        note(|| format!("{end}: put {number} is answered {answer:?}"));
        if let Ok(PutAnswer { put: Put::Stored(version), .. }) = answer {
            assert_eq!(version.scanned_at, put.scanned_at, "put {number} is stored under another time");
            put.stored = Some(*version);
        }
    }

    pub(crate) fn begin_delete(&mut self, of: Doomed) -> usize {
        let span = self.begin();
        note(|| format!("{}: delete {} of {of:?} begins", span.begin, self.deletes.len()));
        self.deletes.push(DeleteRecord { of, span, is_acknowledged: false });
        self.deletes.len() - 1
    }

    pub(crate) fn end_delete(&mut self, number: usize, is_acknowledged: bool) {
        let end = self.tick();
        self.deletes[number].span.end = Some(end);
        note(|| format!("{end}: delete {number} is acknowledged: {is_acknowledged}"));
        self.deletes[number].is_acknowledged = is_acknowledged;
    }

    /// The newest acknowledged put that a read over `span` has to find: none that may be deleted.
    fn required(&self, key: &ReportKey, span: Span, listed: bool) -> Option<(usize, Version)> {
        let end = span.end.unwrap_or(u64::MAX);
        let may_be_deleted = |put: &PutRecord| {
            let deletes = self.deletes.iter().filter(|it| it.of.takes(key) && it.span.begin < end);
            deletes.into_iter().any(|it| !it.span.ended_before(put.span.begin))
        };
        let acknowledged = self.puts.iter().enumerate().filter(|(_, it)| {
            it.key == *key
                && it.span.ended_before(span.begin)
                && it.stored.is_some()
                && !may_be_deleted(it)
                && !(listed && it.is_foreign)
        });
        acknowledged.filter_map(|(number, it)| Some((number, it.stored?))).max_by_key(|it| it.1)
    }

    /// A delete that was acknowledged before the read began, and began after the put had ended. One of many knows what a listing knows: nothing of what an
    /// older controller wrote over something, nor of a put that failed and arrives late.
    fn undone(&self, put: usize, span: Span) -> Option<&DeleteRecord> {
        let put = &self.puts[put];
        self.deletes.iter().find(|it| {
            it.of.takes(&put.key)
                && it.is_acknowledged
                && (matches!(it.of, Doomed::Key(_)) || (put.stored.is_some() && !put.is_foreign))
                && it.span.ended_before(span.begin)
                && put.span.ended_before(it.span.begin)
        })
    }

    /// Judges what was told of a key between `begin` and now.
    pub(crate) fn judge(&mut self, key: &ReportKey, begin: u64, told: &Told, complete: bool) {
        let span = Span { begin, end: Some(self.tick()) };
        note(|| format!("{span:?}: {key} is told as {told:?}, complete: {complete}"));
        self.reads += 1;
        self.complete += u64::from(complete);
        let version = match told {
            Told::Nothing => None,
            Told::Listed(version) => Some(*version),
            Told::Report { put, scanned_at, version } => {
                let record = &self.puts[*put];
                assert_eq!(record.key, *key, "the report of put {put} came under another key");
                assert_eq!(record.scanned_at, *scanned_at, "the report of put {put} has another time");
                assert!(record.span.begin < begin || !record.span.ended_before(begin));
                if complete && let Some(delete) = self.undone(*put, span) {
                    panic!(
                        "law 4: {key} is put {put} {record:?} again, though deleted by {delete:?}; read {span:?}"
                    );
                }
                Some(*version)
            }
        };
        if complete && version.is_none() {
            self.certain_absences += 1;
        }
        if complete && let Some((put, required)) = self.required(key, span, matches!(told, Told::Listed(_))) {
            let record = &self.puts[put];
            assert!(
                version >= Some(required),
                "laws 1, 2, 3: {key} was told as {told:?} in {span:?}, though put {put} is {record:?}"
            );
        }
    }

    /// Judges a stream or a listing of everything.
    pub(crate) fn judge_all(
        &mut self,
        keys: &[ReportKey],
        begin: u64,
        told: &BTreeMap<ReportKey, (Told, bool)>,
        complete: bool,
    ) {
        for key in keys {
            match told.get(key) {
                Some((it, complete)) => self.judge(key, begin, it, *complete),
                None => self.judge(key, begin, &Told::Nothing, complete),
            }
        }
    }
}

/// What a payload says, which begins with the number of its put.
pub(crate) fn told(answered: &Answered) -> Told {
    let text = std::str::from_utf8(&answered.report.payload).expect("payloads of the schedule are text");
    let number = text.split(' ').next().and_then(|it| it.parse().ok()).expect("begins with a number");
    assert!(
        text.split(' ').all(|it| it == text.split(' ').next().unwrap_or_default()),
        "parts of several puts"
    );
    Told::Report { put: number, scanned_at: answered.report.scanned_at, version: answered.version }
}
