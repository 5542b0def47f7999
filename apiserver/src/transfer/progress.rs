//! How far a move is: what logs, metrics and bars are made from.

use std::collections::{BTreeMap, BTreeSet};

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
    /// Attempts at moving a group that failed.
    pub errors: u64,
    /// The groups that are not at their end.
    pub open: BTreeSet<String>,
    /// What is being done, by resource: `policyreports.wgpolicyk8s.io`.
    pub steps: BTreeMap<String, Step>,
    /// The first of those that lost or cannot be moved, and why.
    pub named: Vec<Named>,
}

/// What is being done about the objects of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What.
    pub phase: Phase,
    /// Objects for which it is done.
    pub done: u64,
    /// Objects for which it is not done yet, as far as was seen.
    pub left: u64,
}

/// The steps of a move, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Objects are written to where they go.
    Copying,
    /// What was copied is read back.
    Comparing,
    /// The other store takes over.
    Switching,
    /// Objects are removed from where they came from.
    Removing,
    /// Late writes are waited for.
    Waiting,
    /// Nothing is left to do.
    Done,
}

impl Phase {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Copying => "copying",
            Self::Comparing => "comparing",
            Self::Switching => "switching",
            Self::Removing => "removing",
            Self::Waiting => "waiting",
            Self::Done => "done",
        }
    }
}

impl Progress {
    /// Objects that the present steps have before them.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.steps.values().map(|it| it.left).sum()
    }

    /// Objects for which the present steps are done.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.steps.values().map(|it| it.done).sum()
    }

    /// How often something was done about an object: what a rate is made from.
    #[must_use]
    pub fn handled(&self) -> u64 {
        self.copied + self.same + self.deleted + self.removed
    }

    /// What is being done, of each resource that is not done with: `policyreports.wgpolicyk8s.io copying`.
    #[must_use]
    pub fn phases(&self) -> String {
        let under_way = self.steps.iter().filter(|(_, it)| it.phase != Phase::Done);
        under_way.map(|(id, it)| format!("{id} {}", it.phase.as_str())).collect::<Vec<_>>().join(", ")
    }
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

    /// Begins a step of a resource.
    pub(super) fn begin(&self, resource: &str, phase: Phase) {
        let step = Step { phase, done: 0, left: 0 };
        self.count(|it| _ = it.steps.insert(resource.to_owned(), step));
    }

    /// Takes how many objects a step has before it.
    pub(super) fn expect(&self, resource: &str, left: u64) {
        self.step(resource, |it| it.left = left);
    }

    /// Counts objects for which a step is done.
    pub(super) fn did(&self, resource: &str, count: usize) {
        self.step(resource, |it| {
            it.done += count as u64;
            it.left = it.left.saturating_sub(count as u64);
        });
    }

    fn step(&self, resource: &str, change: impl FnOnce(&mut Step)) {
        self.count(|progress| {
            if let Some(step) = progress.steps.get_mut(resource) {
                change(step);
            }
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_that_of_the_steps_under_way() {
        let tally = Tally::default();
        tally.begin("a.g", Phase::Copying);
        tally.expect("a.g", 10);
        tally.did("a.g", 3);
        tally.begin("b.g", Phase::Done);
        tally.did("nothing.g", 5);
        let now = tally.subscribe().borrow().clone();
        assert_eq!((now.done(), now.left(), now.phases()), (3, 7, "a.g copying".to_owned()));
        tally.did("a.g", 8);
        tally.begin("a.g", Phase::Removing);
        assert_eq!(
            tally.subscribe().borrow().steps["a.g"],
            Step { phase: Phase::Removing, done: 0, left: 0 }
        );
    }
}
