//! Moving existing custom resources out of kube-apiserver's etcd into the store, and back, while clients go on.
//!
//! A [`Transfer`] moves whole groups, since that is what an APIService is about, with the ways `inward` and `outward`. At no moment is an object absent to a
//! client, and wherever a mover is killed, the next one ends in the same state: nothing is remembered but which of the two stores is right
//! (`stage`); everything else is compared. Objects are not validated on the way: they are kept as they are.
//!
//! What it costs clients: their watches end three times (the side entrance opens, they are moved over, it closes), and requests wait for some
//! seconds while the store takes over. On the way out they are told to try again for about a second, and objects get a new uid.
//!
//! # Rights
//!
//! | group | resource | verbs |
//! |---|---|---|
//! | `apiextensions.k8s.io` | `customresourcedefinitions` | `list`, and `get` and `patch` those of the group; `create` to evacuate without a CRD |
//! | `apiregistration.k8s.io` | `apiservices`, of the names that are served | `get`, `patch`, `delete`; `create` of any name |
//! | each group that moves | each resource | `get`, `list`, `watch`, `create`, `patch`, `delete`; `update` to evacuate |
//! | `coordination.k8s.io` | `leases`, in the own namespace | `get`, `create`, `update`; `delete` to unregister |
//!
//! They are asked about before a group is touched (`rights`).
//!
//! # What stays to be done by hand
//!
//! The CRDs stay, since the way back needs them, and serve no version (`definition`); evacuating and unregistering serves what was served. Who deletes them
//! once a group is settled takes nothing away: nothing stands in etcd then, registrations stay, and evacuating makes them again. Whoever keeps CRDs in a
//! repository has to expect that a tool takes the side entrance away in the middle of a move, which is then opened again; and that it serves the versions
//! again, which is undone within minutes: until then a kube-apiserver that is just starting answers from etcd.
//!
//! On the way out every object gets another uid. Objects of the same group that name it as their owner name the new one afterwards, and what is owned by one of
//! another group stays. What is no object of this server and owned by one is collected by Kubernetes.
//!
//! Not done: moving single resources of a group; converting webhooks.

mod cluster;
mod decision;
mod definition;
mod entrance;
mod gate;
mod inward;
mod listing;
mod outward;
mod pace;
mod progress;
mod rights;
mod runner;
mod service;
mod shape;
mod stage;
mod survey;
mod unregister;

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use larder_client::migrate::{Leadership, NotLeading};
use tokio::sync::watch;
use tokio::time::Instant;

pub use cluster::ClusterError;
pub use gate::{Gate, Intent, Pass, Turned};
pub use progress::{Named, Phase, Progress, Step};
pub use runner::Direction;
pub use service::Backend;
pub use unregister::unregister;

use crate::registry::Registry;
use crate::store::{Store, StoreError};
use crate::watch::Watches;
use cluster::Cluster;
use pace::Pace;
use progress::Tally;

/// How a transfer goes about it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Objects a second, at most. Live changes are not counted: there are as many as clients make.
    pub rate: NonZeroU32,
    /// How long every kube-apiserver and every replica of this server needs to hear of a change, and a write to come to its end.
    pub settle: Duration,
    /// How long nothing may happen in etcd before the side entrance is closed.
    pub quiet: Duration,
    /// How long clients may take to watch again after a server has ended. A watch of revisions that were given here learns nothing from kube-apiserver,
    /// and no error either: so a group is left only when everybody who was cut off by a restart has come back.
    pub reconnect: Duration,
    /// Whether to take over although some objects cannot be moved or would not be reached any more.
    pub force: bool,
}

impl Default for Options {
    fn default() -> Self {
        let rate = NonZeroU32::new(50).expect("positive");
        let (settle, quiet) = (Duration::from_secs(2), Duration::from_secs(30));
        // client-go and kube-rs wait for half a minute at most between two attempts.
        Self { rate, settle, quiet, reconnect: Duration::from_secs(60), force: false }
    }
}

/// Why a group is not moved, or not yet.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransferError {
    /// The Kubernetes API is away or refuses.
    #[error(transparent)]
    Cluster(ClusterError),
    /// The store is away or refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody else moves.
    #[error(transparent)]
    NotLeading(#[from] NotLeading),
    /// Somebody else has moved meanwhile.
    #[error("another mover was faster")]
    Overtaken,
    /// Changes came faster than they could be followed. Beginning again helps.
    #[error("the history of etcd does not reach back far enough")]
    Behind,
    /// It would take something from somebody.
    #[error("{group} is not moved: {reason}")]
    Refused {
        /// The group.
        group: String,
        /// Why.
        reason: String,
    },
    /// This server may not do everything that moving takes.
    #[error("{group} is not moved: this server's account lacks rights: {rights}")]
    Forbidden {
        /// The group.
        group: String,
        /// What is missing: `create, delete policyreports.wgpolicyk8s.io; …`.
        rights: String,
    },
    /// Some objects cannot be moved.
    #[error("{count} objects of {group} cannot be moved")]
    Stays {
        /// The group.
        group: String,
        /// How many.
        count: usize,
    },
}

impl From<ClusterError> for TransferError {
    fn from(error: ClusterError) -> Self {
        if error.code() == Some(410) { Self::Behind } else { Self::Cluster(error) }
    }
}

impl TransferError {
    /// A stage that could not begin since it was no longer the one before.
    fn or_overtaken(error: StoreError) -> Self {
        match error {
            StoreError::Exists | StoreError::Changed => Self::Overtaken,
            other => other.into(),
        }
    }

    /// A watch that could not go on.
    fn or_behind(error: StoreError) -> Self {
        match error {
            StoreError::Expired { .. } => Self::Behind,
            other => other.into(),
        }
    }

    /// Whether trying again soon may help, without anybody doing anything about it.
    #[must_use]
    pub fn passes(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::Forbidden { .. } | Self::Stays { .. })
    }
}

/// Why kube-apiserver would not believe this server, if it would not. It finds itself reachable all the same: it does not look at certificates then.
pub type Certified = Box<dyn Fn(&Backend) -> Result<(), String> + Send + Sync>;

/// What a transfer has to do with.
pub struct Parties {
    /// The Kubernetes API.
    pub client: kube::Client,
    /// Where kube-apiserver finds this server, and by which CA, which may change.
    pub backend: watch::Receiver<Backend>,
    /// Whether the certificate of this server is for that Service and signed by that CA.
    pub certified: Certified,
    /// Which resources there are.
    pub registry: Arc<Registry>,
    /// Where objects go, or come from.
    pub store: Store,
    /// The changes of that store.
    pub watches: Watches,
    /// What holds requests up.
    pub gate: Gate,
    /// Which of several replicas moves.
    pub leadership: Arc<dyn Leadership>,
    /// Whether it is found out by a Lease in the namespace of the backend.
    pub has_lease: bool,
}

/// Moves groups in and out.
pub struct Transfer {
    cluster: Cluster,
    backend: watch::Receiver<Backend>,
    certified: Certified,
    registry: Arc<Registry>,
    store: Store,
    watches: Watches,
    gate: Gate,
    leadership: Arc<dyn Leadership>,
    has_lease: bool,
    options: Options,
    pace: Arc<Pace>,
    tally: Tally,
    /// Since when objects are taken out, by this process.
    leaving: OnceLock<Instant>,
}

impl Transfer {
    /// A transfer; nothing is done yet.
    #[must_use]
    pub fn new(parties: Parties, options: Options) -> Self {
        let Parties { client, backend, certified, registry, store, watches, gate, leadership, has_lease } =
            parties;
        let (cluster, pace, tally) =
            (Cluster::new(client), Arc::new(Pace::new(options.rate)), Tally::default());
        Self {
            cluster,
            backend,
            certified,
            registry,
            store,
            watches,
            gate,
            leadership,
            has_lease,
            options,
            pace,
            tally,
            leaving: OnceLock::new(),
        }
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.tally.subscribe()
    }

    fn backend(&self) -> Backend {
        self.backend.borrow().clone()
    }

    /// Whether kube-apiserver would believe this server.
    fn check_certificate(&self, group: &str) -> Result<(), TransferError> {
        (self.certified)(&self.backend()).map_err(|why| {
            let name = self.backend().server_name();
            let reason = format!("kube-apiserver would not believe the certificate of {name}: {why}");
            TransferError::Refused { group: group.to_owned(), reason }
        })
    }

    /// The groups that there are.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        let mut groups: Vec<_> = self.registry.iter().map(|it| it.group.clone()).collect();
        groups.dedup();
        groups
    }

    /// The versions of a group that this server answers, of any of its resources.
    fn versions(&self, group: &str) -> Vec<String> {
        let resources = self.registry.iter().filter(|it| it.group == group);
        let mut versions: Vec<_> = resources.flat_map(|it| &it.versions).map(|it| it.name.clone()).collect();
        versions.sort();
        versions.dedup();
        versions
    }

    /// Brings a group in, from wherever it is on its way, to the end.
    ///
    /// # Errors
    /// It is not at its end. Called again it goes on.
    pub async fn bring_in(&self, group: &str) -> Result<(), TransferError> {
        inward::run(self, group).await
    }

    /// Takes a group out, from wherever it is on its way, to the end: until nothing is left here.
    ///
    /// # Errors
    /// It is not at its end. Called again it goes on.
    pub async fn take_out(&self, group: &str) -> Result<(), TransferError> {
        outward::run(self, group).await
    }
}
