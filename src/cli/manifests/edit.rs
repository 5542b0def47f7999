//! What the flags of `larder manifests` change in the objects.

use serde_json::{Value, json};

use super::quantity::Quantity;
use crate::config::Size;

/// Fields that are to be other than rendered.
pub(super) struct Edits {
    pub(super) namespace: Option<String>,
    pub(super) storage_class: Option<String>,
    pub(super) size: Option<Quantity>,
    pub(super) max_db_size: Option<Size>,
    pub(super) image: Option<String>,
    pub(super) pull_secret: Option<String>,
    /// Kind and name.
    pub(super) issuer: Option<(&'static str, String)>,
    pub(super) grants: Vec<String>,
}

/// Objects that belong to no namespace.
const CLUSTER_WIDE: [&str; 4] = ["Namespace", "ClusterRole", "ClusterRoleBinding", "APIService"];

/// Where the one object is that is not in Larder's namespace.
const OF_THE_CLUSTER: &str = "kube-system";

impl Edits {
    pub(super) fn is_empty(&self) -> bool {
        self.namespace.is_none()
            && self.storage_class.is_none()
            && self.size.is_none()
            && self.max_db_size.is_none()
            && self.image.is_none()
            && self.pull_secret.is_none()
            && self.issuer.is_none()
            && self.grants.is_empty()
    }

    pub(super) fn apply(&self, objects: &mut Vec<Value>) {
        if let Some((kind, name)) = &self.issuer {
            replace_issuer(objects, kind, name);
        }
        for object in objects {
            if let Some(namespace) = &self.namespace {
                move_to(object, namespace);
            }
            self.edit_volumes(object);
            let Some(pod) = pod(object) else { continue };
            if let Some(name) = &self.pull_secret {
                pod["imagePullSecrets"] = json!([{ "name": name }]);
            }
            elements(pod, "/containers").into_iter().for_each(|container| self.edit_container(container));
        }
    }

    fn edit_volumes(&self, object: &mut Value) {
        let is_database = object["kind"] == "StatefulSet";
        let claims: Vec<&mut Value> = match object["kind"].as_str() {
            Some("StatefulSet") => elements(object, "/spec/volumeClaimTemplates"),
            Some("PersistentVolumeClaim") => vec![object],
            _ => Vec::new(),
        };
        for claim in claims {
            if let Some(class) = &self.storage_class {
                claim["spec"]["storageClassName"] = json!(class);
            }
            if let Some(size) = self.size.as_ref().filter(|_| is_database) {
                claim["spec"]["resources"]["requests"]["storage"] = json!(size.to_string());
            }
        }
    }

    fn edit_container(&self, container: &mut Value) {
        if let Some(image) = &self.image {
            container["image"] = json!(image);
        }
        let Some(args) = container.get_mut("args").and_then(Value::as_array_mut) else { return };
        if let Some(size) = self.max_db_size
            && let Some(quota) = args.iter_mut().find(|it| starts(it, "--max-db-size="))
        {
            *quota = json!(format!("--max-db-size={size}"));
        }
        let first = args.iter().position(|it| starts(it, "--grant="));
        if let (Some(first), false) = (first, self.grants.is_empty()) {
            args.retain(|it| !starts(it, "--grant="));
            let grants = self.grants.iter().map(|grant| json!(format!("--grant={grant}")));
            args.splice(first..first, grants);
        }
    }
}

fn starts(value: &Value, prefix: &str) -> bool {
    value.as_str().is_some_and(|text| text.starts_with(prefix))
}

/// The elements of a list that may not be there; looking by index would make it.
fn elements<'v>(object: &'v mut Value, pointer: &str) -> Vec<&'v mut Value> {
    let list = object.pointer_mut(pointer).and_then(Value::as_array_mut);
    list.map(|list| list.iter_mut().collect()).unwrap_or_default()
}

/// The pod's part of whatever makes pods.
fn pod(object: &mut Value) -> Option<&mut Value> {
    match object["kind"].as_str()? {
        "StatefulSet" | "Deployment" | "Job" => object.pointer_mut("/spec/template/spec"),
        "CronJob" => object.pointer_mut("/spec/jobTemplate/spec/template/spec"),
        _ => None,
    }
}

/// The object in another namespace, and the names in it that contain the namespace.
fn move_to(object: &mut Value, namespace: &str) {
    if object["kind"] == "Namespace" {
        object["metadata"]["name"] = json!(namespace);
    }
    let is_elsewhere = object["metadata"].get("namespace").is_some_and(|it| it == OF_THE_CLUSTER);
    if !is_elsewhere && !CLUSTER_WIDE.iter().any(|kind| object["kind"] == *kind) {
        let before = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        object["metadata"]["namespace"] = json!(namespace);
        for name in elements(object, "/spec/dnsNames") {
            if let Some(text) = name.as_str() {
                *name = json!(text.replace(&format!(".{before}.svc"), &format!(".{namespace}.svc")));
            }
        }
    }
    for subject in elements(object, "/subjects") {
        subject["namespace"] = json!(namespace);
    }
    if let Some(place) = object.pointer_mut("/spec/service/namespace") {
        *place = json!(namespace);
    }
}

/// Certificates come from an issuer that is there already, so Larder's own CA is not made.
fn replace_issuer(objects: &mut Vec<Value>, kind: &str, name: &str) {
    objects.retain(|it| it["kind"] != "Issuer" && it["spec"].get("isCA") != Some(&Value::Bool(true)));
    for object in objects.iter_mut().filter(|it| it["kind"] == "Certificate") {
        object["spec"]["issuerRef"] = json!({ "group": "cert-manager.io", "kind": kind, "name": name });
    }
}
