//! What the index costs and how long questions take, at 10,000 reports of 1371 findings each, of which no two say the same.
//!
//! On the embedded engine; or on the sidecar at `LARDER_URL`, with the certificates `LARDER_CA`, `LARDER_CERT` and `LARDER_KEY`, so that this
//! process is the client alone. `LARDER_REPORTS` takes another number of reports; a database that has them already is used as it is.

use std::fmt::Debug;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_client::database::{Database, Embedded};
use larder_client::reports::index::{Index, Pace};
use larder_client::reports::questions::{
    AssetFilter, AssetOrder, AssetQuery, Direction, FindingQuery, Match, Questions, QuickFilter, Score,
    VulnerabilityOrder, VulnerabilityQuery,
};
use larder_client::reports::{Asset, Clock, Encoding, Finding, Report, ReportStore, Severity};
use larder_client::wire::{Request, Statement, Value};
use larder_client::{Credentials, Sidecar, schema};

use crate::runtime;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// The recipe: 120 packages of which one has 80 % of the findings, a fifth mended, 12 pairs of scores, 150 days, 24 changes.
fn report(number: u64) -> Report {
    let mut dice = Dice(number * 7919 + 1);
    let findings = (0..1371).map(|_| finding(&mut dice)).collect();
    let class = if number.is_multiple_of(10) { "image/quay.io" } else { "workload" };
    let payload: Vec<u8> = (0..33_875).map(|_| dice.roll(256) as u8).collect();
    Report {
        key: format!("{class}/{:016x}{number:048x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .parse()
            .unwrap(),
        scanned_at: jiff::Timestamp::from_second(1_700_000_000 + number as i64).unwrap(),
        scanner_version: "3.422".to_owned(),
        encoding: Encoding::Opaque,
        payload: payload.into(),
        asset: Asset {
            name: format!("pod-{number}"),
            namespace: format!("namespace-{}", number % 100),
            service: format!("service-{}", number % 500),
            image: format!("quay.io/team/image-{}", number % 700),
            os: format!("ubuntu:{}.04", 14 + number % 5 * 2),
            node: format!("node-{}", number % 50),
            repository: format!("team/image-{}", number % 700),
            tag: "latest".to_owned(),
        },
        findings: Some(findings),
        checks: None,
    }
}

fn finding(dice: &mut Dice) -> Finding {
    let package = if dice.roll(5) < 4 { 0 } else { dice.roll(120) };
    let pair = dice.roll(12);
    let rating = ["Low", "Medium", "High"][(pair % 3) as usize];
    Finding {
        name: format!("CVE-{}-{}", 2014 + dice.roll(11), 1000 + dice.roll(49_000)),
        severity: [Severity::Low, Severity::Medium, Severity::High][(pair % 3) as usize],
        score: 3.0 + pair as f32 * 0.5,
        score_v3: 3.5 + pair as f32 * 0.5,
        package: format!("package-{package}"),
        version: format!("3.13.{package}-24.46"),
        fixed_version: if dice.roll(5) == 0 { format!("3.13.{package}-116.125") } else { String::new() },
        published: Some(1_400_000_000 + dice.roll(150) as i64 * 1_000_123),
        modified: Some(1_680_000_000 + dice.roll(24) as i64 * 100_077),
        feed_rating: rating.to_owned(),
        ..Finding::default()
    }
}

/// Seconds of processor time of this process.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|it| it.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn one(database: &dyn Database, sql: &str) -> i64 {
    let mut response = database.query(&Request::new([Statement::new(sql)])).await.unwrap();
    match response.results.remove(0).rows.remove(0).remove(0) {
        Value::Integer(number) => number,
        other => panic!("{other:?}"),
    }
}

/// The median of some runs.
async fn time<T: Debug>(lines: &mut Vec<String>, name: &str, ask: impl AsyncFn() -> T) {
    let mut times = Vec::new();
    let mut answer = None;
    for _ in 0..7 {
        let begin = Instant::now();
        answer = Some(ask().await);
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let text = format!("{:?}", answer.unwrap());
    lines.push(format!(
        "{name}: {:?} (best {:?}), {} bytes of answer as text",
        times[3],
        times[0],
        text.len()
    ));
}

async fn open(directory: &std::path::Path) -> Arc<dyn Database> {
    let Ok(url) = std::env::var("LARDER_URL") else { return Arc::new(Embedded::open(directory).unwrap()) };
    let file = |name: &str| std::env::var(name).unwrap();
    let credentials = Credentials::from_files(file("LARDER_CA"), file("LARDER_CERT"), file("LARDER_KEY"));
    Arc::new(Sidecar::new(url.parse().unwrap(), credentials.unwrap()).unwrap())
}

#[test]
#[ignore = "measures"]
fn what_the_index_costs_and_how_long_questions_take() {
    let directory = tempfile::tempdir().unwrap();
    let mut lines = Vec::new();
    runtime().block_on(async {
        let database = open(directory.path()).await;
        schema::prepare(&*database).await.unwrap();
        let index = Index::new(Arc::clone(&database));
        fill(&mut lines, &database, &index).await;
        ask(&mut lines, &database).await;
    });
    writeln!(std::io::stderr(), "{}", lines.join("\n")).unwrap();
}

async fn fill(lines: &mut Vec<String>, database: &Arc<dyn Database>, index: &Index) {
    let store = ReportStore::new(Arc::clone(database), Arc::new(Clock::new(1)));
    let count: u64 = std::env::var("LARDER_REPORTS").map_or(10_000, |it| it.parse().unwrap());
    let there = one(&**database, "SELECT COUNT(*) FROM report").await as u64;
    let (mut kept, mut worked, mut putting) = (Duration::ZERO, 0.0, Duration::ZERO);
    let mut peak = 0;
    for batch in (there..count).collect::<Vec<_>>().chunks(100) {
        let reports: Vec<Report> = batch.iter().map(|&it| report(it)).collect();
        let begin = Instant::now();
        store.put_many(&reports).await.unwrap();
        putting += begin.elapsed();
        drop(reports);
        let rss = fresh_peak();
        let (begin, before) = (Instant::now(), processor());
        index.keep_up(Pace::Bulk).await.unwrap();
        kept += begin.elapsed();
        worked += processor() - before;
        peak = peak.max(memory("VmHWM").saturating_sub(rss));
    }
    let segments = one(&**database, "SELECT COUNT(*) FROM segment").await;
    lines.push(format!("putting took {putting:?}; keeping up {kept:?}, {worked:.2} s of processor, {peak} KiB more memory; {segments} segments"));
    let rss = fresh_peak();
    let (begin, before) = (Instant::now(), processor());
    index.compact().await.unwrap();
    let (took, worked) = (begin.elapsed(), processor() - before);
    let peak = memory("VmHWM").saturating_sub(rss);
    lines.push(format!("compaction took {took:?}, {worked:.2} s of processor, {peak} KiB more memory"));
    let blobs = one(&**database, "SELECT SUM(LENGTH(summary) + LENGTH(postings)) FROM block").await;
    let packed = one(&**database, "SELECT SUM(LENGTH(findings)) FROM report").await;
    let payloads = one(&**database, "SELECT SUM(size) FROM report").await;
    lines.push(format!(
        "a report: payload {}, findings {}, index {} bytes",
        payloads / count as i64,
        packed / count as i64,
        blobs / count as i64
    ));
}

/// The memory of now, from which peaks are counted from now on.
fn fresh_peak() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    memory("VmRSS")
}

async fn ask(lines: &mut Vec<String>, database: &Arc<dyn Database>) {
    let questions = Questions::new(Arc::clone(database));
    let questions = &questions;
    let impact = VulnerabilityQuery {
        order: VulnerabilityOrder::Impact,
        direction: Direction::Descending,
        ..VulnerabilityQuery::default()
    };
    let name = questions.vulnerabilities(&impact).await.unwrap().rows[0].name.clone();
    let all = AssetFilter::default();
    let in_namespaces = |count: usize| AssetFilter {
        namespace: Some(Match::Equals((0..count).map(|it| format!("namespace-{it}")).collect())),
        ..AssetFilter::default()
    };
    let rss = fresh_peak();
    time(lines, "vulnerabilities by impact", || async { questions.vulnerabilities(&impact).await.unwrap() })
        .await;
    lines.push(format!("  {} KiB more memory", memory("VmHWM").saturating_sub(rss)));
    let by_name = VulnerabilityQuery { order: VulnerabilityOrder::Name, ..impact.clone() };
    time(lines, "vulnerabilities by name", || async { questions.vulnerabilities(&by_name).await.unwrap() })
        .await;
    let quick = Some(QuickFilter { text: "2021-205".to_owned(), score: Score::V3 });
    let quick = VulnerabilityQuery { quick, ..impact.clone() };
    time(lines, "vulnerabilities by impact, quick filter", || async {
        questions.vulnerabilities(&quick).await.unwrap()
    })
    .await;
    for count in [1, 10, 50] {
        let some = VulnerabilityQuery { assets: in_namespaces(count), ..impact.clone() };
        let what = format!("vulnerabilities by impact in {count} of 100 namespaces");
        time(lines, &what, || async { questions.vulnerabilities(&some).await.unwrap() }).await;
    }
    time(lines, "assets with the vulnerability that most have", || async {
        questions.affected(&name, &all, None, 100).await.unwrap()
    })
    .await;
    time(lines, "reports with a finding of 8.0 or more", || async {
        questions.scored_at_least(Score::V2, 80, &all, None, 100).await.unwrap()
    })
    .await;
    time(lines, "top 5 assets", || async { questions.top_assets(all.clone(), 5).await.unwrap() }).await;
    let by_os = AssetQuery { order: AssetOrder::Os, search: "image-69".to_owned(), ..AssetQuery::default() };
    time(lines, "assets by os with a search", || async { questions.assets(&by_os).await.unwrap() }).await;
    let one_asset = AssetQuery { limit: 1, ..AssetQuery::default() };
    time(lines, "findings of one asset", || async { questions.asset_findings(&one_asset).await.unwrap() })
        .await;
    let dump = FindingQuery::default();
    time(lines, "dump of 1000 findings", || async { questions.findings(&dump).await.unwrap() }).await;
    time(lines, "overview", || async { questions.overview(&all).await.unwrap() }).await;
}
