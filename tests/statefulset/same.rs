//! One set of objects, however they are come by.

use larder_harness::{need, prepared};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

use crate::objects::{
    OVERLAYS, assert_same, comparable, helmed, kustomized, manifests, parsed, printed, statefulset,
};

/// Namespaces are made by overlays, and by `helm install --create-namespace`.
fn without_namespace(yaml: &str) -> BTreeMap<String, Value> {
    let mut objects = comparable(yaml);
    objects.retain(|name, _| !name.starts_with("Namespace/"));
    objects
}

/// The chart's values that mean an overlay.
fn values_of(overlay: &str) -> Vec<&'static str> {
    match overlay {
        "self-signed" => vec![],
        "cert-manager" => vec!["--set", "certificates.mode=cert-manager"],
        "apiserver" => vec!["--set", "apiserver.enabled=true"],
        "neuvector" => vec!["--values", "chart/values-neuvector.yaml"],
        _ => panic!("{overlay} has no values"),
    }
}

#[test]
fn the_binary_has_what_kustomize_renders() {
    need!(prepared("kubectl"));
    let fresh = tempfile::tempdir().unwrap();
    printed(Command::new(statefulset().join("render")).arg(fresh.path()));
    let mut compared = 0;
    for entry in std::fs::read_dir(fresh.path()).unwrap() {
        let entry = entry.unwrap();
        let kept = std::fs::read_to_string(statefulset().join("rendered").join(entry.file_name())).unwrap();
        let now = std::fs::read_to_string(entry.path()).unwrap();
        assert!(now == kept, "{:?} is not what is rendered now: run statefulset/render", entry.file_name());
        compared += 1;
    }
    assert_eq!(compared, std::fs::read_dir(statefulset().join("rendered")).unwrap().count());
}

#[test]
fn manifests_without_flags_are_the_overlays() {
    for (overlay, _) in OVERLAYS {
        assert_eq!(manifests(&[overlay]), need!(kustomized(overlay)), "{overlay}");
    }
    assert_eq!(manifests(&[]), manifests(&["self-signed"]));
}

#[test]
fn the_chart_renders_the_overlays() {
    for (overlay, namespace) in OVERLAYS {
        let chart = need!(helmed(namespace, &values_of(overlay)));
        let overlay_objects = without_namespace(&need!(kustomized(overlay)));
        assert_same(overlay, &overlay_objects, &comparable(&chart));
    }
}

#[test]
fn flags_and_values_mean_the_same() {
    let cases: [(&str, &[&str], &[&str]); 10] = [
        ("apiserver", &["--namespace", "reports"], &["--set", "apiserver.enabled=true"]),
        ("self-signed", &["--namespace", "reports"], &[]),
        (
            "self-signed",
            &["--storage-class", "fast", "--size", "20Gi", "--backup"],
            &[
                "--set",
                "persistence.storageClassName=fast,persistence.size=20Gi,backup.enabled=true,backup.storageClassName=fast",
            ],
        ),
        (
            "cert-manager",
            &["--namespace", "reports", "--issuer", "ClusterIssuer/company", "--monitoring"],
            &[
                "--set",
                "certificates.mode=cert-manager,certificates.issuer.name=company,certificates.issuer.kind=ClusterIssuer,monitoring.enabled=true",
            ],
        ),
        (
            "cert-manager",
            &["--image", "registry.example/larder:1.2.3", "--max-db-size", "3GiB"],
            &[
                "--set",
                "certificates.mode=cert-manager,image.repository=registry.example/larder,image.tag=1.2.3,maxDatabaseSize=3GiB",
            ],
        ),
        (
            "self-signed",
            &["--grant", "writer=spiffe://cluster.local/ns/x/sa/y", "--grant", "admin=ops.example"],
            &[
                "--set",
                "grants[0].role=writer,grants[0].identity=spiffe://cluster.local/ns/x/sa/y,grants[1].role=admin,grants[1].identity=ops.example",
            ],
        ),
        // A size that no unit divides, and a private registry.
        (
            "self-signed",
            &["--size", "1500M", "--pull-secret", "registry"],
            &["--set", "persistence.size=1500M,image.pullSecrets[0].name=registry"],
        ),
        (
            "neuvector",
            &["--backup", "--monitoring"],
            &[
                "--values",
                "chart/values-neuvector.yaml",
                "--set",
                "backup.enabled=true,monitoring.enabled=true",
            ],
        ),
        (
            "apiserver",
            &["--namespace", "reports", "--backup", "--monitoring", "--pull-secret", "registry"],
            &[
                "--set",
                "apiserver.enabled=true,backup.enabled=true,monitoring.enabled=true,image.pullSecrets[0].name=registry",
            ],
        ),
        (
            "neuvector",
            &["--namespace", "security", "--storage-class", "fast"],
            &["--values", "chart/values-neuvector.yaml", "--set", "persistence.storageClassName=fast"],
        ),
    ];
    for (overlay, flags, values) in cases {
        let own = OVERLAYS.iter().find(|it| it.0 == overlay).unwrap().1;
        let named = flags.iter().position(|it| *it == "--namespace").map(|at| flags[at + 1]);
        let printed = manifests(&[&[overlay], flags].concat());
        let chart = need!(helmed(named.unwrap_or(own), values));
        assert_same(&format!("{overlay} {flags:?}"), &without_namespace(&printed), &comparable(&chart));
    }
}

#[test]
fn the_namespace_moves_with_everything_in_it() {
    for (overlay, old) in OVERLAYS {
        let everything = manifests(&[overlay, "--namespace", "elsewhere", "--monitoring", "--backup"]);
        for object in parsed(&everything) {
            let place = match object["kind"].as_str().unwrap() {
                "Namespace" => &object["metadata"]["name"],
                "APIService" => &object["spec"]["service"]["namespace"],
                "ClusterRole" => continue,
                "ClusterRoleBinding" => &object["subjects"][0]["namespace"],
                _ if object["metadata"]["namespace"] == "kube-system" => &object["subjects"][0]["namespace"],
                _ => &object["metadata"]["namespace"],
            };
            assert_eq!(place, "elsewhere", "{object}");
        }
        for left in [format!("namespace: {old}\n"), format!(".{old}.svc")] {
            assert!(!everything.contains(&left), "{overlay}: {left:?} is left");
        }
    }
}
