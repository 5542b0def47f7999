//! The CRD of a resource, and the side entrance to its objects in etcd.
//!
//! Once the versions of a resource are answered by this server, nobody reaches its objects in etcd through them any more. A further version of the CRD
//! does: served, not stored, without a schema, so that every object comes and goes as it is. kube-apiserver registers it by itself, and takes it away
//! when it is taken out of the CRD.
//!
//! Every change of a CRD's spec makes kube-apiserver end all watches of the resource and forget its cache, so that older revisions are expired. That
//! happens when the entrance is opened and closed, and is used to [`Definition::cut`] watches that still show etcd.

use http::Method;
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use super::cluster::{ATTEMPTS, Cluster, ClusterError, Form, is_owned, managed};
use crate::registry::Resource;

/// The version that is the side entrance.
pub(super) const ENTRANCE: &str = "v0larder";

/// How often is looked whether kube-apiserver has heard of a change.
const LOOK: Duration = Duration::from_millis(100);

/// How often is looked at most.
const LOOKS: usize = 300;

/// Where CRDs are.
const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A CRD as it stands in the cluster.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    document: Value,
}

impl Definition {
    /// The CRD of that name; `None` if there is none, or if it is being deleted.
    pub(super) async fn read(cluster: &Cluster, name: &str) -> Result<Option<Self>, ClusterError> {
        let found = cluster.find(&format!("{PATH}/{name}"), name).await?;
        Ok(found.filter(|it| it["metadata"]["deletionTimestamp"].is_null()).map(|document| Self { document }))
    }

    /// Every CRD of a group.
    pub(super) async fn of_group(cluster: &Cluster, group: &str) -> Result<Vec<Self>, ClusterError> {
        let mut list = cluster.get(PATH).await?;
        let items = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let all = items.into_iter().filter(|it| it["spec"]["group"] == group);
        Ok(all.map(|document| Self { document }).collect())
    }

    /// Makes a CRD, unless there is one.
    pub(super) async fn create(cluster: &Cluster, document: &Value) -> Result<(), ClusterError> {
        match cluster.call(Method::POST, &managed(PATH), Some((Form::Json, document))).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.document["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// The versions that are served, without the side entrance.
    pub(super) fn served(&self) -> impl Iterator<Item = &str> {
        let served = self.versions().iter().filter(|it| it["served"] == true);
        served.filter_map(|it| it["name"].as_str()).filter(|it| *it != ENTRANCE)
    }

    /// The version that objects are stored in.
    pub(super) fn stored(&self) -> Option<&str> {
        self.versions().iter().find(|it| it["storage"] == true)?["name"].as_str()
    }

    pub(super) fn has_entrance(&self) -> bool {
        self.versions().iter().any(|it| it["name"] == ENTRANCE)
    }

    /// Why objects cannot be moved as they are, if they cannot: a webhook would change them on the way, or not answer.
    pub(super) fn converts(&self) -> bool {
        self.document["spec"]["conversion"]["strategy"] == "Webhook"
    }

    fn versions(&self) -> &[Value] {
        self.document["spec"]["versions"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// Opens the side entrance, and waits until it is open.
    pub(super) async fn open(cluster: &Cluster, resource: &Resource) -> Result<(), ClusterError> {
        change(cluster, &resource.id(), |versions| {
            if versions.iter().any(|it| it["name"] == ENTRANCE) {
                return false;
            }
            versions.push(entrance());
            true
        })
        .await?;
        let path = format!("/apis/{}/{ENTRANCE}/{}?limit=1", resource.group, resource.names.plural);
        for _ in 1..LOOKS {
            match cluster.get(&path).await {
                Err(error) if matches!(error.code(), Some(404 | 503)) => sleep(LOOK).await,
                answered => return answered.map(drop),
            }
        }
        cluster.get(&path).await.map(drop)
    }

    /// Ends the watches of this resource that kube-apiserver still answers from etcd: its clients begin again where it is served now.
    pub(super) async fn cut(cluster: &Cluster, resource: &Resource) -> Result<(), ClusterError> {
        let mark = format!("Watches were ended on {}.", jiff::Timestamp::now());
        change(cluster, &resource.id(), |versions| {
            let Some(entrance) = versions.iter_mut().find(|it| it["name"] == ENTRANCE) else { return false };
            entrance["schema"]["openAPIV3Schema"]["description"] = mark.as_str().into();
            true
        })
        .await
    }

    /// Whether something of this server is in it.
    pub(super) fn bears_traces(&self) -> bool {
        self.has_entrance() || is_owned(&self.document)
    }

    /// Takes the side entrance away, and every other trace.
    pub(super) async fn close(cluster: &Cluster, name: &str) -> Result<(), ClusterError> {
        change(cluster, name, |versions| {
            let before = versions.len();
            versions.retain(|it| it["name"] != ENTRANCE);
            versions.len() < before
        })
        .await?;
        cluster.disown(&format!("{PATH}/{name}"), name).await
    }
}

fn entrance() -> Value {
    json!({
        "name": ENTRANCE,
        "served": true,
        "storage": false,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
    })
}

/// Changes the versions of a CRD, if `change` changes any, and if nobody else does meanwhile. No CRD is nothing to change.
async fn change(
    cluster: &Cluster,
    name: &str,
    mut change: impl FnMut(&mut Vec<Value>) -> bool,
) -> Result<(), ClusterError> {
    let path = format!("{PATH}/{name}");
    for attempt in 1.. {
        let Some(found) = Definition::read(cluster, name).await? else { return Ok(()) };
        let mut versions = found.versions().to_vec();
        if !change(&mut versions) {
            return Ok(());
        }
        let revision = &found.document["metadata"]["resourceVersion"];
        let patch = json!({"metadata": {"resourceVersion": revision}, "spec": {"versions": versions}});
        match cluster.call(Method::PATCH, &managed(&path), Some((Form::Merge, &patch))).await {
            Err(error) if error.is_conflict() && attempt < ATTEMPTS => {}
            done => return done.map(drop),
        }
    }
    Ok(())
}
