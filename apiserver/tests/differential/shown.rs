//! Tables, metadata, discovery and OpenAPI of the built-in resources: ours, made of the real one's objects, beside the real one's own.

use std::path::Path;

use larder_apiserver::present::accept::{self, Shown};
use larder_apiserver::present::openapi::OpenApi;
use larder_apiserver::present::{IncludeObject, ListMeta, Presenter, discovery};
use larder_apiserver::registry::{Registry, Resource, Scope, Version};
use larder_harness::{Kubernetes, need};
use serde_json::{Value, json};

use crate::real::Real;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The built-in documents, as JSON.
fn documents() -> Vec<Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("resources");
    let files = directory.read_dir().unwrap().map(|it| it.unwrap().path());
    files.map(|it| serde_saphyr::from_str(&std::fs::read_to_string(it).unwrap()).unwrap()).collect()
}

async fn serving(kubernetes: &Kubernetes) -> Real {
    let real = Real::new(kubernetes).await;
    for document in documents() {
        real.serve(&document).await;
    }
    real
}

/// An object of each resource that fills its columns.
fn object(resource: &Resource, version: &Version) -> Value {
    let summary = json!({"pass": 1, "fail": 2, "warn": 0, "error": 0, "skip": 3});
    let results = json!([{"policy": "p", "result": "fail", "severity": "high"}]);
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"});
    let mut object = match resource.names.kind.as_str() {
        "EphemeralReport" | "ClusterEphemeralReport" => {
            json!({"spec": {"owner": owner, "summary": summary, "results": results}})
        }
        "ClusterSync" => json!({"spec": {}}),
        "ClusterSyncLease" => json!({"spec": {"renewTime": "2024-01-01T00:00:00.000000Z"}}),
        _ => json!({"scope": {"kind": "Pod", "name": "x"}, "summary": summary, "results": results}),
    };
    object["apiVersion"] = format!("{}/{}", resource.group, version.name).into();
    object["kind"] = resource.names.kind.as_str().into();
    object["metadata"] = json!({
        "name": format!("shown-{}", version.name),
        "labels": {"audit.kyverno.io/source": "admission", "audit.kyverno.io/resource.kind": "Pod"},
        "annotations": {"audit.kyverno.io/resource.name": "x"}
    });
    object
}

fn path(resource: &Resource, version: &Version) -> String {
    let place = if resource.scope == Scope::Namespaced { "/namespaces/default" } else { "" };
    format!("/apis/{}/{}{place}/{}", resource.group, version.name, resource.names.plural)
}

/// Ages are of one second here or of two, and other tests raise the revision.
fn without_ages(mut table: Value) -> Value {
    table["metadata"]["resourceVersion"] = "…".into();
    let dates: Vec<usize> = (table["columnDefinitions"].as_array().unwrap().iter().enumerate())
        .filter(|it| it.1["type"] == "date")
        .map(|it| it.0)
        .collect();
    for row in table["rows"].as_array_mut().unwrap() {
        for date in &dates {
            assert!(row["cells"][*date].as_str().unwrap().ends_with('s'));
            row["cells"][*date] = "…".into();
        }
    }
    table
}

fn ours(resource: &Resource, version: &Version, list: &Value, accept: &str, include: &str) -> Value {
    let (form, _) = accept::objects(Some(accept), Shown::List).unwrap();
    let include = IncludeObject::parse(include).unwrap();
    let presenter = Presenter::new(resource, version, form, include, jiff::Timestamp::now());
    let resource_version = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let mut out = Vec::new();
    presenter.begin(&ListMeta { resource_version, ..ListMeta::default() }, &mut out);
    for (index, item) in list["items"].as_array().unwrap().iter().enumerate() {
        presenter.item(item.to_string().as_bytes(), index == 0, &mut out).unwrap();
    }
    presenter.end(&mut out);
    serde_json::from_slice(&out).unwrap()
}

#[tokio::test]
async fn objects_are_shown_alike() {
    let kubernetes = need!(Kubernetes::shared());
    let real = serving(&kubernetes).await;
    for resource in Registry::builtin().iter() {
        for version in &resource.versions {
            let path = path(resource, version);
            let made =
                real.send("POST", &path, "application/json", &object(resource, version).to_string()).await;
            assert_eq!(made.code, 201, "{made:?}");
            if version.status {
                let status = json!({"status": {"controlledByReplica": 3, "conditions": [
                    {"type": "Failed", "status": "True", "reason": "Failure", "message": "SyncSet a is failing"}]}});
                let one = format!("{path}/shown-{}/status", version.name);
                let set = real.send("PATCH", &one, "application/merge-patch+json", &status.to_string()).await;
                assert_eq!(set.code, 200, "{set:?}");
            }
            let list = real.get(&path, "application/json").await.body;
            for include in ["Metadata", "Object", "None"] {
                let table = real.get(&format!("{path}?includeObject={include}"), TABLE).await.body;
                let ours = ours(resource, version, &list, TABLE, include);
                assert_eq!(without_ages(ours), without_ages(table), "{path} {include}");
            }
            let metadata = real.get(&path, METADATA).await.body;
            assert_eq!(ours(resource, version, &list, METADATA, "")["items"], metadata["items"], "{path}");
        }
    }
}

/// Verbs of custom resources are in no order; and the hash of the version that is stored is that of another version.
fn with_sorted_verbs(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.remove("storageVersionHash");
            for (name, value) in fields.iter_mut() {
                *value = with_sorted_verbs(value.take());
                if name == "verbs" {
                    value.as_array_mut().unwrap().sort_by_key(Value::to_string);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|it| *it = with_sorted_verbs(it.take())),
        _ => {}
    }
    value
}

fn by_name(mut resources: Value, list: &str, name: &str) -> Value {
    resources[list].as_array_mut().unwrap().sort_by_key(|it| it[name].to_string());
    with_sorted_verbs(resources)
}

#[tokio::test]
async fn resources_are_told_alike() {
    let kubernetes = need!(Kubernetes::shared());
    let real = serving(&kubernetes).await;
    let registry = Registry::builtin();
    let aggregated = real.get("/apis", AGGREGATED).await.body;
    let ours = discovery::aggregated(&registry, "v2");
    for group in ours["items"].as_array().unwrap() {
        let name = group["metadata"]["name"].as_str().unwrap();
        let of = |it: &&Value| it["metadata"]["name"] == name;
        let theirs = aggregated["items"].as_array().unwrap().iter().find(of).unwrap();
        for (ours, theirs) in
            group["versions"].as_array().unwrap().iter().zip(theirs["versions"].as_array().unwrap())
        {
            let sorted = |it: &Value| by_name(it.clone(), "resources", "resource");
            assert_eq!(sorted(ours), sorted(theirs), "{name}");
            let version = ours["version"].as_str().unwrap();
            let list = real.get(&format!("/apis/{name}/{version}"), "application/json").await.body;
            let ours = discovery::resource_list(&registry, name, version).unwrap();
            assert_eq!(by_name(ours, "resources", "name"), by_name(list, "resources", "name"));
        }
        let theirs = real.get(&format!("/apis/{name}"), "application/json").await.body;
        assert_eq!(discovery::group(&registry, name).unwrap(), theirs);
    }
}

#[tokio::test]
async fn schemas_are_published_alike() {
    let kubernetes = need!(Kubernetes::shared());
    let real = serving(&kubernetes).await;
    let mut registry = Registry::builtin();
    let things = crate::document();
    registry.add("the test", &things.to_string()).unwrap();
    real.serve(&things).await;
    let openapi = OpenApi::new(&registry);
    let root: Value = serde_json::from_slice(&openapi.root().json).unwrap();
    for path in root["paths"].as_object().unwrap().keys() {
        let ours: Value = serde_json::from_slice(&openapi.v3(path).unwrap().json).unwrap();
        let theirs = published(&real, path, &ours).await;
        let names = |it: &Value| it["paths"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&ours), names(&theirs));
        for (name, schema) in ours["components"]["schemas"].as_object().unwrap() {
            if !name.contains(".meta.v1.") {
                compare_kinds(name, schema, &theirs["components"]["schemas"][name]);
            }
        }
        for (name, operations) in ours["paths"].as_object().unwrap() {
            compare_operations(operations, &theirs["paths"][name], name);
        }
    }
}

/// The real one's document, once it has all that ours has: it is made a while after a resource is served.
async fn published(real: &Real, path: &str, ours: &Value) -> Value {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let theirs = real.get(&format!("/openapi/v3/{path}"), "application/json").await;
        let count = |it: &Value| it["paths"].as_object().map_or(0, serde_json::Map::len);
        if count(&theirs.body) == count(ours) {
            return theirs.body;
        }
        assert!(tokio::time::Instant::now() < deadline, "{path}: {theirs:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn compare_kinds(name: &str, ours: &Value, theirs: &Value) {
    for (field, schema) in ours["properties"].as_object().unwrap() {
        if !matches!(field.as_str(), "metadata" | "items") {
            assert_eq!(schema, &theirs["properties"][field], "{name} {field}");
        }
    }
    for field in ["type", "required", "x-kubernetes-group-version-kind", "x-kubernetes-selectable-fields"] {
        assert_eq!(ours[field], theirs[field], "{name} {field}");
    }
}

fn compare_operations(ours: &Value, theirs: &Value, path: &str) {
    let verbs = |it: &Value| it.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(verbs(ours), verbs(theirs), "{path}");
    let shared = &theirs["parameters"];
    for (verb, operation) in ours.as_object().unwrap().iter().filter(|it| it.0 != "parameters") {
        let theirs = &theirs[verb];
        for field in
            ["x-kubernetes-group-version-kind", "x-kubernetes-action", "operationId", "tags", "description"]
        {
            assert_eq!(operation[field], theirs[field], "{path} {verb} {field}");
        }
        for parameter in operation["parameters"].as_array().unwrap() {
            let same = |it: &&Value| it["name"] == parameter["name"] && it["in"] == parameter["in"];
            let theirs =
                [&theirs["parameters"], shared].into_iter().filter_map(Value::as_array).flatten().find(same);
            match theirs {
                Some(theirs) => {
                    assert_eq!(parameter["schema"], theirs["schema"], "{path} {verb} {parameter}")
                }
                // What deletes a collection is deletion too, which the real one takes and does not tell.
                None => assert_eq!(
                    operation["x-kubernetes-action"], "deletecollection",
                    "{path} {verb} {parameter}"
                ),
            }
        }
    }
}
