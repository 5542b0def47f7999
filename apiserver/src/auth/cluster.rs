//! The cluster that this server belongs to: its kube-apiserver, and following what that says of certificates.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Config};
use rustls::crypto::CryptoProvider;
use tokio::sync::watch;

use super::settings::Settings;
use super::trust::Trust;

const CONFIG_MAP: &str = "extension-apiserver-authentication";
const CONFIG_MAP_NAMESPACE: &str = "kube-system";
/// How long the kube-apiserver may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// There is no way to the cluster.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ClusterError(String);

/// The kube-apiserver, and as whom it is asked.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

impl Cluster {
    /// By a kubeconfig; without one, as a pod of the cluster.
    ///
    /// # Errors
    /// The file cannot be used, or this is no pod.
    pub async fn connect(kubeconfig: Option<&Path>) -> Result<Self, ClusterError> {
        let mut config = match kubeconfig {
            Some(file) => {
                let read = Kubeconfig::read_from(file).map_err(|error| ClusterError(error.to_string()))?;
                let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
                config.map_err(|error| ClusterError(error.to_string()))?
            }
            None => Config::incluster().map_err(|error| ClusterError(error.to_string()))?,
        };
        config.connect_timeout = Some(CONNECT);
        let client = Client::try_from(config).map_err(|error| ClusterError(error.to_string()))?;
        Ok(Self { client })
    }

    /// For requests of any kind.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Keeps `trust` as the cluster's ConfigMap says, for as long as it is polled. `known` becomes true with the first good settings.
    /// Settings that cannot be used are told of, and the last good ones stay.
    pub async fn follow(
        &self,
        trust: Arc<ArcSwap<Trust>>,
        provider: Arc<CryptoProvider>,
        known: watch::Sender<bool>,
    ) {
        let mut changes = std::pin::pin!(self.config_maps());
        while let Some(change) = changes.next().await {
            let map = match change {
                Ok(map) => map,
                Err(error) => {
                    tracing::warn!(%error, "ConfigMap {CONFIG_MAP_NAMESPACE}/{CONFIG_MAP} cannot be followed");
                    continue;
                }
            };
            let data = map.data.unwrap_or_default();
            match Settings::read(&data).and_then(|it| it.trust(&provider)) {
                Ok(new) => {
                    tracing::info!(
                        clients = new.clients.is_some(),
                        front_proxy = new.front_proxy.is_some(),
                        "certificates are trusted as the cluster says"
                    );
                    trust.store(Arc::new(new));
                    known.send_replace(true);
                }
                Err(error) => tracing::error!(error, "ConfigMap {CONFIG_MAP} cannot be used"),
            }
        }
    }

    fn config_maps(&self) -> impl Stream<Item = Result<ConfigMap, watcher::Error>> + use<> {
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), CONFIG_MAP_NAMESPACE);
        let only = watcher::Config::default().fields(&format!("metadata.name={CONFIG_MAP}"));
        watcher(maps, only).default_backoff().applied_objects()
    }
}
