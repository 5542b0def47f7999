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
        let output =
            Command::new(larder()).arg("manifests").args(flags).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {said}");
        assert!(output.stdout.is_empty() && said.contains(reason), "{flags:?}: {said}");
    }
}
