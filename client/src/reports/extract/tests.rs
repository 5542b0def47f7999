//! What is read out of payloads, and how they may be wrong.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::io::Write as _;

use super::*;
use crate::reports::packed::{decode, encode};

const SCAN: &str = r#"{
    "scanned_at": "2024-06-01T12:34:56.789012345Z", "Version": "3.422", "Namespace": "ubuntu:14.04",
    "Registry": "https://quay.io/", "Repository": "team/app", "Tag": "1.2", "ContainerID": "4f5a", "Layers": null,
    "Vuls": [
        {"Name": "CVE-2021-20530", "Score": 7.5, "Severity": "Medium", "PackageNameDeprecated": "linux-libc-dev",
         "PackageVersion": "3.13.0-24.46", "FixedVersion": "3.13.0-116.125", "ScoreV3": 6.5, "PublishedDate": "1554768900",
         "LastModifiedDate": "1679472478", "CVEs": ["CVE-2021-20530"], "FeedRating": "Medium", "DBKey": "ubuntu:CVE-2021-20530",
         "PackageName": "linux-libc-dev"},
        {"Name": "CVE-2022-1", "PackageNameDeprecated": "caf\u00e9", "InBase": true, "FileName": "a\\b", "Severity": "HIGH", "ScoreV3": 8.9},
        {"Name": "GHSA-x", "Severity": "negligible", "Score": 9, "PublishedDate": "", "LastModifiedDate": "yesterday"},
        {}
    ]
}"#;

const BENCH: &str = r#"{"status": 1, "run_at": "2024-06-01T12:34:56Z", "version": "1.8.0", "items": [
    {"level": "WARN", "test_number": "1.1.1", "header": "A partition", "message": ["a", "b"], "remediation": "Make one",
     "scored": true, "automated": true, "profile": "Level 1", "group": "Host"},
    {"level": "NOTE", "message": null}]}"#;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

fn extract(encoding: Encoding, payload: &[u8]) -> Result<Extracted, ExtractError> {
    Extractor::new().extract(encoding, payload)
}

fn scan(text: &str) -> Scan {
    match extract(Encoding::Json, text.as_bytes()) {
        Ok(Extracted::Scan(scan)) => scan,
        other => panic!("no scan, but {other:?}"),
    }
}

#[test]
fn a_scanners_report_is_read() {
    let scan = scan(SCAN);
    assert_eq!(scan.scanned_at, Some("2024-06-01T12:34:56.789012345Z".parse().unwrap()));
    assert_eq!(scan.scanner_version, "3.422");
    assert_eq!(scan.asset.os, "ubuntu:14.04");
    assert_eq!(scan.asset.image, "https://quay.io/team/app:1.2");
    assert_eq!((scan.asset.repository.as_str(), scan.asset.tag.as_str()), ("team/app", "1.2"));
    let [kernel, cafe, other, empty] = scan.findings.try_into().unwrap();
    let expected = Finding {
        name: "CVE-2021-20530".into(),
        severity: Severity::Medium,
        score: 7.5,
        score_v3: 6.5,
        package: "linux-libc-dev".into(),
        version: "3.13.0-24.46".into(),
        fixed_version: "3.13.0-116.125".into(),
        published: Some(1_554_768_900),
        modified: Some(1_679_472_478),
        feed_rating: "Medium".into(),
        in_base: false,
        file: String::new(),
        database_key: "ubuntu:CVE-2021-20530".into(),
    };
    assert_eq!(kernel, expected);
    assert_eq!((cafe.package.as_str(), cafe.file.as_str(), cafe.in_base), ("café", "a\\b", true));
    assert_eq!((cafe.severity, cafe.score_v3), (Severity::High, 8.9));
    assert_eq!((other.severity, other.published, other.modified), (Severity::Critical, None, None));
    assert_eq!(empty, Finding::default());
}

#[test]
fn packed_findings_are_those_that_are_not_packed() {
    let findings = scan(SCAN).findings;
    let packed = Extractor::new().extract_packed(Encoding::Json, SCAN.as_bytes()).unwrap();
    let Extracted::Scan(Scan { findings: Packed { blob, summary, .. }, .. }) = packed else { panic!() };
    assert_eq!(blob, encode(&findings));
    assert_eq!(decode(&blob).unwrap().len(), 4);
    assert_eq!(summary, Packed::of(&findings).summary);
    assert_eq!((summary.critical, summary.high, summary.medium, summary.low), (1, 1, 1, 1));
    assert_eq!((summary.score, summary.score_v3), (90, 89));
}

#[test]
fn the_rest_interfaces_report_is_read() {
    let findings = scan(
        r#"{"report": {"vulnerabilities": [{"name": "CVE-2021-20530", "score": 7.5, "severity": "Low", "package_name": "curl",
            "package_version": "1", "fixed_version": "2", "score_v3": 6.5, "published_timestamp": 1554768900, "file_name": "f",
            "last_modified_timestamp": 0, "feed_rating": "Medium", "in_base_image": true, "tags": null}], "modules": []}}"#,
    )
    .findings;
    assert_eq!(findings[0].package, "curl");
    assert_eq!((findings[0].published, findings[0].modified), (Some(1_554_768_900), None));
    assert!(findings[0].in_base && findings[0].file == "f" && findings[0].fixed_version == "2");
}

#[test]
fn a_benchmark_is_read() {
    let Extracted::Bench(bench) = extract(Encoding::GzipJson, &gzip(BENCH.as_bytes())).unwrap() else {
        panic!()
    };
    assert_eq!(bench.run_at, Some("2024-06-01T12:34:56Z".parse().unwrap()));
    assert_eq!((bench.version.as_str(), bench.status, bench.checks.len()), ("1.8.0", 1, 2));
    assert_eq!(bench.checks[0].message, ["a", "b"]);
    assert_eq!((bench.checks[0].test_number.as_str(), bench.checks[0].scored), ("1.1.1", true));
    assert_eq!(bench.checks[1], Check { level: "NOTE".into(), ..Check::default() });
}

#[test]
fn a_clean_asset_has_a_report_without_findings() {
    let scan = scan(r#"{"scanned_at": "0001-01-01T00:00:00Z", "Version": "3.422", "Vuls": null}"#);
    assert_eq!((scan.scanned_at, scan.findings.len()), (None, 0));
}

#[test]
fn the_encoding_is_found_if_nobody_says_it() {
    let scan = scan(SCAN);
    let zstd = zstd::bulk::compress(SCAN.as_bytes(), 3).unwrap();
    for payload in [SCAN.as_bytes(), &gzip(SCAN.as_bytes()), &zstd] {
        assert_eq!(extract(Encoding::Opaque, payload), Ok(Extracted::Scan(scan.clone())));
    }
    let with_tail = [gzip(SCAN.as_bytes()), b"old tail".to_vec()].concat();
    assert_eq!(extract(Encoding::GzipJson, &with_tail), Ok(Extracted::Scan(scan.clone())));
    assert_eq!(
        extract(Encoding::ZstdJson, &[zstd, b"old tail".to_vec()].concat()),
        Ok(Extracted::Scan(scan))
    );
}

#[test]
fn what_is_no_report_has_nothing() {
    let gob = [0x3b, 0xff, 0x81, 0x03, 0x01, 0x01, 0x0e];
    for payload in [
        &b""[..],
        b"text",
        &gob,
        b"[]",
        b"{}",
        b"12",
        br#"{"scanned_at": "2024-06-01T12:34:56Z", "status": "finished"}"#,
        br#"{"run_at": "2024-06-01T12:34:56Z"}"#,
        br#"{"Vuls": "none"}"#,
        br#"{"scanned_at": "2024-06-01T12:34:56Z", "Version": "1", "Vuls": [{"Score": "high"}]}"#,
    ] {
        for (encoding, payload) in [
            (Encoding::Opaque, payload.to_vec()),
            (Encoding::Json, payload.to_vec()),
            (Encoding::Opaque, gzip(payload)),
            (Encoding::GzipJson, gzip(payload)),
            (Encoding::GzipGob, gzip(payload)),
        ] {
            assert_eq!(extract(encoding, &payload), Ok(Extracted::Nothing), "{encoding:?} {payload:?}");
        }
    }
}

#[test]
fn damage_is_named() {
    let whole = gzip(SCAN.as_bytes());
    let half = &whole[..whole.len() / 2];
    assert_eq!(extract(Encoding::GzipJson, half), Err(GzipError::Incomplete.into()));
    assert_eq!(extract(Encoding::GzipJson, b"no gzip"), Err(GzipError::Broken.into()));
    let zstd = zstd::bulk::compress(SCAN.as_bytes(), 3).unwrap();
    assert_eq!(extract(Encoding::ZstdJson, &zstd[..zstd.len() - 1]), Err(ExtractError::Zstd));
    assert_eq!(extract(Encoding::ZstdJson, b"no zstd"), Err(ExtractError::Zstd));
    let json = |text: &[u8]| extract(Encoding::Json, text);
    assert_eq!(json(b"{\"Vuls\": [}"), Err(ExtractError::NotJson { line: 1, column: 11 }));
    assert_eq!(json(b"{\n  \"\xff\"}"), Err(ExtractError::NotJson { line: 2, column: 4 }));
    assert_eq!(json(b"{\"Vuls\": ["), Err(ExtractError::NotJson { line: 1, column: 10 }));
    assert_eq!(json("[".repeat(100_000).as_bytes()), Ok(Extracted::Nothing));
    let deep = format!("{{\"a\": {}", "[".repeat(100_000));
    assert!(matches!(json(deep.as_bytes()), Err(ExtractError::NotJson { .. })));
}

#[test]
fn bombs_stop_at_the_limit() {
    // 257 MiB of spaces in 256 KiB.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    let spaces = [b' '; 1 << 20];
    bomb.write_all(b"{").unwrap();
    (0..257).for_each(|_| bomb.write_all(&spaces).unwrap());
    assert_eq!(extract(Encoding::Opaque, &bomb.finish().unwrap()), Err(GzipError::TooLarge.into()));

    let many = format!("{{\"Vuls\": [{}{{}}]}}", "{},".repeat(ROWS));
    assert_eq!(extract(Encoding::Json, many.as_bytes()), Err(ExtractError::TooMany));
    let zeros = format!("{{\"a\":\"{}\"}}", "0".repeat(UNPACKED));
    let zstd = zstd::bulk::compress(zeros.as_bytes(), 3).unwrap();
    assert_eq!(extract(Encoding::ZstdJson, &zstd), Err(ExtractError::TooLarge));
}

#[test]
fn large_texts_are_read_and_not_kept() {
    let text = format!("{{\"a\":\"{}\",{}", "0".repeat(SMALL), &SCAN.trim_start()[1..]);
    let mut extractor = Extractor::new();
    let zstd = zstd::bulk::compress(text.as_bytes(), 3).unwrap();
    for (encoding, payload) in [(Encoding::Opaque, gzip(text.as_bytes())), (Encoding::ZstdJson, zstd)] {
        assert_eq!(extractor.extract(encoding, &payload), extract(Encoding::Json, SCAN.as_bytes()));
        assert!(extractor.text.capacity() <= KEPT);
    }
}

#[test]
fn a_score_and_its_severity_are_of_one_mind() {
    for (score, kept, severity) in [
        ("8.94", 8.9, Severity::Low),
        ("8.95", 9.0, Severity::Critical),
        ("9", 9.0, Severity::Critical),
        ("25.5", 10.0, Severity::Critical),
        ("1e9", 10.0, Severity::Critical),
    ] {
        let text = format!(r#"{{"Vuls":[{{"Name":"CVE-2024-0001","Severity":"Low","Score":{score}}}]}}"#);
        let finding = &scan(&text).findings[0];
        assert_eq!((finding.score, finding.severity), (kept, severity), "{score}");
    }
}
