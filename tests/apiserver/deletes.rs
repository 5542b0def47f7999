//! Deleting: at once, behind finalizers, and many.

use http::Method;
use serde_json::json;

use crate::world::{JSON, World, labelled, message, names, reason, revision, thing};

#[tokio::test]
async fn check_49_a_deletion_tells_what_was_deleted() {
    let mut world = World::new().await;
    let made = world.make(&thing("a", "red")).await;
    let body = r#"{"propagationPolicy": "Background"}"#;
    let deleted = world.send(Method::DELETE, &world.things("/a"), &[JSON], body).await;
    assert_eq!(
        (deleted.status, deleted.json()),
        (
            200,
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details":
                {"name": "a", "group": "example.com", "kind": "things", "uid": made["metadata"]["uid"]}})
        )
    );
    assert_eq!(reason(&world.get(&world.things("/a")).await).0, 404);
    assert_eq!(reason(&world.delete(&world.things("/a")).await).0, 404);
    let _ = world
        .server
        .log()
        .wait_for(&format!(r#""name":"a","uid":{}"#, made["metadata"]["uid"]), crate::world::SOON);
}

#[tokio::test]
async fn check_50_finalizers_hold_an_object() {
    let mut world = World::new().await;
    let mut held = thing("a", "red");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let made = world.make(&held).await;
    let mut watcher = world.watch(&format!("resourceVersion={}", revision(&made))).await;
    let marked = world.delete(&world.things("/a")).await;
    assert_eq!(marked.status, 200);
    let object = marked.json();
    assert_eq!((&object["kind"], &object["metadata"]["generation"]), (&json!("Thing"), &json!(2)));
    assert!(object["metadata"]["deletionTimestamp"].is_string());
    watcher.expect("MODIFIED", "a").await;
    assert_eq!(world.delete(&world.things("/a")).await.json(), object);
    let taken = world.post(&world.things(""), &thing("a", "red")).await;
    assert!(message(&taken).starts_with("object is being deleted: "), "{}", message(&taken));
    let released = world.merge(&world.things("/a"), &json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(released.status, 200);
    let gone = watcher.expect("DELETED", "a").await;
    assert!(revision(&gone) > revision(&object));
    assert_eq!(reason(&world.get(&world.things("/a")).await).0, 404);
}

#[tokio::test]
async fn check_51_a_deletion_may_have_conditions() {
    let mut world = World::new().await;
    let made = world.make(&thing("a", "red")).await;
    for (precondition, text) in [
        (
            json!({"uid": "another"}),
            "the UID in the precondition (another) does not match the UID in record (",
        ),
        (json!({"resourceVersion": "1"}), "the ResourceVersion in the precondition (1) does not match"),
    ] {
        let body = json!({"preconditions": precondition}).to_string();
        let refused = world.send(Method::DELETE, &world.things("/a"), &[JSON], body).await;
        assert_eq!(reason(&refused), (409, "Conflict".to_owned()));
        assert!(message(&refused).contains(text), "{}", message(&refused));
    }
    let metadata = &made["metadata"];
    let body =
        json!({"preconditions": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}});
    assert_eq!(world.send(Method::DELETE, &world.things("/a"), &[JSON], body.to_string()).await.status, 200);
}

#[tokio::test]
async fn check_52_what_is_being_deleted_gets_no_new_finalizers() {
    let mut world = World::new().await;
    let mut held = thing("a", "red");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.make(&held).await;
    world.delete(&world.things("/a")).await;
    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    let refused = world.merge(&world.things("/a"), &more).await;
    assert_eq!(reason(&refused), (422, "Invalid".to_owned()));
    assert!(message(&refused).contains("no new finalizers can be added if the object is being deleted"));
}

#[tokio::test]
async fn check_53_many_are_deleted_by_their_labels() {
    let mut world = World::new().await;
    for number in 0..40 {
        let labels = json!({"half": if number % 2 == 0 { "even" } else { "odd" }});
        world.make(&labelled(&format!("t{number:02}"), &labels)).await;
    }
    let before = world.get(&world.things("")).await.json();
    let mut watcher = world.watch(&format!("resourceVersion={}", revision(&before))).await;
    let deleted = world.delete(&world.things("?labelSelector=half%3Deven")).await;
    assert_eq!(deleted.status, 200);
    let deleted = deleted.json();
    assert_eq!((&deleted["kind"], names(&deleted).len()), (&json!("ThingList"), 20));
    let left = world.get(&world.things("")).await.json();
    assert_eq!(names(&left).len(), 20);
    assert!(names(&left).iter().all(|it| !names(&deleted).contains(it)));
    let mut told = Vec::new();
    for _ in 0..20 {
        let (kind, name) = watcher.next().await;
        assert_eq!(kind, "DELETED");
        told.push(name);
    }
    told.sort();
    assert_eq!(told, names(&deleted));
    let nothing = world.delete(&world.things("?labelSelector=half%3Deven")).await;
    assert_eq!((nothing.status, &nothing.json()["items"]), (200, &json!([])));
}

#[tokio::test]
async fn foreground_deletion_waits_for_dependents() {
    let mut world = World::new().await;
    world.make(&thing("a", "red")).await;
    let marked = world.delete(&world.things("/a?propagationPolicy=Foreground")).await;
    assert_eq!(marked.json()["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let policy = world.delete(&world.things("/a?propagationPolicy=Sometime")).await;
    assert_eq!(reason(&policy), (422, "Invalid".to_owned()));
    let finished = world.merge(&world.things("/a"), &json!({"metadata": {"finalizers": []}})).await;
    assert_eq!(finished.status, 200);
    assert_eq!(world.get(&world.things("/a")).await.status, 404);
}

#[tokio::test]
async fn a_dry_deletion_shows_what_a_deletion_would_leave() {
    let mut world = World::new().await;
    let mut held = thing("a", "red");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.make(&held).await;
    let shown = world.delete(&world.things("/a?dryRun=All")).await.json();
    assert!(shown["metadata"]["deletionTimestamp"].is_string(), "{shown}");
    assert_eq!(shown["metadata"]["generation"], 2);
    assert_eq!(world.thing("a").await["metadata"]["deletionTimestamp"], json!(null));
    world.merge(&world.things("/a"), &json!({"metadata": {"finalizers": null}})).await;
}

/// As a list does: a page where a limit is set, behind a token, of a revision, and nothing where those are wrong.
#[tokio::test]
async fn deletions_of_many_go_page_by_page() {
    let mut world = World::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        world.make(&thing(name, "red")).await;
    }
    for (query, code) in [("continue=x", 400), ("resourceVersion=1", 410), ("resourceVersion=x", 400)] {
        let refused = world.delete(&world.things(&format!("?{query}"))).await;
        assert_eq!(reason(&refused).0, code, "{query}: {}", refused.text());
    }
    let before = world.get(&world.things("")).await.json();
    assert_eq!(names(&before).len(), 5);
    let page = world.get(&world.things("?limit=1")).await.json();
    let token = page["metadata"]["continue"].as_str().unwrap();
    let two = world.delete(&world.things(&format!("?limit=2&continue={token}"))).await.json();
    assert_eq!(names(&two), ["b", "c"]);
    assert_eq!((revision(&two), &two["metadata"]["remainingItemCount"]), (revision(&page), &json!(2)));
    assert!(two["metadata"]["continue"].is_string(), "{two}");
    assert_eq!(names(&world.get(&world.things("")).await.json()), ["a", "d", "e"]);
    // What was made since that revision is none of it.
    world.make(&thing("f", "red")).await;
    let query = format!("?resourceVersion={}", revision(&before));
    let old = world.delete(&world.things(&query)).await.json();
    assert_eq!(
        (names(&old), revision(&old)),
        (vec!["a".to_owned(), "d".to_owned(), "e".to_owned()], revision(&before))
    );
    assert!(old["metadata"].get("continue").is_none());
    assert_eq!(names(&world.get(&world.things("")).await.json()), ["f"]);
}

/// However many pages it takes.
#[tokio::test]
async fn deletions_of_many_leave_what_is_made_meanwhile() {
    let mut world = World::new().await;
    for number in 0..600 {
        world.make(&thing(&format!("t{number:03}"), "red")).await;
    }
    let before = world.get(&world.things("?limit=1")).await.json();
    let mut watcher = world.watch(&format!("resourceVersion={}", revision(&before))).await;
    let mut another = world.server.connect().await;
    let path = world.things("");
    let deletion = tokio::spawn(async move { another.send(Method::DELETE, &path, &[], "").await.unwrap() });
    assert_eq!(watcher.next().await.0, "DELETED");
    world.make(&thing("z", "red")).await;
    let deleted = deletion.await.unwrap().json();
    assert_eq!((names(&deleted).len(), names(&deleted).contains(&"z".to_owned())), (600, false));
    assert_eq!(names(&world.get(&world.things("")).await.json()), ["z"]);
}

/// Single deletions show what waits; deletions of many what was there.
#[tokio::test]
async fn deletions_of_many_show_objects_as_they_were() {
    let mut world = World::new().await;
    let made = world.make(&thing("a", "red")).await;
    let deleted = world.delete(&world.things("?propagationPolicy=Foreground")).await.json();
    assert_eq!(deleted["items"], json!([made]));
    assert!(world.thing("a").await["metadata"]["deletionTimestamp"].is_string());
}

#[tokio::test]
async fn no_options_are_options() {
    let mut world = World::new().await;
    world.make(&thing("a", "red")).await;
    let deleted = world.send(Method::DELETE, &world.things("/a?dryRun=All"), &[JSON], "null\n").await;
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    assert_eq!(world.get(&world.things("/a")).await.status, 404);
}
