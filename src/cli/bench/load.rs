//! Clients that send as fast as they are answered, and what they saw.
//!
//! All of them run on the caller's thread: more threads would take from the server what they give to the load.
//! Each has one request under way (a closed loop), so a latency is the time from sending to the last byte.

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

use super::exchange::{Connection, Target};

/// One answer in so many is decoded and held against the request; the first always.
const VERIFIED: u64 = 101;

/// How long one measurement takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// Runs before the clock counts.
    pub(super) warm_up: Duration,
    /// Counts.
    pub(super) measure: Duration,
}

/// The same two times as instants.
#[derive(Clone, Copy)]
pub(super) struct Window {
    start: Instant,
    stop: Instant,
}

impl Timing {
    pub(super) fn starting_now(self) -> Window {
        let start = Instant::now() + self.warm_up;
        Window { start, stop: start + self.measure }
    }
}

impl Window {
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now >= self.stop
    }
}

/// What was seen of repetitions of one thing.
pub(super) struct Tally {
    latencies: Histogram<u64>,
    /// Rows inserted and acknowledged, in and out of the window.
    pub(super) inserted: u64,
}

impl Tally {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { latencies: Histogram::new(3)?, inserted: 0 })
    }

    /// Counts a repetition if it ended in the window.
    pub(super) fn record(&mut self, window: &Window, sent: Instant, answered: Instant) -> anyhow::Result<()> {
        if answered >= window.start && answered < window.stop {
            self.latencies.record((answered - sent).as_nanos() as u64)?;
        }
        Ok(())
    }

    fn merge(mut self, other: &Self) -> anyhow::Result<Self> {
        self.latencies.add(&other.latencies)?;
        self.inserted += other.inserted;
        Ok(self)
    }

    /// Repetitions in the window.
    pub(super) fn count(&self) -> u64 {
        self.latencies.len()
    }

    /// The latency that the fraction `quantile` of the repetitions kept below.
    pub(super) fn latency(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.latencies.value_at_quantile(quantile))
    }
}

/// What one client sends again and again.
pub(super) trait Repeated: Send + 'static {
    /// The status that answers it.
    const STATUS: u16;

    /// The next request.
    fn next(&mut self) -> &[u8];

    /// How many rows the server has promised to keep by answering one request.
    fn rows_inserted(&self) -> u64;

    /// Holds the answer to the last request against what was asked.
    fn verify(&self, body: &[u8]) -> anyhow::Result<()>;
}

/// Runs one client for each script.
pub(super) async fn run<R: Repeated>(
    target: &Target,
    scripts: Vec<R>,
    timing: Timing,
) -> anyhow::Result<Tally> {
    let connections = try_join_all(scripts.iter().map(|_| target.connect())).await?;
    let window = timing.starting_now();
    let mut clients = JoinSet::new();
    for (connection, script) in connections.into_iter().zip(scripts) {
        clients.spawn(repeat(connection, script, window));
    }
    let patience = timing.warm_up + timing.measure + Duration::from_secs(60);
    let finished = tokio::time::timeout(patience, join(clients));
    finished.await.context("the server left a request without an answer for a minute")?
}

async fn join(mut clients: JoinSet<anyhow::Result<Tally>>) -> anyhow::Result<Tally> {
    let mut sum = Tally::new()?;
    while let Some(tally) = clients.join_next().await {
        sum = sum.merge(&tally??)?;
    }
    Ok(sum)
}

async fn repeat<R: Repeated>(
    mut connection: Connection,
    mut script: R,
    window: Window,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::new()?;
    let mut body = Vec::new();
    let mut sent = Instant::now();
    for repetition in 0.. {
        if window.is_over(sent) {
            break;
        }
        body.clear();
        let status = connection.exchange(script.next(), |piece| body.extend_from_slice(piece)).await?;
        let answered = Instant::now();
        ensure!(status == R::STATUS, "the server answered {status}: {}", String::from_utf8_lossy(&body));
        tally.record(&window, sent, answered)?;
        tally.inserted += script.rows_inserted();
        if repetition % VERIFIED == 0 {
            script.verify(&body)?;
        }
        sent = answered;
    }
    Ok(tally)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn only_what_ends_in_the_window_counts() {
        let second = Duration::from_secs(1);
        let window = Timing { warm_up: second, measure: 2 * second }.starting_now();
        let mut tally = Tally::new().unwrap();
        for (sent, answered) in [(-2, -1), (-1, 1), (0, 1), (0, 1), (1, 2), (1, 3)] {
            let instant = |it: i32| window.start - 2 * second + (it + 2).unsigned_abs() * second;
            tally.record(&window, instant(sent), instant(answered)).unwrap();
        }
        assert_eq!(tally.count(), 3);
        let p50 = tally.latency(0.5).as_secs_f64();
        assert!((0.999..1.001).contains(&p50), "{p50}");
        let most = tally.latency(1.0).as_secs_f64();
        assert!((1.999..2.002).contains(&most), "{most}");
    }

    #[test]
    fn tallies_add_up() {
        let window = Timing { warm_up: Duration::ZERO, measure: Duration::from_secs(9) }.starting_now();
        let tally = |millis, inserted| {
            let mut tally = Tally { inserted, ..Tally::new().unwrap() };
            let answered = window.start + Duration::from_millis(millis);
            tally.record(&window, window.start, answered).unwrap();
            tally
        };
        let sum = tally(1, 2).merge(&tally(5, 3)).unwrap();
        assert_eq!((sum.count(), sum.inserted), (2, 5));
        assert_eq!(sum.latency(1.0).as_secs_f64().to_string()[..5], *"0.005");
    }
}
