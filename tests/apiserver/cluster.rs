//! A cluster without nodes that serves things and policy reports from Larder: a kube-apiserver beside its etcd, the controllers that have to do with
//! objects of every kind, and `larder apiserver` as an ordinary user with no more rights than it needs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use larder_harness::{
    ApiServer, Connection, ControllerManager, Kubectl, Kubernetes, Pair, Proxy, Skip, trusting,
};
use serde_json::{Value, json};

use crate::world::setup;

/// How long a cluster may take to notice what it looks at from time to time.
const PATIENCE: Duration = Duration::from_secs(90);
/// The Service that the server is behind, in the namespace `default`.
const SERVICE: &str = "larder";

/// A cluster.
pub(crate) struct Cluster {
    controllers: Option<ControllerManager>,
    pub(crate) larder: ApiServer,
    /// Between the kube-apiserver and Larder; it stays where it is when Larder is started again.
    pub(crate) wire: Proxy,
    pub(crate) kubernetes: Kubernetes,
    /// May do everything.
    pub(crate) admin: Pair,
    /// How to be that.
    pub(crate) kubeconfig: PathBuf,
    /// What the kube-apiserver shows to Larder, or as good as that.
    pub(crate) front_proxy: Pair,
}

impl Cluster {
    /// The cluster that tests of this process share.
    pub(crate) fn shared() -> Result<Arc<Self>, Skip> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut current = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = current.upgrade() {
            return Ok(cluster);
        }
        let mut cluster = Self::start()?;
        cluster.controllers = Some(ControllerManager::start(&cluster.kubeconfig)?);
        let cluster = Arc::new(cluster);
        *current = Arc::downgrade(&cluster);
        Ok(cluster)
    }

    /// A cluster of the test's own, without controllers.
    pub(crate) fn start() -> Result<Self, Skip> {
        let kubernetes = Kubernetes::start()?;
        let admin = kubernetes.user("admin", &["system:masters"]);
        let front_proxy = kubernetes.front_proxy("front-proxy");
        let kubeconfig = kubernetes.kubeconfig(&admin);
        let kubectl = Kubectl::new(&kubeconfig)?;
        let rights = rights().to_string();
        eventually("the namespaces of the system are there", || {
            kubectl.run_with(&["apply", "-f", "-"], &rights).status.success()
        });
        let own = kubernetes.kubeconfig(&kubernetes.user("larder", &[]));
        let larder = setup().cluster(own).named(format!("{SERVICE}.default.svc")).start();
        let wire = Proxy::start(format!("127.0.0.1:{}", larder.port()));
        let cluster = Self { controllers: None, larder, wire, kubernetes, admin, kubeconfig, front_proxy };
        for (group, version) in [("example.com", "v1"), ("wgpolicyk8s.io", "v1alpha2")] {
            cluster.register(SERVICE, group, version);
            let name = format!("apiservice/{version}.{group}");
            kubectl.says(&["wait", "--for=condition=Available", &name, "--timeout=90s"]);
        }
        Ok(cluster)
    }

    /// Lets the cluster ask Larder, as a Service of this name, about a group.
    pub(crate) fn register(&self, service: &str, group: &str, version: &str) {
        let port = self.wire.address().port();
        let ca = base64(self.larder.authority().pem().as_bytes());
        let documents = list(&[
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": service, "namespace": "default"},
                "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
            }),
            json!({
                "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                "metadata": {"name": format!("{version}.{group}")},
                "spec": {
                    "group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100,
                    "service": {"name": service, "namespace": "default", "port": port}, "caBundle": ca,
                },
            }),
        ]);
        self.kubectl().says_to(&["apply", "-f", "-"], &documents.to_string());
    }

    /// `kubectl` of somebody who may do everything.
    pub(crate) fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.kubeconfig).unwrap_or_else(|_| panic!("there is a kubectl"))
    }

    /// `kubectl` of a user.
    pub(crate) fn kubectl_of(&self, user: &Pair) -> Kubectl {
        Kubectl::new(self.kubernetes.kubeconfig(user)).unwrap_or_else(|_| panic!("there is a kubectl"))
    }

    /// A connection to the kube-apiserver.
    pub(crate) async fn through(&self, user: &Pair) -> Connection {
        let tls = trusting(&self.kubernetes.ca(), Some(user));
        Connection::open(&format!("https://{}", self.kubernetes.address()), Some(tls)).await.unwrap()
    }

    /// A connection to Larder itself.
    pub(crate) async fn direct(&self, user: &Pair) -> Connection {
        self.larder.connect_with(Some(user)).await
    }

    /// Makes a namespace.
    pub(crate) fn namespace(&self, name: &str) -> Kubectl {
        let kubectl = self.kubectl();
        kubectl.says(&["create", "namespace", name]);
        kubectl
    }
}

/// The rights of Larder in a cluster, given to a user of this name.
fn rights() -> Value {
    let subjects = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "larder"}]);
    let role =
        |kind: &str, name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
    list(&[
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "larder"},
            "rules": [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]}],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "larder"},
            "subjects": subjects, "roleRef": role("ClusterRole", "larder"),
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "larder-reviews"},
            "subjects": subjects, "roleRef": role("ClusterRole", "system:auth-delegator"),
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "larder", "namespace": "kube-system"},
            "subjects": subjects, "roleRef": role("Role", "extension-apiserver-authentication-reader"),
        }),
    ])
}

/// Documents in one.
pub(crate) fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn base64(bytes: &[u8]) -> String {
    use k8s_openapi::ByteString;
    let text = serde_json::to_value(ByteString(bytes.to_vec())).unwrap();
    text.as_str().unwrap().to_owned()
}

/// Looks again and again until it is so: for what a cluster comes to by itself and tells nobody of.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}
