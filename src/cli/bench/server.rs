//! The server under test: a process of its own, of the same binary, that ends when this one does.

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::bound;

/// How long a start or a stop may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether a start or a stop is done.
const GLANCE: Duration = Duration::from_millis(1);

/// What is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// SQL: `larder serve`.
    Sql,
    /// Objects of Kubernetes: `larder apiserver`.
    Kubernetes,
}

impl Service {
    fn command(self) -> &'static str {
        match self {
            Self::Sql => "serve",
            Self::Kubernetes => "apiserver",
        }
    }
}

/// A running `larder serve --dev` or `larder apiserver --dev`.
pub(super) struct Server {
    child: Child,
    data: PathBuf,
    /// From the start of the process until the probe port said that it is ready.
    pub(super) ready_after: Duration,
}

impl Server {
    /// Starts a server of SQL on `data` and waits until it is ready.
    pub(super) fn start(data: &Path) -> anyhow::Result<Self> {
        Self::start_service(Service::Sql, data)
    }

    /// Starts a server on `data` and waits until it is ready.
    pub(super) fn start_service(service: Service, data: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(data)?;
        let announced = announced_in(data);
        match fs::remove_file(&announced) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let log = File::options().create(true).append(true).open(log_of(data))?;
        let started = Instant::now();
        let child = bound::command(std::env::current_exe()?)?
            .arg(service.command())
            .args(["--dev", "--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .arg("--announce")
            .arg(announced)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start a server")?;
        let mut server = Self { child, data: data.to_owned(), ready_after: Duration::ZERO };
        server.wait_until_ready(started)?;
        server.ready_after = started.elapsed();
        Ok(server)
    }

    fn wait_until_ready(&mut self, started: Instant) -> anyhow::Result<()> {
        while !is_ready(&self.data) {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}:\n{}", self.last_words());
            }
            ensure!(started.elapsed() < PATIENCE, "the server does not get ready:\n{}", self.last_words());
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// Where it listens.
    pub(super) fn url(&self) -> anyhow::Result<String> {
        Ok(Announced::of(&self.data).context("the server does not say where it listens")?.url)
    }

    /// Where its certificates are.
    pub(super) fn certs(&self) -> PathBuf {
        self.data.join("certs")
    }

    /// Asks it to stop and waits until it has.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        kill_process(self.pid()?, Signal::TERM)?;
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the server stopped with {status}:\n{}", self.last_words());
                return Ok(());
            }
            ensure!(asked.elapsed() < PATIENCE, "the server does not stop:\n{}", self.last_words());
            std::thread::sleep(GLANCE);
        }
    }

    /// The resident memory, in bytes.
    pub(super) fn resident(&self) -> anyhow::Result<u64> {
        self.status_field("VmRSS:")
    }

    /// The most resident memory since [`Server::forget_peak`], in bytes.
    pub(super) fn peak(&self) -> anyhow::Result<u64> {
        self.status_field("VmHWM:")
    }

    /// Lets the peak begin anew (`proc(5)`, `/proc/pid/clear_refs`).
    pub(super) fn forget_peak(&self) -> anyhow::Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").context("clear_refs")
    }

    fn status_field(&self, name: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|it| it.trim().strip_suffix(" kB")).with_context(|| name.to_owned())?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// The number of its process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        Pid::from_raw(self.child.id().cast_signed()).context("a process without an id")
    }

    /// The end of what the server logged.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read(log_of(&self.data)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Beside the data, so that it is not taken for a part of it.
fn log_of(data: &Path) -> PathBuf {
    data.with_extension("log")
}

/// Where it says where it listens.
fn announced_in(data: &Path) -> PathBuf {
    data.with_extension("announced")
}

/// What a server says of itself once it listens.
#[derive(serde::Deserialize)]
struct Announced {
    url: String,
    probe: String,
}

impl Announced {
    fn of(data: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(announced_in(data)).ok()?).ok()
    }
}

/// Whether the probe port of the server on `data` says so. Any failure is a no.
fn is_ready(data: &Path) -> bool {
    let answer = Announced::of(data).and_then(|it| get(&it.probe, "/readyz").ok());
    answer.is_some_and(|it| it.contains(" 200 "))
}

/// The status line of a plain `GET`.
pub(super) fn get(url: &str, path: &str) -> anyhow::Result<String> {
    let authority = url.strip_prefix("http://").context("the probe's URL is not http")?.trim_end_matches('/');
    let mut stream = TcpStream::connect(authority)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}
