//! How far a move is: what logs, metrics and bars are made from.

use serde::Serialize;
use tokio::sync::watch;

/// Objects that are named, at most; the others are counted only.
const NAMED: usize = 32;

/// Where a move stands, over all groups. Counts are of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Objects that were found.
    pub found: u64,
    /// Objects that were written to where they go.
    pub copied: u64,
    /// Objects that stood there already.
    pub same: u64,
    /// Objects that were deleted where they go, since they were deleted where they came from.
    pub deleted: u64,
    /// Objects that were removed from where they came from, after they had been compared.
    pub removed: u64,
    /// Writes that came too late and lost to a newer one.
    pub overruled: u64,
    /// Objects that cannot be moved.
    pub stays: u64,
    /// The first of those that lost or cannot be moved, and why.
    pub named: Vec<Named>,
}

/// An object that is worth naming.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// The resource: `policyreports.wgpolicyk8s.io`.
    pub resource: String,
    /// `namespace/name`.
    pub key: String,
    /// What is to be said about it.
    pub reason: String,
}

/// Counts.
#[derive(Clone, Default)]
pub(super) struct Tally(watch::Sender<Progress>);

impl Tally {
    pub(super) fn subscribe(&self) -> watch::Receiver<Progress> {
        self.0.subscribe()
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Progress)) {
        self.0.send_modify(count);
    }

    /// Names an object, once.
    pub(super) fn name(&self, resource: &str, key: &impl ToString, reason: &str) {
        let named = Named { resource: resource.to_owned(), key: key.to_string(), reason: reason.to_owned() };
        tracing::warn!(resource, key = named.key, reason, "an object of a move");
        self.0.send_if_modified(|progress| {
            let is_new = progress.named.len() < NAMED && !progress.named.contains(&named);
            if is_new {
                progress.named.push(named);
            }
            is_new
        });
    }
}
