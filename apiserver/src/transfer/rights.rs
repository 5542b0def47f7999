//! Whether this server may do everything that moving a group takes, asked before anything is done: a right that is missed half-way would leave a group
//! between two stores.
//!
//! The cluster is asked about each right by itself (`SelfSubjectAccessReview`), which everybody may.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use serde_json::{Value, json};

use super::cluster::{ClusterError, Form};
use super::runner::Direction;
use super::{Transfer, TransferError};

/// Where it is asked.
const PATH: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// Questions under way at once.
const AT_ONCE: usize = 8;

/// What is done with every object that moves.
const OBJECTS: [&str; 6] = ["get", "list", "watch", "create", "patch", "delete"];

/// Something that has to be allowed.
#[derive(Clone, Debug)]
struct Right {
    verb: &'static str,
    group: String,
    resource: String,
    namespace: String,
    name: String,
}

impl Right {
    /// To something in no namespace, whatever its name.
    fn to(verb: &'static str, group: &str, resource: &str) -> Self {
        let (namespace, name) = (String::new(), String::new());
        Self { verb, group: group.to_owned(), resource: resource.to_owned(), namespace, name }
    }

    /// What is to be allowed, without the verb.
    fn object(&self) -> String {
        let of = if self.name.is_empty() { String::new() } else { format!("/{}", self.name) };
        let within =
            if self.namespace.is_empty() { String::new() } else { format!(" in {}", self.namespace) };
        format!("{}.{}{of}{within}", self.resource, self.group)
    }

    fn review(&self) -> Value {
        let Self { verb, group, resource, namespace, name } = self;
        let attributes = json!({
            "verb": verb, "group": group, "resource": resource, "namespace": namespace, "name": name,
        });
        json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        })
    }
}

impl Transfer {
    /// Whether a group may be moved in this direction.
    ///
    /// # Errors
    /// It may not; all that is missing is named.
    pub(super) async fn check_rights(&self, group: &str, direction: Direction) -> Result<(), TransferError> {
        let asked = stream::iter(self.rights(group, direction)).map(async |it| {
            let is_allowed = self.is_allowed(&it).await?;
            Ok::<_, ClusterError>((it, is_allowed))
        });
        let answers: Vec<_> = asked.buffered(AT_ONCE).try_collect().await?;
        let missing: Vec<_> = answers.into_iter().filter(|it| !it.1).map(|it| it.0).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(TransferError::Forbidden { group: group.to_owned(), rights: told(&missing) })
    }

    async fn is_allowed(&self, right: &Right) -> Result<bool, ClusterError> {
        let review = right.review();
        let answer = self.cluster.call(Method::POST, PATH, Some((Form::Json, &review))).await?;
        Ok(answer["status"]["allowed"] == true)
    }

    fn rights(&self, group: &str, direction: Direction) -> Vec<Right> {
        let is_out = direction == Direction::Out;
        let mut all = Vec::new();
        let definition = |verb| Right::to(verb, "apiextensions.k8s.io", "customresourcedefinitions");
        all.extend(["list"].into_iter().chain(is_out.then_some("create")).map(definition));
        all.push(Right::to("create", "apiregistration.k8s.io", "apiservices"));
        for resource in self.registry.iter().filter(|it| it.group == group) {
            let objects = OBJECTS.into_iter().chain(is_out.then_some("update"));
            all.extend(objects.map(|it| Right::to(it, group, &resource.names.plural)));
            // No others have to be allowed.
            all.extend(["get", "patch"].map(|it| Right { name: resource.id(), ..definition(it) }));
        }
        for version in self.versions(group) {
            // Deleted is what is given up and has no CRD.
            all.extend(["get", "patch", "delete"].map(|it| {
                let name = format!("{version}.{group}");
                Right { name, ..Right::to(it, "apiregistration.k8s.io", "apiservices") }
            }));
        }
        if self.has_lease {
            all.extend(["get", "create", "update"].map(|it| {
                let namespace = self.backend().namespace;
                Right { namespace, ..Right::to(it, "coordination.k8s.io", "leases") }
            }));
        }
        all
    }
}

/// `get, list a.b; patch c.d/e`.
fn told(rights: &[Right]) -> String {
    let mut verbs = BTreeMap::<String, Vec<&str>>::new();
    for right in rights {
        verbs.entry(right.object()).or_default().push(right.verb);
    }
    let parts: Vec<_> =
        verbs.iter().map(|(object, verbs)| format!("{} {object}", verbs.join(", "))).collect();
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_to_one_thing_are_told_together() {
        let reports = |verb| Right::to(verb, "wgpolicyk8s.io", "policyreports");
        let lease =
            Right { namespace: "larder".to_owned(), ..Right::to("update", "coordination.k8s.io", "leases") };
        let service =
            Right { name: "v1.a".to_owned(), ..Right::to("patch", "apiregistration.k8s.io", "apiservices") };
        assert_eq!(
            told(&[reports("create"), lease, reports("delete"), service]),
            "patch apiservices.apiregistration.k8s.io/v1.a; update leases.coordination.k8s.io in larder; create, delete policyreports.wgpolicyk8s.io"
        );
    }
}
