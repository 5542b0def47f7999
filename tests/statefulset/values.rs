//! What the chart's schema and the flags of `larder manifests` refuse, and in which words.

use larder_harness::need;
use std::process::Command;

use crate::objects::{helm, larder};

#[test]
fn wrong_values_are_refused() {
    let cases = [
        ("persistense.size=1Gi", "Additional property persistense is not allowed"),
        ("persistence.sise=1Gi", "Additional property sise is not allowed"),
        ("persistence.size=10GiB", "persistence.size"),
        ("persistence.size=0", "persistence.size"),
        ("maxDatabaseSize=lots", "maxDatabaseSize"),
        ("replicas=2", "Additional property replicas is not allowed"),
        ("grants=null", "grants is required"),
        ("grants[0].role=root,grants[0].identity=x", "grants.0.role must be one of"),
        ("grants[0].role=owner", "identity is required"),
        ("grants[0].role=owner,grants[0].identity=a b", "grants.0.identity"),
        ("certificates.mode=letsencrypt", "certificates.mode must be one of"),
        ("certificates.mode=existing", "certificates.secretName"),
        ("certificates.secretName=Bad_Name", "certificates.secretName"),
        ("certificates.issuer.kind=CA", "certificates.issuer.kind must be one of"),
        ("journal=off", "journal must be one of"),
        ("drainTimeout=20", "drainTimeout"),
        ("terminationGracePeriodSeconds=1", "terminationGracePeriodSeconds"),
        ("image.digest=sha256:123", "image.digest"),
        ("networkPolicy.clients=null,networkPolicy.open=true", "Additional property open is not allowed"),
        ("podDisruptionBudget.maxUnavailable=2", "podDisruptionBudget.maxUnavailable"),
        ("backup.schedule=daily", "backup.schedule"),
        ("extraArgs[0]=--journal rollback; rm", "extraArgs.0"),
        ("resources.limits.memory=plenty", "resources.limits.memory"),
        ("resources.limits.mem=1Gi", "resources.limits"),
        ("apiserver.resources.requests.CPU=1", "apiserver.resources.requests"),
        ("tolerations[0].kee=db", "Additional property kee is not allowed"),
        ("affinity.podAffinities.x=y", "Additional property podAffinities is not allowed"),
        ("extraLabels.app\\.kubernetes\\.io/name=other", "extraLabels"),
        ("podAnnotations.a b=c", "podAnnotations"),
        ("nodeSelector.disk=not a label", "nodeSelector.disk"),
        ("fullnameOverride=1db", "fullnameOverride"),
        ("persistence.storageClassName=Fast One", "persistence.storageClassName"),
        ("listenAddress=localhost", "listenAddress must be one of"),
        ("networkPolicy.kubernetesPorts[0]=0", "networkPolicy.kubernetesPorts.0"),
        ("apiserver.evacuated=true", "Additional property evacuated is not allowed"),
        ("drainTimeout=56s", "terminationGracePeriodSeconds has to be 5 seconds longer than drainTimeout"),
        ("persistence.size=100M", "persistence.size: below 128Mi there is no room"),
        ("certificates.secretName=shared", "set certificates.clientCASecretName"),
        (
            "backup.enabled=true,certificates.clients[0].name=c,certificates.clients[0].identity=c",
            "add one of the name backup to certificates.clients",
        ),
    ];
    for (value, reason) in cases {
        let output = need!(helm()).args(["--set", value]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{value} is taken:\n{}", String::from_utf8_lossy(&output.stdout));
        assert!(said.contains(reason), "{value}: {said}");
    }
}

#[test]
fn wrong_flags_are_refused() {
    let cases: [(&[&str], &str); 9] = [
        (&["--size", "10GiB"], "not a size of a volume such as 500Mi or 10Gi"),
        (&["--size", "1Mi"], "not a size of a volume"),
        (&["--namespace", "Reports"], "no name that Kubernetes takes"),
        (&["--namespace", "a/../b"], "no name that Kubernetes takes"),
        (&["--grant", "root=x"], "--grant"),
        (&["--issuer", "company"], "--issuer goes with cert-manager"),
        (&["cert-manager", "--issuer", "CA/company"], "neither Issuer nor ClusterIssuer"),
        (&["--image", "x; y"], "no image's name"),
        (&["elsewhere"], "possible values"),
    ];
    for (flags, reason) in cases {
        let output = Command::new(larder()).arg("manifests").args(flags).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {said}");
        assert!(output.stdout.is_empty() && said.contains(reason), "{flags:?}: {said}");
    }
}
