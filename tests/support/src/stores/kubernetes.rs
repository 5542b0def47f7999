//! A kube-apiserver beside an etcd: the API of a cluster without nodes.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::etcd::Etcd;
use super::process::{Process, args, free_port};
use super::{Shared, binary};
use crate::apiserver::kubeconfig;
use crate::authority::{Authority, Pair};
use crate::log::Log;
use crate::pod::Account;
use crate::skip::Skip;

/// May do everything.
const TOKEN: &str = "a-token-of-masters";
const READY: &str = "Serving securely on";
/// Who asks other API servers on behalf of users.
const FRONT_PROXY: &str = "front-proxy";
/// What is asked about users' rights is written down, before it is answered.
const AUDIT: &str = r#"{
    "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Request", "resources": [{"group": "authorization.k8s.io", "resources": ["subjectaccessreviews"]}]},
        {"level": "None"}
    ]
}"#;

static SHARED: Shared<Kubernetes> = Shared::new();

/// A running kube-apiserver; killed when it is dropped, with its etcd.
pub struct Kubernetes {
    process: Option<Process>,
    binary: PathBuf,
    port: u16,
    authority: Authority,
    /// Signs front proxies.
    proxies: Authority,
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
        let proxies = Authority::new("kubernetes test front proxies");
        fs::write(home.path().join("proxy-ca.crt"), proxies.pem()).unwrap();
        let _ = proxies.user(FRONT_PROXY, &[], home.path(), "proxy");
        fs::write(home.path().join("audit.yaml"), AUDIT).unwrap();
        fs::write(home.path().join("token"), TOKEN).unwrap();
        fs::write(home.path().join("tokens.csv"), format!("{TOKEN},test,1,\"system:masters\"\n")).unwrap();
        let (process, port) = Process::start_on_free_ports(&binary, home.path(), READY, || {
            let port = free_port();
            (port, command(port, &etcd.url(), home.path()))
        });
        Ok(Self { process: Some(process), binary, port, authority, proxies, home, etcd })
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

    /// The authority that signed its certificate, PEM.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.home.path().join("ca.crt")
    }

    /// The authority that signed the certificate which it shows to other API servers, PEM.
    #[must_use]
    pub fn front_proxy_ca(&self) -> PathBuf {
        self.home.path().join("proxy-ca.crt")
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

    /// A certificate of a user of these groups.
    #[must_use]
    pub fn user(&self, name: &str, groups: &[&str]) -> Pair {
        self.authority.user(name, groups, self.home.path(), &format!("user-{name}"))
    }

    /// The certificate of a front proxy of this name, signed as the one that the kube-apiserver itself shows to other API servers.
    #[must_use]
    pub fn front_proxy(&self, name: &str) -> Pair {
        self.proxies.user(name, &[], self.home.path(), &format!("front-proxy-{name}"))
    }

    /// Lets this authority sign front proxies too.
    pub fn trust_front_proxies_of(&self, other: &Authority) {
        let new = self.home.path().join("proxy-ca.new");
        fs::write(&new, self.proxies.pem() + &other.pem()).unwrap();
        fs::rename(new, self.home.path().join("proxy-ca.crt")).unwrap();
    }

    /// A kubeconfig of somebody with this certificate, in a directory of his own.
    #[must_use]
    pub fn kubeconfig(&self, pair: &Pair) -> PathBuf {
        let home = pair.cert.with_extension("home");
        fs::create_dir_all(&home).unwrap();
        let user = json!({"client-certificate": pair.cert, "client-key": pair.key});
        let config = kubeconfig(&format!("https://{}", self.address()), &self.ca(), user);
        fs::write(home.join("kubeconfig"), config.to_string()).unwrap();
        home.join("kubeconfig")
    }

    /// A service account, as pods of the namespace have it that run as this account.
    ///
    /// # Errors
    /// There is no kubectl on this machine, or no way to have a process believe that it is in a pod.
    ///
    /// # Panics
    /// There is no such account.
    pub fn account(&self, namespace: &str, name: &str) -> Result<Account, Skip> {
        let made =
            self.kubectl()?.args(["create", "token", name, "--namespace", namespace]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let token = String::from_utf8(made.stdout).unwrap();
        let directory = self.home.path().join(format!("account-{namespace}-{name}"));
        Account::new(directory, (&self.ca(), self.port), namespace, token.trim())
    }

    /// What it was asked about users' rights so far (the `spec` of each SubjectAccessReview).
    ///
    /// # Panics
    /// It has written down something else.
    #[must_use]
    pub fn reviews(&self) -> Vec<Value> {
        let written = fs::read_to_string(self.home.path().join("audit.log")).unwrap_or_default();
        // The last line may not have been written to its end.
        let lines = written.split_inclusive('\n').filter(|it| it.ends_with('\n'));
        lines.map(|it| serde_json::from_str::<Value>(it).unwrap()["requestObject"]["spec"].take()).collect()
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again on the same port and etcd.
    pub fn start_again(&mut self) {
        self.process = None;
        let (home, etcd) = (self.home.path(), self.etcd.url());
        self.process = Some(Process::start_at(&self.binary, &command(self.port, &etcd, home), home, READY));
    }

    /// What it has logged since it was started last.
    ///
    /// # Panics
    /// It was killed.
    #[must_use]
    pub fn log(&self) -> &Log {
        self.process.as_ref().expect("it runs").log()
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
        format!("--client-ca-file={}", file("ca.crt")),
        "--authorization-mode=RBAC".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", file("server.crt")),
        format!("--service-account-signing-key-file={}", file("server.key")),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        // There are no nodes, and so nobody who would ask where the servers are.
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--cert-dir={}", file("certs")),
        // Who it is when it asks other API servers on behalf of its users.
        format!("--proxy-client-cert-file={}", file("proxy.crt")),
        format!("--proxy-client-key-file={}", file("proxy.key")),
        format!("--requestheader-client-ca-file={}", file("proxy-ca.crt")),
        format!("--requestheader-allowed-names={FRONT_PROXY}"),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        format!("--audit-policy-file={}", file("audit.yaml")),
        format!("--audit-log-path={}", file("audit.log")),
    ])
}
