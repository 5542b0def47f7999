//! Representations: tables, metadata alone, compressed, indented.

use http::Method;
use serde_json::json;

use crate::world::{TABLE, World, message, reason, revision, thing};

const METADATA: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

#[tokio::test]
async fn check_84_tables_have_the_columns_of_the_document() {
    let mut world = World::new().await;
    world.make(&thing("a", "red")).await;
    let table = world.send(Method::GET, &world.things(""), &[TABLE], "").await.json();
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert!(revision(&table) > 0);
    let columns: Vec<_> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(columns, ["Name", "Color", "Count", "Age"]);
    let row = &table["rows"][0];
    assert_eq!((&row["cells"][0], &row["cells"][1]), (&json!("a"), &json!("red")));
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    let one = world.send(Method::GET, &world.things("/a"), &[TABLE], "").await.json();
    assert_eq!(one["rows"][0]["cells"][0], "a");
    let empty = world.send(Method::GET, &world.things("?labelSelector=x"), &[TABLE], "").await.json();
    assert_eq!((&empty["rows"], empty["columnDefinitions"].as_array().unwrap().len()), (&json!([]), 4));
}

#[tokio::test]
async fn check_84_events_of_a_table_tell_their_columns_once() {
    let mut world = World::new().await;
    let made = world.make(&thing("a", "red")).await;
    let path = world.things("?watch=true&resourceVersion=0");
    let mut watcher = world.watch_with(&path, &[TABLE]).await;
    let first = watcher.event().await.unwrap();
    assert_eq!((&first["type"], &first["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert_eq!(revision(&first["object"]), revision(&made));
    assert!(first["object"]["columnDefinitions"].is_array());
    world.merge(&world.things("/a"), &json!({"spec": {"color": "blue"}})).await;
    let next = watcher.event().await.unwrap();
    assert_eq!(
        (&next["object"]["columnDefinitions"], &next["object"]["rows"][0]["cells"][1]),
        (&json!(null), &json!("blue"))
    );
}

#[tokio::test]
async fn check_85_rows_hold_what_is_asked_for() {
    let mut world = World::new().await;
    world.make(&thing("a", "red")).await;
    for (include, kind) in
        [("None", json!(null)), ("Metadata", json!("PartialObjectMetadata")), ("Object", json!("Thing"))]
    {
        let path = world.things(&format!("?includeObject={include}"));
        let table = world.send(Method::GET, &path, &[TABLE], "").await.json();
        assert_eq!(table["rows"][0]["object"]["kind"], kind, "{include}");
    }
    let bad = world.send(Method::GET, &world.things("?includeObject=Some"), &[TABLE], "").await;
    assert_eq!(reason(&bad).0, 400);
    assert!(
        message(&bad).starts_with("Unable to convert to Table as requested: includeObject: Invalid value")
    );
}

#[tokio::test]
async fn check_86_metadata_comes_alone() {
    let mut world = World::new().await;
    world.make(&thing("a", "red")).await;
    let list = world.send(Method::GET, &world.things(""), &[("accept", METADATA)], "").await.json();
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("PartialObjectMetadataList"), &json!("meta.k8s.io/v1"))
    );
    let item = &list["items"][0];
    assert_eq!((&item["kind"], item.get("spec")), (&json!("PartialObjectMetadata"), None));
    assert!(revision(item) > 0 && revision(&list) > 0);
    let single = METADATA.replace("MetadataList", "Metadata");
    let query = "?watch=1&sendInitialEvents=1&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1";
    let mut watcher = world.watch_with(&world.things(query), &[("accept", &single)]).await;
    let event = watcher.event().await.unwrap();
    assert_eq!(
        (&event["object"]["kind"], event["object"].get("spec")),
        (&json!("PartialObjectMetadata"), None)
    );
    let end = watcher.event().await.unwrap();
    assert_eq!((&end["type"], &end["object"]["kind"]), (&json!("BOOKMARK"), &json!("PartialObjectMetadata")));
    assert!(revision(&end["object"]) > 0);
    let wrong = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let refused = world.send(Method::GET, &world.things(""), &[("accept", wrong)], "").await;
    assert_eq!(reason(&refused).0, 406);
}

#[tokio::test]
async fn check_87_json_is_what_there_is() {
    let mut world = World::new().await;
    let both = [("accept", "application/vnd.kubernetes.protobuf,application/json")];
    let list = world.send(Method::GET, &world.things(""), &both, "").await;
    assert_eq!((list.status, list.headers["content-type"].to_str().unwrap()), (200, "application/json"));
    let protobuf = [("accept", "application/vnd.kubernetes.protobuf")];
    assert_eq!(reason(&world.send(Method::GET, &world.things(""), &protobuf, "").await).0, 406);
}

#[tokio::test]
async fn check_88_long_answers_are_compressed_and_watches_are_not() {
    let mut world = World::new().await;
    let mut large = thing("a", "red");
    large["spec"]["text"] = "x".repeat(200 << 10).into();
    let made = world.make(&large).await;
    let gzip = [("accept-encoding", "gzip")];
    for path in ["/a", "", "?limit=5"] {
        let answer = world.send(Method::GET, &world.things(path), &gzip, "").await;
        assert_eq!(answer.headers["content-encoding"], "gzip", "{path}");
        assert!(answer.body.len() < 20_000 && answer.body.starts_with(&[0x1f, 0x8b]));
    }
    assert_eq!(world.get(&world.things("/a")).await.json(), made);
    let watcher = world.watch_with(&world.things("?watch=1"), &gzip).await;
    assert!(watcher.coming.headers.get("content-encoding").is_none());
}

#[tokio::test]
async fn people_get_lines() {
    let mut world = World::new().await;
    world.make(&thing("a", "red")).await;
    for (path, headers) in [("?pretty=true", &[][..]), ("", &[("user-agent", "curl/8.0")][..])] {
        let list = world.send(Method::GET, &world.things(path), headers, "").await;
        assert!(list.text().starts_with("{\n  \"kind\": \"ThingList\",\n"), "{}", list.text());
    }
    let plain =
        world.send(Method::GET, &world.things("?pretty=false"), &[("user-agent", "curl/8.0")], "").await;
    assert_eq!(plain.text().lines().count(), 1);
    assert!(plain.text().ends_with('\n'));
}

#[tokio::test]
async fn who_accepts_yaml_gets_yaml() {
    let mut world = World::new().await;
    let made = world.make(&thing("a", "red")).await;
    let wants = |accept: &'static str| [("accept", accept)];
    for accept in ["application/yaml", "application/json;q=0.1,application/yaml;q=0.9"] {
        let answer = world.send(Method::GET, &world.things("/a"), &wants(accept), "").await;
        assert_eq!(
            (answer.status, answer.headers["content-type"].to_str().unwrap()),
            (200, "application/yaml")
        );
        assert!(answer.text().contains("\nspec:\n  color: red\n"), "{}", answer.text());
        assert_eq!(serde_saphyr::from_str::<serde_json::Value>(answer.text()).unwrap(), made);
    }
    let yaml = wants("application/yaml");
    let list = world.get(&world.things("")).await.json();
    let answer = world.send(Method::GET, &world.things(""), &yaml, "").await;
    assert_eq!(serde_saphyr::from_str::<serde_json::Value>(answer.text()).unwrap(), list);
    let missing = world.send(Method::GET, &world.things("/none"), &yaml, "").await;
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("\nreason: NotFound\n"), "{}", missing.text());
    let both = wants("application/json, application/yaml");
    assert_eq!(world.send(Method::GET, &world.things("/a"), &both, "").await.json(), made);
    let watch = world.send(Method::GET, &world.things("?watch=true"), &yaml, "").await;
    assert_eq!(watch.status, 406);
}
