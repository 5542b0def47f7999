//! A cluster with policy reports in its etcd, in which Larder is installed with the rights of its manifests and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use futures_util::{StreamExt as _, stream};
use kube::api::{DynamicObject, PostParams};
use larder_harness::{Account, ApiServer, Kubectl, Kubernetes, Proxy, Server, Skip};
use serde_json::{Value, json};

use super::reports::{GROUP, in_etcd, reports, until};
use crate::cluster::{eventually, list};
use crate::controllers;
use crate::replicas::on_sidecar;

/// Where Larder is.
pub(crate) const NAMESPACE: &str = "larder";
/// The account and the Service of the API server.
const NAME: &str = "larder-apiserver";
/// What the manifests have that gives rights.
const RIGHTS: [&str; 5] = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
/// What kube-apiserver gives an object, and what differs when it is made again.
const GIVEN: [&str; 6] =
    ["resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "selfLink"];

/// What clients know by that Larder serves an object.
const MARKS: [&str; 2] =
    ["kyverno.reports-server.io/served-by", "reports.kyverno.io/served-by-reports-server"];

/// The cluster.
pub(crate) struct Site {
    pub(crate) kubernetes: Kubernetes,
    pub(crate) kubectl: Kubectl,
    pub(crate) client: kube::Client,
    /// Between the kube-apiserver and Larder.
    wire: Proxy,
}

impl Site {
    /// A cluster with the CRDs of the group, and the namespace of Larder.
    pub(crate) async fn start() -> Result<Self, Skip> {
        let kubernetes = Kubernetes::start()?;
        let admin = kubernetes.user("admin", &["system:masters"]);
        let kubeconfig = kubernetes.kubeconfig(&admin);
        let kubectl = Kubectl::new(&kubeconfig)?;
        let client = controllers::client(&kubeconfig, None).await;
        eventually("the namespaces of the system are there", || {
            kubectl.run(&["get", "namespace", "default", "kube-system"]).status.success()
        });
        kubectl.says(&["create", "namespace", NAMESPACE]);
        let resources = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("apiserver/resources");
        for name in ["policyreports", "clusterpolicyreports"] {
            kubectl.says(&["create", "-f", resources.join(format!("{name}.yaml")).to_str().unwrap()]);
        }
        kubectl.says(&["wait", "--for=condition=Established", "--all", "crd", "--timeout=60s"]);
        let wire = Proxy::start("127.0.0.1:1");
        let site = Self { kubernetes, kubectl, client, wire };
        until("the group", async || site.reports().list(&kube::api::ListParams::default()).await.is_ok())
            .await;
        Ok(site)
    }

    pub(crate) fn reports(&self) -> kube::Api<DynamicObject> {
        reports(&self.client, "default", "v1alpha2")
    }

    /// Makes so many reports that nobody changes; some have finalizers.
    pub(crate) async fn seed(&self, count: usize) {
        let api = self.reports();
        let made = stream::iter(0..count).map(|number| {
            let finalizers = if number % 10 == 0 { json!(["example.com/held"]) } else { json!([]) };
            let object = json!({
                "apiVersion": format!("{GROUP}/v1alpha2"), "kind": "PolicyReport",
                "metadata": {
                    "name": format!("kept-{number:04}"), "labels": {"kept": "yes"}, "finalizers": finalizers,
                    "annotations": {"example.com/note": format!("number {number}")},
                },
                "summary": {"pass": number}, "results": [{"policy": "p", "message": "m".repeat(number % 700)}],
            });
            let (api, object) = (api.clone(), serde_json::from_value(object).unwrap());
            async move { api.create(&PostParams::default(), &object).await.map(drop) }
        });
        let made: Vec<_> = made.buffer_unordered(8).collect().await;
        made.into_iter().for_each(|it| it.unwrap());
        let object = json!({
            "apiVersion": format!("{GROUP}/v1alpha2"), "kind": "ClusterPolicyReport",
            "metadata": {"name": "kept"}, "summary": {"fail": 3},
        });
        self.kubectl.says_to(&["create", "-f", "-"], &object.to_string());
    }

    /// What `kubectl` shows of the reports that nobody changes, by name, without what is given anew.
    pub(crate) fn kept(&self) -> BTreeMap<String, Value> {
        let kinds = "policyreports,clusterpolicyreports";
        let shown = self.kubectl.says(&["get", kinds, "-A", "-o", "json"]);
        let mut shown: Value = serde_json::from_str(&shown).unwrap();
        let items = shown["items"].as_array_mut().unwrap().iter_mut();
        let named = items.map(|it| (it["metadata"]["name"].as_str().unwrap().to_owned(), without_given(it)));
        named.filter(|(name, _)| name.starts_with("kept")).collect()
    }

    /// Everything that there is in the cluster and not only comes and goes, and how it is.
    pub(crate) fn everything(&self) -> BTreeMap<String, Value> {
        let kinds = self.kubectl.says(&["api-resources", "--verbs=list,delete", "-o", "name"]);
        let is_told = |it: &&str| !it.starts_with("events") && *it != "podmetrics" && !it.contains(GROUP);
        let kinds = kinds.split_whitespace().filter(is_told).collect::<Vec<_>>().join(",");
        let shown = self.kubectl.says(&["get", &kinds, "-A", "-o", "json", "--show-managed-fields"]);
        let mut shown: Value = serde_json::from_str(&shown).unwrap();
        let items = shown["items"].as_array_mut().unwrap().iter_mut();
        items
            .map(|it| {
                let metadata = &it["metadata"];
                let name = format!("{} {} {}", it["kind"], metadata["namespace"], metadata["name"]);
                let managers = metadata["managedFields"].as_array().into_iter().flatten();
                let managers: BTreeSet<_> =
                    managers.map(|it| it["manager"].as_str().unwrap().to_owned()).collect();
                let mut all = without_given(it);
                // What a server of the system renews says nothing about us.
                if all["kind"] == "Lease" {
                    all["spec"].take();
                }
                all["status"].take();
                all["metadata"]["managers"] = json!(managers);
                (name, all)
            })
            .collect()
    }

    /// Gives Larder the rights of its manifests, and a Service that leads to the wire.
    pub(crate) fn install(&self) {
        let mut objects = rights();
        objects.push(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": self.port()}]},
        }));
        self.kubectl.says_to(&["apply", "-f", "-"], &list(&objects).to_string());
        let subject = format!("system:serviceaccount:{NAMESPACE}:{NAME}");
        eventually("rights are known", || {
            let definition = "customresourcedefinitions/policyreports.wgpolicyk8s.io";
            let asked = ["auth", "can-i", "patch", definition, "--as", &subject];
            self.kubectl.run(&asked).status.success()
        });
    }

    /// Takes one right out of what [`Site::install`] made.
    pub(crate) fn take_right(&self, kind: &str, role: &str, resource: &str, verb: &str) {
        let shown = self.kubectl.says(&["get", kind, role, "-n", NAMESPACE, "-o", "json"]);
        let mut role: Value = serde_json::from_str(&shown).unwrap();
        let mut count = 0;
        for rule in role["rules"].as_array_mut().unwrap() {
            if rule["resources"] == json!([resource]) {
                let verbs = rule["verbs"].as_array_mut().unwrap();
                count += verbs.len();
                verbs.retain(|it| it != verb);
                count -= verbs.len();
            }
        }
        assert_eq!(count, 1, "{kind} has no right to {verb} {resource}");
        self.kubectl.says_to(&["replace", "-f", "-"], &role.to_string());
    }

    /// Takes away what [`Site::install`] made.
    pub(crate) fn uninstall(&self) {
        self.kubectl.says_to(&["delete", "-f", "-"], &list(&rights()).to_string());
        self.kubectl.says(&["delete", "service", NAME, "-n", NAMESPACE]);
    }

    fn port(&self) -> u16 {
        self.wire.address().port()
    }

    /// The account that Larder runs as.
    pub(crate) fn account(&self) -> Result<Account, Skip> {
        self.kubernetes.account(NAMESPACE, NAME)
    }

    fn setup(&self, rate: u32) -> larder_harness::ApiServerSetup {
        let register = format!("--register={NAMESPACE}/{NAME}:{}", self.port());
        // The file is in the directory that the server is started in.
        let rate = format!("--transfer-rate={rate}");
        // The clients of these tests come back at once.
        let args = [&*register, "--register-ca=ca.crt", &rate, "--transfer-reconnect=3s"];
        larder_harness::apiserver!().named(format!("{NAME}.{NAMESPACE}.svc")).args(args)
    }

    /// A Larder that keeps objects itself, and gets the requests of the cluster. Outside of a pod it is alone, and begins again without waiting for
    /// a Lease.
    pub(crate) fn alone(&self, rate: u32) -> Result<ApiServer, Skip> {
        let larder = self.setup(rate).cluster(self.account()?.kubeconfig()).start();
        self.lead_to(&larder);
        Ok(larder)
    }

    /// A Larder in a pod, that keeps objects in a sidecar.
    pub(crate) fn replica(&self, rate: u32, sidecar: &Server) -> Result<ApiServer, Skip> {
        Ok(on_sidecar(self.setup(rate).pod(self.account()?), sidecar.url(), sidecar).start())
    }

    /// Lets the cluster ask this Larder.
    pub(crate) fn lead_to(&self, larder: &ApiServer) {
        self.wire.lead_to(format!("127.0.0.1:{}", larder.port()));
    }

    /// Ends Larder as `kill -9` does, and starts it again.
    pub(crate) fn kill(&self, larder: &mut ApiServer) {
        larder.kill();
        larder.start_again();
        self.lead_to(larder);
    }

    pub(crate) async fn in_etcd(&self) -> u64 {
        in_etcd(&self.kubernetes).await
    }

    /// Whether the cluster asks Larder about a version, and checks its certificate.
    pub(crate) fn is_registered(&self, version: &str) -> bool {
        let name = format!("{version}.{GROUP}");
        let service = self.kubectl.says(&["get", "apiservice", &name, "-o", "json"]);
        let service: Value = serde_json::from_str(&service).unwrap();
        let conditions = service["status"]["conditions"].as_array().unwrap();
        let is_available = conditions.iter().any(|it| it["type"] == "Available" && it["status"] == "True");
        service["spec"]["service"]["name"] == NAME
            && service["spec"]["caBundle"].as_str().is_some_and(|it| !it.is_empty())
            && service["spec"]["insecureSkipTLSVerify"].is_null()
            && is_available
    }
}

/// The objects of the manifests by which Larder has its rights.
pub(crate) fn rights() -> Vec<Value> {
    let printed =
        Command::new(env!("CARGO_BIN_EXE_larder")).args(["manifests", "apiserver"]).output().unwrap();
    let all: Vec<Value> = serde_saphyr::from_multiple(&String::from_utf8(printed.stdout).unwrap()).unwrap();
    all.into_iter().filter(|it| RIGHTS.iter().any(|kind| it["kind"] == *kind)).collect()
}

fn without_given(object: &mut Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    GIVEN.iter().for_each(|it| drop(metadata.remove(*it)));
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        MARKS.iter().for_each(|it| drop(annotations.remove(*it)));
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    object.take()
}

/// How many objects a server says have come to this state since it was started.
pub(crate) async fn moved(larder: &ApiServer, state: &str) -> u64 {
    let answer = larder.probe("/metrics").await;
    let name = format!("larder_apiserver_transfer_objects{{state=\"{state}\"}} ");
    answer.text().lines().find_map(|it| it.strip_prefix(&name)).map_or(0, |it| it.parse().unwrap())
}
