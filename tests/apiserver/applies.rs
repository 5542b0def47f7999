//! Server-side apply: who owns what, and what becomes of it.

use http::Method;
use serde_json::{Value, json};

use crate::world::{APPLY, World, message, reason, revision, thing};

fn managers(object: &Value) -> Vec<(String, String)> {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    entries.iter().map(|it| (text(&it["manager"]), text(&it["operation"]))).collect()
}

#[tokio::test]
async fn check_42_an_apply_makes_what_is_not_there() {
    let mut world = World::new().await;
    let made = world.apply("a", "m", &thing("a", "red")).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let entry = &made.json()["metadata"]["managedFields"][0];
    assert_eq!(
        (&entry["manager"], &entry["operation"], &entry["apiVersion"]),
        (&json!("m"), &json!("Apply"), &json!("example.com/v1"))
    );
    assert_eq!(entry["fieldsV1"], json!({"f:spec": {"f:color": {}}}));
}

#[tokio::test]
async fn check_43_two_managers_of_one_field_conflict() {
    let mut world = World::new().await;
    world.apply("a", "one", &thing("a", "red")).await;
    let refused = world.apply("a", "two", &thing("a", "blue")).await;
    assert_eq!(reason(&refused), (409, "Conflict".to_owned()));
    assert_eq!(message(&refused), r#"Apply failed with 1 conflict: conflict with "one": .spec.color"#);
    assert_eq!(
        refused.json()["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".spec.color"}])
    );
    let path = world.things("/a?fieldManager=two&force=true");
    let forced = world.send(Method::PATCH, &path, &[APPLY], thing("a", "blue").to_string()).await;
    assert_eq!(
        (forced.status, managers(&forced.json())),
        (200, vec![("two".to_owned(), "Apply".to_owned())])
    );
}

#[tokio::test]
async fn check_44_what_nobody_applies_any_more_goes() {
    let mut world = World::new().await;
    let mut config = thing("a", "red");
    config["spec"]["parts"] = json!([{"name": "x", "size": 1}, {"name": "y"}]);
    world.apply("a", "one", &config).await;
    let shared = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": {"parts": [{"name": "y"}]}});
    world.apply("a", "two", &shared).await;
    let left = world.apply("a", "one", &thing("a", "red")).await.json();
    assert_eq!(left["spec"]["parts"], json!([{"name": "y"}]));
}

#[tokio::test]
async fn check_45_an_apply_has_a_manager() {
    let mut world = World::new().await;
    let nobody =
        world.send(Method::PATCH, &world.things("/a"), &[APPLY], thing("a", "red").to_string()).await;
    assert_eq!(reason(&nobody), (422, "Invalid".to_owned()));
    assert!(message(&nobody).contains("fieldManager: Required value: is required for apply patch"));
    let mut other = thing("a", "red");
    other["kind"] = "Other".into();
    assert_eq!(reason(&world.apply("a", "m", &other).await).0, 400);
    let mut managed = thing("a", "red");
    managed["metadata"]["managedFields"] = json!([]);
    assert_eq!(message(&world.apply("a", "m", &managed).await), "metadata.managedFields must be nil");
}

#[tokio::test]
async fn check_46_an_apply_of_the_same_changes_nothing() {
    let mut world = World::new().await;
    let first = world.apply("a", "m", &thing("a", "red")).await.json();
    let again = world.apply("a", "m", &thing("a", "red")).await;
    assert_eq!((again.status, again.json()), (200, first));
}

#[tokio::test]
async fn check_48_a_dry_run_of_an_apply_shows_what_it_would_do() {
    let mut world = World::new().await;
    let path = world.things("/a?fieldManager=m&dryRun=All&force=true");
    let made = world.send(Method::PATCH, &path, &[APPLY], thing("a", "red").to_string()).await;
    assert_eq!((made.status, &made.json()["spec"]["color"]), (201, &json!("red")));
    assert_eq!(world.get(&world.things("/a")).await.status, 404);
    let kept = world.apply("a", "m", &thing("a", "red")).await.json();
    let changed = world.send(Method::PATCH, &path, &[APPLY], thing("a", "blue").to_string()).await;
    assert_eq!((changed.status, &changed.json()["spec"]["color"]), (200, &json!("blue")));
    assert_eq!(revision(&world.thing("a").await), revision(&kept));
}

#[tokio::test]
async fn writes_that_are_no_applies_note_their_managers_too() {
    let mut world = World::new().await;
    let made = world.post(&world.things("?fieldManager=creator"), &thing("a", "red")).await.json();
    assert_eq!(managers(&made), [("creator".to_owned(), "Update".to_owned())]);
    let patched = world.merge(&world.things("/a"), &json!({"spec": {"count": 1}})).await.json();
    assert!(managers(&patched).contains(&("unknown".to_owned(), "Update".to_owned())), "{patched}");
}

#[tokio::test]
async fn marks_of_the_server_belong_to_nobody() {
    let mut world = World::new().await;
    let path = format!("/apis/wgpolicyk8s.io/v1alpha2/namespaces/{}/policyreports", world.namespace);
    let report =
        json!({"apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"name": "web"}});
    let made = world.post(&path, &report).await.json();
    let mark = "reports.kyverno.io/served-by-reports-server";
    assert_eq!(made["metadata"]["annotations"][mark], "true");
    let patch = json!({"summary": {"pass": 1}});
    let changed = world.merge(&format!("{path}/web"), &patch).await.json();
    assert_eq!(changed["metadata"]["annotations"][mark], "true");
    for object in [made, changed] {
        let owned = object["metadata"]["managedFields"].to_string();
        assert!(!owned.contains("served-by"), "{owned}");
    }
    // Who sets them himself owns them, as anything else.
    let mut own = report;
    own["metadata"] = json!({"name": "own", "annotations": {mark: "true"}});
    let made = world.post(&path, &own).await.json();
    assert!(made["metadata"]["managedFields"].to_string().contains("served-by"), "{made}");
}

/// An explicit null is a value, and most fields may not be null.
#[tokio::test]
async fn nulls_are_judged_as_values() {
    let mut world = World::new().await;
    let mut config = thing("a", "red");
    config["spec"]["count"] = json!(null);
    let refused = world.apply("a", "one", &config).await;
    assert_eq!(reason(&refused), (422, "Invalid".to_owned()), "{}", refused.text());
    config["spec"]["count"] = json!(1);
    config["metadata"]["creationTimestamp"] = json!(null);
    assert_eq!(world.apply("a", "one", &config).await.status, 201);
    let less = world
        .apply(
            "a",
            "one",
            &json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}}),
        )
        .await;
    assert_eq!(less.status, 200, "{}", less.text());
    assert!(world.thing("a").await["spec"].get("color").is_none());
}

#[tokio::test]
async fn what_is_of_another_type_has_no_reason() {
    let mut world = World::new().await;
    let mut config = thing("a", "red");
    config["spec"]["count"] = json!({"a": 1});
    let refused = world.apply("a", "one", &config).await;
    assert_eq!(reason(&refused), (500, String::new()), "{}", refused.text());
    assert!(refused.json().get("details").is_none(), "{}", refused.text());
}
