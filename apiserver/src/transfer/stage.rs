//! How far a group has moved: one small object in the store for each group, beside the objects that it is about.
//!
//! It is written by compare-and-swap, so that of two movers one fails, and read by every replica ([`gate`](super::gate)). What it says is only what
//! can be seen nowhere else: whom to believe. Everything else is found in the two stores themselves.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::TransferError;
use crate::object::Object;
use crate::store::{Draft, Key, Revision, Store, StoreError, Stored};

/// What the store calls these objects. No resource of Kubernetes has such a name.
pub(super) const STAGES: &str = "transfer";

/// How far a group has moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub(super) enum Stage {
    /// etcd is right; what stands here is a copy, and of no use to clients.
    Copying {
        /// Whether everything here is a copy, so that what is not in etcd goes.
        prunes: bool,
    },
    /// This store is right. What stands in etcd is old, except for what was written behind these revisions of etcd.
    Open {
        /// By resource; of one that is not named nothing is late.
        behind: BTreeMap<String, Revision>,
        /// When those revisions were read, by the clock of kube-apiserver, rounded down.
        since: Timestamp,
        /// Whether what stands in etcd up to there was copied from there, and not to there.
        are_originals: bool,
    },
    /// This store is right, and nothing is left in etcd.
    Settled,
    /// This store is right and being copied back: it takes no writes.
    Leaving,
    /// etcd is right again. What stands here up to this revision is old.
    Gone {
        /// The revision up to which everything was copied back.
        until: Revision,
        /// What could not be copied back: the resource, a space, the key.
        kept: Vec<String>,
    },
}

/// A stage, and when it began.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mark {
    pub(super) stage: Stage,
    /// Its own revision: what was written before the stage has a lower one, what was written since a higher one.
    pub(super) revision: Revision,
    /// Whether the cluster had CRDs of the group when it came in, and so has to have them when it leaves.
    pub(super) was_defined: bool,
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct Spec {
    #[serde(flatten)]
    stage: Stage,
    #[serde(rename = "wasDefined", default = "yes")]
    was_defined: bool,
}

/// What was written before this was noted.
fn yes() -> bool {
    true
}

impl Stage {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Copying { .. } => "copying",
            Self::Open { .. } => "open",
            Self::Settled => "settled",
            Self::Leaving => "leaving",
            Self::Gone { .. } => "gone",
        }
    }
}

impl Mark {
    pub(super) fn of(stored: &Stored) -> Result<Self, StoreError> {
        let object = stored.object("", "")?;
        let spec = object.0.get("spec").cloned().unwrap_or_default();
        let Spec { stage, was_defined } =
            serde_json::from_value(spec).map_err(|it| StoreError::Damaged(it.to_string()))?;
        Ok(Self { stage, revision: stored.revision, was_defined })
    }
}

fn key(group: &str) -> Key {
    Key { namespace: String::new(), name: group.to_owned() }
}

/// How far a group has moved; `None` if it never began.
pub(super) async fn read(store: &Store, group: &str) -> Result<Option<Mark>, StoreError> {
    store.get(STAGES, &key(group)).await?.map(|it| Mark::of(&it)).transpose()
}

/// Begins a stage, if the one before is still the last.
pub(super) async fn begin(
    store: &Store,
    group: &str,
    before: Option<&Mark>,
    stage: Stage,
) -> Result<Mark, TransferError> {
    let was_defined = before.is_none_or(|it| it.was_defined);
    write(store, group, before.map(|it| it.revision), Spec { stage, was_defined }).await
}

/// Begins the first stage of a group that the cluster has no CRD of.
pub(super) async fn begin_undefined(store: &Store, group: &str) -> Result<Mark, TransferError> {
    write(store, group, None, Spec { stage: Stage::Settled, was_defined: false }).await
}

async fn write(
    store: &Store,
    group: &str,
    before: Option<Revision>,
    spec: Spec,
) -> Result<Mark, TransferError> {
    let written = serde_json::to_value(&spec).map_err(|it| StoreError::Damaged(it.to_string()))?;
    let object: Map<String, Value> =
        [("metadata".to_owned(), json!({"name": group})), ("spec".to_owned(), written)].into_iter().collect();
    let (version, uid) = ("v1".to_owned(), String::new());
    let draft = Draft { key: key(group), uid, version, object: Object(object), fields: Vec::new() };
    let written = match before {
        None => store.create(STAGES, &draft).await,
        Some(before) => store.update(STAGES, &draft, before).await,
    };
    let stored = written.map_err(TransferError::or_overtaken)?;
    let Spec { stage, was_defined } = spec;
    tracing::info!(group, stage = stage.as_str(), "a stage of the move began");
    Ok(Mark { stage, revision: stored.revision, was_defined })
}

/// Forgets that a group ever moved.
pub(super) async fn forget(store: &Store, group: &str, before: &Mark) -> Result<(), TransferError> {
    store.delete(STAGES, &key(group), before.revision).await.map_err(TransferError::or_overtaken)?;
    Ok(())
}
