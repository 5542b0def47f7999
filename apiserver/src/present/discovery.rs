//! Which groups, versions and resources there are: the documents that clients ask for before anything else.
//!
//! Each is made whenever it is asked for: they are small, and whoever serves them may keep them.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::registry::{Registry, Resource, Scope, Version};

/// What can be done with a resource, and with its status.
const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const STATUS_VERBS: [&str; 3] = ["get", "patch", "update"];

/// The groups of a registry, each with its versions, the preferred one first.
fn groups(registry: &Registry) -> Vec<(&str, Vec<&str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for resource in registry.iter() {
        if groups.last().is_none_or(|it| it.0 != resource.group) {
            groups.push((&resource.group, Vec::new()));
        }
        let Some((_, versions)) = groups.last_mut() else { continue };
        for version in &resource.versions {
            if !versions.contains(&version.name.as_str()) {
                versions.push(&version.name);
            }
        }
    }
    for (_, versions) in &mut groups {
        versions.sort_by_key(|it| crate::registry::priority(it));
    }
    groups
}

/// `APIGroupList`: the answer to `/apis`.
#[must_use]
pub fn group_list(registry: &Registry) -> Value {
    let groups: Vec<Value> =
        groups(registry).iter().map(|(group, versions)| group_value(group, versions)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `APIGroup`: the answer to `/apis/GROUP`; `None` if there is no such group.
#[must_use]
pub fn group(registry: &Registry, group: &str) -> Option<Value> {
    let groups = groups(registry);
    let (group, versions) = groups.iter().find(|it| it.0 == group)?;
    let mut value = group_value(group, versions);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Some(value)
}

fn group_value(group: &str, versions: &[&str]) -> Value {
    let version = |version: &&str| json!({"groupVersion": format!("{group}/{version}"), "version": version});
    let versions: Vec<Value> = versions.iter().map(version).collect();
    json!({"name": group, "preferredVersion": versions.first(), "versions": versions})
}

fn of<'r>(
    registry: &'r Registry,
    group: &'r str,
    version: &'r str,
) -> impl Iterator<Item = (&'r Resource, &'r Version)> {
    let resources = registry.iter().filter(move |it| it.group == group);
    resources.filter_map(move |it| Some((&**it, it.version(version)?)))
}

/// `APIResourceList`: the answer to `/apis/GROUP/VERSION`; `None` if it is not served.
#[must_use]
pub fn resource_list(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for (resource, version) in of(registry, group, version) {
        resources.push(resource_value(resource, &version.name));
        if version.status {
            resources.push(json!({
                "name": format!("{}/status", resource.names.plural), "singularName": "",
                "namespaced": resource.scope == Scope::Namespaced, "kind": resource.names.kind, "verbs": STATUS_VERBS
            }));
        }
    }
    let group_version = format!("{group}/{version}");
    (!resources.is_empty()).then(|| {
        json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources
        })
    })
}

fn resource_value(resource: &Resource, version: &str) -> Value {
    let names = &resource.names;
    let mut value = json!({
        "name": names.plural, "singularName": names.singular, "namespaced": resource.scope == Scope::Namespaced,
        "kind": names.kind, "verbs": VERBS, "storageVersionHash": storage_hash(resource, version)
    });
    add_names(resource, value.as_object_mut());
    value
}

fn add_names(resource: &Resource, value: Option<&mut Map<String, Value>>) {
    let Some(value) = value else { return };
    for (key, names) in [("shortNames", &resource.names.short), ("categories", &resource.names.categories)] {
        if !names.is_empty() {
            value.insert(key.to_owned(), names.clone().into());
        }
    }
}

/// Tells whoever moves stored objects that nothing changed. All versions show the same rows, so the preferred one stands for all.
fn storage_hash(resource: &Resource, version: &str) -> String {
    use base64::Engine as _;
    let stored = resource.versions.first().map_or(version, |it| it.name.as_str());
    let hash = Sha256::digest(format!("{}/{stored}/{}", resource.group, resource.names.kind));
    base64::engine::general_purpose::STANDARD.encode(&hash[..8])
}

/// `APIGroupDiscoveryList` in a version of `apidiscovery.k8s.io`: everything in one document.
#[must_use]
pub fn aggregated(registry: &Registry, api_version: &str) -> Value {
    let items: Vec<Value> =
        groups(registry).iter().map(|it| aggregated_group(registry, it.0, &it.1)).collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{api_version}"), "metadata": {},
        "items": items
    })
}

fn aggregated_group(registry: &Registry, group: &str, versions: &[&str]) -> Value {
    let version_value = |version: &&str| {
        let resources = of(registry, group, version).map(|(it, version)| aggregated_resource(it, version));
        json!({"version": version, "resources": resources.collect::<Vec<_>>(), "freshness": "Current"})
    };
    let versions: Vec<Value> = versions.iter().map(version_value).collect();
    json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions})
}

fn aggregated_resource(resource: &Resource, version: &Version) -> Value {
    let names = &resource.names;
    let kind = json!({"group": resource.group, "version": version.name, "kind": names.kind});
    let mut value = json!({
        "resource": names.plural, "responseKind": kind, "singularResource": names.singular, "verbs": VERBS,
        "scope": if resource.scope == Scope::Namespaced { "Namespaced" } else { "Cluster" }
    });
    add_names(resource, value.as_object_mut());
    if version.status {
        value["subresources"] =
            json!([{"subresource": "status", "responseKind": kind, "verbs": STATUS_VERBS}]);
    }
    value
}

/// The tag of a document: SHA-512 of its bytes in upper-case hexadecimal, without quotes.
#[must_use]
pub fn etag(document: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut tag = String::with_capacity(128);
    for byte in Sha512::digest(document) {
        write!(tag, "{byte:02X}").expect("a String takes everything");
    }
    tag
}
