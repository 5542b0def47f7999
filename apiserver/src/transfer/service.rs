//! APIServices: who answers a version of a group.
//!
//! One that kube-apiserver made for a CRD carries a label by which it would be made so again; whoever takes it over has to take the label away, and
//! whoever gives it back has to give the label back. Both are one patch, so that there is no moment without an answer. What is left over if the CRD is
//! gone is deleted.

use http::Method;
use serde_json::{Value, json};

use super::cluster::{Cluster, ClusterError, Form, managed};

const PATH: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

/// kube-apiserver keeps what carries this label as its CRD says.
const KEPT: &str = "kube-aggregator.kubernetes.io/automanaged";

/// Where kube-apiserver finds this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The namespace of the Service.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// The authorities that its certificate is checked against, PEM.
    pub ca: String,
}

impl Backend {
    /// The name that its certificate has to be for.
    #[must_use]
    pub fn server_name(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }
}

/// Who answers a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answerer {
    /// Nobody, or kube-apiserver itself.
    Local,
    /// This server; whether the aggregator reaches it, or why it does not.
    Larder(Result<(), String>),
    /// Somebody else.
    Other(String),
}

/// Asks who answers a version.
pub(super) async fn answerer(
    cluster: &Cluster,
    backend: &Backend,
    group: &str,
    version: &str,
) -> Result<Answerer, ClusterError> {
    let name = format!("{version}.{group}");
    let Some(found) = cluster.find(&format!("{PATH}/{name}"), &name).await? else {
        return Ok(Answerer::Local);
    };
    let service = &found["spec"]["service"];
    if service.is_null() {
        return Ok(Answerer::Local);
    }
    if service["namespace"] != *backend.namespace || service["name"] != *backend.name {
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        return Ok(Answerer::Other(format!("{}/{}", text(&service["namespace"]), text(&service["name"]))));
    }
    Ok(Answerer::Larder(availability(&found)))
}

/// What the aggregator last found. What it found of kube-apiserver itself says nothing about us.
fn availability(service: &Value) -> Result<(), String> {
    let conditions = service["status"]["conditions"].as_array();
    let condition = conditions.into_iter().flatten().find(|it| it["type"] == "Available");
    let Some(condition) = condition.filter(|it| it["reason"] != "Local") else {
        return Err("it was not looked yet".to_owned());
    };
    match condition["status"].as_str() {
        Some("True") => Ok(()),
        _ => Err(condition["message"].as_str().unwrap_or("it is not available").to_owned()),
    }
}

/// Lets this server answer a version.
pub(super) async fn point(
    cluster: &Cluster,
    backend: &Backend,
    group: &str,
    version: &str,
) -> Result<(), ClusterError> {
    use base64::Engine as _;
    let name = format!("{version}.{group}");
    let service = json!({"namespace": backend.namespace, "name": backend.name, "port": backend.port});
    let ca = base64::engine::general_purpose::STANDARD.encode(&backend.ca);
    let patch = json!({
        "metadata": {"labels": {KEPT: null}},
        "spec": {"service": service, "caBundle": ca, "insecureSkipTLSVerify": null},
    });
    let path = managed(&format!("{PATH}/{name}"));
    match cluster.call(Method::PATCH, &path, Some((Form::Merge, &patch))).await {
        Err(error) if error.is_missing(&name) => {}
        done => return done.map(drop),
    }
    let created = json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": name},
        "spec": {
            "group": group, "version": version, "groupPriorityMinimum": 1000, "versionPriority": 100,
            "service": service, "caBundle": ca,
        },
    });
    cluster.call(Method::POST, &managed(PATH), Some((Form::Json, &created))).await.map(drop)
}

/// Lets kube-apiserver answer a version again, if this server does; deletes the registration if there is no CRD to answer from.
pub(super) async fn give_back(
    cluster: &Cluster,
    backend: &Backend,
    group: &str,
    version: &str,
    has_definition: bool,
) -> Result<(), ClusterError> {
    let name = format!("{version}.{group}");
    let path = format!("{PATH}/{name}");
    match answerer(cluster, backend, group, version).await? {
        Answerer::Larder(_) => {}
        Answerer::Local => return cluster.disown(&path, &name).await,
        Answerer::Other(_) => return Ok(()),
    }
    if !has_definition {
        return match cluster.call(Method::DELETE, &path, None).await {
            Err(error) if error.is_missing(&name) => Ok(()),
            done => done.map(drop),
        };
    }
    let patch = json!({
        "metadata": {"labels": {KEPT: "true"}},
        "spec": {"service": null, "caBundle": null, "insecureSkipTLSVerify": null},
    });
    match cluster.call(Method::PATCH, &managed(&path), Some((Form::Merge, &patch))).await {
        Err(error) if error.is_missing(&name) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => cluster.disown(&path, &name).await,
    }
}
