//! Which namespaces there are and which are being deleted: nothing may be made in one that is not there or is going.
//!
//! They are followed, so that a create costs no question. A namespace that is not known yet is asked for.

use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};

use super::retry::ask;

/// How a namespace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceState {
    /// It is there.
    Active,
    /// It is being deleted.
    Terminating,
    /// It is not there.
    Missing,
}

/// The namespaces of a cluster.
pub struct Namespaces {
    api: Api<PartialObjectMeta<Namespace>>,
    known: Store<PartialObjectMeta<Namespace>>,
    follower: tokio::task::JoinHandle<()>,
}

impl Namespaces {
    /// Begins to follow the namespaces.
    #[must_use]
    pub fn follow(client: Client) -> Self {
        let api = Api::<PartialObjectMeta<Namespace>>::all(client);
        let (known, writer) = reflector::store();
        let changes = watcher(api.clone(), watcher::Config::default()).default_backoff();
        let follower = tokio::spawn(async move {
            let changes = reflector::reflector(writer, changes);
            let mut changes = std::pin::pin!(changes.touched_objects());
            while let Some(change) = futures_util::StreamExt::next(&mut changes).await {
                if let Err(error) = change {
                    tracing::warn!(%error, "namespaces cannot be followed");
                }
            }
        });
        Self { api, known, follower }
    }

    /// How a namespace is.
    ///
    /// # Errors
    /// It is not known and the cluster has not answered.
    pub async fn state(&self, name: &str) -> Result<NamespaceState, String> {
        if let Some(namespace) = self.known.get(&ObjectRef::new(name)) {
            let is_going = namespace.metadata.deletion_timestamp.is_some();
            return Ok(if is_going { NamespaceState::Terminating } else { NamespaceState::Active });
        }
        let asked = ask(|| self.api.get_opt(name)).await.map_err(|error| error.to_string())?;
        Ok(match asked {
            None => NamespaceState::Missing,
            Some(it) if it.metadata.deletion_timestamp.is_some() => NamespaceState::Terminating,
            Some(_) => NamespaceState::Active,
        })
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.follower.abort();
    }
}
