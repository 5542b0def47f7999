//! Putting reports while the primary is dead.

use anyhow::{Context as _, ensure};
use larder_client::fallback::{BreakerState, Consul, Layout, Mode, Reports, ReportsOptions, Shelf, Store};
use larder_client::reports::{Clock, Report};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::agent::Agent;
use super::site::Site;
use super::workload::Workload;

/// Medians.
#[derive(Clone, Copy)]
pub(super) struct Put {
    /// Through the facade, once its breaker is open.
    pub(super) instead: Duration,
    /// Into the fallback, by a caller who knows of nothing else.
    pub(super) directly: Duration,
}

/// Kills the server, and puts reports in turns with and without the facade, each of them new.
pub(super) async fn put(site: Site, agent: &Agent, workload: &Workload, quick: bool) -> anyhow::Result<Put> {
    let pairs = if quick { 5 } else { 100 };
    let shelf = Shelf::new(Arc::new(Consul::new(agent.url().parse()?, None)?), Layout::NeuVector);
    let clock = Arc::new(Clock::new(2));
    let options = ReportsOptions { mode: Mode::Auto, ..ReportsOptions::default() };
    let store = site.kill();
    let reports = Reports::new(Some(Arc::new(store)), shelf.clone(), Arc::clone(&clock), || true, options);
    let mut left = workload.items.iter().map(|it| &it.report).cycle().take(1 + 2 * pairs);
    let first = left.next().context("no report")?;
    let answer = reports.put(first).await?;
    ensure!(answer.store == Store::Fallback, "a dead primary has taken a report");
    ensure!(reports.breaker() != BreakerState::Closed, "the breaker has not opened");
    let (mut instead, mut directly) = (Vec::new(), Vec::new());
    while let (Some(one), Some(other)) = (left.next(), left.next()) {
        instead.push(
            timed(async || {
                let _ = reports.put(one).await?;
                Ok(())
            })
            .await?,
        );
        let put = async |report: &Report| {
            let _ = shelf.put(report, clock.next()).await?;
            Ok(())
        };
        directly.push(timed(async || put(other).await).await?);
    }
    Ok(Put { instead: median(instead), directly: median(directly) })
}

async fn timed(put: impl AsyncFnOnce() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    put().await?;
    Ok(begun.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
