//! `larder migrate --once` as a process of its own, so that its memory can be told from that of the bench.

use anyhow::{Context as _, ensure};
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::agent::Agent;
use super::figures::Each;
use crate::cli::bench::bound;

/// How often its memory is looked at. The peak only grows, so what is missed is what it grew by after the last look.
const GLANCE: Duration = Duration::from_millis(2);

/// Whether findings are stored, and the index of them made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Findings {
    On,
    Off,
}

/// How a process went.
#[derive(Clone, Copy)]
pub(super) struct Ran {
    pub(super) took: Duration,
    /// The most resident memory that it ever had, in bytes.
    pub(super) peak: u64,
    /// What it says of single reports.
    pub(super) each: Each,
    /// What it took of the processors.
    pub(super) worked: Duration,
}

/// What a process that runs has taken of the processors so far, as `proc_pid_stat(5)` tells it: in hundredths of a second (`USER_HZ`).
pub(super) fn worked(id: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks()? + ticks()?)))
}

/// What is read of the summary of a migration.
#[derive(serde::Deserialize)]
struct Summary {
    p50_ms: f64,
    p99_ms: f64,
}

/// Moves everything from `agent` to the server on `data`, once.
pub(super) fn migrate(agent: &Agent, data: &Path, findings: Findings) -> anyhow::Result<Ran> {
    let log = data.with_extension("migrate.log");
    let output = File::create(&log)?;
    let begun = Instant::now();
    let mut child = bound::command(std::env::current_exe()?)?
        .args(["migrate", "--once", "--from", &format!("consul={}", agent.url())])
        .args(["--findings", if findings == Findings::On { "on" } else { "off" }])
        .arg(format!("--dev={}", data.display()))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("cannot start a migration")?;
    let id = child.id();
    let watch = std::thread::spawn(move || peak(id));
    let status = child.wait()?;
    let took = begun.elapsed();
    let said = fs::read_to_string(&log).unwrap_or_default();
    ensure!(status.success(), "the migration ended with {status}:\n{said}");
    let (peak, worked) = watch.join().ok().context("the memory of the migration was not seen")?;
    Ok(Ran {
        took,
        peak,
        worked,
        each: each(&said).with_context(|| format!("no summary of a migration:\n{said}"))?,
    })
}

/// How long single reports were under way, by the last line of what a migration said.
fn each(said: &str) -> anyhow::Result<Each> {
    let Summary { p50_ms, p99_ms } = serde_json::from_str(said.lines().last().unwrap_or_default())?;
    let time = |ms: f64| Duration::try_from_secs_f64(ms / 1000.0);
    Ok(Each { p50: time(p50_ms)?, p99: time(p99_ms)? })
}

/// The last that was seen of a process before its end: its peak of memory, and what it took of the processors.
fn peak(id: u32) -> (u64, Duration) {
    let mut last = (0, Duration::ZERO);
    while let (Some(peak), Some(worked)) = (peak_now(id), worked(id)) {
        last = (peak, worked);
        std::thread::sleep(GLANCE);
    }
    last
}

/// `None` once the process has ended, waited for or not.
fn peak_now(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}
