//! Everything that `larder apiserver` can be told. Parsed into types and checked before anything is opened, so that a mistake is reported with
//! the flag's name.
//!
//! No flag carries a secret: keys are files, and so is the kubeconfig.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use larder_apiserver::auth::AnyClient;
use larder_apiserver::http::{RequestLimits, Validation};
use larder_apiserver::store::StoreOptions;
use larder_client::{Credentials, Endpoint, Sidecar};

use super::transfer::TransferArgs;
use crate::config::{LogArgs, Size, Span};
use crate::tls::{Clients, TlsFiles};

/// The flags of `larder apiserver`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ApiServerArgs {
    /// Where the API is served, over TLS [default: 0.0.0.0:6443, with --dev 127.0.0.1:6443]
    #[arg(long, env = "LARDER_LISTEN", value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where probes and metrics are served, over plain HTTP [default: 0.0.0.0:6444, with --dev 127.0.0.1:6444]
    #[arg(long, env = "LARDER_PROBE_LISTEN", value_name = "ADDR")]
    probe_listen: Option<SocketAddr>,
    /// The server's certificate and its chain (PEM), for the name SERVICE.NAMESPACE.svc; followed while running
    #[arg(long, env = "LARDER_TLS_CERT", value_name = "FILE", required_unless_present = "dev")]
    tls_cert: Option<PathBuf>,
    /// The server's private key (PEM)
    #[arg(long, env = "LARDER_TLS_KEY", value_name = "FILE", required_unless_present = "dev")]
    tls_key: Option<PathBuf>,
    /// Serve alone on loopback, with certificates and a kubeconfig made on the spot
    #[arg(long, env = "LARDER_DEV")]
    pub(crate) dev: bool,
    /// When ready, write the addresses that are listened on to this file as JSON
    #[arg(long, env = "LARDER_ANNOUNCE", value_name = "FILE")]
    pub(crate) announce: Option<PathBuf>,
    /// How often a quiet watch is told how far it is, if its client wants to know
    #[arg(long, env = "LARDER_BOOKMARKS", value_name = "TIME", default_value = "60s")]
    bookmarks: Span,
    /// How long requests may go on after SIGTERM
    #[arg(long, env = "LARDER_DRAIN_TIMEOUT", value_name = "TIME", default_value = "20s")]
    pub(crate) drain_timeout: Span,
    /// How long a reader may take nothing of an answer before it is cut off
    #[arg(long, env = "LARDER_STALL_TIMEOUT", value_name = "TIME", default_value = "30s")]
    pub(crate) stall_timeout: Span,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) transfer: TransferArgs,
    #[command(flatten)]
    pub(crate) resources: ResourceArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// The cluster that the server belongs to.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// How to reach the kube-apiserver [default: as a pod of the cluster]
    #[arg(long, env = "LARDER_KUBECONFIG", value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Who decides what callers may do
    #[arg(long, env = "LARDER_AUTHORIZATION", value_name = "WHO", default_value = "cluster")]
    pub(crate) authorization: Authorization,
    /// With --authorization=authenticated: the CAs that sign users (PEM); nobody else gets in
    #[arg(
        long,
        env = "LARDER_CLIENT_CA",
        value_name = "FILE",
        required_if_eq("authorization", "authenticated")
    )]
    pub(crate) client_ca: Option<PathBuf>,
}

/// Who decides what callers may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Authorization {
    /// The kube-apiserver, by its rules
    Cluster,
    /// Nobody: whoever has a certificate of --client-ca may do everything; there is no cluster
    Authenticated,
}

/// What is served.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Resources")]
pub(crate) struct ResourceArgs {
    /// A directory of CRD documents (YAML or JSON) of resources that are served besides those built in
    #[arg(long = "resources", env = "LARDER_RESOURCES", value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// What becomes of objects that do not look as their schema says
    #[arg(long, env = "LARDER_VALIDATION", value_name = "HOW", default_value = "enforce")]
    validation: ValidationArg,
    /// The longest body of a request
    #[arg(long, env = "LARDER_MAX_BODY", value_name = "SIZE", default_value = "3MiB")]
    max_body: Size,
}

/// What becomes of objects that do not look as their schema says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ValidationArg {
    /// They are refused
    Enforce,
    /// They are stored, and their writer is warned
    Warn,
    /// They are stored
    Off,
}

/// Where objects are kept.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Store")]
pub(crate) struct StoreArgs {
    /// The data directory of the embedded store; created if missing
    #[arg(long, env = "LARDER_DATA", value_name = "DIR", default_value = "larder-data-apiserver")]
    pub(crate) data: PathBuf,
    /// Keep objects in the database of a `larder serve` instead
    #[arg(long, env = "LARDER_DATABASE_URL", value_name = "URL", requires_all = ["database_ca", "database_cert", "database_key"])]
    database_url: Option<Endpoint>,
    /// The name in its certificate, if it is another than in the URL
    #[arg(long, env = "LARDER_DATABASE_SERVER_NAME", value_name = "NAME", requires = "database_url")]
    database_server_name: Option<String>,
    /// The CAs that its certificate is checked against (PEM)
    #[arg(long, env = "LARDER_DATABASE_CA", value_name = "FILE")]
    database_ca: Option<PathBuf>,
    /// The certificate that is shown to it (PEM); it needs the role owner
    #[arg(long, env = "LARDER_DATABASE_CERT", value_name = "FILE")]
    database_cert: Option<PathBuf>,
    /// The private key of that certificate (PEM)
    #[arg(long, env = "LARDER_DATABASE_KEY", value_name = "FILE")]
    database_key: Option<PathBuf>,
    /// How long changes are remembered at least, for watches and pages
    #[arg(long, env = "LARDER_HISTORY", value_name = "TIME", default_value = "5m")]
    history: Span,
    /// How many changes are remembered at least
    #[arg(long, env = "LARDER_HISTORY_CHANGES", value_name = "N", default_value = "10000")]
    history_changes: u64,
}

impl ApiServerArgs {
    /// Where the API is served.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| self.any_address(6443))
    }

    /// Where probes are answered.
    pub(crate) fn probe_listen(&self) -> SocketAddr {
        self.probe_listen.unwrap_or_else(|| self.any_address(6444))
    }

    fn any_address(&self, port: u16) -> SocketAddr {
        let ip = if self.dev { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        SocketAddr::new(IpAddr::V4(ip), port)
    }

    /// The files of the server's TLS; `None` where `--dev` makes them.
    pub(crate) fn tls_files(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            cert: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
            clients: Clients::Judged(Arc::new(AnyClient::new(crate::tls::provider()))),
            revision: None,
        })
    }

    /// What only shows when flags are seen together.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.bookmarks.0.is_zero() {
            return Err("--bookmarks takes a time that is not zero".to_owned());
        }
        if self.dev && !self.listen().ip().is_loopback() {
            return Err(format!("--dev serves on loopback only, --listen is {}", self.listen()));
        }
        if self.dev && self.cluster.kubeconfig.is_some() {
            return Err("--dev serves without a cluster, --kubeconfig names one".to_owned());
        }
        if self.dev && self.transfer.register.is_some() {
            return Err("--dev serves without a cluster, --register registers with one".to_owned());
        }
        if self.cluster.authorization == Authorization::Authenticated && self.cluster.kubeconfig.is_some() {
            return Err("--authorization=authenticated asks no cluster, --kubeconfig names one".to_owned());
        }
        Ok(())
    }

    /// What requests may take.
    pub(crate) fn limits(&self) -> RequestLimits {
        let body = usize::try_from(self.resources.max_body.0).unwrap_or(usize::MAX);
        let default = RequestLimits::default();
        let body_memory = default.body_memory.max(body.saturating_mul(4));
        RequestLimits { body, body_memory, bookmarks: self.bookmarks.0, ..default }
    }
}

impl ResourceArgs {
    /// How much schemas count.
    pub(crate) fn validation(&self) -> Validation {
        match self.validation {
            ValidationArg::Enforce => Validation::Enforce,
            ValidationArg::Warn => Validation::Warn,
            ValidationArg::Off => Validation::Off,
        }
    }
}

impl StoreArgs {
    /// The sidecar that objects are kept in; `None` if they are kept here.
    pub(crate) fn sidecar(&self) -> anyhow::Result<Option<Sidecar>> {
        let (Some(url), Some(ca), Some(cert), Some(key)) =
            (&self.database_url, &self.database_ca, &self.database_cert, &self.database_key)
        else {
            return Ok(None);
        };
        for (flag, file) in [("--database-ca", ca), ("--database-cert", cert), ("--database-key", key)] {
            anyhow::ensure!(
                file.exists(),
                "{flag} {}: no such file; make one with `larder certs`, or mount a Secret there that has this key",
                file.display()
            );
        }
        let endpoint = match &self.database_server_name {
            Some(name) => url.clone().certified_as(name)?,
            None => url.clone(),
        };
        Ok(Some(Sidecar::new(endpoint, Credentials::from_files(ca, cert, key)?)?))
    }

    /// How the store keeps history.
    pub(crate) fn options(&self) -> StoreOptions {
        StoreOptions { history: self.history.0, changes: self.history_changes }
    }
}
