//! Objects as kustomize, Helm and `larder manifests` print them, and as they can be compared.

use larder_harness::{Skip, prepared};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The overlays, each with its namespace.
pub(crate) const OVERLAYS: [(&str, &str); 4] = [
    ("cert-manager", "larder"),
    ("self-signed", "larder"),
    ("neuvector", "neuvector"),
    ("apiserver", "larder"),
];

/// The directory `statefulset`.
pub(crate) fn statefulset() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("statefulset")
}

/// The binary that is tested.
pub(crate) fn larder() -> PathBuf {
    larder_harness::tested(env!("CARGO_BIN_EXE_larder"))
}

/// What a command printed; it has to succeed.
pub(crate) fn printed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// What kustomize makes of an overlay.
pub(crate) fn kustomized(overlay: &str) -> Result<String, Skip> {
    let directory = statefulset().join("overlays").join(overlay);
    Ok(printed(Command::new(prepared("kubectl")?).arg("kustomize").arg(directory)))
}

/// What Helm makes of the chart, as the release `larder`.
pub(crate) fn helmed(namespace: &str, arguments: &[&str]) -> Result<String, Skip> {
    Ok(printed(helm()?.args(["--namespace", namespace]).args(arguments)))
}

/// `helm template` of the chart, without a namespace yet.
pub(crate) fn helm() -> Result<Command, Skip> {
    let mut command = Command::new(prepared("helm")?);
    command.args(["template", "larder", "chart", "--kube-version", "1.34.0"]).current_dir(statefulset());
    for variable in ["HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME"] {
        command.env(variable, "/nonexistent");
    }
    Ok(command)
}

/// What `larder manifests` prints.
pub(crate) fn manifests(arguments: &[&str]) -> String {
    printed(Command::new(larder()).arg("manifests").args(arguments))
}

/// The objects of a stream of YAML documents.
pub(crate) fn parsed(yaml: &str) -> Vec<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    objects.into_iter().filter(|it| !it.is_null()).collect()
}

/// `KIND/NAME`.
pub(crate) fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("unnamed: {object}")).to_owned();
    format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// Objects by name, without what only says who rendered them, and with lists that are sets in order.
pub(crate) fn comparable(yaml: &str) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    // What Helm alone runs before it deletes, kustomize has no word for.
    let hooked = |it: &Value| !it["metadata"]["annotations"]["helm.sh/hook"].is_null();
    for mut object in parsed(yaml).into_iter().filter(|it| !hooked(it)) {
        settle(&mut object);
        let mut named = name(&object);
        // Helm numbers the one Job, which could not be changed by an upgrade.
        if let Some(unnumbered) = named.strip_prefix("Job/").and_then(|it| it.strip_suffix("-certs-1")) {
            object["metadata"]["name"] = json!(format!("{unnumbered}-certs"));
            named = name(&object);
        }
        let before = all.insert(named, object);
        assert!(before.is_none(), "twice: {before:?}");
    }
    all
}

fn settle(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("helm.sh/chart");
            fields.remove("helm.sh/resource-policy");
            if fields.get("app.kubernetes.io/managed-by").is_some_and(|it| it == "Helm") {
                fields.remove("app.kubernetes.io/managed-by");
            }
            fields.values_mut().for_each(settle);
            // What is empty without Helm's marks was not there.
            if fields
                .get("annotations")
                .is_some_and(|it| it.as_object().is_some_and(serde_json::Map::is_empty))
            {
                fields.remove("annotations");
            }
        }
        Value::Array(elements) => {
            elements.iter_mut().for_each(settle);
            // Kubernetes merges such lists by these keys, so that their order says nothing.
            for key in ["mountPath", "name"] {
                if elements.iter().all(|it| it.get(key).is_some_and(Value::is_string)) {
                    elements.sort_by_key(|it| it[key].as_str().map(str::to_owned));
                    break;
                }
            }
        }
        _ => {}
    }
}

/// Fails with what differs first.
pub(crate) fn assert_same(what: &str, one: &BTreeMap<String, Value>, other: &BTreeMap<String, Value>) {
    let names = |it: &BTreeMap<String, Value>| it.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(one), names(other), "{what}");
    for (name, object) in one {
        if let Some(difference) = difference(object, &other[name], String::new()) {
            panic!("{what}: {name}{difference}");
        }
    }
}

fn difference(one: &Value, other: &Value, path: String) -> Option<String> {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let names: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            names.into_iter().find_map(|name| difference(&one[name], &other[name], format!("{path}.{name}")))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs.into_iter().find_map(|(at, (a, b))| difference(a, b, format!("{path}[{at}]")))
        }
        _ => (one != other).then(|| format!("{path}: {one:#} and {other:#}")),
    }
}

/// The pod template of whatever makes pods.
pub(crate) fn pod_template(object: &Value) -> Option<&Value> {
    match object["kind"].as_str()? {
        "StatefulSet" | "Deployment" | "Job" => object.pointer("/spec/template"),
        "CronJob" => object.pointer("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}
