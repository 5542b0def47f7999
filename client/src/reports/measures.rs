//! What the way of a payload into the store takes, printed. Run in release:
//! `cargo test --release -p larder-client --lib measures -- --ignored --nocapture`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that fails may panic, and is for people"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::Report;
use super::extract::{Extracted, Extractor, Packed, Scan};
use super::generate::Generator;
use super::gzip::{UNPACKED, gzip_end, unpack};
use super::packed;

const REPORTS: u64 = 40;

/// The best of three passes over all of them, for one of them.
fn time<T, R>(what: &str, all: &[T], mut step: impl FnMut(&T) -> R) {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let begin = Instant::now();
        all.iter().for_each(|it| drop(black_box(step(it))));
        best = best.min(begin.elapsed());
    }
    println!("  {what:24} {:8.1} µs", best.as_secs_f64() * 1e6 / all.len() as f64);
}

fn scan(extracted: Extracted<Packed>) -> Packed {
    match extracted {
        Extracted::Scan(Scan { findings, .. }) => findings,
        other => panic!("no scan, but {other:?}"),
    }
}

fn average(sizes: impl Iterator<Item = usize>) -> usize {
    sizes.sum::<usize>() / REPORTS as usize
}

#[test]
#[ignore = "measures"]
fn steps_from_a_payload_to_the_store() {
    for findings in [142, 1371, 20_000] {
        let begin = Instant::now();
        let reports: Vec<Report> = (0..REPORTS).map(|n| Generator::new(1).report(n, findings)).collect();
        let made = begin.elapsed().as_secs_f64() * 1e6 / REPORTS as f64;
        let mut extractor = Extractor::new();
        let mut text = Vec::new();
        let mut sizes = [0; 2];
        for report in &reports {
            unpack(&report.payload, &mut text, UNPACKED).unwrap();
            sizes[0] += text.len() / REPORTS as usize;
            sizes[1] += report.payload.len() / REPORTS as usize;
        }
        let extract = |report: &Report| Extractor::new().extract(report.encoding, &report.payload).unwrap();
        let lists: Vec<_> = reports
            .iter()
            .map(|report| match extract(report) {
                Extracted::Scan(scan) => scan.findings,
                other => panic!("no scan, but {other:?}"),
            })
            .collect();
        let blobs: Vec<Vec<u8>> = lists.iter().map(|it| packed::encode(it)).collect();
        println!(
            "{findings} findings: JSON {} B, gzip {} B, packed {} B",
            sizes[0],
            sizes[1],
            average(blobs.iter().map(Vec::len))
        );
        println!("  {:24} {made:8.1} µs", "generate");
        time("gzip: unpack", &reports, |it| unpack(&it.payload, &mut text, UNPACKED));
        time("gzip: find the end", &reports, |it| gzip_end([&it.payload[..]]));
        time("extract", &reports, |it| extractor.extract(it.encoding, &it.payload));
        time("extract and pack", &reports, |it| {
            scan(extractor.extract_packed(it.encoding, &it.payload).unwrap())
        });
        time("pack", &lists, |it| packed::encode(it));
        time("read marks", &blobs, |it| packed::marks(it));
        time("unpack findings", &blobs, |it| packed::decode(it));
    }
}
