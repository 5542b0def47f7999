//! Which resources are served: data, read from CRD documents, never code.
//!
//! The built-in documents are part of the program. Others come from a directory; a document there never replaces one that is known already,
//! since what is stored under a name was judged by the first one's schema.

mod document;
mod priority;
mod resource;
#[cfg(test)]
mod tests;

pub use document::{DocumentError, MARKS, Notice};
pub(crate) use priority::key as priority;

pub use resource::{Column, FieldPath, Names, Resource, Scope, Version};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The documents of the resources that are always known.
const BUILTIN: [&str; 8] = [
    include_str!("../../resources/clusterephemeralreports.yaml"),
    include_str!("../../resources/clusterpolicyreports.yaml"),
    include_str!("../../resources/clusterreports.yaml"),
    include_str!("../../resources/clustersyncleases.yaml"),
    include_str!("../../resources/clustersyncs.yaml"),
    include_str!("../../resources/ephemeralreports.yaml"),
    include_str!("../../resources/policyreports.yaml"),
    include_str!("../../resources/reports.yaml"),
];

/// Why a resource cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A file cannot be read.
    #[error("{}: {error}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// A document cannot be used.
    #[error("{source_name}: {error}")]
    Document {
        /// Where it came from.
        source_name: String,
        /// Why.
        #[source]
        error: Box<DocumentError>,
    },
    /// Another resource of the group has that name already.
    #[error("{source_name}: {name:?} of {group} is taken already by {by}")]
    Taken {
        /// Where the second one came from.
        source_name: String,
        /// The group.
        group: String,
        /// The plural, singular, short name or kind.
        name: String,
        /// The resource that has it.
        by: String,
    },
}

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

    /// The resources that are built in: policy reports, ephemeral reports, open reports, and how Hive's clusters stand.
    #[must_use]
    pub fn builtin() -> Self {
        let mut registry = Self::default();
        for text in BUILTIN {
            registry.add("built in", text).expect("the documents are tested");
        }
        registry
    }

    /// Adds the resources of a text of one or several documents. `source_name` says in errors where it came from.
    ///
    /// # Errors
    /// A document cannot be used, or a name is taken. Nothing of the text is added then.
    pub fn add(&mut self, source_name: &str, text: &str) -> Result<Vec<Notice>, RegistryError> {
        let read = document::read(text).map_err(|error| RegistryError::Document {
            source_name: source_name.to_owned(),
            error: Box::new(error),
        })?;
        let mut grown = self.clone();
        let mut notices = Vec::new();
        for (resource, told) in read {
            grown.check_free(source_name, &resource)?;
            grown.insert(resource);
            notices.extend(told);
        }
        *self = grown;
        Ok(notices)
    }

    /// Adds the resources of all `.yaml`, `.yml` and `.json` files of a directory, in the order of their names.
    ///
    /// # Errors
    /// A file cannot be read, a document cannot be used, or a name is taken.
    pub fn add_directory(&mut self, directory: &Path) -> Result<Vec<Notice>, RegistryError> {
        let failed = |file: &Path| {
            let file = file.to_owned();
            |error| RegistryError::File { file, error }
        };
        let mut files = Vec::new();
        for entry in directory.read_dir().map_err(failed(directory))? {
            let file = entry.map_err(failed(directory))?.path();
            let ending = file.extension().and_then(|it| it.to_str());
            if matches!(ending, Some("yaml" | "yml" | "json")) {
                files.push(file);
            }
        }
        files.sort();
        let mut notices = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(&file).map_err(failed(&file))?;
            notices.extend(self.add(&file.display().to_string(), &text)?);
        }
        Ok(notices)
    }

    /// Names are unique within a group, as Kubernetes wants it: plurals, singulars and short names together, and kinds.
    fn check_free(&self, source_name: &str, resource: &Resource) -> Result<(), RegistryError> {
        for other in self.iter().filter(|it| it.group == resource.group) {
            let taken = words(&other.names).find(|name| words(&resource.names).any(|it| it == *name));
            let kind = kinds(&other.names).find(|name| kinds(&resource.names).any(|it| it == *name));
            if let Some(name) = taken.or(kind) {
                return Err(RegistryError::Taken {
                    source_name: source_name.to_owned(),
                    group: resource.group.clone(),
                    name: name.to_owned(),
                    by: other.id(),
                });
            }
        }
        Ok(())
    }
}

fn words(names: &Names) -> impl Iterator<Item = &str> {
    [&names.plural, &names.singular].into_iter().chain(&names.short).map(String::as_str)
}

fn kinds(names: &Names) -> impl Iterator<Item = &str> {
    [names.kind.as_str(), names.list_kind.as_str()].into_iter()
}
