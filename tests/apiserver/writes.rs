//! Creating, replacing and patching.

use http::Method;
use serde_json::json;

use crate::world::{JSON, JSON_PATCH, MERGE, World, message, reason, revision, setup, thing};

#[tokio::test]
async fn check_26_a_create_fills_what_the_server_decides() {
    let mut world = World::new().await;
    let mut sent = thing("a", "red");
    sent["metadata"]["uid"] = "mine".into();
    sent["metadata"]["creationTimestamp"] = "2001-01-01T00:00:00Z".into();
    sent["metadata"]["generation"] = 7.into();
    sent["status"] = json!({"phase": "sent"});
    let made = world.make(&sent).await;
    let metadata = &made["metadata"];
    assert_eq!(metadata["uid"].as_str().map(str::len), Some(36));
    assert_ne!(metadata["creationTimestamp"], "2001-01-01T00:00:00Z");
    assert_eq!((&metadata["generation"], &metadata["namespace"]), (&json!(1), &json!(world.namespace)));
    assert_eq!((&made["kind"], &made["apiVersion"]), (&json!("Thing"), &json!("example.com/v1")));
    assert_eq!((&made["spec"]["mode"], &made["status"]), (&json!("usual"), &json!(null)));
    assert!(revision(&made) > 0);
    assert_eq!(world.thing("a").await, made);
}

#[tokio::test]
async fn check_27_names_are_generated() {
    let mut world = World::new().await;
    let mut sent = thing("", "red");
    sent["metadata"] = json!({"generateName": "base-"});
    let names: Vec<String> = [world.make(&sent).await, world.make(&sent).await]
        .iter()
        .map(|it| it["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    for name in &names {
        let suffix = name.strip_prefix("base-").unwrap();
        assert_eq!(suffix.len(), 5);
        assert!(suffix.chars().all(|it| "bcdfghjklmnpqrstvwxz2456789".contains(it)), "{name}");
    }
    assert_ne!(names[0], names[1]);
    let nameless = world.post(&world.things(""), &json!({"spec": {}})).await;
    assert_eq!(reason(&nameless), (422, "Invalid".to_owned()));
    assert!(message(&nameless).contains("metadata.name: Required value: name or generateName is required"));
}

#[tokio::test]
async fn check_28_a_name_is_taken_once() {
    let mut world = World::new().await;
    world.make(&thing("a", "red")).await;
    let again = world.post(&world.things(""), &thing("a", "blue")).await;
    assert_eq!(reason(&again), (409, "AlreadyExists".to_owned()));
    assert_eq!(message(&again), r#"things.example.com "a" already exists"#);
    assert_eq!(again.json()["details"], json!({"name": "a", "group": "example.com", "kind": "things"}));
}

#[tokio::test]
async fn check_29_the_namespace_is_that_of_the_path() {
    let mut world = World::new().await;
    let mut sent = thing("a", "red");
    sent["metadata"]["namespace"] = "elsewhere".into();
    let refused = world.post(&world.things(""), &sent).await;
    assert_eq!(reason(&refused), (400, "BadRequest".to_owned()));
    assert_eq!(
        message(&refused),
        "the namespace of the provided object does not match the namespace sent on the request"
    );
}

#[tokio::test]
async fn check_30_a_dry_run_keeps_nothing() {
    let server = std::sync::Arc::new(setup().start());
    let mut world = World::on(server).await;
    let a = world.make(&thing("a", "red")).await;
    let before = world.get(&world.things("")).await.json();
    let mut watcher = world.watch(&format!("resourceVersion={}", revision(&before))).await;
    let create = world.post(&world.things("?dryRun=All"), &thing("b", "red")).await;
    assert_eq!((create.status, create.json()["metadata"]["uid"].is_string()), (201, true));
    let mut changed = a.clone();
    changed["spec"]["color"] = "blue".into();
    let put = world.put(&world.things("/a?dryRun=All"), &changed).await;
    assert_eq!((put.status, &put.json()["metadata"]["generation"]), (200, &json!(2)));
    let patch = world.merge(&world.things("/a?dryRun=All"), &json!({"spec": {"color": "green"}})).await;
    assert_eq!((patch.status, &patch.json()["spec"]["color"]), (200, &json!("green")));
    let delete = world.delete(&world.things("/a?dryRun=All")).await;
    assert_eq!((delete.status, &delete.json()["status"]), (200, &json!("Success")));
    let all = world.delete(&world.things("?dryRun=All")).await;
    assert_eq!((all.status, all.json()["items"].as_array().unwrap().len()), (200, 1));
    let refused = world.post(&world.things("?dryRun=All"), &thing("a", "red")).await;
    assert_eq!(reason(&refused).0, 409);
    assert_eq!(world.get(&world.things("")).await.json(), before);
    world.make(&thing("c", "red")).await;
    watcher.expect("ADDED", "c").await;
}

#[tokio::test]
async fn check_31_an_update_names_the_revision_that_it_means() {
    let mut world = World::new().await;
    let first = world.make(&thing("a", "red")).await;
    world.merge(&world.things("/a"), &json!({"spec": {"color": "green"}})).await;
    let stale = world.put(&world.things("/a"), &first).await;
    assert_eq!(reason(&stale), (409, "Conflict".to_owned()));
    let text = "the object has been modified; please apply your changes to the latest version and try again";
    assert_eq!(
        message(&stale),
        format!(r#"Operation cannot be fulfilled on things.example.com "a": {text}"#)
    );
    let blind = world.put(&world.things("/a"), &thing("a", "red")).await;
    assert_eq!(reason(&blind), (422, "Invalid".to_owned()));
    assert!(
        message(&blind)
            .contains("metadata.resourceVersion: Invalid value: 0: must be specified for an update")
    );
    let missing =
        world.put(&world.things("/b"), &json!({"metadata": {"name": "b", "resourceVersion": "1"}})).await;
    assert_eq!(reason(&missing), (404, "NotFound".to_owned()));
    let other = world.put(&world.things("/a"), &thing("b", "red")).await;
    assert_eq!(message(&other), "the name of the object (b) does not match the name on the URL (a)");
}

#[tokio::test]
async fn check_32_an_update_means_the_object_of_its_uid() {
    let mut world = World::new().await;
    let mut object = world.make(&thing("a", "red")).await;
    object["metadata"]["uid"] = "another".into();
    let refused = world.put(&world.things("/a"), &object).await;
    assert_eq!(reason(&refused), (409, "Conflict".to_owned()));
    assert!(
        message(&refused).contains("Precondition failed: UID in precondition: another, UID in object meta: ")
    );
}

#[tokio::test]
async fn check_33_an_identical_put_keeps_the_revision() {
    let mut world = World::new().await;
    let object = world.make(&thing("a", "red")).await;
    let mut watcher = world.watch(&format!("resourceVersion={}", revision(&object))).await;
    let put = world.put(&world.things("/a"), &object).await;
    assert_eq!((put.status, put.json()), (200, object));
    let patch = world.merge(&world.things("/a"), &json!({"spec": {"color": "red"}})).await;
    assert_eq!(patch.json()["metadata"]["resourceVersion"], put.json()["metadata"]["resourceVersion"]);
    world.make(&thing("b", "red")).await;
    watcher.expect("ADDED", "b").await;
}

#[tokio::test]
async fn check_34_the_generation_counts_changes_of_what_is_wanted() {
    let mut world = World::new().await;
    world.make(&thing("a", "red")).await;
    let generation = |answer: larder_harness::Answer| answer.json()["metadata"]["generation"].clone();
    let path = world.things("/a");
    assert_eq!(generation(world.merge(&path, &json!({"metadata": {"labels": {"a": "b"}}})).await), 1);
    assert_eq!(generation(world.merge(&path, &json!({"spec": {"color": "blue"}})).await), 2);
    let status = json!({"status": {"phase": "done"}, "spec": {"color": "green"}});
    let patched = world.merge(&world.things("/a/status"), &status).await;
    assert_eq!(
        (&patched.json()["spec"]["color"], &patched.json()["status"]["phase"]),
        (&json!("blue"), &json!("done"))
    );
    assert_eq!(generation(patched), 2);
    let main = world.merge(&path, &json!({"status": {"phase": "lost"}})).await;
    assert_eq!(main.json()["status"]["phase"], "done");
}

#[tokio::test]
async fn check_35_patches_do_what_they_say_or_nothing() {
    let mut world = World::new().await;
    world.make(&thing("a", "red")).await;
    let path = world.things("/a");
    let merged = world.merge(&path, &json!({"spec": {"color": null, "count": 3}})).await;
    assert_eq!(merged.json()["spec"], json!({"count": 3, "mode": "usual"}));
    let test = r#"[{"op": "test", "path": "/spec/count", "value": 4}, {"op": "replace", "path": "/spec/count", "value": 5}]"#;
    let failed = world.send(Method::PATCH, &path, &[JSON_PATCH], test).await;
    assert_eq!(reason(&failed), (422, "Invalid".to_owned()));
    assert_eq!(message(&failed), "the server rejected our request due to an error in our request");
    assert_eq!(failed.json()["details"], json!({}));
    let good = test.replace('4', "3");
    assert_eq!(world.send(Method::PATCH, &path, &[JSON_PATCH], good).await.json()["spec"]["count"], 5);
    let operation = r#"{"op": "test", "path": "/kind", "value": "Thing"}"#;
    let many = format!("[{}]", vec![operation; 10_001].join(","));
    assert_eq!(reason(&world.send(Method::PATCH, &path, &[JSON_PATCH], many).await).0, 413);
    for (media_type, body) in [(JSON_PATCH, "{}"), (JSON_PATCH, "["), (MERGE, "5"), (MERGE, "{")] {
        let refused = world.send(Method::PATCH, &path, &[media_type], body).await;
        assert_eq!(reason(&refused), (400, "BadRequest".to_owned()), "{body}");
    }
    let forced = world.merge(&world.things("/a?force=true"), &json!({})).await;
    assert_eq!(reason(&forced).0, 422);
}

#[tokio::test]
async fn check_36_a_strategic_merge_patch_is_refused_as_for_custom_resources() {
    let mut world = World::new().await;
    world.make(&thing("a", "red")).await;
    let strategic = [("content-type", "application/strategic-merge-patch+json")];
    let refused = world.send(Method::PATCH, &world.things("/a"), &strategic, "{}").await;
    assert_eq!(reason(&refused), (415, "UnsupportedMediaType".to_owned()));
    assert_eq!(
        message(&refused),
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, \
         application/merge-patch+json, application/apply-patch+yaml"
    );
}

#[tokio::test]
async fn check_38_what_is_not_there_is_not_patched() {
    let mut world = World::new().await;
    let missing = world.merge(&world.things("/a"), &json!({})).await;
    assert_eq!(reason(&missing), (404, "NotFound".to_owned()));
    assert_eq!(message(&missing), r#"things.example.com "a" not found"#);
}

#[tokio::test]
async fn check_39_a_body_has_its_limit() {
    let mut world = World::new().await;
    let mut large = thing("a", "red");
    large["spec"]["text"] = "x".repeat(4 << 20).into();
    let refused = world.post(&world.things(""), &large).await;
    assert_eq!(reason(&refused), (413, "RequestEntityTooLarge".to_owned()));
    assert_eq!(message(&refused), "Request entity too large: limit is 3145728");
}

#[tokio::test]
async fn check_40_media_types_are_checked_both_ways() {
    let mut world = World::new().await;
    let path = world.things("");
    let text = [("content-type", "text/plain")];
    let refused = world.send(Method::POST, &path, &text, thing("a", "red").to_string()).await;
    assert_eq!(reason(&refused), (415, "UnsupportedMediaType".to_owned()));
    let html = world.send(Method::GET, &path, &[("accept", "text/html")], "").await;
    assert_eq!(reason(&html), (406, "NotAcceptable".to_owned()));
    let protobuf = [("content-type", "application/vnd.kubernetes.protobuf")];
    assert_eq!(world.send(Method::POST, &path, &protobuf, "k8s").await.status, 415);
    let yaml = [("content-type", "application/yaml")];
    let made = world.send(Method::POST, &path, &yaml, "metadata: {name: yaml}\nspec: {color: blue}\n").await;
    assert_eq!((made.status, &made.json()["spec"]["color"]), (201, &json!("blue")));
    assert_eq!(world.send(Method::POST, &path, &[], thing("z", "red").to_string()).await.status, 201);
}

#[tokio::test]
async fn check_41_what_there_is_not_is_told_apart() {
    let mut world = World::new().await;
    let post = world.post(&world.things("/a"), &thing("a", "red")).await;
    assert_eq!(reason(&post), (405, "MethodNotAllowed".to_owned()));
    let unknown = world.get("/apis/example.com/v1/nothings").await;
    assert_eq!(reason(&unknown), (404, "NotFound".to_owned()));
    assert_eq!(message(&unknown), "the server could not find the requested resource");
    let path = world.get("/apis/nowhere.com/v1/things").await;
    assert_eq!((path.status, path.text()), (404, "404 page not found\n"));
    assert_eq!(world.get("/no/such/path").await.text(), "404 page not found\n");
    let sub = world.get(&world.things("/a/scale")).await;
    assert_eq!(reason(&sub), (404, "NotFound".to_owned()));
}

#[tokio::test]
async fn fields_that_nobody_knows_are_told_or_refused() {
    let mut world = World::new().await;
    let mut sent = thing("a", "red");
    sent["spec"]["x"] = 1.into();
    let strict = world.post(&world.things("?fieldValidation=Strict"), &sent).await;
    assert_eq!(reason(&strict), (400, "BadRequest".to_owned()));
    assert!(
        message(&strict).ends_with(r#"strict decoding error: unknown field "spec.x""#),
        "{}",
        message(&strict)
    );
    let twice = r#"{"metadata": {"name": "b"}, "spec": {"color": "red", "color": "blue"}}"#;
    let strict = world.send(Method::POST, &world.things("?fieldValidation=Strict"), &[JSON], twice).await;
    assert!(message(&strict).contains(r#"duplicate field "spec.color""#), "{}", message(&strict));
    let warned = world.post(&world.things(""), &sent).await;
    assert_eq!((warned.status, &warned.json()["spec"]["x"]), (201, &json!(null)));
    assert_eq!(warned.headers["warning"], r#"299 - "unknown field \"spec.x\"""#);
    sent["metadata"]["name"] = "c".into();
    let ignored = world.post(&world.things("?fieldValidation=Ignore"), &sent).await;
    assert_eq!((ignored.status, ignored.headers.get("warning")), (201, None));
    let patch = world.merge(&world.things("/c?fieldValidation=Strict"), &json!({"spec": {"y": 1}})).await;
    assert_eq!(reason(&patch).0, 422);
}

#[tokio::test]
async fn objects_look_as_their_schema_says() {
    let mut world = World::new().await;
    let refused = world.post(&world.things(""), &thing("a", "pink")).await;
    assert_eq!(reason(&refused), (422, "Invalid".to_owned()));
    assert_eq!(
        message(&refused),
        r#"Thing.example.com "a" is invalid: spec.color: Unsupported value: "pink": supported values: "red", "green", "blue""#
    );
    let cause = &refused.json()["details"]["causes"][0];
    assert_eq!((&cause["reason"], &cause["field"]), (&json!("FieldValueNotSupported"), &json!("spec.color")));
    let named = world.post(&world.things(""), &thing("A_b", "red")).await;
    assert!(
        message(&named).contains("a lowercase RFC 1123 subdomain must consist of"),
        "{}",
        message(&named)
    );
    for (body, code) in [("", 400), ("[]", 400), ("{\"metadata\": 5}", 400), ("\"\u{1}\"", 400)] {
        let refused = world.send(Method::POST, &world.things(""), &[JSON], body).await;
        assert_eq!(reason(&refused).0, code, "{body}");
    }
    let deep = format!("{{\"spec\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(reason(&world.send(Method::POST, &world.things(""), &[JSON], deep).await).0, 400);
    let wrong = world
        .post(&world.things(""), &json!({"apiVersion": "example.com/v2", "metadata": {"name": "a"}}))
        .await;
    assert_eq!(
        message(&wrong),
        "the API version in the data (example.com/v2) does not match the expected API version (example.com/v1)"
    );
}

#[tokio::test]
async fn owners_that_stand_there_twice_are_dropped_with_a_warning() {
    let mut world = World::new().await;
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"});
    let mut sent = thing("a", "red");
    sent["metadata"]["ownerReferences"] = json!([owner, owner]);
    let made = world.post(&world.things(""), &sent).await;
    assert_eq!((made.status, &made.json()["metadata"]["ownerReferences"]), (201, &json!([owner])));
    let warning = made.headers["warning"].to_str().unwrap().to_owned();
    assert!(
        warning.starts_with(r#"299 - ".metadata.ownerReferences contains duplicate entries; API server"#),
        "{warning}"
    );
    let patch = json!({"metadata": {"ownerReferences": [owner, owner]}});
    let patched = world.merge(&world.things("/a"), &patch).await;
    assert_eq!((patched.status, &patched.json()["metadata"]["ownerReferences"]), (200, &json!([owner])));
    let warning = patched.headers["warning"].to_str().unwrap().to_owned();
    assert!(
        warning.contains("contains duplicate entries after mutating admission happens; API"),
        "{warning}"
    );
}

#[tokio::test]
async fn finalizers_without_a_domain_are_warned_of_when_they_are_new() {
    let mut world = World::new().await;
    let mut sent = thing("a", "red");
    sent["metadata"]["finalizers"] = json!(["hold", "example.com/hold"]);
    let made = world.post(&world.things(""), &sent).await;
    let warning = made.headers["warning"].to_str().unwrap().to_owned();
    assert!(
        warning.contains(r#"metadata.finalizers: \"hold\": prefer a domain-qualified finalizer name"#),
        "{warning}"
    );
    let patched = world.merge(&world.things("/a"), &json!({"spec": {"color": "blue"}})).await;
    assert_eq!((patched.status, patched.headers.get("warning")), (200, None));
    world.merge(&world.things("/a"), &json!({"metadata": {"finalizers": null}})).await;
}

#[tokio::test]
async fn a_json_patch_does_what_it_does_in_kubernetes() {
    let mut world = World::new().await;
    world.make(&thing("a", "red")).await;
    let mut patch = async |patch: serde_json::Value| {
        let path = world.things("/a");
        world.send(Method::PATCH, &path, &[JSON_PATCH], patch.to_string()).await
    };
    let absent = json!({"op": "test", "path": "/metadata/labels", "value": null});
    let labels = json!({"op": "replace", "path": "/metadata/labels", "value": {"a": "b"}});
    let patched = patch(json!([absent, labels])).await;
    assert_eq!((patched.status, &patched.json()["metadata"]["labels"]), (200, &json!({"a": "b"})));
    assert_eq!(patch(json!([absent])).await.status, 422);
    assert_eq!(patch(json!([{"op": "nonsense", "path": "/a"}])).await.status, 422);
}

#[tokio::test]
async fn preconditions_of_writes_fail_as_what_they_are() {
    let mut world = World::new().await;
    let made = world.make(&thing("a", "red")).await;
    for (revision, code) in [("0", 422), ("abc", 400), ("-1", 400), ("1", 409)] {
        let mut put = made.clone();
        put["metadata"]["resourceVersion"] = revision.into();
        assert_eq!(world.put(&world.things("/a"), &put).await.status, code, "{revision}");
    }
    let mut put = made.clone();
    put["metadata"]["uid"] = "another".into();
    assert_eq!(reason(&world.put(&world.things("/a"), &put).await), (409, "Conflict".to_owned()));
    // A patch has no precondition: that is a change of what cannot be changed.
    let patched = world.merge(&world.things("/a"), &json!({"metadata": {"uid": "another"}})).await;
    assert_eq!(reason(&patched), (422, "Invalid".to_owned()));
    assert!(message(&patched).contains("field is immutable"), "{}", message(&patched));
}

#[tokio::test]
async fn who_is_refused_is_warned_all_the_same() {
    let mut world = World::new().await;
    let unknown = r#"299 - "unknown field \"spec.zz\"""#;
    let mut pink = thing("a", "pink");
    pink["spec"]["zz"] = 1.into();
    let refused = world.post(&world.things(""), &pink).await;
    assert_eq!((refused.status, refused.headers["warning"].to_str().unwrap()), (422, unknown));
    let mut elsewhere = thing("a", "red");
    elsewhere["apiVersion"] = "example.com/v2".into();
    elsewhere["spec"]["zz"] = 1.into();
    let refused = world.post(&world.things(""), &elsewhere).await;
    assert_eq!((refused.status, refused.headers["warning"].to_str().unwrap()), (400, unknown));
    world.make(&thing("a", "red")).await;
    let refused = world.merge(&world.things("/a"), &json!({"spec": {"zz": 1, "color": "pink"}})).await;
    assert_eq!((refused.status, refused.headers["warning"].to_str().unwrap()), (422, unknown));
}

#[tokio::test]
async fn kinds_and_versions_are_texts() {
    let mut world = World::new().await;
    for (field, value) in [("apiVersion", json!(1)), ("kind", json!({})), ("kind", json!(["Thing"]))] {
        let mut sent = thing("a", "red");
        sent[field] = value;
        let refused = world.post(&world.things(""), &sent).await;
        assert_eq!(reason(&refused), (400, "BadRequest".to_owned()), "{sent}");
        assert!(message(&refused).contains("into Go struct field"), "{}", message(&refused));
    }
    let mut sent = thing("a", "red");
    sent["apiVersion"] = json!(null);
    assert_eq!(world.make(&sent).await["apiVersion"], "example.com/v1");
}

/// As many groups as a directory has for a user: the front proxy sends a header for each.
#[tokio::test]
async fn a_request_may_have_many_headers() {
    let mut world = World::new().await;
    let group = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
    let headers = vec![("x-remote-group", group); 5000];
    let mut connection = world.server.connect_http2().await;
    let answer = connection.send(Method::GET, &world.things(""), &headers, "").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = world.send(Method::GET, &world.things(""), &headers[..1500], "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let refused = world.send(Method::GET, &world.things(""), &headers, "").await;
    assert_eq!(refused.status, 431);
}

/// What an operation of a JSON patch holds besides is told as unknown fields of an object are.
#[tokio::test]
async fn operations_hold_nothing_else() {
    let mut world = World::new().await;
    world.make(&thing("a", "red")).await;
    let patch = r#"[{"op": "replace", "path": "/spec/color", "value": "blue", "zz": 1}]"#;
    let strict = world.things("/a?fieldValidation=Strict");
    let refused = world.send(Method::PATCH, &strict, &[JSON_PATCH], patch).await;
    assert_eq!(refused.status, 422);
    let why = r#"strict decoding error: json patch unknown field "[0].zz""#;
    assert!(message(&refused).ends_with(why), "{}", message(&refused));
    let warned = world.send(Method::PATCH, &world.things("/a"), &[JSON_PATCH], patch).await;
    assert_eq!((warned.status, warned.json()["spec"]["color"].as_str()), (200, Some("blue")));
    assert_eq!(warned.headers["warning"], r#"299 - "json patch unknown field \"[0].zz\"""#);
    let nothing = world.send(Method::PATCH, &strict, &[JSON_PATCH], "null").await;
    assert_eq!((nothing.status, nothing.json()), (200, warned.json()));
}

/// The first document counts, and the last of what stands there twice.
#[tokio::test]
async fn yaml_is_read_as_kubernetes_reads_it() {
    let mut world = World::new().await;
    let yaml = [("content-type", "application/yaml")];
    let twice = "---\nmetadata: {name: a}\nspec:\n  color: red\n  color: blue\n  count: 017\n---\nanother: document\n";
    let strict = world.things("?fieldValidation=Strict");
    let refused = world.send(Method::POST, &strict, &yaml, twice).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(message(&refused).contains(r#"duplicate field "spec.color""#), "{}", message(&refused));
    let made = world.send(Method::POST, &world.things(""), &yaml, twice).await;
    assert_eq!(made.headers["warning"], r#"299 - "duplicate field \"spec.color\"""#);
    let spec = &made.json()["spec"];
    assert_eq!((made.status, &spec["color"], &spec["count"]), (201, &json!("blue"), &json!(15)));
    let broken = world.send(Method::POST, &world.things(""), &yaml, "metadata: [").await;
    assert_eq!((reason(&broken).0, message(&broken).lines().count()), (400, 1), "{}", message(&broken));
}
