//! Owners that are copied back as well. In etcd they get another uid, and Kubernetes collects an object whose owner is not there under the uid that it
//! names: so an object comes behind its owners, and names them as they are there.
//!
//! Not done: owners of another group, which may have left already or come later; and what is no object of this server but is owned by one.

use std::sync::Arc;

use serde_json::Value;

use crate::object::Object;
use crate::registry::{Resource, Scope};
use crate::store::{Key, Store};
use crate::transfer::TransferError;
use crate::transfer::entrance::Entrance;

/// The resources of one group, and the ways to them.
pub(super) struct Owners {
    store: Store,
    /// Those of other groups have no way.
    resources: Vec<(Arc<Resource>, Option<Entrance>)>,
}

impl Owners {
    pub(super) fn new(store: Store, resources: Vec<(Arc<Resource>, Option<Entrance>)>) -> Self {
        Self { store, resources }
    }

    /// Lets an object name its owners as they stand in etcd. The reason why it cannot yet, if an owner is not there.
    pub(super) async fn adopt(
        &self,
        object: &mut Object,
        namespace: &str,
    ) -> Result<Result<(), String>, TransferError> {
        let references = object.metadata_mut().get_mut("ownerReferences").and_then(Value::as_array_mut);
        for reference in references.into_iter().flatten() {
            let Some((key, entrance)) = self.find(reference, namespace).await? else { continue };
            let there = match entrance {
                Some(entrance) => entrance.get(&key).await?,
                None => None,
            };
            match there.and_then(|it| it.object.meta("uid").map(str::to_owned)) {
                Some(uid) => reference["uid"] = uid.into(),
                None => return Ok(Err(waits(reference))),
            }
        }
        Ok(Ok(()))
    }

    /// The owner, if it is an object of this server that is there.
    async fn find(
        &self,
        reference: &Value,
        namespace: &str,
    ) -> Result<Option<(Key, &Option<Entrance>)>, TransferError> {
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let (group, _) = text("apiVersion").rsplit_once('/').unwrap_or_default();
        let is_its = |it: &Resource| it.group == group && it.names.kind == text("kind");
        let Some((resource, entrance)) = self.resources.iter().find(|(it, _)| is_its(it)) else {
            return Ok(None);
        };
        let namespace = if resource.scope == Scope::Namespaced { namespace } else { "" };
        let key = Key { namespace: namespace.to_owned(), name: text("name").to_owned() };
        let Some(owner) = self.store.get(&resource.id(), &key).await? else { return Ok(None) };
        let is_it = owner.object("", "")?.meta("uid") == Some(text("uid"));
        Ok(is_it.then_some((key, entrance)))
    }
}

fn waits(reference: &Value) -> String {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let (kind, name) = (text("kind"), text("name"));
    format!("its owner, the {kind} {name}, is not in etcd: without it Kubernetes would collect this object")
}
