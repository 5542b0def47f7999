//! Documents become resources, or an error that names what is wrong.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};

use super::*;

fn document(change: impl FnOnce(&mut Value)) -> String {
    let mut document = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}
            }]
        }
    });
    change(&mut document);
    document.to_string()
}

fn refused(change: impl FnOnce(&mut Value)) -> String {
    Registry::default().add("it", &document(change)).unwrap_err().to_string()
}

#[test]
fn the_built_in_resources_are_there() {
    let registry = Registry::builtin();
    let ids: Vec<String> = registry.iter().map(|it| it.id()).collect();
    assert_eq!(
        ids,
        [
            "clustersyncleases.hiveinternal.openshift.io",
            "clustersyncs.hiveinternal.openshift.io",
            "clusterreports.openreports.io",
            "reports.openreports.io",
            "clusterephemeralreports.reports.kyverno.io",
            "ephemeralreports.reports.kyverno.io",
            "clusterpolicyreports.wgpolicyk8s.io",
            "policyreports.wgpolicyk8s.io",
        ]
    );
    let (resource, version) = registry.find("wgpolicyk8s.io", "v1alpha2", "policyreports").unwrap();
    let versions: Vec<&str> = resource.versions.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(versions, ["v1beta1", "v1alpha2"]);
    assert_eq!(resource.names.short, ["polr"]);
    assert_eq!(
        resource.marks[0],
        ("reports.kyverno.io/served-by-reports-server".to_owned(), "true".to_owned())
    );
    assert!(version.selectable.contains(&vec!["scope".to_owned(), "kind".to_owned()]));
    let (sync, version) = registry.find("hiveinternal.openshift.io", "v1alpha1", "clustersyncs").unwrap();
    assert!(version.status && sync.marks.is_empty());
    assert!(registry.find("wgpolicyk8s.io", "v1", "policyreports").is_none());
}

#[test]
fn names_that_are_left_out_are_made_of_the_kind() {
    let mut registry = Registry::default();
    registry.add("it", &document(|_| ())).unwrap();
    let (resource, version) = registry.find("example.com", "v1", "things").unwrap();
    assert_eq!((resource.names.singular.as_str(), resource.names.list_kind.as_str()), ("thing", "ThingList"));
    assert_eq!(version.columns[0].name, "Age");
}

#[test]
fn what_cannot_be_served_is_named() {
    let versions = |it: &mut Value| it["spec"]["versions"][0].take();
    assert!(
        refused(|it| it["spec"]["conversion"] = json!({"strategy": "Webhook"}))
            .contains("conversion by webhooks")
    );
    assert_eq!(
        refused(|it| it["apiVersion"] = json!("apiextensions.k8s.io/v1beta1")),
        "it: apiextensions.k8s.io/v1beta1 CustomResourceDefinition is no resource; \
         apiextensions.k8s.io/v1 CustomResourceDefinition is needed"
    );
    assert!(refused(|it| it["metadata"]["name"] = json!("x")).contains("spec.names.plural"));
    assert!(refused(|it| it["spec"]["scope"] = json!("Galaxy")).contains("spec.scope: \"Galaxy\""));
    assert!(
        refused(|it| it["spec"]["versions"][0]["served"] = json!(false)).contains("no version is served")
    );
    assert!(refused(|it| _ = versions(it)).starts_with("it: "));
    let version = |key: &str, value: Value| {
        let key = key.to_owned();
        refused(move |it| it["spec"]["versions"][0][key] = value)
    };
    assert!(version("schema", json!(null)).contains("openAPIV3Schema: is required"));
    assert!(
        version("schema", json!({"openAPIV3Schema": {}}))
            .contains("version v1: openAPIV3Schema: a type is required")
    );
    let column = |kind: &str, path: &str| json!([{"name": "C", "type": kind, "jsonPath": path}]);
    assert!(version("additionalPrinterColumns", column("text", ".a")).contains("the type of column C"));
    assert!(version("additionalPrinterColumns", column("string", ".a[")).contains("column C"));
    assert!(version("selectableFields", json!([{"jsonPath": ".a[0]"}])).contains("selectableFields"));
    assert!(refused(|it| it["metadata"]["annotations"] = json!({MARKS: "a b=c"})).contains(MARKS));
    let twice = |it: &mut Value| {
        let version = it["spec"]["versions"][0].clone();
        it["spec"]["versions"].as_array_mut().unwrap().push(version);
    };
    assert!(refused(twice).contains("v1 stands there twice"));
    assert!(version("storage", json!(false)).contains("exactly one has to have storage: true, and 0 have"));
    assert!(version("name", json!("1")).contains("DNS-1035"));
    assert!(version("deprecationWarning", json!("soon")).contains("deprecationWarning: is for versions"));
    assert!(
        version("selectableFields", json!([{"jsonPath": ".spec.x"}]))
            .contains("of type string, boolean or integer")
    );
    assert!(refused(|it| it["spec"]["names"]["listKind"] = json!("Thing")).contains("the same as kind"));
    assert!(
        refused(|it| {
            it["metadata"]["name"] = json!("things.x.k8s.io");
            it["spec"]["group"] = json!("x.k8s.io");
        })
        .contains("api-approved.kubernetes.io")
    );
    for text in [
        "a: [",
        "a: 1\n  b: {",
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: 5",
    ] {
        let error = Registry::default().add("it", text).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    assert!(Registry::default().add("it", "a: [").is_err());
}

#[test]
fn names_that_clash_are_refused() {
    let clash = |change: fn(&mut Value)| {
        let mut registry = Registry::default();
        registry.add("first", &document(|_| ())).unwrap();
        registry.add("second", &document(change)).unwrap_err().to_string()
    };
    assert_eq!(clash(|_| ()), "second: \"things\" of example.com is taken already by things.example.com");
    assert!(
        clash(|it| {
            it["metadata"]["name"] = json!("others.example.com");
            it["spec"]["names"] = json!({"plural": "others", "kind": "Other", "shortNames": ["thing"]});
        })
        .contains("\"thing\" of example.com is taken")
    );
    assert!(
        clash(|it| {
            it["metadata"]["name"] = json!("others.example.com");
            it["spec"]["names"] = json!({"plural": "others", "singular": "other", "kind": "Thing"});
        })
        .contains("\"Thing\" of example.com is taken")
    );
}

#[test]
fn what_is_asked_for_and_not_done_is_told() {
    let text = document(|it| {
        let version = &mut it["spec"]["versions"][0];
        version["subresources"] = json!({"scale": {}, "status": {}});
        version["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] = json!([{"rule": "true"}]);
    });
    let notices: Vec<String> =
        Registry::default().add("it", &text).unwrap().iter().map(|it| it.to_string()).collect();
    assert_eq!(notices.len(), 2, "{notices:?}");
    assert!(notices[0].starts_with("things.example.com/v1: rules in CEL"), "{notices:?}");
}

#[test]
fn lists_of_documents_are_what_they_hold() {
    let other = document(|it| {
        it["metadata"]["name"] = json!("others.example.com");
        it["spec"]["names"] = json!({"plural": "others", "kind": "Other"});
    });
    let list = format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{}, {other}]}}"#, document(|_| ()));
    let mut registry = Registry::default();
    registry.add("it", &list).unwrap();
    assert_eq!(registry.iter().count(), 2);
}

#[test]
fn a_directory_is_read_file_by_file() {
    let home = tempfile::tempdir().unwrap();
    let other = document(|it| {
        it["metadata"]["name"] = json!("others.example.com");
        it["spec"]["names"] = json!({"plural": "others", "kind": "Other"});
    });
    std::fs::write(home.path().join("a.yaml"), format!("---\n{}\n---\n{other}\n", document(|_| ()))).unwrap();
    std::fs::write(home.path().join("README"), "no document").unwrap();
    let mut registry = Registry::builtin();
    registry.add_directory(home.path()).unwrap();
    assert_eq!(registry.iter().count(), 10);
    std::fs::write(home.path().join("b.json"), document(|_| ())).unwrap();
    let error = Registry::builtin().add_directory(home.path()).unwrap_err().to_string();
    assert!(error.contains("b.json") && error.contains("taken already"), "{error}");
    assert!(registry.add_directory(&home.path().join("none")).is_err());
}
