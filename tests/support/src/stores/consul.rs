//! A Consul agent: a cluster of one, in memory or on a disk of its own.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::process::{Process, args, exchange, free_port};
use super::{Shared, binary};
use crate::authority::Authority;
use crate::log::Log;
use crate::skip::Skip;

/// May do everything. Who shows none, or another, may do nothing.
const TOKEN: &str = "6d0b5e0c-6f3b-4a55-9d0e-8c2f7a1b3c4d";
/// The agent has a leader, and its token works.
const READY: &str = "agent: Synced node info";
/// The agent's own check, without which there are no sessions. It comes a moment later.
const ALIVE: &str = "serfHealth";
const PATIENCE: Duration = Duration::from_secs(30);
const RUNS: &str = "agent: Consul agent running!";

static SHARED: Shared<Consul> = Shared::new();

/// A running agent with access control; killed when it is dropped, with all that it holds.
pub struct Consul {
    process: Process,
    ports: Ports,
    home: TempDir,
}

#[derive(Clone, Copy)]
struct Ports {
    http: u16,
    https: u16,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Memory,
    Disk,
    Leaderless,
}

impl Consul {
    /// Where its program is.
    ///
    /// # Errors
    /// There is none on this machine.
    pub fn program() -> Result<PathBuf, Skip> {
        binary("consul")
    }

    /// Starts an agent of the test's own, in development mode: it keeps everything in memory and writes JSON for people.
    ///
    /// # Errors
    /// There is none on this machine.
    pub fn start() -> Result<Self, Skip> {
        Self::start_as(Kind::Memory)
    }

    /// Starts an agent as it is run in earnest, for measurements: it keeps everything on disk.
    ///
    /// # Errors
    /// As for [`Consul::start`].
    pub fn start_on_disk() -> Result<Self, Skip> {
        Self::start_as(Kind::Disk)
    }

    /// Starts an agent that waits for another to elect a leader with, which never comes.
    ///
    /// # Errors
    /// As for [`Consul::start`].
    pub fn start_without_leader() -> Result<Self, Skip> {
        Self::start_as(Kind::Leaderless)
    }

    fn start_as(kind: Kind) -> Result<Self, Skip> {
        let binary = Self::program()?;
        let home = tempfile::tempdir().unwrap();
        let authority = Authority::new("consul test");
        fs::write(home.path().join("ca.crt"), authority.pem()).unwrap();
        let _ = authority.peer(home.path(), "server");
        fs::write(home.path().join("agent.hcl"), configuration(kind)).unwrap();
        let ready = if kind == Kind::Leaderless { RUNS } else { READY };
        let (process, ports) =
            Process::start_on_free_ports(&binary, home.path(), ready, || command(kind, home.path()));
        let agent = Self { process, ports, home };
        if kind != Kind::Leaderless {
            agent.wait_until_alive();
        }
        Ok(agent)
    }

    fn wait_until_alive(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.checks_that_pass().contains(ALIVE) {
            assert!(Instant::now() < deadline, "the agent has no health:\n{}", self.log().text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn checks_that_pass(&self) -> String {
        let token = format!("X-Consul-Token: {TOKEN}\r\n");
        exchange(self.ports.http, "GET /v1/health/state/passing", &token, "")
    }

    /// The agent that other tests of this process use at the moment, or a new one.
    ///
    /// # Errors
    /// As for [`Consul::start`].
    pub fn shared() -> Result<Arc<Self>, Skip> {
        SHARED.get(Self::start)
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// `127.0.0.1:PORT` of [`Consul::url`], for a proxy.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.http)
    }

    /// `https://127.0.0.1:PORT`, which asks for no certificate.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.https)
    }

    /// The authority that signed its certificate, PEM.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.home.path().join("ca.crt")
    }

    /// A token that may do everything.
    #[must_use]
    pub fn token(&self) -> &'static str {
        TOKEN
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> &Log {
        self.process.log()
    }
}

fn configuration(kind: Kind) -> String {
    // Access control needs a leader, who knows the tokens.
    let acl = kind != Kind::Leaderless;
    format!(
        r#"
        acl {{
            enabled = {acl}
            default_policy = "deny"
            tokens {{ initial_management = "{TOKEN}", agent = "{TOKEN}" }}
        }}
        tls {{ https {{ ca_file = "ca.crt", cert_file = "server.crt", key_file = "server.key", verify_incoming = false }} }}
        limits {{ http_max_conns_per_client = 1000 }}
        session_ttl_min = "1s"
        performance {{ raft_multiplier = 1, rpc_hold_timeout = "200ms" }}
        "#
    )
}

fn command(kind: Kind, home: &Path) -> (Ports, Vec<OsString>) {
    let ports = Ports { http: free_port(), https: free_port() };
    let loopback = "127.0.0.1";
    let mut args = args([
        "agent".to_owned(),
        format!("-config-file={}", home.join("agent.hcl").display()),
        format!("-bind={loopback}"),
        format!("-client={loopback}"),
        format!("-http-port={}", ports.http),
        format!("-https-port={}", ports.https),
        format!("-server-port={}", free_port()),
        format!("-serf-lan-port={}", free_port()),
        "-serf-wan-port=-1".to_owned(),
        "-grpc-port=-1".to_owned(),
        "-dns-port=-1".to_owned(),
        "-log-level=info".to_owned(),
    ]);
    let data = format!("-data-dir={}", home.join("data").display());
    match kind {
        Kind::Memory => args.push("-dev".into()),
        Kind::Disk => args.extend(["-server".into(), "-bootstrap-expect=1".into(), data.into()]),
        Kind::Leaderless => args.extend(["-server".into(), "-bootstrap-expect=2".into(), data.into()]),
    }
    (ports, args)
}
