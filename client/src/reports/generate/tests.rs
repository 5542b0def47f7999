//! What is made up has the sizes of the recipe, and is the same every time.

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

#[test]
fn a_report_is_a_function_of_the_seed_and_its_number() {
    let reports = |seed| (0..30).map(|n| Generator::new(seed).report(n, 142)).collect::<Vec<_>>();
    assert_eq!(reports(1), reports(1));
    let both = [reports(1), reports(2)].concat();
    let payloads: HashSet<_> = both.iter().map(|report| &report.payload).collect();
    let keys: HashSet<_> = both.iter().map(|report| report.key.as_str()).collect();
    assert_eq!((payloads.len(), keys.len()), (60, 60));
    let classes: HashSet<_> = both.iter().map(|report| report.key.class()).collect();
    assert_eq!(classes, HashSet::from(["workload", "host", "image"]));
}

#[test]
fn a_vulnerability_has_the_same_facts_in_all_reports() {
    let mut facts = HashMap::new();
    let mut seen = 0;
    for n in 0..40 {
        for it in findings(&Generator::new(n).report(n, 1371)) {
            let fact = (it.score.to_bits(), it.score_v3.to_bits(), it.severity, it.published, it.modified);
            seen += 1;
            assert_eq!(*facts.entry(it.database_key).or_insert(fact), fact);
        }
    }
    assert!(facts.len() < seen, "some stand in several reports");
}

#[test]
fn counts_are_those_of_the_recipe() {
    let all = findings(&Generator::new(7).report(1, 1371));
    let count = |of: fn(&Finding) -> String| all.iter().map(of).collect::<HashSet<_>>().len();
    assert_eq!(all.len(), 1371);
    assert_eq!(count(|it| it.name.clone()), 1371);
    assert_eq!(count(|it| format!("{} {}", it.score, it.score_v3)), 12);
    assert!((140..=150).contains(&count(|it| format!("{:?}", it.published))));
    assert_eq!(count(|it| format!("{:?}", it.modified)), 24);
    let share = |is: fn(&&Finding) -> bool| all.iter().filter(is).count() * 100 / all.len();
    assert!((75..85).contains(&share(|it| it.package == "linux-libc-dev")));
    assert!((15..25).contains(&share(|it| !it.fixed_version.is_empty())));
}

#[test]
fn what_is_known_of_a_report_is_what_its_payload_says() {
    for n in 0..10 {
        let report = Generator::new(7).report(n, 20);
        let Ok(Extracted::Scan(scan)) = Extractor::new().extract(Encoding::Opaque, &report.payload) else {
            panic!()
        };
        assert_eq!(scan.scanned_at, Some(report.scanned_at));
        assert_eq!(scan.scanner_version, report.scanner_version);
        assert_eq!(
            (scan.asset.os, scan.asset.tag),
            (
                report.asset.os.clone(),
                match report.key.class() {
                    "image" => report.asset.tag.clone(),
                    _ => String::new(),
                }
            )
        );
        let state: serde_json::Value = serde_json::from_slice(&Generator::state(&report)).unwrap();
        assert_eq!(state["scanned_at"], report.scanned_at.to_string());
    }
}

#[test]
fn a_host_has_four_benchmarks() {
    let reports = Generator::new(7).bench_reports(9);
    let host = Generator::new(7).report(9, 1);
    for report in &reports {
        assert!(report.key.id().starts_with(host.key.id()));
        let Ok(Extracted::Bench(bench)) = Extractor::new().extract(report.encoding, &report.payload) else {
            panic!()
        };
        assert_eq!((bench.run_at, bench.checks.len()), (Some(report.scanned_at), 110));
        assert!(Generator::state(report).starts_with(b"{\"run_at\":\""));
    }
}
