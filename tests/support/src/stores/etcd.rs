//! An etcd of one member, on a disk of its own.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::process::{Process, args, free_port, post};
use super::{Shared, binary};
use crate::authority::{Authority, Pair};
use crate::log::Log;
use crate::skip::Skip;

const USER: &str = "root";
const PASSWORD: &str = "correct horse";
const READY: &str = "serving client traffic insecurely";

static SHARED: Shared<Etcd> = Shared::new();

/// A running etcd with users; killed when it is dropped.
pub struct Etcd {
    process: Option<Process>,
    binary: PathBuf,
    ports: Ports,
    authority: Authority,
    home: TempDir,
}

#[derive(Clone, Copy)]
struct Ports {
    http: u16,
    https: u16,
    peer: u16,
}

impl Etcd {
    /// Starts an etcd of the test's own.
    ///
    /// # Errors
    /// There is none on this machine.
    pub fn start() -> Result<Self, Skip> {
        let etcd = Self::start_without_users()?;
        etcd.add_users();
        Ok(etcd)
    }

    /// Starts an etcd that lets everybody do everything.
    pub(super) fn start_without_users() -> Result<Self, Skip> {
        let binary = binary("etcd")?;
        let home = tempfile::tempdir().unwrap();
        let authority = Authority::new("etcd test");
        fs::write(home.path().join("ca.crt"), authority.pem()).unwrap();
        let _ = authority.peer(home.path(), "server");
        let (process, ports) = Process::start_on_free_ports(&binary, home.path(), READY, || {
            let ports = Ports { http: free_port(), https: free_port(), peer: free_port() };
            (ports, command(ports, home.path()))
        });
        Ok(Self { process: Some(process), binary, ports, authority, home })
    }

    /// The etcd that other tests of this process use at the moment, or a new one.
    ///
    /// # Errors
    /// As for [`Etcd::start`].
    pub fn shared() -> Result<Arc<Self>, Skip> {
        SHARED.get(Self::start)
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// `127.0.0.1:PORT` of [`Etcd::url`], for a proxy.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.http)
    }

    /// `https://127.0.0.1:PORT`, which asks for a certificate of [`Etcd::client`].
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.https)
    }

    /// The authority that signed its certificate and has to have signed a client's, PEM.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.home.path().join("ca.crt")
    }

    /// A certificate that it takes.
    #[must_use]
    pub fn client(&self) -> Pair {
        self.authority.nameless_client(self.home.path(), "client")
    }

    /// The name of a user that may do everything. Who is no user may do nothing.
    #[must_use]
    pub fn user(&self) -> &'static str {
        USER
    }

    /// The password of [`Etcd::user`].
    #[must_use]
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// What it has logged since it was started last.
    ///
    /// # Panics
    /// It was killed.
    #[must_use]
    pub fn log(&self) -> &Log {
        self.process.as_ref().expect("it runs").log()
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again on the same data and ports. Tokens that it gave out are void.
    pub fn start_again(&mut self) {
        self.process = None;
        let (ports, home) = (self.ports, self.home.path());
        self.process = Some(Process::start_at(&self.binary, &command(ports, home), home, READY));
    }

    fn add_users(&self) {
        let call = |path, body: &str| post(self.ports.http, path, body);
        call("/v3/auth/user/add", &format!(r#"{{"name":"{USER}","password":"{PASSWORD}"}}"#));
        call("/v3/auth/role/add", r#"{"name":"root"}"#);
        call("/v3/auth/user/grant", &format!(r#"{{"user":"{USER}","role":"root"}}"#));
        call("/v3/auth/enable", "{}");
    }
}

fn command(ports: Ports, home: &Path) -> Vec<OsString> {
    let url = |scheme, port| format!("{scheme}://127.0.0.1:{port}");
    let clients = format!("{},{}", url("http", ports.http), url("https", ports.https));
    let peer = url("http", ports.peer);
    args([
        "--name=test".to_owned(),
        format!("--data-dir={}", home.join("data").display()),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=test={peer}"),
        format!("--trusted-ca-file={}", home.join("ca.crt").display()),
        format!("--cert-file={}", home.join("server.crt").display()),
        format!("--key-file={}", home.join("server.key").display()),
        "--client-cert-auth".to_owned(),
        "--logger=zap".to_owned(),
    ])
}
