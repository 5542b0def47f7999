//! What `--dev` makes on the spot: a CA, certificates of the server and of one user, and a kubeconfig that holds them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use larder_apiserver::auth::AnyClient;
use serde_json::json;

use crate::cli::certs::CertificateDirectory;
use crate::cli::serve::{quote, write_whole};
use crate::tls::{Clients, Leaf, TlsFiles};

/// The directory of certificates.
pub(super) struct Directory {
    root: PathBuf,
    kubeconfig: PathBuf,
    files: TlsFiles,
    client_ca: PathBuf,
}

impl Directory {
    /// Makes what is not there yet below `data`.
    pub(super) fn prepare(data: &Path) -> anyhow::Result<Self> {
        let root = data.join("certs");
        std::fs::create_dir_all(&root)
            .with_context(|| format!("--data: cannot create {}", root.display()))?;
        let certs = CertificateDirectory::open_or_init(&root, "larder dev")?;
        let server = certs.issue_if_needed("server", &Leaf::server(&["localhost", "127.0.0.1", "::1"])?)?;
        certs.issue_if_needed("client", &Leaf::client("dev")?)?;
        let clients = Clients::Judged(Arc::new(AnyClient::new(crate::tls::provider())));
        Ok(Self {
            kubeconfig: data.join("kubeconfig"),
            files: TlsFiles { cert: server.cert, key: server.key, clients, revision: None },
            client_ca: certs.bundle(),
            root,
        })
    }

    /// The server's certificate.
    pub(super) fn tls_files(&self) -> TlsFiles {
        self.files.clone()
    }

    /// The CA that signs users.
    pub(super) fn client_ca(&self) -> PathBuf {
        self.client_ca.clone()
    }

    /// Writes the kubeconfig of the one user.
    pub(super) fn write_kubeconfig(&self, url: &str) -> anyhow::Result<()> {
        let read = |name: &str| {
            let file = self.root.join(name);
            let pem = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            anyhow::Ok(STANDARD.encode(pem))
        };
        // JSON is YAML.
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "larder", "cluster": {"server": url, "certificate-authority-data": read("ca.crt")?}}],
            "users": [{"name": "dev", "user": {"client-certificate-data": read("client.crt")?, "client-key-data": read("client.key")?}}],
            "contexts": [{"name": "larder", "context": {"cluster": "larder", "user": "dev", "namespace": "default"}}],
            "current-context": "larder",
        });
        write_whole(&self.kubeconfig, &format!("{config:#}\n"))
    }

    /// Tells the person at the terminal what to try.
    #[expect(clippy::print_stdout, reason = "this is for the person at the terminal")]
    pub(super) fn greet(&self, probe: &str) {
        let file = self.kubeconfig.canonicalize().unwrap_or_else(|_| self.kubeconfig.clone());
        let kubectl = format!("kubectl --kubeconfig {}", quote(&file.display().to_string()));
        println!("larder {} serves the Kubernetes API. Try:", env!("CARGO_PKG_VERSION"));
        println!();
        println!("  {kubectl} get policyreports -A");
        println!();
        println!("Probes and metrics: {probe}/readyz {probe}/metrics");
    }
}
