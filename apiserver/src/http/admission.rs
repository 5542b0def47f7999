//! NamespaceLifecycle: nothing is made in a namespace that is not there, or is being deleted. Controllers that see the second wait for the cause
//! named here.
//!
//! Webhooks and policies are not called: that is done by servers whose objects people write, and these are written by controllers.

use super::ApiServer;
use super::status::{Cause, Refusal};
use crate::auth::NamespaceState;
use crate::registry::Resource;

impl ApiServer {
    /// Whether an object may be made in, or changed within, this namespace.
    pub(super) async fn admit(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        is_new: bool,
    ) -> Result<(), Refusal> {
        let Some(namespaces) = self.namespaces.as_ref().filter(|_| !namespace.is_empty()) else {
            return Ok(());
        };
        let state = namespaces.state(namespace).await.map_err(|error| {
            tracing::error!(namespace, error, "the cluster does not say whether a namespace is there");
            Refusal::internal(format!("the namespace {namespace} cannot be looked up"))
        })?;
        match state {
            NamespaceState::Missing => Err(Refusal::missing("", "namespaces", namespace)),
            NamespaceState::Terminating if is_new => Err(terminating(resource, namespace, name)),
            NamespaceState::Terminating | NamespaceState::Active => Ok(()),
        }
    }
}

fn terminating(resource: &Resource, namespace: &str, name: &str) -> Refusal {
    let why =
        format!("unable to create new content in namespace {namespace} because it is being terminated");
    let cause = Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".to_owned(),
    };
    Refusal::forbidden(&resource.group, &resource.names.plural, name, &why).caused_by(cause)
}
