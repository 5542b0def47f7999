//! What is said of objects that were copied back: who owns them, and who manages them.

use http::Request;
use larder_harness::need;
use serde_json::{Value, json};

use super::reports::GROUP;
use super::site::{Site, options};

const REPORTS: &str = "/apis/wgpolicyk8s.io/v1alpha2/namespaces/default/policyreports";
const OF_CLUSTER: &str = "/apis/wgpolicyk8s.io/v1alpha2/clusterpolicyreports";

/// Makes an object of these owners; returns how it is named as an owner itself.
async fn make(site: &Site, path: &str, name: &str, owners: &[&Value]) -> Value {
    let kind = if path == OF_CLUSTER { "ClusterPolicyReport" } else { "PolicyReport" };
    let object = json!({
        "apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": kind,
        "metadata": {"name": name, "ownerReferences": owners}, "summary": {"pass": 1},
    });
    let made = site.send("POST", path, &object).await.unwrap();
    let uid = &made["metadata"]["uid"];
    json!({"apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": kind, "name": name, "uid": uid})
}

async fn metadata(site: &Site, path: &str, name: &str) -> Value {
    site.get(&format!("{path}/{name}")).await.unwrap()["metadata"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_that_move_too_are_named_by_their_new_uid() {
    let site = need!(Site::start().await);
    site.define().await;
    let of_cluster = make(&site, OF_CLUSTER, "owner", &[]).await;
    let owner = make(&site, REPORTS, "owner", &[&of_cluster]).await;
    let gone = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "of-a-pod"});
    let middle = make(&site, REPORTS, "b", &[&gone, &owner]).await;
    // Copied first, and so before its owners are there.
    make(&site, REPORTS, "a", &[&middle, &of_cluster]).await;
    site.transfer(options()).bring_in(GROUP).await.unwrap();
    assert_eq!(metadata(&site, REPORTS, "b").await["ownerReferences"], json!([gone, owner]));
    site.transfer(options()).take_out(GROUP).await.unwrap();

    let uid = async |path, name| metadata(&site, path, name).await["uid"].take();
    let named = async |name| {
        let mut metadata = metadata(&site, REPORTS, name).await;
        let owners = metadata["ownerReferences"].as_array_mut().unwrap().iter_mut();
        owners.map(|it| it["uid"].take()).collect::<Vec<_>>()
    };
    let new = uid(OF_CLUSTER, "owner").await;
    assert_ne!(new, of_cluster["uid"]);
    assert_eq!(named("owner").await, std::slice::from_ref(&new));
    assert_eq!(named("b").await, [gone["uid"].clone(), uid(REPORTS, "owner").await]);
    assert_eq!(named("a").await, [uid(REPORTS, "b").await, new]);
}

/// The managers of a report, and the versions that they wrote.
async fn managers(site: &Site, name: &str) -> Vec<(String, String)> {
    let metadata = metadata(site, REPORTS, name).await;
    let entries = metadata["managedFields"].as_array().into_iter().flatten();
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    entries.map(|it| (text(&it["manager"]), text(&it["apiVersion"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_manages_fields_does_so_afterwards_and_they_can_be_applied() {
    let site = need!(Site::start().await);
    site.define().await;
    let object = json!({
        "apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"name": "a"},
        "summary": {"pass": 1},
    });
    site.send("POST", &format!("{REPORTS}?fieldManager=kubectl-create"), &object).await.unwrap();
    let before = managers(&site, "a").await;
    assert_eq!(before.len(), 1);
    site.transfer(options()).bring_in(GROUP).await.unwrap();
    let nobodys = json!({
        "apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"name": "b"},
    });
    site.send("POST", REPORTS, &nobodys).await.unwrap();
    let patch = json!({"metadata": {"managedFields": [{}]}});
    site.send("PATCH", &format!("{REPORTS}/b"), &patch).await.unwrap();
    site.transfer(options()).take_out(GROUP).await.unwrap();
    assert_eq!(managers(&site, "a").await, before);
    assert_eq!(managers(&site, "b").await, []);

    for name in ["a", "b"] {
        let mut applied = object.clone();
        applied["metadata"]["name"] = name.into();
        let path = format!("{REPORTS}/{name}?fieldManager=test");
        let request = Request::patch(path).header("content-type", "application/apply-patch+yaml");
        let request = request.body(applied.to_string().into_bytes()).unwrap();
        site.client.request::<Value>(request).await.unwrap();
    }
}
