//! A Consul agent of the bench's own: in development mode, so a cluster of one that keeps everything in memory.

use anyhow::{Context as _, bail, ensure};
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::cli::bench::bound;

const PATIENCE: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(10);
/// How often an agent may find its ports taken.
const ATTEMPTS: usize = 5;

/// A running agent; killed when it is dropped, with all that it holds.
pub(super) struct Agent {
    child: Child,
    port: u16,
    log: PathBuf,
}

/// The program: the one that is named, or that of the PATH, or the one that the tests' servers are prepared with.
pub(super) fn program(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        ensure!(named.is_file(), "{} is not there", named.display());
        return Ok(named.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let here = std::env::current_exe()?;
    let prepared = here.ancestors().nth(2).map(|target| target.join("servers"));
    let found =
        std::env::split_paths(&path).chain(prepared).map(|it| it.join("consul")).find(|it| it.is_file());
    found.context(
        "there is no Consul on this machine: install it, build it with tests/servers/prepare, or say where it is with --consul PATH",
    )
}

impl Agent {
    /// Starts an agent and waits until it has a leader. What it logs goes to `log`.
    pub(super) fn start(program: &Path, log: &Path) -> anyhow::Result<Self> {
        for _ in 1..ATTEMPTS {
            if let Some(agent) = Self::try_start(program, log)? {
                return Ok(agent);
            }
        }
        bail!("the Consul agent does not start:\n{}", fs::read_to_string(log).unwrap_or_default());
    }

    /// `None` if it ended, as it does when somebody else was faster at a port.
    fn try_start(program: &Path, log: &Path) -> anyhow::Result<Option<Self>> {
        let port = free_port()?;
        let output = File::create(log)?;
        let child = bound::command(program)?
            .args(["agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1", "-log-level=warn"])
            .args([format!("-http-port={port}"), format!("-server-port={}", free_port()?)])
            .arg(format!("-serf-lan-port={}", free_port()?))
            .args(["-serf-wan-port=-1", "-grpc-port=-1", "-dns-port=-1"])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| program.display().to_string())?;
        let mut agent = Self { child, port, log: log.to_owned() };
        let started = Instant::now();
        while !agent.leads() {
            if agent.child.try_wait()?.is_some() {
                return Ok(None);
            }
            ensure!(started.elapsed() < PATIENCE, "the Consul agent gets no leader:\n{}", agent.last_words());
            std::thread::sleep(GLANCE);
        }
        Ok(Some(agent))
    }

    /// `127.0.0.1:PORT`
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    fn leads(&self) -> bool {
        let status = crate::cli::bench::server::get(&self.url(), "/v1/kv/?keys&consistent");
        status.is_ok_and(|line| line.contains(" 404 ") || line.contains(" 200 "))
    }

    fn last_words(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on just now.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
