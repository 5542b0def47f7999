//! `larder reports generate`: made-up reports like real ones, for trials and measurements.
//!
//! Some batches at a time are under way, so memory does not grow with what is asked for. What goes to a store of keys and values under NeuVector's
//! keys is written as its controllers do it, value and state and nothing beside them, so that a migration can be tried on it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;
use futures_util::stream;
use indicatif::ProgressBar;
use larder_client::fallback::{Condition, KeyValue, Operation, Shelf};
use larder_client::reports::generate::Generator;
use larder_client::reports::index::{Index, Pace};
use larder_client::reports::{Clock, Report, ReportKey, ReportStore};
use larder_wire::Value;
use serde::Serialize;

use super::place;
use crate::cli::connect::Connect;
use crate::cli::keyvalue::{Access, Source};
use crate::cli::output::Sink;
use crate::cli::output::listing::{Record, Show};
use crate::cli::{Failure, progress};

/// Bytes of payload in a batch, about.
const BATCH: usize = 2 << 20;
/// Reports in a batch, at most.
const REPORTS: usize = 256;
/// Batches that are written at once.
const WRITERS: usize = 4;
/// Batches that are made at once.
const MAKERS: usize = 2;
/// Reports between two looks at the index.
const FOLDED: u64 = 512;
/// Bytes of one piece of a value that NeuVector splits.
const PIECE: usize = 512 * 1024 - 1;

/// Makes up reports and stores them. The same seed gives the same reports, no two of which are alike.
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// How many reports.
    #[arg(long, value_name = "N")]
    count: u64,
    /// Findings in each.
    #[arg(long, value_name = "N", default_value_t = 142, value_parser = clap::value_parser!(u32).range(..=200_000))]
    cves: u32,
    /// Another seed makes other reports.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Reports of what [default: containers, and for every tenth a node or an image].
    #[arg(long, value_enum)]
    class: Option<Class>,
    /// Put them here instead of into the database: consul[=URL], etcd[=URL] or directory=PATH.
    #[arg(long, value_name = "STORE", help_heading = "Store of keys and values")]
    to: Option<Source>,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Class {
    /// Containers.
    Workload,
    /// Nodes.
    Host,
    /// Images of a registry.
    Image,
    /// Benchmarks of nodes: four a node, without findings.
    Bench,
}

/// What is to be made.
#[derive(Clone, Copy, Debug)]
struct Recipe {
    generator: Generator,
    class: Option<Class>,
    findings: usize,
}

/// Where it goes.
#[derive(Clone)]
enum Target {
    Database(ReportStore),
    Shelf(Shelf, Arc<Clock>),
    NeuVector(Arc<dyn KeyValue>),
}

#[derive(Debug, Serialize)]
struct Done {
    reports: u64,
    bytes: u64,
    seconds: f64,
    reports_per_second: f64,
}

impl Generate {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let target = self.target().await?;
        let recipe =
            Recipe { generator: Generator::new(self.seed), class: self.class, findings: self.cves as usize };
        let begun = Instant::now();
        let bar = progress::counting(self.count, "reports");
        let bytes = store(recipe, self.count, &target, &bar).await?;
        if let Target::Database(database) = &target {
            bar.set_message("making the index");
            Index::new(database.database().clone()).compact().await?;
        }
        bar.finish_and_clear();
        self.show.one(&Done::new(self.count, bytes, begun.elapsed().as_secs_f64()), &mut Sink::stdout())
    }

    async fn target(&self) -> Result<Target, Failure> {
        Ok(match &self.to {
            None => Target::Database(place::prepared(&self.connect).await?),
            Some(source) if self.access.is_neuvector() => {
                Target::NeuVector(self.access.open(source, self.connect.timeout())?)
            }
            Some(source) => Target::Shelf(self.access.shelf(source, self.connect.timeout())?, place::clock()),
        })
    }
}

/// Makes and stores; says how many bytes the payloads have.
async fn store(recipe: Recipe, count: u64, target: &Target, bar: &ProgressBar) -> Result<u64, Failure> {
    let size = recipe.batch();
    let batches = (0..count.div_ceil(size)).map(move |it| it * size..count.min((it + 1) * size));
    let made = stream::iter(batches)
        .map(|range| tokio::task::spawn_blocking(move || recipe.make(range)))
        .buffered(MAKERS);
    let stored = made.map(|reports| async move {
        let reports = reports.map_err(|error| Failure::Other(error.into()))?;
        target.put(&reports).await?;
        let bytes: usize = reports.iter().map(|it| it.payload.len()).sum();
        Ok::<_, Failure>((reports.len() as u64, bytes as u64))
    });
    let mut stored = std::pin::pin!(stored.buffer_unordered(WRITERS));
    let (mut bytes, mut pending) = (0, 0);
    while let Some(done) = stored.next().await {
        let (reports, more) = done?;
        (bytes, pending) = (bytes + more, pending + reports);
        bar.inc(reports);
        if let (Target::Database(database), true) = (target, pending >= FOLDED) {
            pending = 0;
            Index::new(database.database().clone()).keep_up(Pace::Bulk).await?;
        }
    }
    Ok(bytes)
}

impl Recipe {
    /// How many reports make a batch of some MiB.
    fn batch(self) -> u64 {
        let one = 1024 + 25 * self.findings;
        (BATCH / one).clamp(1, REPORTS) as u64
    }

    fn make(self, range: Range<u64>) -> Vec<Report> {
        range.map(|it| self.report(it)).collect()
    }

    fn report(self, n: u64) -> Report {
        match self.class {
            None => self.generator.report(n, self.findings),
            Some(Class::Workload) => self.generator.report(n / 8 * 10 + n % 8, self.findings),
            Some(Class::Image) => self.generator.report(n * 10 + 8, self.findings),
            Some(Class::Host) => self.generator.report(n * 10 + 9, self.findings),
            Some(Class::Bench) => {
                let [a, b, c, d] = self.generator.bench_reports(n / 4 * 10 + 9);
                match n % 4 {
                    0 => a,
                    1 => b,
                    2 => c,
                    _ => d,
                }
            }
        }
    }
}

impl Target {
    async fn put(&self, reports: &[Report]) -> Result<(), Failure> {
        match self {
            Self::Database(store) => drop(store.put_many(reports).await?),
            Self::Shelf(shelf, clock) => {
                for report in reports {
                    shelf.put(report, clock.next()).await?;
                }
            }
            Self::NeuVector(store) => {
                for report in reports {
                    put_as_neuvector(&**store, report).await?;
                }
            }
        }
        Ok(())
    }
}

/// The value, in pieces where NeuVector splits it, then the state: who waits for the state finds the value.
async fn put_as_neuvector(store: &dyn KeyValue, report: &Report) -> Result<(), Failure> {
    let (data, state, in_pieces) = neuvector_keys(&report.key);
    let put = async |key: String, value: bytes::Bytes| {
        store.commit(vec![Operation::Put { key, value, condition: Condition::Any }]).await
    };
    let payload = &report.payload;
    if in_pieces && payload.len() >= PIECE {
        for (number, begin) in (0..payload.len()).step_by(PIECE).enumerate() {
            let key = if number == 0 { data.clone() } else { format!("{data}/{number}") };
            put(key, payload.slice(begin..payload.len().min(begin + PIECE))).await?;
        }
    } else {
        put(data, payload.clone()).await?;
    }
    put(state, Generator::state(report).into()).await?;
    Ok(())
}

/// Where NeuVector keeps the value and the state, and whether it splits the value.
fn neuvector_keys(key: &ReportKey) -> (String, String, bool) {
    let (class, id) = (key.class(), key.id());
    match (class, id.split_once('/')) {
        ("image", _) => (format!("scan/data/image/{id}"), format!("scan/state/image/{id}"), false),
        ("bench", Some((host, kind))) => {
            (format!("bench/{host}/report/{kind}"), format!("scan/state/bench/host/{host}"), false)
        }
        _ => (format!("scan/data/report/{key}"), format!("scan/state/report/{key}"), true),
    }
}

impl Done {
    #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
    fn new(reports: u64, bytes: u64, seconds: f64) -> Self {
        let rate = if seconds > 0.0 { reports as f64 / seconds } else { 0.0 };
        let rounded = |it: f64| (it * 1000.0).round() / 1000.0;
        Self { reports, bytes, seconds: rounded(seconds), reports_per_second: rate.round() }
    }
}

impl Record for Done {
    const COLUMNS: &'static [&'static str] = &["reports", "payloads", "seconds", "reports a second"];

    fn cells(&self) -> Vec<Value> {
        vec![
            i64::try_from(self.reports).unwrap_or(i64::MAX).into(),
            progress::bytes(self.bytes).into(),
            self.seconds.into(),
            self.reports_per_second.into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn keys(class: Option<Class>, count: u64) -> Vec<ReportKey> {
        let recipe = Recipe { generator: Generator::new(7), class, findings: 3 };
        recipe.make(0..count).into_iter().map(|it| it.key).collect()
    }

    #[test]
    fn a_class_has_reports_of_its_own_alone_and_none_twice() {
        for (class, name) in [
            (Class::Workload, "workload"),
            (Class::Host, "host"),
            (Class::Image, "image"),
            (Class::Bench, "bench"),
        ] {
            let keys = keys(Some(class), 25);
            assert!(keys.iter().all(|it| it.class() == name), "{keys:?}");
            assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 25);
        }
        let mixed = keys(None, 20);
        let classes: BTreeSet<_> = mixed.iter().map(ReportKey::class).collect();
        assert_eq!(classes.into_iter().collect::<Vec<_>>(), ["host", "image", "workload"]);
    }

    #[test]
    fn keys_are_those_of_neuvector() {
        let keys = |text: &str| neuvector_keys(&text.parse().expect("a key"));
        let both = |data: &str, state: &str, pieces| (data.to_owned(), state.to_owned(), pieces);
        assert_eq!(keys("host/a:b"), both("scan/data/report/host/a:b", "scan/state/report/host/a:b", true));
        assert_eq!(keys("image/q/4f"), both("scan/data/image/q/4f", "scan/state/image/q/4f", false));
        assert_eq!(keys("bench/a/x"), both("bench/a/report/x", "scan/state/bench/host/a", false));
    }
}
