//! The reports that are served: one for each pod of a cluster, as Kyverno's background scan of the nineteen policies of the
//! Pod Security Standards writes them. Report `n` is the same in every run.
//!
//! They are written by hand and not by a serializer, since the clock runs while most of them are made.

use std::io::Write as _;

/// The path of all reports, and what they are.
pub(super) const PATH: &str = "/apis/wgpolicyk8s.io/v1alpha2/policyreports";
/// What the store calls the resource.
pub(super) const RESOURCE: &str = "policyreports.wgpolicyk8s.io";
/// A selector that one report in ten is selected by.
pub(super) const SELECTOR: &str = "audit.kyverno.io%2Fsource%3Dadmission";

/// Namespaces. The n-th has 1/n of the reports of the first.
const NAMESPACES: u64 = 50;

/// Policy, rule, what is looked at, category, severity. The last seven are those of the restricted profile.
const POLICIES: [(&str, &str, &str); 19] = [
    ("disallow-capabilities", "adding-capabilities", "containers/0/securityContext/capabilities/add"),
    ("disallow-host-namespaces", "host-namespaces", "hostPID"),
    ("disallow-host-path", "host-path", "volumes/0/hostPath"),
    ("disallow-host-ports", "host-ports-none", "containers/0/ports/0/hostPort"),
    ("disallow-host-process", "host-process-containers", "containers/0/securityContext/windowsOptions"),
    ("disallow-privileged-containers", "privileged-containers", "containers/0/securityContext/privileged"),
    ("disallow-proc-mount", "check-proc-mount", "containers/0/securityContext/procMount"),
    ("disallow-selinux", "selinux-type", "securityContext/seLinuxOptions/type"),
    ("disallow-selinux", "selinux-user-role", "securityContext/seLinuxOptions/user"),
    ("restrict-apparmor-profiles", "app-armor", "containers/0/securityContext/appArmorProfile"),
    ("restrict-seccomp", "check-seccomp", "securityContext/seccompProfile/type"),
    ("restrict-sysctls", "check-sysctls", "securityContext/sysctls"),
    ("disallow-capabilities-strict", "require-drop-all", "containers/0/securityContext/capabilities/drop"),
    (
        "disallow-capabilities-strict",
        "adding-capabilities-strict",
        "containers/0/securityContext/capabilities",
    ),
    (
        "disallow-privilege-escalation",
        "privilege-escalation",
        "containers/0/securityContext/allowPrivilegeEscalation",
    ),
    ("require-run-as-non-root-user", "run-as-non-root-user", "securityContext/runAsUser"),
    ("require-run-as-nonroot", "run-as-non-root", "securityContext/runAsNonRoot"),
    ("restrict-seccomp-strict", "check-seccomp-strict", "securityContext/seccompProfile"),
    ("restrict-volume-types", "restricted-volumes", "volumes/0"),
];
const BASELINE: usize = 12;

/// Which report, and how often it was written before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) report: u64,
    pub(super) scan: u64,
    /// The revision that is replaced, if any.
    pub(super) replaces: Option<u64>,
}

impl Turn {
    /// A report that is not there yet.
    pub(super) fn first(report: u64) -> Self {
        Self { report, scan: 0, replaces: None }
    }
}

/// The name of a report, which is the UID of its pod.
pub(super) fn name(report: u64) -> String {
    let (a, b) = (mix(report), mix(!report));
    let [a1, a2, a3] = [a >> 32, a >> 16 & 0xffff, a & 0xfff];
    format!("{a1:08x}-{a2:04x}-4{a3:03x}-8{:03x}-{:012x}", b >> 52, b & 0xffff_ffff_ffff)
}

pub(super) fn namespace(report: u64) -> String {
    format!("team-{:02}", namespace_number(report))
}

fn namespace_number(report: u64) -> u64 {
    const WEIGHT: u64 = 1 << 20;
    let weights = (1..=NAMESPACES).map(|it| WEIGHT / it);
    let mut rest = mix(report ^ 0x6e73) % weights.clone().sum::<u64>();
    for (namespace, weight) in weights.enumerate() {
        if rest < weight {
            return namespace as u64;
        }
        rest -= weight;
    }
    0
}

/// Whether [`SELECTOR`] selects a report.
pub(super) fn is_selected(report: u64) -> bool {
    mix(report ^ 0x7365).is_multiple_of(10)
}

/// The JSON of a report as it is sent, behind what is in `out`.
pub(super) fn write(turn: Turn, out: &mut Vec<u8>) {
    let Turn { report, scan, replaces } = turn;
    let (uid, namespace, hash) = (name(report), namespace(report), mix(report));
    let pod = format!("app-{:x}-{:05x}", hash >> 28 & 0x3ff_ffff, hash & 0xf_ffff);
    let source = if is_selected(report) { "admission" } else { "background-scan" };
    let mut put = |arguments: std::fmt::Arguments<'_>| {
        // Memory takes everything.
        let _ = out.write_fmt(arguments);
    };
    put(format_args!(r#"{{"apiVersion":"wgpolicyk8s.io/v1alpha2","kind":"PolicyReport","metadata":{{"#));
    if let Some(revision) = replaces {
        put(format_args!(r#""resourceVersion":"{revision}","#));
    }
    put(format_args!(
        r#""labels":{{"app.kubernetes.io/managed-by":"kyverno","audit.kyverno.io/resource.hash":"{hash:016x}{:016x}","audit.kyverno.io/resource.kind":"Pod","audit.kyverno.io/resource.name":"{pod}","audit.kyverno.io/resource.uid":"{uid}","audit.kyverno.io/resource.version":"v1","audit.kyverno.io/source":"{source}"}},"name":"{uid}","namespace":"{namespace}","ownerReferences":[{{"apiVersion":"v1","kind":"Pod","name":"{pod}","uid":"{uid}"}}]}},"results":["#,
        mix(hash)
    ));
    let mut failed = 0;
    let seconds = 1_764_000_000 + report % 86_400 + scan * 3600;
    for (number, (policy, rule, path)) in POLICIES.iter().enumerate() {
        let (profile, severity) =
            if number < BASELINE { ("Baseline", "medium") } else { ("Restricted", "high") };
        let fails = mix(hash ^ number as u64) % 16 < if number < BASELINE { 1 } else { 4 };
        failed += u64::from(fails);
        let comma = if number == 0 { "" } else { "," };
        put(format_args!(r#"{comma}{{"category":"Pod Security Standards ({profile})","message":"#));
        if fails {
            put(format_args!(r#""validation error: rule {rule} failed at path /spec/{path}/","#));
        } else {
            put(format_args!(r#""validation rule '{rule}' passed.","#));
        }
        let result = if fails { "fail" } else { "pass" };
        put(format_args!(
            r#""policy":"{policy}","result":"{result}","rule":"{rule}","scored":true,"severity":"{severity}","source":"kyverno","timestamp":{{"nanos":0,"seconds":{seconds}}}}}"#
        ));
    }
    put(format_args!(
        r#"],"scope":{{"apiVersion":"v1","kind":"Pod","name":"{pod}","namespace":"{namespace}","uid":"{uid}"}},"summary":{{"error":0,"fail":{failed},"pass":{},"skip":0,"warn":0}}}}"#,
        POLICIES.len() as u64 - failed
    ));
}

/// The finalizer of splitmix64: as good as random, and the same in every run.
fn mix(number: u64) -> u64 {
    let mut it = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    it ^ (it >> 31)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn report(turn: Turn) -> serde_json::Value {
        let mut json = Vec::new();
        write(turn, &mut json);
        serde_json::from_slice(&json).unwrap()
    }

    #[test]
    fn they_are_as_large_and_as_many_as_is_said() {
        let mut length = 0;
        for n in 0..1000 {
            let mut json = Vec::new();
            write(Turn::first(n), &mut json);
            length += json.len();
            let read: serde_json::Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(read["results"].as_array().unwrap().len(), 19);
            let failed =
                read["results"].as_array().unwrap().iter().filter(|it| it["result"] == "fail").count();
            assert_eq!(read["summary"]["fail"], failed);
            assert_eq!(read["summary"]["pass"], 19 - failed);
        }
        assert!((6200..6400).contains(&(length / 1000)), "{} bytes on average", length / 1000);
    }

    #[test]
    fn each_is_another_and_none_is_another_tomorrow() {
        let names: BTreeSet<_> = (0..100_000).map(name).collect();
        assert_eq!(names.len(), 100_000);
        assert_eq!(name(7), "63cbe1e4-5932-4dd7-888f-a0195de67e12");
    }

    #[test]
    fn namespaces_are_of_unequal_size() {
        let mut sizes = BTreeMap::new();
        (0..10_000).for_each(|it| *sizes.entry(namespace(it)).or_insert(0) += 1);
        assert_eq!(sizes.len(), 50);
        assert!((2000..2500).contains(&sizes["team-00"]), "{sizes:?}");
        assert!((20..80).contains(&sizes["team-49"]), "{sizes:?}");
        let selected = (0..10_000).filter(|it| is_selected(*it)).count();
        assert!((900..1100).contains(&selected), "{selected}");
    }

    #[test]
    fn another_scan_is_another_report_of_the_same_name() {
        let (first, second) =
            (report(Turn::first(3)), report(Turn { report: 3, scan: 1, replaces: Some(9) }));
        assert_eq!(second["metadata"]["resourceVersion"], "9");
        assert_eq!(first["metadata"]["name"], second["metadata"]["name"]);
        assert_ne!(first["results"], second["results"]);
    }
}
