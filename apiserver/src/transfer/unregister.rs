//! Taking every trace of a server out of a cluster that its objects have left, or never were in.

use http::Method;

use super::cluster::Cluster;
use super::definition::Definition;
use super::{Backend, TransferError, service};
use crate::registry::Registry;

/// Lets kube-apiserver answer all versions of all groups again, closes side entrances, and deletes the Lease `lease` of the backend's namespace. What
/// is in the store stays there; [`Transfer::take_out`](super::Transfer::take_out) brings it back first.
///
/// # Errors
/// The Kubernetes API is away or refuses. Called again it goes on.
pub async fn unregister(
    client: kube::Client,
    backend: &Backend,
    registry: &Registry,
    lease: &str,
) -> Result<(), TransferError> {
    let cluster = Cluster::new(client);
    for resource in registry.iter() {
        // A version belongs to all resources of its group: whether any of them has a CRD is what counts.
        let definitions = Definition::of_group(&cluster, &resource.group).await?;
        for definition in definitions.iter().filter(|it| it.bears_traces()) {
            definition.show(&cluster).await?;
        }
        for version in &resource.versions {
            let has = definitions.iter().any(|it| it.served().any(|it| it == version.name));
            service::give_back(&cluster, backend, &resource.group, &version.name, has).await?;
        }
        for definition in definitions.iter().filter(|it| it.bears_traces()) {
            Definition::close(&cluster, definition.name()).await?;
        }
    }
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/{lease}", backend.namespace);
    match cluster.call(Method::DELETE, &path, None).await {
        Err(error) if error.is_missing(lease) => Ok(()),
        done => Ok(done.map(drop)?),
    }
}
