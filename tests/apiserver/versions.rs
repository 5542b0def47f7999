//! One object in two versions: each shows its own fields, and nobody is blamed for those of the other.

use serde_json::{Value, json};

use crate::world::{MERGE, World, revision};

/// A report as Kubewarden writes it: with fields that the older version does not have.
fn newer(name: &str) -> Value {
    json!({
        "apiVersion": "wgpolicyk8s.io/v1beta1", "kind": "PolicyReport", "metadata": {"name": name}, "source": "kubewarden",
        "configuration": {"limits": {"maxResults": 5}}, "results": [{"policy": "p", "result": "fail"}],
    })
}

#[tokio::test]
async fn a_version_shows_its_own_fields() {
    let mut world = World::new().await;
    let path = |version: &str, rest: &str| {
        format!("/apis/wgpolicyk8s.io/{version}/namespaces/{}/policyreports{rest}", world.namespace)
    };
    let (new, old) = (path("v1beta1", ""), path("v1alpha2", ""));
    let (new_x, old_x) = (path("v1beta1", "/x"), path("v1alpha2", "/x?fieldValidation=Strict"));
    let made = world.post(&new, &newer("x")).await;
    assert_eq!(made.status, 201, "{}", made.json());
    let shown = world.get(&old_x).await.json();
    assert_eq!((&shown["apiVersion"], &shown["source"]), (&json!("wgpolicyk8s.io/v1alpha2"), &Value::Null));
    assert_eq!(shown["results"], made.json()["results"]);
    assert_eq!(revision(&shown), revision(&made.json()));
    let listed = world.get(&old).await.json();
    assert_eq!(
        (&listed["items"][0]["source"], &listed["items"][0]["metadata"]),
        (&Value::Null, &shown["metadata"])
    );
    assert_eq!(world.get(&new_x).await.json()["source"], "kubewarden");
    // Who writes a label has not written the fields that are dropped.
    let patch = json!({"metadata": {"labels": {"a": "b"}}}).to_string();
    let patched = world.send(http::Method::PATCH, &old_x, &[MERGE], patch).await;
    assert_eq!((patched.status, patched.headers.get("warning")), (200, None), "{}", patched.json());
    assert_eq!(patched.json()["metadata"]["labels"]["a"], "b");
    // What he writes himself he is told of.
    let patch = json!({"mistake": 1}).to_string();
    let refused = world.send(http::Method::PATCH, &old_x, &[MERGE], patch).await;
    assert_eq!(refused.status, 422);
}
