//! Objects in each form, byte by byte, and the documents of the built-in resources.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::accept::{Form, MetaVersion};
use super::openapi::OpenApi;
use super::*;
use crate::registry::Registry;

const REPORT: &str = r#"{"apiVersion":"wgpolicyk8s.io/v1alpha2","kind":"PolicyReport","metadata":{"creationTimestamp":"2024-01-01T00:00:00Z","name":"a","namespace":"n","resourceVersion":"7"},"results":[{"policy":"p","result":"pass"}],"scope":{"kind":"Pod","name":"x"},"summary":{"error":0,"fail":1,"pass":2,"skip":0,"warn":0}}"#;

fn presenter(form: Form, include: IncludeObject) -> Presenter {
    static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::builtin);
    let registry = &*REGISTRY;
    let (resource, version) = registry.find("wgpolicyk8s.io", "v1alpha2", "policyreports").unwrap();
    Presenter::new(resource, version, form, include, "2024-01-03T05:00:00Z".parse().unwrap())
}

fn list(presenter: &Presenter, items: &[&str]) -> String {
    let mut out = Vec::new();
    let meta = ListMeta {
        resource_version: "9".to_owned(),
        next: Some("t".to_owned()),
        remaining_item_count: Some(3),
    };
    presenter.begin(&meta, &mut out);
    for (index, item) in items.iter().enumerate() {
        presenter.item(item.as_bytes(), index == 0, &mut out).unwrap();
    }
    presenter.end(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_list_is_its_objects() {
    let text = list(&presenter(Form::Object, IncludeObject::Metadata), &[REPORT, REPORT]);
    let meta = r#"{"resourceVersion":"9","continue":"t","remainingItemCount":3}"#;
    assert_eq!(
        text,
        format!(
            "{{\"kind\":\"PolicyReportList\",\"apiVersion\":\"wgpolicyk8s.io/v1alpha2\",\"metadata\":{meta},\"items\":[{REPORT},{REPORT}]}}\n"
        )
    );
}

#[test]
fn metadata_is_shown_alone() {
    let presenter = presenter(Form::Metadata(MetaVersion::V1Beta1), IncludeObject::Metadata);
    let text = list(&presenter, &[REPORT]);
    let metadata =
        r#"{"creationTimestamp":"2024-01-01T00:00:00Z","name":"a","namespace":"n","resourceVersion":"7"}"#;
    let item = format!(
        r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1beta1","metadata":{metadata}}}"#
    );
    assert!(text.starts_with(
        r#"{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1beta1","metadata":{"#
    ));
    assert!(text.ends_with(&format!("\"items\":[{item}]}}\n")), "{text}");
    let mut out = Vec::new();
    presenter.single(REPORT.as_bytes(), &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), item);
}

#[test]
fn a_table_has_its_columns_even_if_it_is_empty() {
    let presenter = presenter(Form::Table(MetaVersion::V1), IncludeObject::None);
    let table: Value = serde_json::from_str(&list(&presenter, &[])).unwrap();
    let names: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Name", "Kind", "Name", "Pass", "Fail", "Warn", "Error", "Skip", "Age"]);
    assert_eq!(table["rows"], json!([]));
    let text = list(&presenter, &[REPORT]);
    let row = r#"{"cells":["a","Pod","x",2,1,0,0,0,"2d5h"],"object":null}"#;
    assert!(text.ends_with(&format!("\"rows\":[{row}]}}\n")), "{text}");
}

#[test]
fn rows_hold_as_much_of_the_object_as_is_asked_for() {
    let row = |include| {
        let mut out = Vec::new();
        presenter(Form::Table(MetaVersion::V1), include).single(REPORT.as_bytes(), &mut out).unwrap();
        serde_json::from_slice::<Value>(&out).unwrap()
    };
    let metadata = row(IncludeObject::Metadata);
    assert_eq!(metadata["metadata"], json!({"resourceVersion": "7"}));
    assert_eq!(metadata["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(metadata["rows"][0]["object"]["metadata"]["name"], "a");
    assert_eq!(
        row(IncludeObject::Object)["rows"][0]["object"],
        serde_json::from_str::<Value>(REPORT).unwrap()
    );
    assert_eq!(row(IncludeObject::None)["rows"][0]["object"], json!(null));
    assert_eq!(IncludeObject::parse(""), Ok(IncludeObject::Metadata));
    assert_eq!(
        IncludeObject::parse("x"),
        Err("Unable to convert to Table as requested: includeObject: Invalid value: \"x\": must be 'Metadata', \
             'Object', 'None', or empty"
            .to_owned())
    );
}

#[test]
fn columns_are_sent_with_the_first_event_alone() {
    let presenter = presenter(Form::Table(MetaVersion::V1), IncludeObject::None);
    let event = |json: &str, is_first| {
        let mut out = Vec::new();
        presenter.event("ADDED", json.as_bytes(), is_first, &mut out).unwrap();
        assert_eq!(out.iter().filter(|it| **it == b'\n').count(), 1);
        serde_json::from_slice::<Value>(&out).unwrap()
    };
    assert!(event(REPORT, true)["object"]["columnDefinitions"].is_array());
    assert_eq!(event(REPORT, false)["object"]["columnDefinitions"], json!(null));
    let end = r#"{"apiVersion":"wgpolicyk8s.io/v1alpha2","kind":"PolicyReport","metadata":{"annotations":{"k8s.io/initial-events-end":"true"},"resourceVersion":"9"}}"#;
    let row = &event(end, false)["object"]["rows"][0];
    assert_eq!(row["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(row["cells"][0], "");
}

#[test]
fn what_cannot_be_read_leaves_nothing_behind() {
    for form in [Form::Table(MetaVersion::V1), Form::Metadata(MetaVersion::V1)] {
        let presenter = presenter(form, IncludeObject::Metadata);
        for json in ["{}", "[]", "{\"metadata\"", ""] {
            let mut out = b"x".to_vec();
            assert!(presenter.item(json.as_bytes(), false, &mut out).is_err(), "{json}");
            assert!(presenter.event("ADDED", json.as_bytes(), false, &mut out).is_err());
            assert_eq!(out, b"x");
        }
    }
}

#[test]
fn cells_are_of_the_type_of_their_column() {
    let columns = ["string", "integer", "number", "boolean", "date"]
        .map(|kind| json!({"name": kind, "type": kind, "jsonPath": ".v"}));
    let document = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "ts.example.com"},
        "spec": {"group": "example.com", "scope": "Cluster", "names": {"plural": "ts", "kind": "T"}, "versions": [{
            "name": "v1", "served": true, "storage": true, "additionalPrinterColumns": columns,
            "schema": {"openAPIV3Schema": {"type": "object"}}}]}
    });
    let mut registry = Registry::default();
    registry.add("it", &document.to_string()).unwrap();
    let (resource, version) = registry.find("example.com", "v1", "ts").unwrap();
    let now = "2024-01-01T00:01:00Z".parse().unwrap();
    let presenter = Presenter::new(resource, version, Form::Table(MetaVersion::V1), IncludeObject::None, now);
    for (value, cells) in [
        (json!("x"), json!(["a", "x", null, null, null, "<invalid>"])),
        (json!(5), json!(["a", "5", 5, 5, null, null])),
        (json!(5.5), json!(["a", "5.5", 5, 5.5, null, null])),
        (json!(true), json!(["a", "true", null, null, true, null])),
        (json!("2024-01-01T00:00:00Z"), json!(["a", "2024-01-01T00:00:00Z", null, null, null, "60s"])),
        (json!(null), json!(["a", "<no value>", null, null, null, null])),
        (json!({"b": [1]}), json!(["a", "{\"b\":[1]}", null, null, null, null])),
    ] {
        let object = json!({"metadata": {"name": "a"}, "v": value}).to_string();
        let mut out = Vec::new();
        presenter.single(object.as_bytes(), &mut out).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap()["rows"][0]["cells"], cells);
    }
}

#[test]
fn discovery_names_every_resource() {
    let registry = Registry::builtin();
    let groups = discovery::group_list(&registry);
    assert_eq!(groups["groups"][3]["name"], "wgpolicyk8s.io");
    assert_eq!(
        groups["groups"][3]["preferredVersion"],
        json!({"groupVersion": "wgpolicyk8s.io/v1beta1", "version": "v1beta1"})
    );
    assert_eq!(discovery::group(&registry, "wgpolicyk8s.io").unwrap()["kind"], "APIGroup");
    assert_eq!(discovery::group(&registry, "none"), None);
    let list = discovery::resource_list(&registry, "hiveinternal.openshift.io", "v1alpha1").unwrap();
    let names: Vec<&str> =
        list["resources"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["clustersyncleases", "clustersyncs", "clustersyncs/status"]);
    assert_eq!(discovery::resource_list(&registry, "hiveinternal.openshift.io", "v1"), None);
    let all = discovery::aggregated(&registry, "v2");
    assert_eq!(all["apiVersion"], "apidiscovery.k8s.io/v2");
    let sync = &all["items"][0]["versions"][0]["resources"][1];
    assert_eq!(sync["subresources"][0]["subresource"], "status");
    assert_eq!(
        sync["responseKind"],
        json!({"group": "hiveinternal.openshift.io", "version": "v1alpha1", "kind": "ClusterSync"})
    );
    assert_eq!(discovery::etag(b"").len(), 128);
}

/// Every `$ref` of a document leads somewhere.
fn check_references(value: &Value, document: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
            }
            fields.values().for_each(|it| check_references(it, document));
        }
        Value::Array(items) => items.iter().for_each(|it| check_references(it, document)),
        _ => {}
    }
}

#[test]
fn openapi_has_what_kubectl_looks_for() {
    let openapi = OpenApi::new(&Registry::builtin());
    let root: Value = serde_json::from_slice(&openapi.root().json).unwrap();
    let document = openapi.v3("apis/wgpolicyk8s.io/v1alpha2").unwrap();
    let url = root["paths"]["apis/wgpolicyk8s.io/v1alpha2"]["serverRelativeURL"].as_str().unwrap();
    assert_eq!(url, format!("/openapi/v3/apis/wgpolicyk8s.io/v1alpha2?hash={}", document.etag));
    let v3: Value = serde_json::from_slice(&document.json).unwrap();
    check_references(&v3, &v3);
    let path = &v3["paths"]["/apis/wgpolicyk8s.io/v1alpha2/namespaces/{namespace}/policyreports/{name}"];
    let kind = json!({"group": "wgpolicyk8s.io", "version": "v1alpha2", "kind": "PolicyReport"});
    assert_eq!(path["patch"]["x-kubernetes-group-version-kind"], kind);
    for name in ["fieldValidation", "dryRun", "fieldManager", "force"] {
        let has = |it: &Value| it["name"] == name && it["in"] == "query";
        assert!(path["patch"]["parameters"].as_array().unwrap().iter().any(has), "{name}");
    }
    let schema = &v3["components"]["schemas"]["io.wgpolicyk8s.v1alpha2.PolicyReport"];
    assert_eq!(schema["x-kubernetes-group-version-kind"], json!([kind]));
    assert!(schema["properties"]["results"]["description"].is_string());
    let v2: Value = serde_json::from_slice(&openapi.v2().json).unwrap();
    check_references(&v2, &v2);
    assert!(v2["definitions"]["io.openreports.v1alpha1.ReportList"].is_object());
    assert!(v2["paths"]["/apis/hiveinternal.openshift.io/v1alpha1/namespaces/{namespace}/clustersyncs/{name}/status"].is_object());
}

proptest! {
    #[test]
    fn no_bytes_break_a_presenter(json in r#"[{}\[\]:,"metadataname0 .]{0,60}"#) {
        for form in [Form::Table(MetaVersion::V1), Form::Metadata(MetaVersion::V1)] {
            let mut out = Vec::new();
            let _ = presenter(form, IncludeObject::Metadata).item(json.as_bytes(), true, &mut out);
        }
    }
}
