//! A kube-apiserver beside an etcd: the API of a cluster without nodes.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::etcd::Etcd;
use super::process::{Process, args, free_port};
use super::{Shared, binary};
use crate::authority::Authority;
use crate::log::Log;
use crate::skip::Skip;

/// May do everything.
const TOKEN: &str = "a-token-of-masters";
const READY: &str = "Serving securely on";

static SHARED: Shared<Kubernetes> = Shared::new();

/// A running kube-apiserver; killed when it is dropped, with its etcd.
pub struct Kubernetes {
    process: Process,
    port: u16,
    home: TempDir,
    etcd: Etcd,
}

impl Kubernetes {
    /// Starts a kube-apiserver of the test's own. The namespace `default` comes about a moment later.
    ///
    /// # Errors
    /// There is none on this machine, or no etcd.
    pub fn start() -> Result<Self, Skip> {
        let binary = binary("kube-apiserver")?;
        let etcd = Etcd::start_without_users()?;
        let home = tempfile::tempdir().unwrap();
        let authority = Authority::new("kubernetes test");
        fs::write(home.path().join("ca.crt"), authority.pem()).unwrap();
        let _ = authority.peer(home.path(), "server");
        fs::write(home.path().join("token"), TOKEN).unwrap();
        fs::write(home.path().join("tokens.csv"), format!("{TOKEN},test,1,\"system:masters\"\n")).unwrap();
        let (process, port) = Process::start_on_free_ports(&binary, home.path(), READY, || {
            let port = free_port();
            (port, command(port, &etcd.url(), home.path()))
        });
        Ok(Self { process, port, home, etcd })
    }

    /// The kube-apiserver that other tests of this process use at the moment, or a new one.
    ///
    /// # Errors
    /// As for [`Kubernetes::start`].
    pub fn shared() -> Result<Arc<Self>, Skip> {
        SHARED.get(Self::start)
    }

    /// `127.0.0.1:PORT`, where it speaks TLS.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The authority that signed its certificate, and the one that it shows to other API servers, PEM.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.home.path().join("ca.crt")
    }

    /// A file with the token of somebody who may do everything.
    #[must_use]
    pub fn token(&self) -> PathBuf {
        self.home.path().join("token")
    }

    /// `http://127.0.0.1:PORT` of its etcd, which lets everybody do everything.
    #[must_use]
    pub fn etcd(&self) -> String {
        self.etcd.url()
    }

    /// A kubectl that may do everything, and keeps nothing outside of this server's directory.
    ///
    /// # Errors
    /// There is none on this machine.
    pub fn kubectl(&self) -> Result<Command, Skip> {
        let mut command = Command::new(binary("kubectl")?);
        command.arg(format!("--server=https://{}", self.address()));
        command.arg(format!("--certificate-authority={}", self.ca().display()));
        command.arg(format!("--token={TOKEN}"));
        command.arg(format!("--cache-dir={}", self.home.path().join("cache").display()));
        command.env("KUBECONFIG", "/dev/null").current_dir(self.home.path());
        Ok(command)
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> &Log {
        self.process.log()
    }
}

fn command(port: u16, etcd: &str, home: &Path) -> Vec<OsString> {
    let file = |name: &str| home.join(name).display().to_string();
    args([
        format!("--etcd-servers={etcd}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--tls-cert-file={}", file("server.crt")),
        format!("--tls-private-key-file={}", file("server.key")),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", file("server.crt")),
        format!("--service-account-signing-key-file={}", file("server.key")),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        // There are no nodes, and so nobody who would ask where the servers are.
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--cert-dir={}", file("certs")),
        // Who it is when it asks other API servers on behalf of its users.
        format!("--proxy-client-cert-file={}", file("server.crt")),
        format!("--proxy-client-key-file={}", file("server.key")),
        format!("--requestheader-client-ca-file={}", file("ca.crt")),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
    ])
}
