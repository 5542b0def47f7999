//! A real API server, with the real definitions of cert-manager's and the Prometheus operator's resources, judges every object: by its
//! schemas strictly, and each pod by the pod security standard "restricted".

use larder_harness::{ControllerManager, Kubernetes, Skip, need, prepared};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::objects::{
    OVERLAYS, helmed, kustomized, manifests, name, parsed, pod_template, printed, statefulset,
};

/// A cluster without nodes, in which pods have to be "restricted".
pub(crate) struct Cluster {
    pub(crate) server: Arc<Kubernetes>,
}

impl Cluster {
    /// One that only this test uses, and without definitions of others' resources.
    pub(crate) fn bare() -> Result<Self, Skip> {
        let cluster = Self { server: Arc::new(Kubernetes::start()?) };
        let there = cluster.server.kubectl().map(drop);
        there.map(|()| cluster)
    }

    fn start() -> Result<Self, Skip> {
        let definitions = prepared("crds")?;
        let cluster = Self { server: Kubernetes::shared()? };
        for kind in [
            "cert-manager.io_issuers",
            "cert-manager.io_certificates",
            "monitoring.coreos.com_servicemonitors",
            "monitoring.coreos.com_prometheusrules",
        ] {
            let file = definitions.join(format!("{kind}.yaml"));
            cluster.must(&["apply", "--server-side", "-f", file.to_str().unwrap()], "");
        }
        cluster.must(&["wait", "--for=condition=Established", "--all", "crd", "--timeout=60s"], "");
        Ok(cluster)
    }

    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut kubectl = self.server.kubectl().unwrap_or_else(|skip| panic!("{skip:?}"));
        let mut child = kubectl
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    pub(crate) fn must(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {said}\n{input}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A kubeconfig of somebody who may do everything.
    fn admin(&self) -> PathBuf {
        self.server.kubeconfig(&self.server.user("admin", &["system:masters"]))
    }

    /// All objects of every kind that carry Larder's name.
    fn ours(&self) -> String {
        let kinds = self.must(&["api-resources", "--verbs=list,delete", "-o", "name"], "");
        let kinds = kinds.split_whitespace().collect::<Vec<_>>().join(",");
        self.must(&["get", &kinds, "-A", "-l", "app.kubernetes.io/name=larder", "-o", "name"], "")
    }

    /// Makes a namespace that enforces, and the accounts that pods of these objects have.
    pub(crate) fn prepare(&self, namespace: &str, objects: &[Value]) {
        let made = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": namespace, "labels": {
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/warn": "restricted",
            } },
        });
        // What kubectl sends again when an answer is late is the same then; a creation is not.
        self.must(&["apply", "--server-side", "-f", "-"], &made.to_string());
        for account in objects.iter().filter(|it| it["kind"] == "ServiceAccount") {
            self.must(&["apply", "--server-side", "-f", "-"], &account.to_string());
        }
    }

    /// Has the server judge objects as it would at `apply`; a warning is a refusal, and so is a field that it does not know.
    fn judge(&self, what: &str, namespace: &str, yaml: &str) {
        let objects = parsed(yaml);
        self.prepare(namespace, &objects);
        let strict = ["apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f", "-"];
        let said = self.must(&strict, yaml);
        let judged = said.lines().filter(|line| line.contains("server dry run")).count();
        assert_eq!(judged, objects.len(), "{what}: {said}");
        for pod in objects.iter().filter_map(|it| pod_of(it, namespace)) {
            self.must(&["create", "--dry-run=server", "--validate=strict", "-f", "-"], &pod.to_string());
        }
    }
}

/// The pod that an object would have made; only pods themselves are held to the standard.
fn pod_of(object: &Value, namespace: &str) -> Option<Value> {
    let template = pod_template(object)?;
    let mut pod = template.clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("judged");
    pod["metadata"]["namespace"] = json!(namespace);
    // What the StatefulSet's controller adds.
    for claim in object["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
        let name = &claim["metadata"]["name"];
        let volume = json!({ "name": name, "persistentVolumeClaim": { "claimName": name } });
        pod["spec"]["volumes"].as_array_mut()?.push(volume);
    }
    Some(pod)
}

#[test]
fn the_api_server_takes_every_overlay_and_many_values() {
    let cluster = need!(Cluster::start());
    for (overlay, namespace) in OVERLAYS {
        cluster.judge(overlay, namespace, &need!(kustomized(overlay)));
    }
    let everything = manifests(&["cert-manager", "--monitoring", "--backup", "--size", "1Gi"]);
    cluster.judge("manifests", "larder", &everything);
    let registered = std::fs::read_to_string(statefulset().join("rendered/apiservices.yaml")).unwrap();
    cluster.judge("apiservices", "larder", &registered);
    let neuvector = manifests(&["neuvector", "--monitoring", "--backup"]);
    cluster.judge("neuvector with all", "neuvector", &neuvector);
    let charts: [&[&str]; 12] = [
        &[
            "--set",
            "apiserver.enabled=true,apiserver.apiServices=true,apiserver.replicas=1,certificates.mode=cert-manager",
        ],
        &["--set", "monitoring.enabled=true,backup.enabled=true"],
        &["--values", "chart/values-neuvector.yaml", "--set", "backup.enabled=true,apiserver.enabled=true"],
        &[
            "--set",
            "nameOverride=reports,listenAddress=[::],apiserver.enabled=true,apiserver.evacuate=true,monitoring.enabled=true,monitoring.labels.release=x",
        ],
        &[
            "--set",
            "networkPolicy.namespaces=null,networkPolicy.kubernetesPorts[0]=16443,apiserver.enabled=true,extraLabels.team=x",
        ],
        &[
            "--set",
            "certificates.mode=cert-manager,certificates.issuer.name=ca,certificates.issuer.kind=ClusterIssuer",
        ],
        &[
            "--set",
            "certificates.mode=existing,certificates.secretName=server,certificates.clientCASecretName=clients",
        ],
        &[
            "--set",
            "certificates.mode=cert-manager,certificates.clients[0].name=c,certificates.clients[0].identity=spiffe://x/y",
        ],
        &[
            "--set",
            "networkPolicy.enabled=false,podDisruptionBudget.enabled=false,monitoring.enabled=true,monitoring.dashboard=false",
        ],
        &[
            "--set",
            "nodeSelector.disk=ssd,tolerations[0].key=db,tolerations[0].operator=Exists,priorityClassName=system-cluster-critical,apiserver.enabled=true",
        ],
        &[
            "--set",
            "journal=rollback,extraArgs[0]=--readers=4,podAnnotations.a=b,serviceAccount.annotations.c=d,service.annotations.e=f",
        ],
        &[
            "--set",
            "fullnameOverride=a-name-of-39-characters-is-the-longest0,apiserver.enabled=true,backup.enabled=true,monitoring.enabled=true,image.pullSecrets[0].name=registry,image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ],
    ];
    for values in charts {
        cluster.judge(&format!("{values:?}"), "chart", &need!(helmed("chart", values)));
    }
}

#[test]
fn the_api_server_would_refuse_what_is_wrong() {
    let cluster = need!(Cluster::start());
    let objects = parsed(&need!(kustomized("self-signed")));
    cluster.prepare("larder", &objects);
    let database = objects.iter().find(|it| it["kind"] == "StatefulSet").unwrap();
    let pod = pod_of(database, "larder").unwrap();
    let spoilt: [(&str, Value); 6] = [
        ("/spec/containers/0/securityContext/allowPrivilegeEscalation", json!(true)),
        ("/spec/containers/0/securityContext/runAsNonRoot", json!(false)),
        ("/spec/containers/0/securityContext/capabilities/drop", json!([])),
        ("/spec/containers/0/securityContext/seccompProfile/type", json!("Unconfined")),
        ("/spec/securityContext/runAsUser", json!(0)),
        ("/spec/volumes/0", json!({ "name": "tls", "hostPath": { "path": "/" } })),
    ];
    for (place, value) in spoilt {
        let mut pod = pod.clone();
        *pod.pointer_mut(place).unwrap_or_else(|| panic!("no {place}")) = value;
        let output = cluster.run(&["create", "--dry-run=server", "-f", "-"], &pod.to_string());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("violates PodSecurity"), "{place}: {said}");
    }
    let mut unknown = database.clone();
    unknown["spec"]["template"]["spec"]["containers"][0]["readinessProb"] = json!({});
    let output =
        cluster.run(&["apply", "--dry-run=server", "--validate=strict", "-f", "-"], &unknown.to_string());
    assert!(String::from_utf8_lossy(&output.stderr).contains("readinessProb"), "{output:?}");
}

#[test]
fn what_was_applied_is_removed_without_a_trace() {
    let cluster = need!(Cluster::bare());
    let yaml = manifests(&["apiserver"]);
    let made = cluster.must(&["apply", "-f", "-"], &yaml);
    assert_eq!(made.lines().count(), parsed(&yaml).len(), "{made}");
    look_at_rights(&cluster);
    let there = cluster.ours();
    // The namespace has no such label: it is the one object that holds the others.
    assert_eq!(there.lines().count(), parsed(&yaml).len() - 1, "{there}");
    // Without its controller a namespace is never empty enough to go; its contents are deleted by name.
    cluster.must(&["delete", "--wait=false", "-f", "-"], &yaml);
    let left = cluster.ours();
    assert_eq!(left, "", "left behind by {:?}", parsed(&yaml).iter().map(name).collect::<Vec<_>>());
}

/// The real controller of StatefulSets, and no node: a pod that is never ready must not stand in the way of a better one.
#[test]
fn a_pod_that_never_gets_ready_is_replaced_by_the_next_version() {
    let cluster = need!(Cluster::bare());
    let controllers = ControllerManager::start_with(&cluster.admin(), &["statefulset-controller"]);
    let _controllers = need!(controllers);
    for image in ["registry.example/larder:1", "registry.example/larder:2"] {
        // A Job cannot be changed, and that of the first version is still under way.
        cluster.run(&["delete", "job", "larder-certs", "--namespace=larder", "--ignore-not-found"], "");
        cluster.must(&["apply", "-f", "-"], &manifests(&["self-signed", "--image", image]));
        let asked = "-o=jsonpath={.spec.containers[0].image}";
        let deadline = Instant::now() + Duration::from_secs(60);
        while cluster.run(&["get", "pod", "larder-0", "--namespace=larder", asked], "").stdout
            != image.as_bytes()
        {
            assert!(Instant::now() < deadline, "there is no pod of {image}");
        }
    }
}

#[test]
fn helm_installs_upgrades_and_uninstalls_without_a_trace() {
    let cluster = need!(Cluster::bare());
    let (program, home, admin) = (need!(prepared("helm")), tempfile::tempdir().unwrap(), cluster.admin());
    let helm = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).args(["--namespace", "reports", "--kubeconfig"]).arg(&admin);
        for variable in ["HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME"] {
            command.env(variable, home.path());
        }
        printed(command.current_dir(statefulset()))
    };
    let notes = helm(&["install", "larder", "chart", "--create-namespace"]);
    assert!(notes.contains("rollout status statefulset/larder"), "{notes}");
    // The Job of the first revision is still there, as after an image that cannot be pulled.
    let everything = "apiserver.enabled=true,backup.enabled=true,image.tag=two";
    let notes = helm(&["upgrade", "larder", "chart", "--set", everything]);
    let removed = "delete secret --ignore-not-found larder-ca larder-tls larder-controller-tls larder-backup-tls larder-apiserver-tls \
                   larder-apiserver-client-tls";
    assert!(notes.contains(removed), "{notes}");
    // What comes last when it is uninstalled; nobody here runs jobs.
    let hooks = parsed(&helm(&["get", "hooks", "larder"]));
    let last = hooks.iter().find(|it| it["kind"] == "Job").unwrap();
    assert_eq!(last["metadata"]["annotations"]["helm.sh/hook"], "post-delete");
    assert_eq!(last["spec"]["template"]["spec"]["containers"][0]["args"][1], "unregister");
    for hook in hooks.iter().filter(|it| it["kind"] != "Job") {
        cluster.must(&["apply", "-f", "-"], &hook.to_string());
    }
    let account = last["spec"]["template"]["spec"]["serviceAccountName"].as_str().unwrap();
    let user = format!("--as=system:serviceaccount:reports:{account}");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !cluster
        .run(&["auth", "can-i", "delete", "apiservices/v1alpha2.wgpolicyk8s.io", &user], "")
        .status
        .success()
    {
        assert!(Instant::now() < deadline, "the last job may not do what it is for");
    }
    for hook in hooks.iter().filter(|it| it["kind"] != "Job") {
        cluster.must(&["delete", "-f", "-"], &hook.to_string());
    }
    helm(&["uninstall", "larder", "--no-hooks"]);
    assert_eq!(cluster.ours(), "persistentvolumeclaim/larder-backup\n");
}

/// Each account may do what it needs, and not what would be too much.
fn look_at_rights(cluster: &Cluster) {
    let may = |account: &str, what: &[&str]| {
        let (resource, name) = what[1].split_once('/').unwrap_or((what[1], ""));
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        let namespace = what.get(2).and_then(|it| it.strip_prefix("--namespace=")).unwrap_or_default();
        let asked = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": format!("system:serviceaccount:larder:{account}"),
                "groups": ["system:serviceaccounts", "system:serviceaccounts:larder", "system:authenticated"],
                "resourceAttributes": {
                    "verb": what[0], "group": group, "resource": resource, "name": name, "namespace": namespace,
                },
            },
        });
        let answer = cluster.must(&["create", "-f", "-", "-o", "json"], &asked.to_string());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["status"]["allowed"].as_bool().unwrap()
    };
    let settings = "configmaps/extension-apiserver-authentication";
    let own = "apiservices.apiregistration.k8s.io/v1alpha2.wgpolicyk8s.io";
    let needed: [(&str, &[&str]); 14] = [
        ("larder-apiserver", &["create", "tokenreviews.authentication.k8s.io"]),
        ("larder-apiserver", &["create", "subjectaccessreviews.authorization.k8s.io"]),
        ("larder-apiserver", &["watch", settings, "--namespace=kube-system"]),
        ("larder-apiserver", &["watch", "namespaces"]),
        ("larder-apiserver", &["create", "apiservices.apiregistration.k8s.io"]),
        ("larder-apiserver", &["patch", own]),
        ("larder-apiserver", &["delete", own]),
        (
            "larder-apiserver",
            &["patch", "customresourcedefinitions.apiextensions.k8s.io/policyreports.wgpolicyk8s.io"],
        ),
        ("larder-apiserver", &["delete", "policyreports.wgpolicyk8s.io"]),
        ("larder-apiserver", &["update", "leases.coordination.k8s.io", "--namespace=larder"]),
        ("larder-certs", &["create", "secrets", "--namespace=larder"]),
        ("larder-certs", &["update", "secrets/larder-tls", "--namespace=larder"]),
        ("larder-certs", &["update", "secrets/larder-apiserver-tls", "--namespace=larder"]),
        ("larder-certs", &["get", "secrets/larder-ca", "--namespace=larder"]),
    ];
    // The server learns of roles that were made a moment ago a moment later.
    let patience = Instant::now() + Duration::from_secs(60);
    for (account, what) in needed {
        while !may(account, what) {
            assert!(Instant::now() < patience, "{account} may not {what:?}");
        }
    }
    let too_much: [(&str, &[&str]); 11] = [
        ("larder", &["get", "secrets", "--namespace=larder"]),
        ("larder", &["get", "configmaps", "--namespace=larder"]),
        ("larder-apiserver", &["get", "secrets", "--namespace=larder"]),
        ("larder-apiserver", &["get", "configmaps/other", "--namespace=kube-system"]),
        ("larder-apiserver", &["delete", "namespaces"]),
        ("larder-apiserver", &["patch", "apiservices.apiregistration.k8s.io/v1.apps"]),
        ("larder-apiserver", &["delete", "customresourcedefinitions.apiextensions.k8s.io"]),
        (
            "larder-apiserver",
            &["patch", "customresourcedefinitions.apiextensions.k8s.io/certificates.cert-manager.io"],
        ),
        ("larder-certs", &["list", "secrets", "--namespace=larder"]),
        ("larder-certs", &["get", "secrets/other", "--namespace=larder"]),
        ("larder-certs", &["get", "secrets/larder-tls", "--namespace=default"]),
    ];
    for (account, what) in too_much {
        assert!(!may(account, what), "{account} may {what:?}");
    }
}

#[test]
fn everybody_can_render_without_a_cluster() {
    let mut helm = Command::new(need!(prepared("helm")));
    let output = helm.args(["lint", "--strict", "chart"]).current_dir(statefulset()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
