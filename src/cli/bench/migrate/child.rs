//! `larder migrate --once` as a process of its own, so that its memory can be told from that of the bench.

use anyhow::{Context as _, ensure};
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::agent::Agent;
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
    let peak = watch.join().ok().context("the memory of the migration was not seen")?;
    Ok(Ran { took, peak })
}

/// The last peak that was seen of a process before its end.
fn peak(id: u32) -> u64 {
    let mut last = 0;
    while let Some(peak) = peak_now(id) {
        last = peak;
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
