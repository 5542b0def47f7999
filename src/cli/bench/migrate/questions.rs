//! What people ask of reports, against finding it out by unpacking every one of them.

use anyhow::{Context as _, ensure};
use larder_client::reports::extract::{Extracted, Extractor};
use larder_client::reports::questions::{
    AssetFilter, Direction, Questions, Score, VulnerabilityOrder, VulnerabilityQuery,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::site::Site;
use super::workload::Workload;

/// Rows on a page.
const PAGE: usize = 100;
/// How often each is asked. The first time is not counted: what it warms up stays warm.
const TIMES: u32 = 5;
/// Reports that are unpacked; all would take as long as there are more.
const UNPACKED: usize = 500;

/// How long it took.
pub(super) struct Asked {
    /// Unpacking all reports.
    pub(super) unpacking: Duration,
    /// The first page of each question: name, words, time.
    pub(super) questions: Vec<(&'static str, &'static str, Duration)>,
}

pub(super) async fn ask(site: &Site, workload: &Workload) -> anyhow::Result<Asked> {
    let questions = Questions::new(Arc::clone(site.database()));
    let all = AssetFilter::default();
    let some = any_vulnerability(workload)?;
    let impact = VulnerabilityQuery {
        order: VulnerabilityOrder::Impact,
        direction: Direction::Descending,
        limit: PAGE,
        ..VulnerabilityQuery::default()
    };
    let scored = timed(async || {
        let page = questions.scored_at_least(Score::V3, 80, &all, None, PAGE).await?;
        ensure!(page.rows.iter().all(|it| it.score_v3 >= 80), "an asset without such a score");
        Ok(page.rows.len())
    });
    let scored = scored.await.context("reports by score")?;
    let affected = timed(async || Ok(questions.affected(&some, &all, None, PAGE).await?.rows.len()));
    let affected = affected.await.context("assets with a vulnerability")?;
    let by_impact = timed(async || Ok(questions.vulnerabilities(&impact).await?.rows.len()));
    let by_impact = by_impact.await.context("vulnerabilities by impact")?;
    Ok(Asked {
        unpacking: unpacking(workload)?,
        questions: vec![
            ("scored", "reports with a finding of score ≥ 8.0", scored),
            ("affected", "assets with one CVE", affected),
            ("impact", "CVEs by impact", by_impact),
        ],
    })
}

/// The median time of a question that has an answer.
async fn timed(ask: impl AsyncFn() -> anyhow::Result<usize>) -> anyhow::Result<Duration> {
    ensure!(ask().await? > 0, "nothing was found");
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let begun = Instant::now();
        ask().await?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// How long it takes to read all findings out of all payloads that are at hand.
fn unpacking(workload: &Workload) -> anyhow::Result<Duration> {
    let sample = &workload.items[..workload.items.len().min(UNPACKED)];
    let mut extractor = Extractor::new();
    let begun = Instant::now();
    for item in sample {
        black_box(extractor.extract(item.report.encoding, &item.report.payload)?);
    }
    Ok(begun.elapsed().mul_f64(workload.items.len() as f64 / sample.len() as f64))
}

fn any_vulnerability(workload: &Workload) -> anyhow::Result<String> {
    let report = &workload.items[workload.items.len() / 2].report;
    match Extractor::new().extract(report.encoding, &report.payload)? {
        Extracted::Scan(scan) => Ok(scan.findings.into_iter().next().context("no finding")?.name),
        _ => anyhow::bail!("{} is no scan", report.key),
    }
}
