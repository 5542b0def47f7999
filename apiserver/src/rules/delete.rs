//! Deleting an object: at once, or marked until its last finalizer is gone.

use serde::Deserialize;
use serde_json::Value;

use super::{FOREGROUND, ORPHAN, finalizers, generation};
use crate::object::Object;

/// What a caller says of a deletion (`meta/v1` `DeleteOptions`). Grace periods do not exist here and are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteOptions {
    /// What has to hold.
    pub preconditions: Option<Preconditions>,
    /// What becomes of dependents.
    pub propagation_policy: Option<Propagation>,
    /// The same, as it was said long ago.
    pub orphan_dependents: Option<bool>,
    /// `All`, if nothing is to be stored.
    pub dry_run: Vec<String>,
    /// Seconds; ignored.
    pub grace_period_seconds: Option<i64>,
}

/// What has to hold of an object that is to be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Preconditions {
    /// Its uid.
    pub uid: Option<String>,
    /// Its resource version.
    pub resource_version: Option<String>,
}

/// What becomes of the dependents of an object that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Propagation {
    /// They lose their owner.
    Orphan,
    /// They are deleted after it.
    Background,
    /// They are deleted before it.
    Foreground,
}

/// What a deletion comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Deletion {
    /// The object is removed.
    Remove,
    /// The object is written like this, and waits for its finalizers.
    Mark(Object),
    /// It waits already; nothing changes.
    Waiting,
}

/// What deleting an object comes to.
///
/// # Errors
/// A precondition does not hold: a 409 that ends in this text.
pub fn delete(object: &Object, options: &DeleteOptions, now: jiff::Timestamp) -> Result<Deletion, String> {
    if let Some(preconditions) = &options.preconditions {
        preconditions.check(object)?;
    }
    let mut marked = object.clone();
    set_finalizers(&mut marked, options);
    if finalizers(&marked).is_empty() {
        return Ok(Deletion::Remove);
    }
    let is_first = object.meta("deletionTimestamp").is_none();
    let metadata = marked.metadata_mut();
    if is_first {
        metadata.insert("deletionTimestamp".to_owned(), super::time(now).into());
        if generation(object) > 0 {
            metadata.insert("generation".to_owned(), (generation(object) + 1).into());
        }
    }
    metadata.insert("deletionGracePeriodSeconds".to_owned(), 0.into());
    Ok(if marked == *object { Deletion::Waiting } else { Deletion::Mark(marked) })
}

impl Preconditions {
    fn check(&self, object: &Object) -> Result<(), String> {
        let uid = object.meta("uid").unwrap_or_default();
        if let Some(expected) = self.uid.as_ref().filter(|it| *it != uid) {
            return Err(format!(
                "the UID in the precondition ({expected}) does not match the UID in record ({uid}). The object might have been \
                 deleted and then recreated"
            ));
        }
        let revision = object.meta("resourceVersion").unwrap_or_default();
        if let Some(expected) = self.resource_version.as_ref().filter(|it| *it != revision) {
            return Err(format!(
                "the ResourceVersion in the precondition ({expected}) does not match the ResourceVersion in record ({revision}). \
                 The object might have been modified"
            ));
        }
        Ok(())
    }
}

/// Puts in or takes out the two finalizers of the garbage collector, as the caller, else the object itself, says.
fn set_finalizers(object: &mut Object, options: &DeleteOptions) {
    let before = finalizers(object);
    let said = match (options.orphan_dependents, options.propagation_policy) {
        (Some(true), _) | (None, Some(Propagation::Orphan)) => Some(ORPHAN),
        (None, Some(Propagation::Foreground)) => Some(FOREGROUND),
        (Some(false), _) | (None, Some(Propagation::Background)) => None,
        (None, None) => [ORPHAN, FOREGROUND].into_iter().find(|it| before.iter().any(|name| name == it)),
    };
    let is_ours = |it: &String| it == ORPHAN || it == FOREGROUND;
    let mut after: Vec<String> = before.iter().filter(|it| !is_ours(it)).cloned().collect();
    after.extend(said.map(str::to_owned));
    let (mut a, mut b) = (before, after.clone());
    a.sort();
    b.sort();
    if a == b {
        return;
    }
    match after.is_empty() {
        true => _ = object.metadata_mut().remove("finalizers"),
        false => _ = object.metadata_mut().insert("finalizers".to_owned(), Value::from(after)),
    }
}
