//! What the cluster has of a group before anything is done about it, and whether it can be moved at all.

use std::sync::Arc;

use super::definition::Definition;
use super::service::{self, Answerer};
use super::{Transfer, TransferError};
use crate::registry::Resource;

/// A group as it stands in the cluster.
pub(super) struct Survey {
    pub(super) group: String,
    /// The versions that this server answers, of any of its resources.
    pub(super) versions: Vec<String>,
    /// The resources of this server that the cluster has a CRD of.
    pub(super) definitions: Vec<(Arc<Resource>, Definition)>,
    /// CRDs of the group that this server knows nothing of.
    strangers: Vec<Definition>,
    answerers: Vec<Answerer>,
}

impl Survey {
    pub(super) async fn of(transfer: &Transfer, group: &str) -> Result<Self, TransferError> {
        let resources: Vec<_> = transfer.registry.iter().filter(|it| it.group == group).cloned().collect();
        let versions = transfer.versions(group);
        let (mut definitions, mut strangers) = (Vec::new(), Vec::new());
        for definition in Definition::of_group(&transfer.cluster, group).await? {
            match resources.iter().find(|it| it.id() == definition.name()) {
                Some(resource) => definitions.push((resource.clone(), definition)),
                None => strangers.push(definition),
            }
        }
        let mut answerers = Vec::new();
        for version in &versions {
            answerers.push(service::answerer(&transfer.cluster, &transfer.backend(), group, version).await?);
        }
        Ok(Self { group: group.to_owned(), versions, definitions, strangers, answerers })
    }

    /// Whether requests come here.
    pub(super) fn is_ours(&self) -> bool {
        self.answerers.iter().all(|it| matches!(it, Answerer::Larder(_)))
    }

    /// Whether a side entrance is open, and so something may stand in etcd.
    pub(super) fn has_entrance(&self) -> bool {
        self.definitions.iter().any(|(_, it)| it.has_entrance())
    }

    /// The version that objects are drafts of: the one that is stored in etcd, if this server has it.
    pub(super) fn version(&self, resource: &Resource, definition: &Definition) -> String {
        let stored = definition.stored().filter(|it| resource.version(it).is_some());
        stored.or(resource.versions.first().map(|it| it.name.as_str())).unwrap_or_default().to_owned()
    }

    /// Whether objects can be moved as they are.
    pub(super) fn check_ways(&self) -> Result<(), TransferError> {
        let Some((_, converted)) = self.definitions.iter().find(|(_, it)| it.converts()) else {
            return Ok(());
        };
        let name = converted.name();
        self.refused(format!(
            "the CRD {name} converts its versions by a webhook: objects cannot be moved as they are"
        ))
    }

    fn refused(&self, reason: String) -> Result<(), TransferError> {
        Err(TransferError::Refused { group: self.group.clone(), reason })
    }

    /// Whether the group can be moved without taking anything from anybody.
    pub(super) fn check(&self, force: bool) -> Result<(), TransferError> {
        if let Some(Answerer::Other(who)) = self.answerers.iter().find(|it| matches!(it, Answerer::Other(_)))
        {
            return self.refused(format!("its APIService points to {who}"));
        }
        self.check_ways()?;
        if force {
            return Ok(());
        }
        for (resource, definition) in &self.definitions {
            if let Some(version) = definition.served().find(|it| resource.version(it).is_none()) {
                let name = definition.name();
                return self.refused(format!(
                    "the CRD {name} serves {version}, which Larder does not: its clients would be left behind"
                ));
            }
        }
        for stranger in &self.strangers {
            if let Some(version) = stranger.served().find(|it| self.versions.iter().any(|ours| ours == it)) {
                let name = stranger.name();
                return self.refused(format!("the CRD {name} is served in {version} too and not by Larder: nobody would reach it any more"));
            }
        }
        Ok(())
    }

    /// Whether the CRDs are there to stay: of one that is being deleted nothing can be moved, and what was copied of it is nobody's.
    pub(super) fn check_lasting(&self) -> Result<(), TransferError> {
        let Some((_, ending)) = self.definitions.iter().find(|(_, it)| it.is_ending()) else {
            return Ok(());
        };
        self.refused(format!("the CRD {} is being deleted", ending.name()))
    }

    /// Lets kube-apiserver serve no version of these resources, also when it is started anew.
    pub(super) async fn hide(&self, transfer: &Transfer) -> Result<(), TransferError> {
        for (_, definition) in &self.definitions {
            Definition::hide(&transfer.cluster, definition.name()).await?;
        }
        Ok(())
    }

    /// The resources of this server that the cluster has no CRD of.
    pub(super) fn undefined<'s>(&'s self, transfer: &'s Transfer) -> impl Iterator<Item = &'s Resource> {
        let all = transfer.registry.iter().filter(|it| it.group == self.group).map(Arc::as_ref);
        all.filter(|resource| !self.definitions.iter().any(|(it, _)| it.id() == resource.id()))
    }

    /// Lets kube-apiserver answer again what it can, and nobody the rest.
    pub(super) async fn give_back(&self, transfer: &Transfer) -> Result<(), TransferError> {
        for (_, definition) in &self.definitions {
            definition.show(&transfer.cluster).await?;
        }
        for version in &self.versions {
            let has = self.definitions.iter().any(|(_, it)| it.served().any(|it| it == version));
            service::give_back(&transfer.cluster, &transfer.backend(), &self.group, version, has).await?;
        }
        Ok(())
    }
}
