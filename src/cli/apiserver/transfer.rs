//! Registering with a cluster, and moving objects between its etcd and the store: the flags, and what runs beside the server.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use larder_apiserver::auth::Cluster;
use larder_apiserver::registry::Registry;
use larder_apiserver::store::Store;
use larder_apiserver::transfer::{
    Backend, Direction, Gate, Options, Parties, Progress, Transfer, unregister,
};
use larder_apiserver::watch::Watches;
use larder_client::migrate::Leadership;
use larder_client::migrate::leadership::{Always, Campaign, Lease, Terms};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::interval;

use crate::config::Span;
use crate::tls::Tls;

/// The Lease by which one of several replicas moves.
const LEASE: &str = "larder-apiserver-transfer";

/// How long the lead lasts that is not renewed.
const TTL: Duration = Duration::from_secs(15);

/// How often the file of the CA is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Registering, and what comes with it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Registration")]
pub(crate) struct TransferArgs {
    /// Answer these resources for the whole cluster, behind this Service, once their objects have moved here from etcd
    #[arg(long, env = "LARDER_REGISTER", value_name = "NAMESPACE/NAME[:PORT]", requires = "register_ca")]
    pub(crate) register: Option<ServiceName>,
    /// The CAs that the server's certificate is checked against by the kube-apiserver (PEM); followed while running
    #[arg(long, env = "LARDER_REGISTER_CA", value_name = "FILE")]
    pub(crate) register_ca: Option<PathBuf>,
    /// Objects that are moved in a second, at most
    #[arg(long, env = "LARDER_TRANSFER_RATE", value_name = "N", default_value = "50")]
    transfer_rate: NonZeroU32,
    /// How long clients may take to watch again after a restart, before `evacuate` lets go of anything
    #[arg(long, env = "LARDER_TRANSFER_RECONNECT", value_name = "TIME", default_value = "60s")]
    transfer_reconnect: Span,
    /// Take over although some objects cannot be moved, or some clients would not be answered any more
    #[arg(long, env = "LARDER_TRANSFER_FORCE")]
    transfer_force: bool,
}

/// A Service and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceName {
    namespace: String,
    name: String,
    port: NonZeroU16,
}

impl FromStr for ServiceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no Service such as larder/larder-apiserver:443");
        let is_name = |it: &str| {
            !it.is_empty()
                && it.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
        };
        let (service, port) = text.split_once(':').unwrap_or((text, "443"));
        let (namespace, name) = service.split_once('/').ok_or_else(bad)?;
        if !is_name(namespace) || !is_name(name) {
            return Err(bad());
        }
        let port = port.parse().map_err(|_| bad())?;
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned(), port })
    }
}

impl TransferArgs {
    fn options(&self) -> Options {
        let (rate, reconnect, force) = (self.transfer_rate, self.transfer_reconnect.0, self.transfer_force);
        Options { rate, reconnect, force, ..Options::default() }
    }

    async fn backend(&self) -> anyhow::Result<Backend> {
        let (Some(service), Some(file)) = (&self.register, &self.register_ca) else {
            return Err(anyhow!("--register and --register-ca are needed"));
        };
        let ca = read(file).await?;
        let ServiceName { namespace, name, port } = service.clone();
        Ok(Backend { namespace, name, port: port.get(), ca })
    }

    /// The gate of a server that registers, or of one that does not.
    pub(crate) fn gate(&self, watches: &Watches) -> Gate {
        if self.register.is_some() { Gate::following(watches.clone()) } else { Gate::always_open() }
    }

    /// Takes every trace of the registration out of the cluster.
    pub(crate) async fn unregister(
        &self,
        kubeconfig: Option<&Path>,
        registry: &Registry,
    ) -> anyhow::Result<()> {
        let (cluster, backend) = (Cluster::connect(kubeconfig).await?, self.backend().await?);
        Ok(unregister(cluster.client(), &backend, registry, LEASE).await?)
    }

    /// Begins to move, if the server registers. Whoever holds what comes back keeps it going.
    pub(crate) async fn start(
        &self,
        kubeconfig: Option<&Path>,
        direction: Direction,
        tls: Arc<Tls>,
        (registry, store, watches, gate): (Registry, Store, Watches, Gate),
    ) -> anyhow::Result<Option<Moving>> {
        let Some(file) = self.register.as_ref().and(self.register_ca.clone()) else { return Ok(None) };
        let cluster = Cluster::connect(kubeconfig).await.context("--kubeconfig")?;
        let (tell, backend) = watch::channel(self.backend().await?);
        let following = tokio::spawn(follow(file, tell));
        let leadership: Arc<dyn Leadership> = if kubeconfig.is_some() {
            // Outside of the cluster there is one of us.
            Arc::new(Always::default())
        } else {
            Arc::new(Campaign::start(Lease::in_pod(LEASE, holder(), TTL)?, Terms::of(TTL)))
        };
        let client = cluster.client();
        let parties = Parties {
            client,
            backend,
            certified: Box::new(move |it| tls.convinces(&it.ca, &it.server_name())),
            registry: Arc::new(registry),
            store,
            watches,
            gate,
            leadership: Arc::clone(&leadership),
            has_lease: kubeconfig.is_none(),
        };
        let transfer = Arc::new(Transfer::new(parties, self.options()));
        let progress = transfer.progress();
        let moving = tokio::spawn(transfer.run(direction));
        Ok(Some(Moving { tasks: [moving, following], leadership, progress }))
    }
}

/// A move that goes on.
pub(crate) struct Moving {
    tasks: [JoinHandle<()>; 2],
    leadership: Arc<dyn Leadership>,
    pub(crate) progress: watch::Receiver<Progress>,
}

impl Moving {
    /// Ends it where it is: the next process goes on there.
    pub(crate) async fn end(self) {
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
        self.leadership.resign().await;
    }
}

async fn read(file: &Path) -> anyhow::Result<String> {
    tokio::fs::read_to_string(file).await.with_context(|| format!("--register-ca {}", file.display()))
}

/// Tells of another CA.
async fn follow(file: PathBuf, tell: watch::Sender<Backend>) {
    let mut looks = interval(LOOK);
    loop {
        looks.tick().await;
        match read(&file).await {
            Ok(ca) if !ca.trim().is_empty() => {
                tell.send_if_modified(|it| std::mem::replace(&mut it.ca, ca.clone()) != ca);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "the CA that is registered cannot be read; the last one stays")
            }
        }
    }
}

/// The pod, and the process: nobody else's name.
fn holder() -> String {
    let uname = rustix::system::uname();
    format!("{}-{}", uname.nodename().to_string_lossy(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_as_they_are_typed() {
        let read = |text: &str| text.parse::<ServiceName>().map(|it| (it.namespace, it.name, it.port.get()));
        assert_eq!(read("larder/api"), Ok(("larder".to_owned(), "api".to_owned(), 443)));
        assert_eq!(read("a/b-c:6443"), Ok(("a".to_owned(), "b-c".to_owned(), 6443)));
        for text in ["", "api", "/api", "a/", "a/b:0", "a/b:x", "a/b/c", "A/b", "a/b:70000"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
