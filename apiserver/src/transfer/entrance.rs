//! Objects in etcd, through the side entrance: read page by page, watched, written, removed.
//!
//! Whatever destroys names the uid and the revision that were read.

use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::cluster::{Cluster, ClusterError, Form, Lines, managed};
use super::definition::ENTRANCE;
use crate::object::Object;
use crate::registry::{Resource, Scope};
use crate::store::{Key, Revision};

/// Objects of a page at most, as kubectl has it.
const PAGE: usize = 500;

/// Bytes of a page that are thought enough: objects of a megabyte come one by one.
const ENOUGH: usize = 8 << 20;

/// The side entrance of a resource.
#[derive(Clone)]
pub(super) struct Entrance {
    cluster: Cluster,
    group: String,
    plural: String,
    kind: String,
    scope: Scope,
}

/// An object as it stands in etcd.
#[derive(Clone, Debug)]
pub(super) struct Old {
    pub(super) key: Key,
    pub(super) revision: Revision,
    pub(super) object: Object,
}

/// Some objects, in the order of keys.
pub(super) struct Page {
    /// The revision of the list.
    pub(super) revision: Revision,
    pub(super) items: Vec<Old>,
    /// How many follow.
    pub(super) remaining: u64,
}

/// Objects of this name are nobody's: one is made where a watch has to tell how far it is.
const MARK: &str = "larder-mark-";

impl Old {
    /// Whether it is nobody's.
    pub(super) fn is_mark(&self) -> bool {
        self.key.name.starts_with(MARK)
    }
}

/// What a watch tells.
pub(super) enum Event {
    /// It was made or changed.
    Put(Old),
    /// It was deleted.
    Gone(Old),
    /// Everything up to here was told.
    Mark(Revision),
    /// The history does not reach back so far.
    Expired,
}

/// A watch.
pub(super) struct Following {
    lines: Lines,
}

#[derive(Deserialize)]
struct List {
    metadata: ListMeta,
    #[serde(default)]
    items: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
struct ListMeta {
    #[serde(rename = "resourceVersion", default)]
    revision: String,
    #[serde(rename = "continue", default)]
    go_on: String,
    #[serde(rename = "remainingItemCount", default)]
    remaining: u64,
}

#[derive(Deserialize)]
struct Told {
    #[serde(rename = "type")]
    kind: String,
    object: Map<String, Value>,
}

impl Entrance {
    pub(super) fn new(cluster: Cluster, resource: &Resource) -> Self {
        let (group, names) = (resource.group.clone(), &resource.names);
        let (plural, kind) = (names.plural.clone(), names.kind.clone());
        Self { cluster, group, plural, kind, scope: resource.scope }
    }

    fn collection(&self) -> String {
        format!("/apis/{}/{ENTRANCE}/{}", self.group, self.plural)
    }

    fn within(&self, namespace: &str) -> String {
        match self.scope {
            Scope::Cluster => self.collection(),
            Scope::Namespaced => {
                format!("/apis/{}/{ENTRANCE}/namespaces/{namespace}/{}", self.group, self.plural)
            }
        }
    }

    fn item(&self, key: &Key) -> String {
        format!("{}/{}", self.within(&key.namespace), key.name)
    }

    /// The revision of the present.
    pub(super) async fn revision(&self) -> Result<Revision, ClusterError> {
        let list: List = self.read(&format!("{}?limit=1", self.collection())).await?;
        Ok(number(&list.metadata.revision))
    }

    /// Reads everything, page by page.
    pub(super) fn pages(&self) -> Pages<'_> {
        Pages { entrance: self, limit: PAGE, go_on: None, is_over: false }
    }

    /// The object under a key.
    pub(super) async fn get(&self, key: &Key) -> Result<Option<Old>, ClusterError> {
        let found = self.cluster.find(&self.item(key), &key.name).await?;
        Ok(found.and_then(|it| Some(old(into_map(it)?))))
    }

    /// Follows what changes behind a revision, for `seconds`.
    pub(super) async fn watch(&self, from: Revision, seconds: u64) -> Result<Following, ClusterError> {
        let path = format!(
            "{}?watch=true&resourceVersion={from}&allowWatchBookmarks=true&timeoutSeconds={seconds}",
            self.collection()
        );
        Ok(Following { lines: self.cluster.lines(&path).await? })
    }

    /// Removes an object that is still as it was read. `false` if it is not.
    pub(super) async fn delete(&self, old: &Old) -> Result<bool, ClusterError> {
        let uid = old.object.meta("uid");
        let options = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
            "preconditions": {"uid": uid, "resourceVersion": old.revision.to_string()},
        });
        let done =
            self.cluster.call(Method::DELETE, &self.item(&old.key), Some((Form::Json, &options))).await;
        match done {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing(&old.key.name) || error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Patches an object that is still as it was read; `None` if it is not, or if it is gone with the patch.
    pub(super) async fn patch(&self, old: &Old, mut patch: Value) -> Result<Option<Old>, ClusterError> {
        patch["metadata"]["resourceVersion"] = old.revision.to_string().into();
        patch["metadata"]["uid"] = old.object.meta("uid").into();
        let path = managed(&self.item(&old.key));
        match self.cluster.call(Method::PATCH, &path, Some((Form::Merge, &patch))).await {
            Ok(patched) => Ok(into_map(patched).map(self::old)),
            Err(error) if error.is_missing(&old.key.name) || error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes an object; `None` if there is one.
    pub(super) async fn create(&self, key: &Key, object: Object) -> Result<Option<Old>, ClusterError> {
        let body = self.body(object, None);
        let path = managed(&self.within(&key.namespace));
        match self.cluster.call(Method::POST, &path, Some((Form::Json, &body))).await {
            Ok(created) => Ok(into_map(created).map(old)),
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes an object that is nobody's, so that a watch tells something.
    pub(super) async fn mark(&self) -> Result<Option<Old>, ClusterError> {
        let namespace = if self.scope == Scope::Namespaced { "default" } else { "" };
        let key = Key { namespace: namespace.to_owned(), name: format!("{MARK}{}", uuid::Uuid::new_v4()) };
        let mut object = Object::default();
        object.metadata_mut().insert("name".to_owned(), key.name.as_str().into());
        self.create(&key, object).await
    }

    /// Replaces an object that is still as it was read; `None` if it is not.
    pub(super) async fn replace(&self, before: &Old, object: Object) -> Result<Option<Old>, ClusterError> {
        let body = self.body(object, Some(before.revision));
        let path = managed(&self.item(&before.key));
        match self.cluster.call(Method::PUT, &path, Some((Form::Json, &body))).await {
            Ok(replaced) => Ok(into_map(replaced).map(old)),
            Err(error) if error.is_missing(&before.key.name) || error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn body(&self, mut object: Object, revision: Option<Revision>) -> Value {
        object.0.insert("apiVersion".to_owned(), format!("{}/{ENTRANCE}", self.group).into());
        object.0.insert("kind".to_owned(), self.kind.as_str().into());
        if let Some(revision) = revision {
            object.metadata_mut().insert("resourceVersion".to_owned(), revision.to_string().into());
        }
        object.0.into()
    }

    async fn read(&self, path: &str) -> Result<List, ClusterError> {
        let answer = self.cluster.get(path).await?;
        serde_json::from_value(answer)
            .map_err(|it| ClusterError::Away { call: format!("GET {path}"), reason: it.to_string() })
    }
}

/// A list that is read page by page.
pub(super) struct Pages<'e> {
    entrance: &'e Entrance,
    limit: usize,
    go_on: Option<String>,
    is_over: bool,
}

impl Pages<'_> {
    /// The next page; `None` at the end. Pages are of one revision, unless the list takes longer than etcd remembers.
    pub(super) async fn next(&mut self) -> Result<Option<Page>, ClusterError> {
        if self.is_over {
            return Ok(None);
        }
        let list = loop {
            let token = self.go_on.as_ref().map(|it| format!("&continue={}", escaped(it)));
            let (limit, token) = (self.limit, token.unwrap_or_default());
            match self.entrance.read(&format!("{}?limit={limit}{token}", self.entrance.collection())).await {
                Ok(list) => break list,
                Err(ClusterError::TooLong { .. }) if self.limit > 1 => self.limit = (self.limit / 8).max(1),
                Err(error) => self.go_on = Some(error.go_on().ok_or(error)?),
            }
        };
        let revision = number(&list.metadata.revision);
        let items: Vec<Old> = list.items.into_iter().map(old).collect();
        let next = Some(list.metadata.go_on).filter(|it| !it.is_empty());
        (self.is_over, self.go_on) = (next.is_none(), next);
        self.adapt(&items);
        Ok(Some(Page { revision, items, remaining: list.metadata.remaining }))
    }

    /// Asks for as many objects as are about enough bytes.
    fn adapt(&mut self, items: &[Old]) {
        let Some(one) = items.first() else { return };
        let largest = items.iter().map(|it| weight(&it.object)).max().unwrap_or_else(|| weight(&one.object));
        self.limit = (ENOUGH / largest.max(1)).clamp(1, PAGE);
    }
}

/// About how long an object is.
fn weight(object: &Object) -> usize {
    fn of(value: &Value) -> usize {
        match value {
            Value::Array(items) => 2 + items.iter().map(of).sum::<usize>(),
            Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + 4 + of(value)).sum(),
            Value::String(text) => 2 + text.len(),
            _ => 8,
        }
    }
    object.0.iter().map(|(name, value)| name.len() + 4 + of(value)).sum()
}

impl Following {
    /// The next event; `None` when the watch is over. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, ClusterError> {
        loop {
            let Some(line) = self.lines.next().await? else { return Ok(None) };
            let Ok(told) = serde_json::from_slice::<Told>(&line) else { return Ok(None) };
            match told.kind.as_str() {
                "ADDED" | "MODIFIED" => return Ok(Some(Event::Put(old(told.object)))),
                "DELETED" => return Ok(Some(Event::Gone(old(told.object)))),
                "BOOKMARK" => return Ok(Some(Event::Mark(old(told.object).revision))),
                "ERROR" if told.object.get("code") == Some(&json!(410)) => return Ok(Some(Event::Expired)),
                "ERROR" => return Ok(None),
                _ => {}
            }
        }
    }
}

fn old(object: Map<String, Value>) -> Old {
    let object = Object(object);
    let text = |field| object.meta(field).unwrap_or_default().to_owned();
    let key = Key { namespace: text("namespace"), name: text("name") };
    Old { key, revision: number(&text("resourceVersion")), object }
}

fn into_map(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

/// etcd's revisions are numbers, and are compared as such (`k8s.io/client-go/util/resourceversion`).
fn number(revision: &str) -> Revision {
    revision.parse().unwrap_or_default()
}

fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
