//! Made-up reports that are like real ones in shape and size, for trials and measurements.
//!
//! The shape is what a scanner stores; the sizes were measured on it with Go's encoders, and a test holds them to a tenth. Every report differs
//! from every other, for pages of equal bytes would flatter a store; the same seed and number give the same report, on any machine. A vulnerability
//! has the same facts in all reports of one database: its scores, its date out of 150 lists and its change out of 24, so that the
//! counts of a report come out as they were measured without being drawn for each. Reports of more than 5000 findings are of large nodes
//! under another database, which tells every second and scores of its own.

mod catalogue;

use std::fmt::Write as _;
use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

use super::{Asset, Encoding, Report, ReportKey, Severity};
use catalogue::{Facts, Package, System, Vulnerability, packages};

/// The time of the first report's scan. Later ones were made a little after.
const FIRST_SCAN: i64 = 1_798_761_600;
/// From here on a report is that of a large node.
const LARGE: usize = 5000;
/// Kinds of benchmarks of a host.
const BENCHES: [&str; 4] = ["docker_host", "kube_master", "kube_worker", "custom_host"];

/// Makes reports.
#[derive(Clone, Copy, Debug)]
pub struct Generator {
    seed: u64,
}

/// Steele's splitmix64: any two seeds give different numbers, and nothing else hangs on its quality.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn of(seeds: [u64; 3]) -> Self {
        seeds.into_iter().fold(Self(0), |mut random, seed| Self(random.next() ^ seed))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }

    fn hex(&mut self) -> String {
        (0..4).map(|_| format!("{:016x}", self.next())).collect()
    }
}

/// One row of a report.
struct Row<'a> {
    vulnerability: Vulnerability,
    facts: Facts,
    package: &'a Package,
    is_fixed: bool,
}

impl Generator {
    /// A generator; another seed makes another world of assets in front of the same databases.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The report of the `n`-th asset with this many findings, as gzip of JSON: of a container, or for every tenth of a host and for
    /// every other tenth of an image. Findings are left to be read from the payload.
    #[must_use]
    pub fn report(&self, n: u64, findings: usize) -> Report {
        let (key, mut asset) = self.asset(n);
        let mut random = Random::of([self.seed, n, 2]);
        let system = System::any(&mut random, findings >= LARGE);
        asset.os = system.namespace.to_owned();
        let json = scan(&mut random, system, &asset, scanned_at(n), findings);
        report(key, asset, n, "3.422", json.as_bytes())
    }

    /// The four reports of benchmarks of the `n`-th host.
    #[must_use]
    pub fn bench_reports(&self, n: u64) -> [Report; 4] {
        let host = self.host(n);
        let asset = Asset { name: host.clone(), node: host.clone(), ..Asset::default() };
        BENCHES.map(|kind| {
            let key = key(format!("bench/{host}/{kind}"));
            let mut random = Random::of([self.seed, n, kind.len() as u64 + 3]);
            report(key, asset.clone(), n, "1.8.0", bench(&mut random, scanned_at(n)).as_bytes())
        })
    }

    /// The state that stands beside a report, in JSON.
    #[must_use]
    pub fn state(report: &Report) -> Vec<u8> {
        let (name, status) = match report.key.class() {
            "bench" => ("run_at", ""),
            _ => ("scanned_at", r#","status":"finished""#),
        };
        format!(r#"{{"{name}":"{}"{status}}}"#, report.scanned_at).into_bytes()
    }

    fn host(&self, n: u64) -> String {
        let mut random = Random::of([self.seed, n, 0]);
        format!("k8s-worker{n}:{}", &random.hex()[..32])
    }

    fn asset(&self, n: u64) -> (ReportKey, Asset) {
        let mut random = Random::of([self.seed, n, 1]);
        let id = random.hex();
        let service =
            *random.one_of(&["web", "cart", "search", "billing", "mail", "queue", "auth", "metrics"]);
        let namespace = *random.one_of(&["default", "shop", "kube-system", "monitoring", "team-a", "team-b"]);
        let (repository, tag) = (format!("{namespace}/{service}"), format!("1.{}", random.below(40)));
        let image = format!("quay.io/{repository}:{tag}");
        match n % 10 {
            9 => {
                let host = self.host(n);
                let asset = Asset { name: host.clone(), node: host.clone(), ..Asset::default() };
                (key(format!("host/{host}")), asset)
            }
            8 => {
                let asset = Asset { name: image.clone(), image, repository, tag, ..Asset::default() };
                (key(format!("image/quay/{id}")), asset)
            }
            _ => {
                let asset = Asset {
                    name: format!("{service}-{}", &id[..10]),
                    namespace: namespace.to_owned(),
                    service: service.to_owned(),
                    image,
                    node: self.host(n / 100 * 100 + 9),
                    ..Asset::default()
                };
                (key(format!("workload/{id}")), asset)
            }
        }
    }
}

fn key(text: String) -> ReportKey {
    ReportKey::new(text).expect("made of a class and an id")
}

/// A second apart, so that newer and older can be told.
fn scanned_at(n: u64) -> Timestamp {
    let nanosecond = Random::of([n, 0, 0]).below(1_000_000_000) as i32;
    Timestamp::new(FIRST_SCAN + (n % 1_000_000_000) as i64, nanosecond).expect("within a hundred years")
}

fn report(key: ReportKey, asset: Asset, n: u64, scanner_version: &str, json: &[u8]) -> Report {
    let mut gzip = GzEncoder::new(Vec::with_capacity(json.len() / 8), Compression::new(6));
    gzip.write_all(json).expect("a Vec takes all");
    Report {
        key,
        scanned_at: scanned_at(n),
        scanner_version: scanner_version.to_owned(),
        encoding: Encoding::GzipJson,
        payload: Bytes::from(gzip.finish().expect("a Vec takes all")),
        asset,
        findings: None,
        checks: None,
    }
}

/// Mostly of the kernel, as in measured reports: a small one has 30 other packages, a large one 120.
fn scan(random: &mut Random, system: System, asset: &Asset, at: Timestamp, findings: usize) -> String {
    let (others, of_kernel, fixed) = match findings {
        ..500 => (30, 60, 25),
        500..LARGE => (120, 80, 20),
        LARGE.. => (120, 80, 70),
    };
    let packages = packages(random, system, others);
    let mut vulnerabilities = std::collections::BTreeSet::new();
    while vulnerabilities.len() < findings.min(500_000) {
        vulnerabilities.insert(Vulnerability::any(random));
    }
    let row = |vulnerability: Vulnerability| {
        let is_kernel = random.below(100) < of_kernel;
        let package = if is_kernel { &packages[0] } else { random.one_of(&packages[1..]) };
        let is_fixed = random.below(100) < fixed;
        Row { vulnerability, facts: vulnerability.facts(system), package, is_fixed }
    };
    let mut rows: Vec<Row<'_>> = vulnerabilities.into_iter().map(row).collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.facts.severity), row.package.name));
    let mut json = String::with_capacity(350 * findings + 16_384);
    let written = write_scan(&mut json, system, asset, at, &rows, &packages);
    written.expect("a String takes all");
    json
}

fn write_scan(
    json: &mut String,
    system: System,
    asset: &Asset,
    at: Timestamp,
    rows: &[Row<'_>],
    packages: &[Package],
) -> std::fmt::Result {
    write!(json, r#"{{"scanned_at":"{at}","Version":"3.422","Namespace":"{}","#, system.namespace)?;
    if !asset.repository.is_empty() {
        let (repository, tag) = (&asset.repository, &asset.tag);
        write!(json, r#""Registry":"https://quay.io/","Repository":"{repository}","Tag":"{tag}","#)?;
    }
    json.push_str(r#""Vuls":["#);
    for (number, row) in rows.iter().enumerate() {
        json.push_str(if number > 0 { "," } else { "" });
        write_row(json, system, row)?;
    }
    json.push_str(r#"],"CVEDBCreateTime":"2026-12-30T09:47:21Z","Modules":["#);
    for (number, Package { name, version, .. }) in packages.iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        write!(json, r#"{comma}{{"Name":"{name}","Version":"{version}","Source":"{name}"}}"#)?;
    }
    json.push_str("]}");
    Ok(())
}

fn write_row(json: &mut String, system: System, row: &Row<'_>) -> std::fmt::Result {
    let Row { vulnerability: Vulnerability { year, number }, facts, package, is_fixed } = row;
    let (severity, feed_rating) = (word(facts.severity), word(facts.feed_rating));
    let [score, score_v3] = [facts.score, facts.score_v3].map(|tenths| f32::from(tenths) / 10.0);
    let Facts { published, modified, .. } = facts;
    let Package { name, version, fixed } = package;
    write!(
        json,
        r#"{{"Name":"CVE-{year}-{number:04}","Score":{score},"Severity":"{severity}","PackageNameDeprecated":"{name}","PackageVersion":"{version}""#,
    )?;
    match facts.update {
        Some(update) if *is_fixed => write!(json, r#","FixedVersion":"{fixed}.{update}""#)?,
        None if *is_fixed => write!(json, r#","FixedVersion":"{fixed}""#)?,
        _ => {}
    }
    write!(
        json,
        r#","ScoreV3":{score_v3},"PublishedDate":"{published}","LastModifiedDate":"{modified}","CVEs":["CVE-{year}-{number:04}"],"FeedRating":"{feed_rating}","DBKey":"{}:CVE-{year}-{number:04}","PackageName":"{name}"}}"#,
        system.database
    )
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "Critical",
        Severity::High => "High",
        Severity::Medium => "Medium",
        Severity::Low => "Low",
    }
}

fn bench(random: &mut Random, at: Timestamp) -> String {
    let mut json = format!(r#"{{"status":1,"run_at":"{at}","version":"1.8.0","items":["#);
    for number in 0..110 {
        let (group, test) = (1 + number / 12, 1 + number % 12);
        let level = *random.one_of(&["PASS", "PASS", "PASS", "INFO", "WARN", "NOTE", "MANUAL"]);
        let what =
            *random.one_of(&["file permissions", "the audit log", "TLS", "a user namespace", "logging"]);
        let scored = random.below(4) > 0;
        let comma = if number > 0 { "," } else { "" };
        let written = write!(
            json,
            r#"{comma}{{"level":"{level}","test_number":"{group}.{test}","header":"Ensure that {what} of component {number} is as restrictive as it can be","message":["seen: {}"],"remediation":"Edit the configuration of component {number} and set {what}.","scored":{scored},"automated":true,"profile":"Level {}","group":"{group}"}}"#,
            random.below(1000),
            1 + number % 2,
        );
        written.expect("a String takes all");
    }
    json.push_str("]}");
    json
}

#[cfg(test)]
mod tests;
