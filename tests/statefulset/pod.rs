//! A pod as it stands in what is rendered: what a kubelet would read from it.

use serde_json::Value;
use std::time::Duration;

use crate::objects::{name, parsed, pod_template};

/// The pod of an object that makes pods.
pub(crate) struct Pod {
    namespace: String,
    template: Value,
}

impl Pod {
    /// The database's pod among rendered objects.
    pub(crate) fn of(yaml: &str) -> Self {
        Self::found(yaml, |it| it["kind"] == "StatefulSet")
    }

    /// The pod of the object `KIND/NAME` among rendered objects.
    pub(crate) fn named(object: &str, yaml: &str) -> Self {
        Self::found(yaml, |it| name(it) == object)
    }

    fn found(yaml: &str, is_it: impl Fn(&Value) -> bool) -> Self {
        let object = parsed(yaml).into_iter().find(is_it).unwrap();
        Self {
            namespace: object["metadata"]["namespace"].as_str().unwrap().to_owned(),
            template: pod_template(&object).unwrap().clone(),
        }
    }

    pub(crate) fn spec(&self) -> &Value {
        &self.template["spec"]
    }

    pub(crate) fn container(&self) -> &Value {
        &self.spec()["containers"][0]
    }

    /// The arguments, with the one variable that manifests put in them.
    pub(crate) fn args(&self) -> Vec<String> {
        let args = self.container()["args"].as_array().unwrap().iter();
        args.map(|it| it.as_str().unwrap().replace("$(NAMESPACE)", &self.namespace)).collect()
    }

    /// The identity that a role is granted to.
    pub(crate) fn granted(&self, role: &str) -> String {
        let prefix = format!("--grant={role}=");
        self.args().iter().find_map(|it| it.strip_prefix(&prefix)).unwrap().to_owned()
    }

    /// Every mount: the volume's name, the path, and whether it can be written to.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        let mounts = self.container()["volumeMounts"].as_array().unwrap().iter();
        mounts.map(|it| {
            assert!(it["subPath"].is_null() && it["subPathExpr"].is_null(), "{it} does not follow changes");
            (it["name"].as_str().unwrap(), it["mountPath"].as_str().unwrap(), it["readOnly"] != true)
        })
    }

    /// The port of a name.
    pub(crate) fn port(&self, name: &str) -> u64 {
        let ports = self.container()["ports"].as_array().unwrap();
        ports.iter().find(|it| it["name"] == name).unwrap()["containerPort"].as_u64().unwrap()
    }

    /// What a probe asks for, and how often it may be answered badly, for how long all in all.
    pub(crate) fn probe(&self, kind: &str) -> (String, Duration) {
        let probe = &self.container()[kind];
        let get = &probe["httpGet"];
        let url = format!(
            "http://127.0.0.1:{}{}",
            self.port(get["port"].as_str().unwrap()),
            get["path"].as_str().unwrap()
        );
        let seconds = probe["periodSeconds"].as_u64().unwrap() * probe["failureThreshold"].as_u64().unwrap();
        (url, Duration::from_secs(seconds))
    }

    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs(self.spec()["terminationGracePeriodSeconds"].as_u64().unwrap())
    }
}
