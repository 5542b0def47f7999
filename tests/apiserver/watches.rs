//! Watches: every change once, in order, to the end that was agreed on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::world::{JSON, SOON, World, labelled, reason, revision, setup, thing};

#[tokio::test]
async fn check_67_a_watch_goes_on_where_a_list_ended() {
    let mut world = World::new().await;
    world.make(&thing("a", "red")).await;
    let list = world.get(&world.things("")).await.json();
    let mut watcher = world.watch(&format!("resourceVersion={}", revision(&list))).await;
    world.make(&thing("b", "red")).await;
    world.merge(&world.things("/a"), &json!({"spec": {"color": "blue"}})).await;
    world.delete(&world.things("/b")).await;
    let mut last = revision(&list);
    for (kind, name) in [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")] {
        let object = watcher.expect(kind, name).await;
        assert!(revision(&object) > last);
        last = revision(&object);
    }
}

#[tokio::test]
async fn check_68_a_watch_of_nothing_in_particular_begins_with_what_there_is() {
    let mut world = World::new().await;
    for name in ["a", "b"] {
        world.make(&thing(name, "red")).await;
    }
    let mut watchers = [world.watch("resourceVersion=0").await, world.watch("").await];
    world.make(&thing("c", "red")).await;
    for watcher in &mut watchers {
        for name in ["a", "b", "c"] {
            watcher.expect("ADDED", name).await;
        }
    }
}

#[tokio::test]
async fn check_69_a_revision_that_is_forgotten_is_told_in_the_stream() {
    let world = World::new().await;
    let mut watcher = world.watch("resourceVersion=1").await;
    let event = watcher.event().await.unwrap();
    assert_eq!(event["type"], "ERROR");
    let status = &event["object"];
    assert_eq!(
        (&status["kind"], &status["reason"], &status["code"]),
        (&json!("Status"), &json!("Expired"), &json!(410))
    );
    assert!(status["message"].as_str().unwrap().starts_with("too old resource version: 1 ("), "{status}");
    assert_eq!(watcher.event().await, None);
}

#[tokio::test]
async fn check_70_a_revision_to_come_is_waited_for() {
    let mut world = World::new().await;
    let made = world.make(&thing("a", "red")).await;
    let ahead = revision(&made) + 3_000_000;
    let mut watcher = world.watch(&format!("resourceVersion={ahead}&timeoutSeconds=1")).await;
    world.make(&thing("b", "red")).await;
    assert_eq!(watcher.event().await, None);
}

#[tokio::test]
async fn check_71_what_enters_or_leaves_a_selection_is_added_or_deleted() {
    let mut world = World::new().await;
    let made = world.make(&labelled("a", &json!({"k": "v"}))).await;
    let query = format!("labelSelector=k%3Dv&resourceVersion={}", revision(&made));
    let mut watcher = world.watch(&query).await;
    let labels = |value: &Value| json!({"metadata": {"labels": {"k": value}}});
    let left = world.merge(&world.things("/a"), &labels(&json!("w"))).await.json();
    let back = world.merge(&world.things("/a"), &labels(&json!("v"))).await.json();
    let gone = watcher.expect("DELETED", "a").await;
    assert_eq!((revision(&gone), &gone["metadata"]["labels"]["k"]), (revision(&left), &json!("v")));
    assert_eq!(revision(&watcher.expect("ADDED", "a").await), revision(&back));
    let field =
        world.watch(&format!("fieldSelector=spec.color%3Dblue&resourceVersion={}", revision(&made))).await;
    let mut watcher = field;
    world.merge(&world.things("/a"), &json!({"spec": {"color": "blue"}})).await;
    watcher.expect("ADDED", "a").await;
}

#[tokio::test]
async fn check_72_what_is_deleted_is_told_as_it_was_with_the_revision_of_its_end() {
    let mut world = World::new().await;
    let made = world.make(&thing("a", "red")).await;
    let mut watcher = world.watch(&format!("resourceVersion={}", revision(&made))).await;
    world.delete(&world.things("/a")).await;
    let gone = watcher.expect("DELETED", "a").await;
    assert!(revision(&gone) > revision(&made));
    assert_eq!((&gone["spec"], &gone["metadata"]["uid"]), (&made["spec"], &made["metadata"]["uid"]));
}

#[tokio::test]
async fn check_73_initial_events_have_an_end() {
    let mut world = World::new().await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    for count in [0, 3] {
        for number in 0..count {
            world.make(&thing(&format!("t{number}"), "red")).await;
        }
        let mut watcher = world.watch(query).await;
        let mut newest = 0;
        for number in 0..count {
            newest = revision(&watcher.expect("ADDED", &format!("t{number}")).await).max(newest);
        }
        let end = watcher.event().await.unwrap();
        assert_eq!(end["type"], "BOOKMARK", "{end}");
        let object = &end["object"];
        assert_eq!((&object["kind"], &object["apiVersion"]), (&json!("Thing"), &json!("example.com/v1")));
        assert_eq!(object["metadata"]["annotations"], json!({"k8s.io/initial-events-end": "true"}));
        assert!(revision(object) >= newest);
        world.make(&thing(&format!("live{count}"), "red")).await;
        watcher.expect("ADDED", &format!("live{count}")).await;
        world.delete(&world.things("")).await;
    }
}

#[tokio::test]
async fn check_74_initial_events_are_asked_for_in_one_way() {
    let mut world = World::new().await;
    for query in [
        "watch=1&sendInitialEvents=true",
        "watch=1&resourceVersionMatch=NotOlderThan",
        "sendInitialEvents=true",
    ] {
        let refused = world.get(&world.things(&format!("?{query}"))).await;
        assert_eq!(reason(&refused), (422, "Invalid".to_owned()), "{query}");
    }
}

#[tokio::test]
async fn check_75_a_watcher_is_told_how_far_it_is_before_the_end() {
    let mut world = World::new().await;
    let made = world.make(&thing("a", "red")).await;
    let query = format!("allowWatchBookmarks=true&timeoutSeconds=3&resourceVersion={}", revision(&made));
    let mut watcher = world.watch(&query).await;
    let another = format!("/apis/example.com/v1/namespaces/{}-else/things", world.namespace);
    let elsewhere = world.post(&another, &thing("b", "red")).await.json();
    let bookmark = watcher.event().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    let told = revision(&bookmark["object"]);
    assert!(told >= revision(&elsewhere), "{told}");
    assert_eq!(watcher.event().await, None);
    let mut again = world.watch(&format!("resourceVersion={told}")).await;
    world.make(&thing("c", "red")).await;
    again.expect("ADDED", "c").await;
}

#[tokio::test]
async fn check_75_a_quiet_watcher_is_told_how_far_it_is_again_and_again() {
    let server = setup().args(["--bookmarks", "100ms"]).start();
    let mut world = World::on(Arc::new(server)).await;
    let made = revision(&world.make(&thing("a", "red")).await);
    let mut watcher = world.watch(&format!("allowWatchBookmarks=true&resourceVersion={made}")).await;
    let mut quiet = world.watch(&format!("resourceVersion={made}")).await;
    let another = format!("/apis/example.com/v1/namespaces/{}-else/things", world.namespace);
    let mut told = 0;
    for name in ["b", "c"] {
        let elsewhere = revision(&world.post(&another, &thing(name, "red")).await.json());
        // What happens elsewhere is no event here; how far it is is told all the same.
        while told < elsewhere {
            let bookmark = watcher.event().await.unwrap();
            assert_eq!(bookmark["type"], "BOOKMARK", "{bookmark}");
            assert!(revision(&bookmark["object"]) >= told, "{bookmark}");
            told = revision(&bookmark["object"]);
        }
    }
    world.make(&thing("d", "red")).await;
    // Who did not ask for them gets none.
    quiet.expect("ADDED", "d").await;
    let mut again = world.watch(&format!("resourceVersion={told}")).await;
    again.expect("ADDED", "d").await;
}

#[tokio::test]
async fn check_76_a_watch_ends_in_order_when_its_time_is_up() {
    let world = World::new().await;
    let started = Instant::now();
    let mut watcher = world.watch("timeoutSeconds=2").await;
    assert_eq!(watcher.event().await, None);
    let took = started.elapsed();
    assert!((Duration::from_millis(1900)..SOON).contains(&took), "{took:?}");
}

#[tokio::test]
async fn check_77_a_watch_begins_before_anything_happens() {
    let world = World::new().await;
    for is_http2 in [false, true] {
        let mut connection =
            if is_http2 { world.server.connect_http2().await } else { world.server.connect().await };
        let path = world.things("?watch=true");
        let coming = tokio::time::timeout(SOON, connection.open_stream(&path, &[])).await.expect("a head");
        let coming = coming.unwrap();
        assert_eq!(
            (coming.status, &coming.headers["content-type"]),
            (200, &"application/json".parse().unwrap())
        );
        assert!(coming.headers.get("content-length").is_none());
        assert!(coming.headers.get("audit-id").is_some());
    }
}

#[tokio::test]
async fn check_79_a_stop_ends_watches_between_lines() {
    let mut world = World::on(Arc::new(setup().start())).await;
    let mut watchers = Vec::new();
    for _ in 0..5 {
        watchers.push(world.watch("resourceVersion=0").await);
    }
    world.make(&thing("a", "red")).await;
    for watcher in &mut watchers {
        watcher.expect("ADDED", "a").await;
    }
    world.server.ask_to_end();
    for watcher in &mut watchers {
        assert_eq!(watcher.event().await, None);
    }
}

/// Two connections: one that takes nothing of a long list of events, and one that has to notice nothing of it. What the first was not sent is not kept for it.
#[tokio::test]
async fn check_78_a_reader_that_is_stuck_harms_nobody() {
    let server = Arc::new(setup().args(["--stall-timeout", "1s"]).start());
    let mut world = World::on(server).await;
    let mut large = thing("large", "red");
    large["spec"]["text"] = "x".repeat(1 << 20).into();
    let made = world.make(&large).await;
    let mut connection = world.server.connect_http2().await;
    let path = world.things(&format!("?watch=true&resourceVersion={}", revision(&made)));
    let mut stuck = connection.open_stream(&path, &[]).await.unwrap();
    let mut lively = world.watch(&format!("resourceVersion={}", revision(&made))).await;
    let pid = world.server.pid();
    let peak = || peak_memory(pid);
    let before = peak();
    for number in 0..90 {
        let patch = json!({"spec": {"count": number}}).to_string();
        let patched = world.send(Method::PATCH, &world.things("/large"), &[crate::world::MERGE], patch).await;
        assert_eq!(patched.status, 200);
        lively.expect("MODIFIED", "large").await;
    }
    let _ = world.server.log().wait_for("its reader takes nothing", SOON);
    let mut lines = 0;
    while let Ok(Some(_)) = stuck.line().await {
        lines += 1;
    }
    assert!(lines < 12, "{lines}");
    let grown = peak() - before;
    assert!(grown < 60 << 20, "{} MiB for 90 events of one", grown >> 20);
    // The stream was ended, and not the connection.
    let answer = connection.send(Method::GET, &world.things("/large"), &[JSON], "").await.unwrap();
    assert_eq!(answer.status, 200);
}

/// The most memory that a process has had, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
