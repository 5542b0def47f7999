//! The CRD of a resource, and the side entrance to its objects in etcd.
//!
//! Once the versions of a resource are answered by this server, nobody reaches its objects in etcd through them any more. A further version of the CRD
//! does: served, not stored, without a schema, so that every object comes and goes as it is. kube-apiserver registers it by itself, and takes it away
//! when it is taken out of the CRD.
//!
//! A kube-apiserver that begins to run answers from its CRDs until it has read the APIServices: an object that stands here would be absent for a moment,
//! and a write would go to etcd, where nobody looks for it. So the other versions are not served ([`Definition::hide`]) for as long as objects stand here;
//! it answers `503` then. Which they were stands in an annotation.
//!
//! Every change of a CRD's spec makes kube-apiserver end all watches of the resource and forget its cache, so that older revisions are expired. That
//! happens when the entrance is opened and closed, and ends the watches that still show etcd when the versions are hidden.

use http::Method;
use serde_json::{Map, Value, json};
use tokio::time::{Duration, sleep};

use super::cluster::{ATTEMPTS, Cluster, ClusterError, Form, is_owned, managed};
use crate::registry::Resource;

/// The version that is the side entrance.
pub(super) const ENTRANCE: &str = "v0larder";

/// Which versions kube-apiserver is to serve again, separated by commas.
const HIDDEN: &str = "larder.dev/served";

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

    /// The versions that are served or will be again, without the side entrance.
    pub(super) fn served(&self) -> impl Iterator<Item = &str> {
        let hidden = hidden(&self.document);
        let served = self.versions().iter().filter(move |it| it["served"] == true || is_among(&hidden, it));
        served.filter_map(|it| it["name"].as_str()).filter(|it| *it != ENTRANCE)
    }

    /// Whether it is being deleted, and its objects with it.
    pub(super) fn is_ending(&self) -> bool {
        !self.document["metadata"]["deletionTimestamp"].is_null()
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
        change(cluster, &resource.id(), |it| {
            if it.versions.iter().any(|it| it["name"] == ENTRANCE) {
                return false;
            }
            it.versions.push(entrance());
            true
        })
        .await?;
        let path = entrance_path(&resource.group, &resource.names.plural);
        for _ in 1..LOOKS {
            match cluster.get(&path).await {
                Err(error) if matches!(error.code(), Some(404 | 503)) => sleep(LOOK).await,
                answered => return answered.map(drop),
            }
        }
        cluster.get(&path).await.map(drop)
    }

    /// Lets kube-apiserver serve nothing but the side entrance, also when it is started anew. That ends the watches which it still answers from etcd.
    pub(super) async fn hide(cluster: &Cluster, name: &str) -> Result<(), ClusterError> {
        change(cluster, name, |it| {
            let is_open = |it: &&mut Value| it["served"] == true && it["name"] != ENTRANCE;
            let mut served = Vec::new();
            for version in it.versions.iter_mut().filter(is_open) {
                version["served"] = false.into();
                served.extend(version["name"].as_str().map(str::to_owned));
            }
            let is_new = !served.is_empty();
            served.retain(|name| !it.hidden.contains(name));
            it.hidden.append(&mut served);
            is_new
        })
        .await?;
        cluster.disown(&format!("{PATH}/{name}"), name).await
    }

    /// Undoes [`Definition::hide`], and returns once kube-apiserver would answer. The side entrance is closed by the same change, and so tells when that
    /// is: nobody is sent to the versions yet.
    pub(super) async fn show(&self, cluster: &Cluster) -> Result<(), ClusterError> {
        let is_changed = change(cluster, self.name(), |it| {
            let hidden = std::mem::take(&mut it.hidden);
            for version in it.versions.iter_mut().filter(|it| is_among(&hidden, it)) {
                version["served"] = true.into();
            }
            if !hidden.is_empty() {
                it.versions.retain(|it| it["name"] != ENTRANCE);
            }
            !hidden.is_empty()
        });
        if !is_changed.await? {
            return Ok(());
        }
        let spec = &self.document["spec"];
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let path = entrance_path(&text(&spec["group"]), &text(&spec["names"]["plural"]));
        for _ in 0..LOOKS {
            match cluster.get(&path).await {
                Err(error) if error.code() == Some(404) => break,
                _ => sleep(LOOK).await,
            }
        }
        Ok(())
    }

    /// Whether something of this server is in it.
    pub(super) fn bears_traces(&self) -> bool {
        self.has_entrance() || is_owned(&self.document) || !hidden(&self.document).is_empty()
    }

    /// Takes the side entrance away, and what else says that somebody was here; what is hidden stays hidden.
    pub(super) async fn close(cluster: &Cluster, name: &str) -> Result<(), ClusterError> {
        change(cluster, name, |it| {
            let before = it.versions.len();
            it.versions.retain(|it| it["name"] != ENTRANCE);
            it.versions.len() < before
        })
        .await?;
        cluster.disown(&format!("{PATH}/{name}"), name).await
    }
}

/// Where it is seen whether the side entrance is open.
fn entrance_path(group: &str, plural: &str) -> String {
    format!("/apis/{group}/{ENTRANCE}/{plural}?limit=1")
}

fn entrance() -> Value {
    json!({
        "name": ENTRANCE,
        "served": true,
        "storage": false,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
    })
}

/// The versions that were hidden.
fn hidden(document: &Value) -> Vec<String> {
    let text = document["metadata"]["annotations"][HIDDEN].as_str().unwrap_or_default();
    text.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

fn is_among(names: &[String], version: &Value) -> bool {
    names.iter().any(|it| version["name"] == **it)
}

/// What is changed of a CRD.
struct Change {
    versions: Vec<Value>,
    /// The names of those that were hidden.
    hidden: Vec<String>,
}

impl Change {
    fn of(document: &Value) -> Self {
        let versions = document["spec"]["versions"].as_array().cloned().unwrap_or_default();
        Self { versions, hidden: hidden(document) }
    }

    /// As a merge patch.
    fn patch(&self, document: &Value) -> Value {
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".to_owned(), document["metadata"]["resourceVersion"].clone());
        if self.hidden != hidden(document) {
            let hidden = if self.hidden.is_empty() { Value::Null } else { self.hidden.join(",").into() };
            metadata.insert("annotations".to_owned(), json!({HIDDEN: hidden}));
        }
        json!({"metadata": metadata, "spec": {"versions": self.versions}})
    }
}

/// Changes a CRD, if `change` changes anything, and if nobody else does meanwhile. No CRD is nothing to change. Returns whether it was.
async fn change(
    cluster: &Cluster,
    name: &str,
    mut change: impl FnMut(&mut Change) -> bool,
) -> Result<bool, ClusterError> {
    let path = format!("{PATH}/{name}");
    for attempt in 1.. {
        let Some(found) = Definition::read(cluster, name).await? else { return Ok(false) };
        let mut changed = Change::of(&found.document);
        if !change(&mut changed) {
            return Ok(false);
        }
        let patch = changed.patch(&found.document);
        match cluster.call(Method::PATCH, &managed(&path), Some((Form::Merge, &patch))).await {
            Err(error) if error.is_conflict() && attempt < ATTEMPTS => {}
            done => return done.map(|_| true),
        }
    }
    Ok(false)
}
