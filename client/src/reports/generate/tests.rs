#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::collections::{HashMap, HashSet};

use super::*;
use crate::reports::Finding;
use crate::reports::extract::{Extracted, Extractor, Scan};
use crate::reports::gzip::UNPACKED;

fn findings(report: &Report) -> Vec<Finding> {
    match Extractor::new().extract(report.encoding, &report.payload) {
        Ok(Extracted::Scan(Scan { findings, .. })) => findings,
        other => panic!("no scan, but {other:?}"),
    }
}

/// Bytes of JSON and of its gzip on average over some reports.
fn sizes(findings: usize) -> [usize; 2] {
    const REPORTS: usize = 12;
    let mut json = Vec::new();
    let [mut plain, mut packed] = [0, 0];
    for n in 0..REPORTS as u64 {
        let report = Generator::new(7).report(n, findings);
        crate::reports::gzip::unpack(&report.payload, &mut json, UNPACKED).unwrap();
        plain += json.len() / REPORTS;
        packed += report.payload.len() / REPORTS;
    }
    [plain, packed]
}

#[test]
fn sizes_are_those_that_were_measured() {
    for (findings, measured) in
        [(142, [48_200, 4_505]), (1371, [447_000, 33_875]), (20_000, [6_600_000, 738_000])]
    {
        for (size, measured) in sizes(findings).into_iter().zip(measured) {
            let off = size.abs_diff(measured) * 100 / measured;
            assert!(off < 10, "{findings} findings: {size} bytes, measured {measured}");
        }
    }
}
