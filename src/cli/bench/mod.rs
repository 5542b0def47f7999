//! `larder bench`: what the server costs, as ratios to what the same machine does without it, in one run.
//!
//! Absolute numbers of a shared machine wobble by a third; so every figure is set against a floor that was
//! measured in turn with it: SQLite in process, or the same clients asking for nothing. The load is this
//! process, the server another one of the same binary, with loopback and mutual TLS between them. Nothing is
//! tuned for the occasion: the server runs with its defaults.
//!
//! Not here: comparisons with other databases, which need those databases.

mod apiserver;
mod bound;
mod exchange;
mod framing;
mod load;
mod machine;
mod migrate;
mod question;
mod report;
mod resident;
mod script;
mod server;
mod session;
mod stage;

use anyhow::Context as _;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use load::Timing;
use machine::Machine;
use question::{COMPARISONS, Question};
use report::{Figure, Report, Target, Unit, mebibytes};
use stage::{Extent, Probe, Sample, Stage};

const MIB: u64 = 1 << 20;

/// Measure this machine: the server against SQLite in process
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    /// How long each measurement counts in each round
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How often everything is measured in turns; medians are shown
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Only these figures
    #[arg(long, value_enum, num_args = 1.., value_name = "NAME")]
    only: Vec<Question>,
    /// How large the database is whose memory and restart are measured
    #[arg(long, default_value = "2GiB", value_parser = parse_size)]
    size: u64,
    #[command(flatten)]
    bench: Common,
    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(Debug, clap::Subcommand)]
enum Other {
    #[command(name = "apiserver")]
    ApiServer(apiserver::ApiServerArgs),
    Migrate(migrate::MigrateArgs),
    #[command(name = bound::NAME, hide = true)]
    Bound(bound::Bound),
}

/// Runs the command.
///
/// # Errors
/// The server does not start, fails, or answers wrongly; a file cannot be written.
pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    match &args.other {
        Some(Other::Bound(bound)) => match bound.become_it()? {},
        Some(Other::ApiServer(apiserver)) => apiserver.bench.run(|dir| apiserver.measure(dir)),
        Some(Other::Migrate(migrate)) => migrate.bench.run(|dir| migrate.measure(dir)),
        None => args.bench.run(|dir| measure(args, dir)),
    }
}

/// What every bench is told.
#[derive(Debug, clap::Args)]
struct Common {
    /// Everything small: shows that it works, measures nothing
    #[arg(long)]
    quick: bool,
    /// Write the figures to FILE as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to put the data for as long as it runs, several GiB; the disk is part of what is measured
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Exit with 1 if a target is missed
    #[arg(long)]
    strict: bool,
}

impl Common {
    /// Measures in a directory of its own and shows what came out.
    fn run(&self, measure: impl FnOnce(&Path) -> anyhow::Result<Report>) -> anyhow::Result<ExitCode> {
        let dir = tempfile::Builder::new().prefix("larder-bench-").tempdir_in(&self.dir);
        let dir = dir.with_context(|| self.dir.display().to_string())?;
        remove_when_interrupted(dir.path().to_owned())?;
        let report = measure(dir.path())?;
        std::io::stdout().write_all(report.text().as_bytes())?;
        if let Some(path) = &self.json {
            std::fs::write(path, serde_json::to_vec_pretty(&report)?)
                .with_context(|| path.display().to_string())?;
        }
        let missed = report.figures.iter().any(|it| !it.is_met());
        Ok(if missed && self.strict { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn measure(args: &BenchArgs, dir: &Path) -> anyhow::Result<Report> {
    let scale = Scale::of(args);
    let mut figures = compare(args, &scale, dir)?;
    figures.extend(reside(args, &scale, dir)?);
    let (rounds, seconds) = (scale.rounds, scale.extent.timing.measure.as_secs_f64());
    Ok(Report { machine: Machine::observe(dir), quick: args.bench.quick, rounds, seconds, figures })
}

/// How much of everything.
struct Scale {
    extent: Extent,
    rounds: usize,
    size: u64,
}

impl Scale {
    fn of(args: &BenchArgs) -> Self {
        let timing = |seconds: f64| Timing {
            warm_up: Duration::from_secs_f64((seconds / 3.0).min(1.0)),
            measure: Duration::from_secs_f64(seconds),
        };
        if args.bench.quick {
            let extent = Extent { timing: timing(0.2), points: 1_000, streamed: 10_000 };
            return Self { extent, rounds: 1, size: 8 * MIB };
        }
        let extent = Extent { timing: timing(args.seconds), points: 20_000, streamed: 1_000_000 };
        Self { extent, rounds: args.rounds.into(), size: args.size }
    }
}

impl BenchArgs {
    fn wants(&self, question: Question) -> bool {
        self.only.is_empty() || self.only.contains(&question)
    }
}

/// The figures that are ratios.
fn compare(args: &BenchArgs, scale: &Scale, dir: &Path) -> anyhow::Result<Vec<Figure>> {
    let wanted: Vec<_> = COMPARISONS.iter().filter(|it| args.wants(it.question)).collect();
    let probes: BTreeSet<_> = wanted.iter().flat_map(|it| [it.floor, it.server]).collect();
    if probes.is_empty() {
        return Ok(Vec::new());
    }
    let dir = dir.join("compare");
    std::fs::create_dir(&dir)?;
    let mut stage = Stage::set(&dir, &probes, scale.extent)?;
    let mut samples: BTreeMap<Probe, Vec<Sample>> = BTreeMap::new();
    for round in 1..=scale.rounds {
        for probe in &probes {
            progress(&format!("round {round} of {}: {probe:?}", scale.rounds));
            samples.entry(*probe).or_default().push(stage.run(*probe)?);
        }
    }
    stage.leave()?;
    // Make room for what is measured next.
    std::fs::remove_dir_all(dir)?;
    Ok(wanted.iter().flat_map(|it| it.figures(&samples)).collect())
}

/// The figures about a server with a large database.
fn reside(args: &BenchArgs, scale: &Scale, dir: &Path) -> anyhow::Result<Vec<Figure>> {
    let memory = args.wants(Question::Memory);
    if !memory && !args.wants(Question::Ready) {
        return Ok(Vec::new());
    }
    progress(&format!("filling a database with {} MiB, and restarting it", scale.size / MIB));
    let load = memory.then_some(scale.extent.timing);
    let seen = resident::measure(&dir.join("resident"), scale.size, scale.rounds, load)?;
    let mut figures = Vec::new();
    if memory {
        let figure = |name, what, bytes, most| {
            Figure::new(name, what, Unit::Mebibytes, &[mebibytes(bytes)], Target::AtMost(most))
        };
        figures.push(figure("memory-idle", "resident memory, idle", seen.idle, 12.0));
        figures.push(figure(
            "memory-loaded",
            "resident memory, 64 writers and 16 readers",
            seen.loaded,
            64.0,
        ));
    }
    if args.wants(Question::Ready) {
        let seconds: Vec<_> = seen.ready.iter().map(Duration::as_secs_f64).collect();
        figures.push(Figure::new(
            "ready",
            "ready after a clean stop",
            Unit::Seconds,
            &seconds,
            Target::AtMost(1.0),
        ));
    }
    Ok(figures)
}

/// The data is too large to be left behind. The server needs no care: it ends with this process.
fn remove_when_interrupted(dir: PathBuf) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _context = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
        });
        let removed = std::fs::remove_dir_all(&dir);
        if let Err(error) = removed {
            progress(&format!("{}: {error}", dir.display()));
        }
        std::process::exit(130);
    });
    Ok(())
}

/// Where it is, on stderr, so that the table on stdout stays clean.
fn progress(line: &str) {
    // Whoever closed stderr does not want to know.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// `2GiB`, `500MiB`, or a number of bytes.
fn parse_size(text: &str) -> Result<u64, String> {
    let units = [("GiB", 1 << 30), ("MiB", MIB), ("KiB", 1 << 10), ("", 1)];
    let found = units.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
    let size = found.and_then(|(number, bytes)| number.trim().parse::<u64>().ok()?.checked_mul(*bytes));
    size.ok_or_else(|| format!("{text:?} is no size: write 2GiB, 500MiB or a number of bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("2GiB"), Ok(2 << 30));
        assert_eq!(parse_size("500 MiB"), Ok(500 * MIB));
        assert_eq!(parse_size("4096"), Ok(4096));
        assert!(parse_size("2GB").is_err());
        assert!(parse_size("99999999999GiB").is_err());
    }
}
