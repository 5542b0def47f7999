//! A Consul agent in development mode: a cluster of one that keeps everything in memory.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::process::{Process, args, free_port};
use super::{Shared, binary};
use crate::authority::Authority;
use crate::log::Log;
use crate::skip::Skip;

/// May do everything. Who shows none, or another, may do nothing.
const TOKEN: &str = "6d0b5e0c-6f3b-4a55-9d0e-8c2f7a1b3c4d";
/// The agent has a leader, and its token works.
const READY: &str = "agent: Synced node info";

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

impl Consul {
    /// Starts an agent of the test's own.
    ///
    /// # Errors
    /// There is none on this machine.
    pub fn start() -> Result<Self, Skip> {
        let binary = binary("consul")?;
        let home = tempfile::tempdir().unwrap();
        let authority = Authority::new("consul test");
        fs::write(home.path().join("ca.crt"), authority.pem()).unwrap();
        let _ = authority.peer(home.path(), "server");
        fs::write(home.path().join("agent.hcl"), configuration()).unwrap();
        let (process, ports) = Process::start_on_free_ports(&binary, home.path(), READY, || {
            command(&home.path().join("agent.hcl"))
        });
        Ok(Self { process, ports, home })
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

fn configuration() -> String {
    format!(
        r#"
        acl {{
            enabled = true
            default_policy = "deny"
            tokens {{ initial_management = "{TOKEN}", agent = "{TOKEN}" }}
        }}
        tls {{ https {{ ca_file = "ca.crt", cert_file = "server.crt", key_file = "server.key", verify_incoming = false }} }}
        limits {{ http_max_conns_per_client = 1000 }}
        "#
    )
}

fn command(configuration: &std::path::Path) -> (Ports, Vec<OsString>) {
    let ports = Ports { http: free_port(), https: free_port() };
    let loopback = "127.0.0.1";
    let args = args([
        "agent".to_owned(),
        "-dev".to_owned(),
        format!("-config-file={}", configuration.display()),
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
    (ports, args)
}
