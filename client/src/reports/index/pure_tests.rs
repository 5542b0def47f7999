//! Blocks, runs and merges against the plainest model there is: a map of everything.

use std::collections::BTreeMap;
use std::io::Write as _;

use proptest::prelude::*;

use super::block::{Packed, Unpacker};
use super::entry::{Entry, KINDS, Kind};
use super::inverter::Inverter;
use super::merger::{Batch, Merger};
use super::traits::Ratings;
use super::writer::BlockWriter;
use crate::reports::packed::Mark;
use crate::reports::{Severity, VulnerabilityId};

type Noted = (u64, Kind, Vec<(Mark, &'static str)>);

fn marks() -> impl Strategy<Value = (Mark, &'static str)> {
    let severities =
        prop::sample::select(vec![Severity::Low, Severity::Medium, Severity::High, Severity::Critical]);
    let ids = prop_oneof![0..40_u64, (2014_u64 << 32)..(2014 << 32) + 30, u64::MAX - 20..u64::MAX];
    let dates = || (0..4_u32).prop_map(|it| it * 1_000_000_000);
    let ratings = prop::sample::select(vec!["", "Low", "High", "Medium", "Moderate"]);
    (ids, severities, 0..=100_u8, 0..=100_u8, any::<bool>(), dates(), dates(), ratings).prop_map(
        |(id, severity, score, score_v3, has_fix, published, modified, rating)| {
            let vulnerability = VulnerabilityId::from_number(id);
            (
                Mark {
                    vulnerability,
                    severity,
                    score,
                    score_v3,
                    has_fix,
                    published,
                    modified,
                    feed_rating: 0,
                    place: 0,
                },
                rating,
            )
        },
    )
}

fn reports() -> impl Strategy<Value = Vec<Noted>> {
    let kinds = prop::sample::select(Kind::ALL.to_vec());
    let report = (1..500_u64, kinds, prop::collection::vec(marks(), 0..20));
    prop::collection::vec(report, 0..30).prop_map(|mut reports| {
        let mut id = 0;
        for report in &mut reports {
            id += report.0;
            report.0 = id;
        }
        reports
    })
}

fn invert(reports: &[Noted], ratings: &mut Ratings) -> Batch {
    let mut inverter = Inverter::default();
    for (id, kind, marks) in reports {
        inverter.report(*id, *kind);
        for (mark, rating) in marks {
            inverter.mark(mark, ratings.number(rating));
        }
    }
    inverter.finish(ratings)
}

fn pack(batch: &Batch, ratings: &Ratings) -> Vec<Packed> {
    let mut writer = BlockWriter::new().expect("zstd");
    let mut blocks = Vec::new();
    let mut rest = &batch.reports[..];
    for entry in &batch.entries {
        let (own, others) = rest.split_at(entry.total() as usize);
        rest = others;
        blocks.extend(writer.push(*entry, own, ratings).expect("packs"));
    }
    blocks.extend(writer.flush(ratings).expect("packs"));
    blocks
}

fn unpack(block: &Packed, ratings: &mut Ratings) -> Batch {
    let mut unpacker = Unpacker::new().expect("zstd");
    let entries = unpacker.summary(block.first, &block.summary, ratings).expect("is whole");
    let mut reports = Vec::new();
    unpacker.postings(&block.postings, &entries, |_, id| reports.push(id)).expect("is whole");
    Batch { entries, reports }
}

/// Who has what, and the worst that is said of it.
fn model(reports: &[Noted], ratings: &mut Ratings) -> BTreeMap<u64, (Entry, Vec<u64>)> {
    let mut all: BTreeMap<u64, (Entry, Vec<u64>)> = BTreeMap::new();
    for (id, kind, marks) in reports {
        for mark in marks {
            let alone = invert(&[(*id, *kind, vec![*mark])], ratings).entries[0];
            let (entry, having) =
                all.entry(alone.id).or_insert_with(|| (Entry { counts: [0; KINDS], ..alone }, Vec::new()));
            entry.traits.join(&alone.traits, ratings);
            if having.last() != Some(id) {
                having.push(*id);
                entry.counts[*kind as usize] += 1;
            }
        }
    }
    all
}

fn as_map(batch: &Batch) -> BTreeMap<u64, (Entry, Vec<u64>)> {
    let mut rest = &batch.reports[..];
    let mut all = BTreeMap::new();
    for entry in &batch.entries {
        let (own, others) = rest.split_at(entry.total() as usize);
        rest = others;
        assert!(all.insert(entry.id, (*entry, own.to_vec())).is_none());
    }
    assert!(rest.is_empty());
    all
}

proptest! {
    #[test]
    fn runs_say_what_their_reports_say(reports in reports()) {
        let mut ratings = Ratings::new();
        let batch = invert(&reports, &mut ratings);
        prop_assert_eq!(as_map(&batch), model(&reports, &mut ratings));
        prop_assert!(batch.entries.is_sorted_by_key(|it| it.id));
    }

    #[test]
    fn blocks_come_back(reports in reports()) {
        let mut ratings = Ratings::new();
        let batch = invert(&reports, &mut ratings);
        let mut back = Batch::default();
        for block in pack(&batch, &ratings) {
            let unpacked = unpack(&block, &mut ratings);
            back.entries.extend(unpacked.entries);
            back.reports.extend(unpacked.reports);
        }
        prop_assert_eq!(back, batch);
    }

    #[test]
    fn merged_segments_are_the_segment_of_all(reports in reports(), cuts in prop::collection::vec(0..31_usize, 0..5)) {
        let mut ratings = Ratings::new();
        let whole = invert(&reports, &mut ratings);
        let mut cuts: Vec<_> = cuts.into_iter().map(|it| it.min(reports.len())).chain([0, reports.len()]).collect();
        cuts.sort_unstable();
        let mut blocks: Vec<(u64, usize, Packed)> = Vec::new();
        for (segment, cut) in cuts.windows(2).enumerate() {
            let batch = invert(&reports[cut[0]..cut[1]], &mut ratings);
            // Blocks of one vulnerability each, so that the order in which they come matters.
            let mut rest = &batch.reports[..];
            for entry in &batch.entries {
                let (own, others) = rest.split_at(entry.total() as usize);
                rest = others;
                let alone = Batch { entries: vec![*entry], reports: own.to_vec() };
                blocks.extend(pack(&alone, &ratings).into_iter().map(|it| (it.first, segment, it)));
            }
        }
        blocks.sort_by_key(|it| (it.0, it.1));
        let mut merger = Merger::new(cuts.len());
        let mut merged = Batch::default();
        for (first, segment, block) in blocks {
            while let Some(entry) = merger.next(Some(first), &ratings, &mut merged.reports) {
                merged.entries.push(entry);
            }
            merger.push(segment, unpack(&block, &mut ratings));
        }
        while let Some(entry) = merger.next(None, &ratings, &mut merged.reports) {
            merged.entries.push(entry);
        }
        prop_assert_eq!(merged, whole);
    }

    #[test]
    fn damage_is_never_an_answer(reports in reports(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let mut ratings = Ratings::new();
        let batch = invert(&reports, &mut ratings);
        for block in pack(&batch, &ratings) {
            let mut unpacker = Unpacker::new().expect("zstd");
            let entries = unpacker.summary(block.first, &block.summary, &mut ratings).expect("is whole");
            for (blob, summary) in [(&block.summary, true), (&block.postings, false)] {
                let mut damaged = blob.clone();
                damaged[at.index(blob.len())] ^= flip;
                let mut ids = Vec::new();
                let same = if summary {
                    unpacker.summary(block.first, &damaged, &mut ratings).is_ok_and(|it| it == entries)
                } else {
                    unpacker.postings(&damaged, &entries, |_, id| ids.push(id)).is_ok()
                };
                // A bit of a frame's header may mean nothing; then what comes out is what went in.
                if same && !summary {
                    let mut whole = Vec::new();
                    unpacker.postings(blob, &entries, |_, id| whole.push(id)).expect("is whole");
                    prop_assert_eq!(&ids, &whole);
                }
                if summary {
                    let read = unpacker.summary(block.first, &damaged, &mut ratings);
                    prop_assert!(read.is_err() || same);
                }
                prop_assert!(unpacker.postings(&damaged[..damaged.len() - 1], &entries, |_, _| ()).is_err());
            }
        }
    }
}

#[test]
fn a_block_of_another_vulnerability_is_refused() {
    let mut ratings = Ratings::new();
    let mark = Mark {
        vulnerability: VulnerabilityId::of("CVE-2021-20530"),
        severity: Severity::High,
        score: 75,
        score_v3: 65,
        has_fix: true,
        published: 1_554_768_900,
        modified: 0,
        feed_rating: 0,
        place: 0,
    };
    let batch = invert(&[(7, Kind::Host, vec![(mark, "Medium")])], &mut ratings);
    let block = pack(&batch, &ratings).remove(0);
    let mut unpacker = Unpacker::new().expect("zstd");
    assert!(unpacker.summary(block.first + 1, &block.summary, &mut ratings).is_err());
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A finding of the recipe in which no two reports say the same of a vulnerability: the worst case for an index.
fn random_mark(dice: &mut Dice) -> Mark {
    let id = (2014 + dice.roll(11)) << 32 | (1000 + dice.roll(49_000));
    let pair = dice.roll(12) as u8;
    Mark {
        vulnerability: VulnerabilityId::from_number(id),
        severity: [Severity::Low, Severity::Medium, Severity::High][(pair % 3) as usize],
        score: 30 + pair * 4,
        score_v3: 35 + pair * 5,
        has_fix: dice.roll(5) == 0,
        published: 1_400_000_000 + dice.roll(150) as u32 * 1_000_123,
        modified: 1_680_000_000 + dice.roll(24) as u32 * 100_077,
        feed_rating: 0,
        place: 0,
    }
}

#[test]
#[ignore = "measures"]
fn how_much_ten_thousand_reports_take() {
    let (reports, findings, in_a_run) = (10_000_u64, 1371, 187);
    let mut ratings = Ratings::new();
    let (low, high) = (ratings.number("Low"), ratings.number("High"));
    let mut dice = Dice(7);
    let mut inverting = std::time::Duration::ZERO;
    let mut packing = std::time::Duration::ZERO;
    let mut segments: Vec<VecDequeOf> = Vec::new();
    for run in 0..reports.div_ceil(in_a_run) {
        let mut inverter = Inverter::default();
        for id in run * in_a_run..((run + 1) * in_a_run).min(reports) {
            inverter.report(id, Kind::Workload);
            for _ in 0..findings {
                let mark = random_mark(&mut dice);
                inverter.mark(&mark, if mark.score > 60 { high } else { low });
            }
        }
        let begin = std::time::Instant::now();
        let batch = inverter.finish(&ratings);
        inverting += begin.elapsed();
        let begin = std::time::Instant::now();
        segments.push(pack(&batch, &ratings).into());
        packing += begin.elapsed();
    }
    let size = |blocks: &VecDequeOf| -> (usize, usize) {
        (blocks.iter().map(|it| it.summary.len()).sum(), blocks.iter().map(|it| it.postings.len()).sum())
    };
    let runs: (usize, usize) = segments.iter().map(size).fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    let begin = std::time::Instant::now();
    let merged: VecDequeOf = merge_all(segments, &mut ratings).into();
    let merging = begin.elapsed();
    let begin = std::time::Instant::now();
    let mut unpacker = Unpacker::new().expect("zstd");
    let entries: Vec<Vec<Entry>> = merged
        .iter()
        .map(|it| unpacker.summary(it.first, &it.summary, &mut ratings).expect("is whole"))
        .collect();
    let summaries = begin.elapsed();
    let begin = std::time::Instant::now();
    let mut sum = 0;
    for (block, entries) in merged.iter().zip(&entries) {
        unpacker.postings(&block.postings, entries, |_, id| sum += id).expect("is whole");
    }
    let postings = begin.elapsed();
    let (summary, posting) = size(&merged);
    let mut out = std::io::stderr();
    let written = writeln!(
        out,
        "inverting {inverting:?}, packing {packing:?}, runs {runs:?} bytes, merging {merging:?}; {} blocks: summaries {summary} read in \
         {summaries:?}, postings {posting} read in {postings:?} ({sum}); {} bytes a report",
        merged.len(),
        (summary + posting) as u64 / reports
    );
    written.expect("stderr takes it");
}

type VecDequeOf = std::collections::VecDeque<Packed>;

fn merge_all(mut segments: Vec<VecDequeOf>, ratings: &mut Ratings) -> Vec<Packed> {
    let mut merger = Merger::new(segments.len());
    let mut writer = BlockWriter::new().expect("zstd");
    let (mut merged, mut reports) = (Vec::new(), Vec::new());
    loop {
        let heads = segments.iter().enumerate().filter_map(|(number, it)| Some((it.front()?.first, number)));
        let next = heads.min();
        while let Some(entry) = merger.next(next.map(|it| it.0), ratings, &mut reports) {
            merged.extend(writer.push(entry, &reports, ratings).expect("packs"));
            reports.clear();
        }
        let Some((_, number)) = next else { break };
        let block = segments[number].pop_front().expect("is there");
        merger.push(number, unpack(&block, ratings));
    }
    merged.extend(writer.flush(ratings).expect("packs"));
    merged
}
