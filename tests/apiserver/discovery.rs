//! What the server says of itself, and who may ask.

use http::Method;
use serde_json::json;

use crate::world::{World, message, reason, setup, thing};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

#[tokio::test]
async fn check_01_discovery_comes_in_one_document_with_a_tag() {
    let mut world = World::new().await;
    let accept = format!("{AGGREGATED},{},application/json", AGGREGATED.replace("v2", "v2beta1"));
    let found = world.send(Method::GET, "/apis", &[("accept", &accept)], "").await;
    assert_eq!((found.status, &found.headers["content-type"]), (200, &AGGREGATED.parse().unwrap()));
    assert_eq!(
        (&found.headers["vary"], &found.headers["cache-control"]),
        (&"Accept".parse().unwrap(), &"public".parse().unwrap())
    );
    let document = found.json();
    assert_eq!(document["kind"], "APIGroupDiscoveryList");
    let groups = document["items"].as_array().unwrap();
    let group = groups.iter().find(|it| it["metadata"]["name"] == "example.com").unwrap();
    let resource = &group["versions"][0]["resources"][0];
    assert_eq!((&resource["resource"], &resource["scope"]), (&json!("things"), &json!("Namespaced")));
    assert_eq!(resource["subresources"][0]["subresource"], "status");
    let tag = found.headers["etag"].to_str().unwrap();
    let again = world.send(Method::GET, "/apis", &[("accept", &accept), ("if-none-match", tag)], "").await;
    assert_eq!((again.status, again.body.len(), again.headers["etag"].to_str().unwrap()), (304, 0, tag));
}

#[tokio::test]
async fn check_02_and_03_discovery_comes_plain_for_who_takes_nothing_else() {
    let mut world = World::new().await;
    for accept in ["application/json", "*/*"] {
        let found = world.send(Method::GET, "/apis", &[("accept", accept)], "").await;
        assert_eq!(
            (&found.headers["content-type"], &found.json()["kind"]),
            (&"application/json".parse().unwrap(), &json!("APIGroupList"))
        );
    }
    let beta = format!("{},application/json", AGGREGATED.replace("v2", "v2beta1"));
    assert_eq!(world.send(Method::GET, "/apis", &[("accept", &beta)], "").await.status, 200);
    let group = world.get("/apis/wgpolicyk8s.io").await.json();
    assert_eq!(group["kind"], "APIGroup");
    assert_eq!(world.get("/api").await.status, 404);
}

#[tokio::test]
async fn check_06_resources_of_a_version_are_told_without_an_accept() {
    let mut world = World::new().await;
    let found = world.get("/apis/example.com/v1").await;
    assert_eq!(found.status, 200);
    let list = found.json();
    assert_eq!((&list["kind"], &list["groupVersion"]), (&json!("APIResourceList"), &json!("example.com/v1")));
    assert_eq!(list["resources"][0]["shortNames"], json!(["th"]));
    let verbs = json!(["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]);
    assert_eq!(list["resources"][0]["verbs"], verbs);
    assert_eq!(world.get("/apis/example.com/v1/").await.status, 200);
}

#[tokio::test]
async fn check_09_openapi_v3_documents_are_kept_by_their_hash() {
    let mut world = World::new().await;
    let root = world.get("/openapi/v3").await.json();
    let url = root["paths"]["apis/example.com/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = world.get(&url).await;
    assert_eq!(document.headers["cache-control"], "public, immutable");
    assert!(document.headers.contains_key("expires") && document.headers.contains_key("etag"));
    assert_eq!(document.json()["openapi"], "3.0.0");
    let stale = world.get("/openapi/v3/apis/example.com/v1?hash=STALE").await;
    assert_eq!((stale.status, stale.headers["cache-control"].to_str().unwrap()), (200, "no-cache, private"));
    assert_eq!(stale.body, document.body);
}

#[tokio::test]
async fn check_10_openapi_v2_is_json_alone() {
    let mut world = World::new().await;
    let protobuf = [("accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")];
    let refused = world.send(Method::GET, "/openapi/v2", &protobuf, "").await;
    assert_eq!((refused.status, refused.body.len()), (406, 0));
    let json = world.get("/openapi/v2").await;
    assert_eq!((json.status, &json.json()["swagger"]), (200, &json!("2.0")));
}

#[tokio::test]
async fn check_15_and_16_who_shows_nothing_is_anonymous_and_who_shows_something_wrong_is_refused() {
    let world = World::new().await;
    let mut nobody = world.server.connect_with(None).await;
    let refused = nobody.get(&world.things("")).await;
    assert_eq!(reason(&refused), (403, "Forbidden".to_owned()));
    assert_eq!(
        message(&refused),
        format!(
            "things.example.com is forbidden: User \"system:anonymous\" cannot list resource \"things\" in API group \
             \"example.com\" in the namespace \"{}\"",
            world.namespace
        )
    );
    assert_eq!(refused.headers["x-content-type-options"], "nosniff");
    let path = nobody.get("/apis").await;
    assert_eq!(message(&path), r#"forbidden: User "system:anonymous" cannot get path "/apis""#);
    let bearer = [("authorization", "Bearer wrong")];
    let token = nobody.send(Method::GET, &world.things(""), &bearer, "").await.unwrap();
    assert_eq!(
        (token.status, token.json()),
        (
            401,
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "Unauthorized", "reason": "Unauthorized", "code": 401})
        )
    );
    let stranger = larder_harness::Authority::new("stranger").user(
        "alice",
        &["system:masters"],
        world.server.home(),
        &world.namespace,
    );
    let answer = world.server.connect_with(Some(&stranger)).await.get(&world.things("")).await;
    assert_eq!(reason(&answer), (401, "Unauthorized".to_owned()));
}

#[tokio::test]
async fn check_17_headers_of_a_front_proxy_are_nothing_without_its_certificate() {
    let mut world = World::new().await;
    let headers = [("x-remote-user", "root"), ("x-remote-group", "system:masters")];
    let mut nobody = world.server.connect_with(None).await;
    let refused = nobody.send(Method::GET, &world.things(""), &headers, "").await.unwrap();
    assert!(message(&refused).contains("system:anonymous"), "{}", message(&refused));
    let impersonated = world.send(Method::GET, &world.things(""), &[("impersonate-user", "root")], "").await;
    assert_eq!(reason(&impersonated), (403, "Forbidden".to_owned()));
}

#[tokio::test]
async fn check_24_probes_need_no_rights() {
    let world = World::new().await;
    let mut nobody = world.server.connect_with(None).await;
    for path in ["/healthz", "/livez", "/readyz"] {
        let answer = nobody.get(path).await;
        assert_eq!((answer.status, answer.text()), (200, "ok"), "{path}");
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    }
    assert!(nobody.get("/readyz?verbose").await.text().contains("[+]store ok\n"));
    assert_eq!(nobody.get("/healthz/x").await.status, 403);
    let bearer = [("authorization", "Bearer wrong")];
    assert_eq!(nobody.send(Method::GET, "/healthz", &bearer, "").await.unwrap().status, 401);
    assert_eq!(world.server.probe("/readyz").await.status, 200);
    assert_eq!(world.server.probe("/livez?verbose").await.text(), "[+]ping ok\nlivez check passed\n");
    assert_eq!(world.server.probe("/apis").await.status, 404);
}

#[tokio::test]
async fn what_happens_is_counted() {
    let mut world = World::new().await;
    world.make(&thing("a", "red")).await;
    world.post(&world.things(""), &thing("b", "pink")).await;
    let metrics = world.server.probe("/metrics").await;
    for line in [
        r#"larder_apiserver_requests_total{verb="create",resource="things.example.com",subresource="",code="201"}"#,
        r#"larder_apiserver_validation_failures_total{resource="things.example.com"}"#,
        r#"larder_apiserver_store_operation_seconds_count{operation="create",outcome="good"}"#,
    ] {
        assert!(metrics.text().contains(line), "{line}\n{}", metrics.text());
    }
}

#[tokio::test]
async fn answers_have_the_headers_of_kubernetes() {
    let mut world = World::new().await;
    let answer = world.send(Method::GET, &world.things(""), &[("audit-id", "mine")], "").await;
    assert_eq!(
        (&answer.headers["audit-id"], &answer.headers["cache-control"]),
        (&"mine".parse().unwrap(), &"no-cache, private".parse().unwrap())
    );
    assert_eq!(world.get("/version").await.json()["major"], "1");
    let timeout = world.get(&world.things("?timeout=soon")).await;
    assert!(
        message(&timeout).starts_with("invalid timeout specified in the request URL"),
        "{}",
        message(&timeout)
    );
}

#[tokio::test]
async fn whoever_is_unknown_cannot_fill_the_log() {
    let server = setup().start();
    let mut nobody = server.connect_with(None).await;
    let began = std::time::Instant::now();
    for _ in 0..300 {
        let wrong = [("authorization", "Bearer wrong")];
        let refused = nobody.send(Method::GET, "/apis", &wrong, "").await.unwrap();
        assert_eq!(reason(&refused), (401, "Unauthorized".to_owned()));
    }
    let lines = server.log().text().matches("nobody is known by what it shows").count();
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!((1..=20 * (seconds + 2)).contains(&lines), "{lines} lines in {seconds} s");
}
