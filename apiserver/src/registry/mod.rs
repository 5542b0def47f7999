//! Which resources are served: data, read from CRD documents, never code.

mod resource;

pub use resource::{Column, FieldPath, Names, Resource, Scope, Version};

use std::collections::BTreeMap;
use std::sync::Arc;

/// The resources of a server, by group and plural.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    resources: BTreeMap<(String, String), Arc<Resource>>,
}

impl Registry {
    /// The resource that is served under a group, a version and a plural, with that version.
    #[must_use]
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<(&Arc<Resource>, &Version)> {
        let resource = self.resources.get(&(group.to_owned(), plural.to_owned()))?;
        Some((resource, resource.version(version)?))
    }

    /// Every resource, by group, then by plural.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// Adds a resource; one of the same group and plural is replaced and returned.
    pub fn insert(&mut self, resource: Resource) -> Option<Arc<Resource>> {
        let key = (resource.group.clone(), resource.names.plural.clone());
        self.resources.insert(key, Arc::new(resource))
    }
}
