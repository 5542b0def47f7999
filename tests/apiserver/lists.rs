//! Lists: pages, revisions, selectors.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::world::{World, labelled, message, names, reason, revision, setup, thing};

#[tokio::test]
async fn check_57_pages_are_of_one_moment() {
    let mut world = World::new().await;
    for number in 0..25 {
        world.make(&thing(&format!("t{number:02}"), "red")).await;
    }
    let whole = names(&world.get(&world.things("")).await.json());
    let (mut seen, mut token, mut moment) = (Vec::new(), String::new(), None);
    loop {
        let page = world.get(&world.things(&format!("?limit=10&continue={token}"))).await;
        assert_eq!(page.status, 200, "{}", page.text());
        let page = page.json();
        assert_eq!(*moment.get_or_insert(revision(&page)), revision(&page));
        seen.extend(names(&page));
        let left = 25_usize.saturating_sub(seen.len());
        let remaining = page["metadata"].get("remainingItemCount").and_then(Value::as_u64);
        assert_eq!(remaining, (left > 0).then_some(left as u64));
        // Somebody writes in between.
        world.make(&thing(&format!("late{left}"), "red")).await;
        world.delete(&world.things(&format!("/t{:02}", 24 - left % 3))).await;
        match page["metadata"]["continue"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, whole);
    let selected = world.get(&world.things("?limit=3&labelSelector=!x")).await.json();
    assert!(selected["metadata"].get("remainingItemCount").is_none());
    assert!(selected["metadata"]["continue"].is_string());
}

#[tokio::test]
async fn check_58_namespaces_are_ordered_by_joined_keys() {
    let server = Arc::new(setup().start());
    let mut world = World::on(server).await;
    for namespace in ["a", "a-b", "b"] {
        let path = format!("/apis/example.com/v1/namespaces/{namespace}/things");
        assert_eq!(world.post(&path, &thing("t", "red")).await.status, 201);
    }
    let list = world.get("/apis/example.com/v1/things").await.json();
    let order: Vec<&Value> =
        list["items"].as_array().unwrap().iter().map(|it| &it["metadata"]["namespace"]).collect();
    assert_eq!(order, ["a-b", "a", "b"]);
    let page = world.get("/apis/example.com/v1/things?limit=1").await.json();
    let token = page["metadata"]["continue"].as_str().unwrap();
    let next = world.get(&format!("/apis/example.com/v1/things?limit=1&continue={token}")).await.json();
    assert_eq!(next["items"][0]["metadata"]["namespace"], "a");
}

#[tokio::test]
async fn check_60_tokens_and_revisions_do_not_mix() {
    let mut world = World::new().await;
    let garbage = world.get(&world.things("?limit=1&continue=garbage")).await;
    assert_eq!(reason(&garbage), (400, "BadRequest".to_owned()));
    for name in ["a", "b"] {
        world.make(&thing(name, "red")).await;
    }
    let page = world.get(&world.things("?limit=1")).await.json();
    let token = page["metadata"]["continue"].as_str().unwrap();
    let both = world.get(&world.things(&format!("?limit=1&resourceVersion=5&continue={token}"))).await;
    assert_eq!(message(&both), "specifying resource version is not allowed when using continue");
    let zero = world.get(&world.things(&format!("?limit=1&resourceVersion=0&continue={token}"))).await;
    assert_eq!(names(&zero.json()), ["b"]);
}

/// The table of the API conventions: what is unset, what is old, what is exact.
#[tokio::test]
async fn check_61_a_list_is_of_the_revision_that_is_meant() {
    let mut world = World::new().await;
    world.make(&thing("a", "red")).await;
    let then = revision(&world.get(&world.things("")).await.json());
    world.make(&thing("b", "red")).await;
    let both = vec!["a".to_owned(), "b".to_owned()];
    let one = vec!["a".to_owned()];
    for (query, expected) in [
        (String::new(), &both),
        ("resourceVersion=0".to_owned(), &both),
        (format!("resourceVersion={then}"), &both),
        ("limit=9".to_owned(), &both),
        ("limit=9&resourceVersion=0".to_owned(), &both),
        (format!("limit=9&resourceVersion={then}"), &one),
        (format!("resourceVersionMatch=Exact&resourceVersion={then}"), &one),
        (format!("limit=9&resourceVersionMatch=Exact&resourceVersion={then}"), &one),
        ("resourceVersionMatch=NotOlderThan&resourceVersion=0".to_owned(), &both),
        (format!("resourceVersionMatch=NotOlderThan&resourceVersion={then}"), &both),
        (format!("limit=9&resourceVersionMatch=NotOlderThan&resourceVersion={then}"), &both),
    ] {
        let list = world.get(&world.things(&format!("?{query}"))).await;
        assert_eq!(list.status, 200, "{query}: {}", list.text());
        assert_eq!(&names(&list.json()), expected, "{query}");
    }
    let old = world.get(&world.things("?resourceVersionMatch=Exact&resourceVersion=1")).await;
    assert_eq!(reason(&old), (410, "Expired".to_owned()));
    assert_eq!(message(&old), "The resourceVersion for the provided list is too old.");
}

#[tokio::test]
async fn check_62_a_revision_that_is_not_there_yet_is_waited_for() {
    let mut world = World::new().await;
    world.make(&thing("a", "red")).await;
    let future = u64::MAX >> 12;
    let started = std::time::Instant::now();
    let list = world.get(&world.things(&format!("?resourceVersion={future}"))).await;
    assert!(started.elapsed() >= std::time::Duration::from_millis(2500), "{:?}", started.elapsed());
    assert_eq!(reason(&list), (504, "Timeout".to_owned()));
    assert!(message(&list).starts_with(&format!("Timeout: Too large resource version: {future}, current: ")));
    assert_eq!(list.headers["retry-after"], "1");
    let details = &list.json()["details"];
    assert_eq!((&details["causes"][0]["reason"], &details["retryAfterSeconds"]), (&json!("ResourceVersionTooLarge"), &json!(1)));
    let get = world.get(&world.things(&format!("/a?resourceVersion={future}"))).await;
    assert_eq!(reason(&get).0, 504);
    assert_eq!(reason(&world.get(&world.things("/a?resourceVersion=x")).await).0, 400);
}

#[tokio::test]
async fn check_63_label_selectors_mean_what_they_say() {
    let mut world = World::new().await;
    world.make(&labelled("none", &json!({}))).await;
    world.make(&labelled("empty", &json!({"k": ""}))).await;
    world.make(&labelled("a", &json!({"k": "a", "n": "5"}))).await;
    world.make(&labelled("b", &json!({"k": "b", "n": "10"}))).await;
    for (selector, expected) in [
        ("k=a", vec!["a"]),
        ("k==a", vec!["a"]),
        ("k!=a", vec!["b", "empty", "none"]),
        ("k in (a, b)", vec!["a", "b"]),
        ("k in (,a)", vec!["a", "empty"]),
        ("k notin (a,b)", vec!["empty", "none"]),
        ("k", vec!["a", "b", "empty"]),
        ("!k", vec!["none"]),
        ("k=", vec!["empty"]),
        ("n>7", vec!["b"]),
        ("n < 7", vec!["a"]),
        (" k in (a,b) , n>7 ", vec!["b"]),
        ("", vec!["a", "b", "empty", "none"]),
    ] {
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("labelSelector", selector).finish();
        let list = world.get(&world.things(&format!("?{query}"))).await;
        assert_eq!(names(&list.json()), expected, "{selector}");
    }
    let bad = world.get(&world.things("?labelSelector=k+in+x")).await;
    assert!(message(&bad).starts_with("unable to parse requirement: "), "{}", message(&bad));
    assert_eq!(bad.status, 400);
}

#[tokio::test]
async fn check_64_field_selectors_know_the_fields_of_the_resource() {
    let mut world = World::new().await;
    for (name, color) in [("a", "red"), ("b", "blue"), ("c", "red")] {
        world.make(&thing(name, color)).await;
    }
    for (selector, expected) in [
        ("metadata.name=b", vec!["b"]),
        ("metadata.name!=b", vec!["a", "c"]),
        ("spec.color=red", vec!["a", "c"]),
        ("spec.color!=red,metadata.name=b", vec!["b"]),
        ("metadata.name=b,metadata.name=a", vec![]),
    ] {
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("fieldSelector", selector).finish();
        let list = world.get(&world.things(&format!("?{query}"))).await;
        assert_eq!(names(&list.json()), expected, "{selector}");
    }
    for selector in ["spec.count%3D1", "x"] {
        let bad = world.get(&world.things(&format!("?fieldSelector={selector}"))).await;
        assert_eq!(reason(&bad), (400, "BadRequest".to_owned()));
    }
}

#[tokio::test]
async fn check_65_an_empty_list_is_a_list() {
    let mut world = World::new().await;
    for query in ["", "?limit=5"] {
        let list = world.get(&world.things(query)).await.json();
        assert_eq!(list["items"], json!([]));
        assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ThingList"), &json!("example.com/v1")));
        assert!(revision(&list) > 0);
    }
}

#[tokio::test]
async fn options_of_lists_are_judged_together() {
    let mut world = World::new().await;
    for query in ["sendInitialEvents=true", "resourceVersionMatch=Exact", "resourceVersionMatch=NotOlderThan"] {
        let refused = world.get(&world.things(&format!("?{query}"))).await;
        assert_eq!(reason(&refused), (422, "Invalid".to_owned()), "{query}");
        assert!(message(&refused).starts_with(r#"ListOptions.meta.k8s.io "" is invalid: "#), "{}", message(&refused));
    }
}
