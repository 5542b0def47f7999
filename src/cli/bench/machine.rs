//! What a reader has to know about the machine before believing a figure.

use serde::Serialize;
use std::fmt;
use std::fs;
use std::path::Path;

/// The machine and the build. What cannot be found out is an empty string.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    date: String,
    larder: &'static str,
    optimized: bool,
    sqlite: &'static str,
    cores: usize,
    processor: String,
    memory_mib: u64,
    kernel: String,
    file_system: String,
}

impl Machine {
    /// This machine, with the file system that `dir` is on.
    pub(super) fn observe(dir: &Path) -> Self {
        let format = time::format_description::well_known::Rfc3339;
        let now = time::OffsetDateTime::now_utc();
        let now = now.replace_nanosecond(0).unwrap_or(now);
        Self {
            date: now.format(&format).unwrap_or_default(),
            larder: env!("CARGO_PKG_VERSION"),
            optimized: !cfg!(debug_assertions),
            sqlite: larder_engine::sqlite_version(),
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            processor: field("/proc/cpuinfo", "model name"),
            memory_mib: field("/proc/meminfo", "MemTotal")
                .split(' ')
                .next()
                .and_then(|it| it.parse().ok())
                .map_or(0, |kib: u64| kib / 1024),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            file_system: file_system(dir),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = self.memory_mib.div_ceil(1024);
        writeln!(
            out,
            "larder {}, SQLite {}, {}: {} cores ({}), {memory} GiB, Linux {}, {}",
            self.larder, self.sqlite, self.date, self.cores, self.processor, self.kernel, self.file_system
        )?;
        if !self.optimized {
            writeln!(out, "This is a debug build: its figures say nothing.")?;
        }
        Ok(())
    }
}

/// The first `name: value` of a file of such lines.
fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value =
        text.lines().filter_map(|line| line.split_once(':')).find(|(found, _)| found.trim_end() == name);
    value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
}

/// The type of the file system that `dir` is on: of all mount points above it, the one mounted last at the deepest path.
fn file_system(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(point, _)| dir.starts_with(point))
        .max_by_key(|(point, _)| point.len())
        .map_or_else(String::new, |(_, kind)| kind.to_owned())
}
