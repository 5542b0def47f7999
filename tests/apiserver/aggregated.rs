//! Behind a real kube-apiserver, beside its real controllers: what clients see through it, who is who, and what becomes of objects that belong to others.

use std::time::{Duration, Instant};

use http::Method;
use larder_harness::{Answer, Connection, Pair, need};
use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually, list};
use crate::controllers::{Follower, client, listed, make_the_last, things};
use crate::world::{JSON, MERGE, SOON, TABLE, message, names, reason, setup, thing};

/// Where things of a namespace are.
fn things_of(namespace: &str, rest: &str) -> String {
    format!("/apis/example.com/v1/namespaces/{namespace}/things{rest}")
}

async fn get(connection: &mut Connection, path: &str, headers: &[(&str, &str)]) -> Answer {
    connection.send(Method::GET, path, headers, "").await.unwrap()
}

async fn post(connection: &mut Connection, path: &str, object: &Value) -> Answer {
    connection.send(Method::POST, path, &[JSON], object.to_string()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_04_11_84_and_90_kubectl_works_through_the_kube_apiserver() {
    let cluster = need!(Cluster::shared());
    let kubectl = cluster.namespace("terminal");
    let says = |args: &[&str]| kubectl.says(&[&["-n", "terminal"], args].concat());
    let resources = says(&["api-resources", "--api-group=example.com"]);
    assert!(resources.contains("th") && resources.contains("Thing"), "{resources}");
    let red = thing("a", "red").to_string();
    let apply = |config: &str| kubectl.says_to(&["-n", "terminal", "apply", "-f", "-"], config);
    assert_eq!(apply(&red), "thing.example.com/a created\n");
    assert_eq!(apply(&red), "thing.example.com/a unchanged\n");
    let server_side = ["-n", "terminal", "apply", "--server-side", "--force-conflicts", "-f", "-"];
    let applied = kubectl.says_to(&server_side, &thing("a", "green").to_string());
    assert_eq!(applied, "thing.example.com/a serverside-applied\n");
    let shown = says(&["get", "things"]);
    let header: Vec<_> = shown.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["NAME", "COLOR", "AGE"]);
    assert!(says(&["get", "stuff", "-o", "name"]).contains("thing.example.com/a"));
    assert!(says(&["get", "policyreports", "-A"]).is_empty());
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}).to_string();
    says(&["patch", "thing", "a", "--type=merge", "--subresource=status", "-p", &status]);
    let waited = says(&["wait", "--for=condition=Ready", "thing/a", "--timeout=60s"]);
    assert_eq!(waited, "thing.example.com/a condition met\n");
    assert!(says(&["delete", "thing", "a"]).starts_with("thing.example.com \"a\" deleted"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_13_fields_are_in_the_openapi_of_the_kube_apiserver() {
    let cluster = need!(Cluster::shared());
    // With a cache of its own: the kube-apiserver comes to it by itself.
    let kubectl = cluster.kubectl_of(&cluster.kubernetes.user("reader", &["system:masters"]));
    eventually("OpenAPI v3 has the group", || {
        let explained = kubectl.run(&["explain", "things.spec.color"]);
        String::from_utf8_lossy(&explained.stdout).contains("What it looks like.")
    });
    assert!(kubectl.says(&["get", "--raw", "/openapi/v3"]).contains("apis/example.com/v1"));
    eventually("OpenAPI v2 has the kind", || {
        kubectl.says(&["get", "--raw", "/openapi/v2"]).contains("com.example.v1.Thing")
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_14_and_77_answers_are_the_same_through_the_kube_apiserver() {
    let cluster = need!(Cluster::shared());
    cluster.namespace("same");
    let (mut through, mut direct) =
        (cluster.through(&cluster.admin).await, cluster.direct(&cluster.admin).await);
    for name in ["a", "b"] {
        assert_eq!(post(&mut through, &things_of("same", ""), &thing(name, "red")).await.status, 201);
    }
    let (list, one) = (things_of("same", ""), things_of("same", "/a"));
    let accept_json = ("accept", "application/json");
    let metadata = ("accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let protobuf = ("accept", "application/vnd.kubernetes.protobuf");
    let page = format!("{list}?limit=1");
    for (path, accept) in [
        (&*list, accept_json),
        (&*list, metadata),
        (&*list, TABLE),
        (&*list, protobuf),
        (&*one, accept_json),
        (&*page, accept_json),
        (&*things_of("same", "/missing"), accept_json),
        (&*things_of("same", "?labelSelector=%21%21"), accept_json),
        ("/apis/example.com/v1", accept_json),
        ("/apis/example.com/v1/nonsense", accept_json),
        ("/apis/wgpolicyk8s.io/v1alpha2/policyreports", accept_json),
    ] {
        let seen = get(&mut through, path, &[accept]).await;
        let is = get(&mut direct, path, &[accept]).await;
        assert_eq!(seen.status, is.status, "{path} {accept:?}");
        assert_eq!(seen.headers.get("content-type"), is.headers.get("content-type"), "{path} {accept:?}");
        assert_eq!(seen.body, is.body, "{path} {accept:?}");
    }
    let duplicate = post(&mut through, &list, &thing("a", "red")).await;
    assert_eq!(duplicate.body, post(&mut direct, &list, &thing("a", "red")).await.body);
    let empty = format!("{}?watch=true&resourceVersion=0&fieldSelector=metadata.name%3Dnobody", list);
    let asked = Instant::now();
    let mut watching = cluster.through(&cluster.admin).await;
    let watch = watching.open_stream(&empty, &[]).await.unwrap();
    assert_eq!(watch.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(5), "headers wait for an event: {:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_25_rights_are_those_of_the_cluster() {
    let cluster = need!(Cluster::shared());
    let admin = cluster.namespace("rights");
    let (jane, bob) = (cluster.kubernetes.user("jane", &["team"]), cluster.kubernetes.user("bob", &[]));
    let name = json!({"name": "readers", "namespace": "rights"});
    let rules = list(&[
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": name,
            "rules": [{"apiGroups": ["example.com"], "resources": ["things"], "verbs": ["get", "list", "watch"]}],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": name,
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "team"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "readers"},
        }),
    ]);
    admin.says_to(&["apply", "-f", "-"], &rules.to_string());
    admin.says_to(&["-n", "rights", "create", "-f", "-"], &thing("a", "red").to_string());
    let (jane_says, bob_says) = (cluster.kubectl_of(&jane), cluster.kubectl_of(&bob));
    eventually("rules are known", || jane_says.run(&["-n", "rights", "get", "things"]).status.success());
    assert!(jane_says.says(&["-n", "rights", "get", "th", "a"]).contains("red"));
    let refused = jane_says.complains(&["-n", "rights", "delete", "thing", "a"], "");
    assert!(refused.contains(r#"User "jane" cannot delete resource "things""#), "{refused}");
    let refused = bob_says.complains(&["-n", "rights", "get", "things"], "");
    assert!(
        refused.starts_with("Error from server (Forbidden): things.example.com is forbidden"),
        "{refused}"
    );
    // By itself Larder says the same, word for word.
    for (path, user) in [(things_of("rights", ""), &bob), (things_of("rights", "/a/status"), &bob)] {
        let seen = get(&mut cluster.through(user).await, &path, &[]).await;
        let is = get(&mut cluster.direct(user).await, &path, &[]).await;
        assert_eq!((is.status, seen.json()), (403, is.json()));
    }
    assert_eq!(get(&mut cluster.direct(&jane).await, &things_of("rights", "/a"), &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_06_16_17_18_and_20_only_front_proxies_speak_for_others() {
    let cluster = need!(Cluster::shared());
    let path = things_of("default", "");
    let as_master = [("x-remote-user", "somebody"), ("x-remote-group", "system:masters")];
    let answer = async |pair: &Pair, headers: &[(&str, &str)]| {
        get(&mut cluster.direct(pair).await, &path, headers).await
    };
    let proxy = &cluster.front_proxy;
    assert_eq!(answer(proxy, &as_master).await.status, 200);
    let group = get(&mut cluster.direct(proxy).await, "/apis/example.com/v1", &as_master).await;
    assert_eq!((group.status, &group.json()["kind"]), (200, &json!("APIResourceList")));
    let other = cluster.kubernetes.front_proxy("somebody-else");
    assert_eq!(reason(&answer(&other, &as_master).await), (401, "Unauthorized".to_owned()));
    let user = cluster.kubernetes.user("frank", &[]);
    let refused = answer(&user, &as_master).await;
    assert!(message(&refused).contains(r#"User "frank" cannot list"#), "{}", refused.text());
    let mut nobody = cluster.larder.connect_with(None).await;
    let refused = get(&mut nobody, &path, &as_master).await;
    assert!(message(&refused).contains(r#"User "system:anonymous" cannot list"#), "{}", refused.text());

    let token = std::fs::read_to_string(cluster.kubernetes.token()).unwrap();
    for (token, status) in [(&*token, 200), ("made-up", 401)] {
        let bearer = format!("Bearer {token}");
        let mut nobody = cluster.larder.connect_with(None).await;
        assert_eq!(get(&mut nobody, &path, &[("authorization", &bearer)]).await.status, status);
    }

    let home = tempfile::tempdir().unwrap();
    let authority = larder_harness::Authority::new("new front proxies");
    let new = authority.user("front-proxy", &[], home.path(), "proxy");
    assert_eq!(answer(&new, &as_master).await.status, 401);
    cluster.kubernetes.trust_front_proxies_of(&authority);
    let deadline = Instant::now() + Duration::from_secs(90);
    while answer(&new, &as_master).await.status != 200 {
        assert!(Instant::now() < deadline, "the new authority is not taken up");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(answer(proxy, &as_master).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_19_and_21_the_cluster_is_asked_about_everything_that_a_request_says() {
    let cluster = need!(Cluster::shared());
    let proxy = &cluster.front_proxy;
    let mut connection = cluster.direct(proxy).await;
    let erin = [
        ("x-remote-user", "erin"),
        ("x-remote-group", "one"),
        ("x-remote-group", "two"),
        ("x-remote-extra-example.com%2ftier", "gold"),
        ("x-remote-extra-example.com%2ftier", "silver"),
    ];
    for (method, rest) in [
        (Method::GET, "?fieldSelector=metadata.name%3Da"),
        (Method::GET, "?watch=true&labelSelector=k+in+(v,w)"),
        (Method::GET, "/a/status"),
        (Method::DELETE, ""),
    ] {
        let path = things_of("default", rest);
        let refused = connection.send(method, &path, &erin, "").await.unwrap();
        assert_eq!(reason(&refused), (403, "Forbidden".to_owned()), "{path}");
    }
    let reviews = cluster.kubernetes.reviews();
    let of_erin: Vec<_> = reviews.iter().filter(|it| it["user"] == "erin").collect();
    assert_eq!(of_erin.len(), 4, "{of_erin:?}");
    for review in &of_erin {
        assert_eq!(review["groups"], json!(["one", "two", "system:authenticated"]));
        assert_eq!(review["extra"], json!({"example.com/tier": ["gold", "silver"]}));
    }
    let asked = |at: usize, key: &str| of_erin[at]["resourceAttributes"][key].clone();
    for (at, verb, name, subresource) in [
        (0, "list", json!("a"), Value::Null),
        (1, "watch", Value::Null, Value::Null),
        (2, "get", json!("a"), json!("status")),
        (3, "deletecollection", Value::Null, Value::Null),
    ] {
        assert_eq!((asked(at, "verb"), asked(at, "name")), (json!(verb), name));
        assert_eq!((asked(at, "group"), asked(at, "version")), (json!("example.com"), json!("v1")));
        assert_eq!((asked(at, "resource"), asked(at, "namespace")), (json!("things"), json!("default")));
        assert_eq!(asked(at, "subresource"), subresource);
    }
    let requirement = json!({"key": "k", "operator": "In", "values": ["v", "w"]});
    assert_eq!(asked(1, "labelSelector")["requirements"], json!([requirement]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_22_and_23_answers_on_rights_are_remembered_and_masters_need_none() {
    let cluster = need!(Cluster::shared());
    let dave = cluster.kubernetes.user("dave", &[]);
    let master = cluster.kubernetes.user("mary", &["system:masters"]);
    let reviews_of = |user: &str| cluster.kubernetes.reviews().iter().filter(|it| it["user"] == user).count();
    let mut connection = cluster.direct(&dave).await;
    let began = Instant::now();
    let mut asked = 0;
    while asked < 20 {
        assert_eq!(get(&mut connection, &things_of("default", ""), &[]).await.status, 403);
        asked += 1;
    }
    // They are remembered for ten seconds, and these may have passed on a busy machine.
    let most = 1 + usize::try_from(began.elapsed().as_secs() / 10).unwrap();
    let reviews = reviews_of("dave");
    assert!((1..=most).contains(&reviews), "{reviews} reviews in {:?}", began.elapsed());
    get(&mut connection, &things_of("default", "/a"), &[]).await;
    assert_eq!(reviews_of("dave"), reviews + 1);
    assert_eq!(get(&mut cluster.direct(&master).await, &things_of("default", ""), &[]).await.status, 200);
    assert_eq!(reviews_of("mary"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_54_a_namespace_is_deleted_with_everything_in_it() {
    let cluster = need!(Cluster::shared());
    let kubectl = cluster.namespace("leaving");
    for name in ["a", "b", "c"] {
        kubectl.says_to(&["-n", "leaving", "create", "-f", "-"], &thing(name, "red").to_string());
    }
    let report = json!({
        "apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"name": "web"},
    });
    kubectl.says_to(&["-n", "leaving", "create", "-f", "-"], &report.to_string());
    kubectl.says(&["delete", "namespace", "leaving", "--timeout=90s"]);
    let mut direct = cluster.direct(&cluster.admin).await;
    let reports = "/apis/wgpolicyk8s.io/v1alpha2/namespaces/leaving/policyreports".to_owned();
    for path in [things_of("leaving", ""), reports] {
        assert_eq!(names(&get(&mut direct, &path, &[]).await.json()), Vec::<String>::new(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_56_nothing_is_made_in_a_namespace_that_is_going_or_is_not_there() {
    let cluster = need!(Cluster::shared());
    let kubectl = cluster.namespace("going");
    let mut held = thing("a", "red");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    kubectl.says_to(&["-n", "going", "create", "-f", "-"], &held.to_string());
    kubectl.says(&["delete", "namespace", "going", "--wait=false"]);
    eventually("the thing is asked to go", || {
        let args = ["-n", "going", "get", "thing", "a", "-o", "jsonpath={.metadata.deletionTimestamp}"];
        !kubectl.says(&args).is_empty()
    });
    let mut through = cluster.through(&cluster.admin).await;
    let refused = post(&mut through, &things_of("going", ""), &thing("b", "red")).await;
    assert_eq!(reason(&refused), (403, "Forbidden".to_owned()));
    assert_eq!(
        message(&refused),
        r#"things.example.com "b" is forbidden: unable to create new content in namespace going because it is being terminated"#
    );
    assert_eq!(refused.json()["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let nowhere = post(&mut through, &things_of("nowhere", ""), &thing("b", "red")).await;
    assert_eq!(
        (reason(&nowhere).0, message(&nowhere)),
        (404, r#"namespaces "nowhere" not found"#.to_owned())
    );
    let release = json!({"metadata": {"finalizers": null}}).to_string();
    let path = things_of("going", "/a");
    let released = through.send(Method::PATCH, &path, &[MERGE], release).await.unwrap();
    assert_eq!(released.status, 200);
    kubectl.says(&["wait", "--for=delete", "namespace/going", "--timeout=90s"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_55_what_belongs_to_something_goes_with_it() {
    let cluster = need!(Cluster::shared());
    let kubectl = cluster.namespace("family");
    let says = |args: &[&str]| kubectl.says(&[&["-n", "family"], args].concat());
    let uid = |object: &str| says(&["get", object, "-o", "jsonpath={.metadata.uid}"]);
    let create = |object: &Value| {
        kubectl.says_to(&["-n", "family", "create", "-f", "-"], &object.to_string());
    };
    let owned = |mut object: Value, version: &str, kind: &str, name: &str, uid: &str| {
        object["metadata"]["ownerReferences"] = json!([{"apiVersion": version, "kind": kind, "name": name, "uid": uid, "blockOwnerDeletion": true}]);
        object
    };
    let config_map =
        |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    // A thing that belongs to something in etcd.
    create(&config_map("owner"));
    create(&owned(thing("child", "red"), "v1", "ConfigMap", "owner", &uid("configmap/owner")));
    says(&["delete", "configmap", "owner"]);
    says(&["wait", "--for=delete", "thing/child", "--timeout=90s"]);
    // Something in etcd that belongs to a thing, and a thing that belongs to another, which goes when they are gone.
    create(&thing("parent", "red"));
    let parent = uid("thing/parent");
    create(&owned(config_map("child"), "example.com/v1", "Thing", "parent", &parent));
    create(&owned(thing("child", "red"), "example.com/v1", "Thing", "parent", &parent));
    says(&["delete", "thing", "parent", "--cascade=foreground", "--timeout=90s"]);
    assert_eq!(says(&["get", "thing,configmap", "-o", "name"]).matches("child").count(), 0);
    // A thing that is left alone.
    create(&thing("parent", "red"));
    create(&owned(thing("orphan", "red"), "example.com/v1", "Thing", "parent", &uid("thing/parent")));
    says(&["delete", "thing", "parent", "--cascade=orphan", "--timeout=90s"]);
    assert_eq!(says(&["get", "thing", "orphan", "-o", "jsonpath={.metadata.ownerReferences}"]), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_count_things() {
    let cluster = need!(Cluster::shared());
    let kubectl = cluster.namespace("counted");
    for name in ["a", "b", "c"] {
        kubectl.says_to(&["-n", "counted", "create", "-f", "-"], &thing(name, "red").to_string());
    }
    kubectl.says(&["-n", "counted", "create", "quota", "few", "--hard=count/things.example.com=5"]);
    let path = r"jsonpath={.status.used.count/things\.example\.com}";
    let used = |count: &str| kubectl.says(&["-n", "counted", "get", "quota", "few", "-o", path]) == count;
    eventually("three things are counted", || used("3"));
    kubectl.says(&["-n", "counted", "delete", "thing", "b"]);
    eventually("the deletion is counted", || used("2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_07_08_and_80_each_side_may_go_and_come_back() {
    let mut cluster = need!(Cluster::start());
    let kubectl = cluster.kubectl();
    let name = "v1.example.com";
    let condition = |field: &str| {
        let path = format!(r#"jsonpath={{.status.conditions[?(@.type=="Available")].{field}}}"#);
        kubectl.says(&["get", "apiservice", name, "-o", &path])
    };
    assert_eq!((condition("status"), condition("reason")), ("True".to_owned(), "Passed".to_owned()));
    let client = client(&cluster.kubeconfig, None).await;
    let api = kube::Api::namespaced_with(client.clone(), "default", &things());
    let mut followers = Follower::in_each_mode(&client);
    make_the_last(&api, "first").await;
    for (_, follower) in &mut followers {
        follower.has("first").await;
    }

    cluster.larder.kill();
    let mut through = cluster.through(&cluster.admin).await;
    let away = get(&mut through, &things_of("default", ""), &[]).await;
    assert_eq!(away.status, 503, "{}", away.text());
    // The cluster looks at once at what was changed, and else every half minute.
    kubectl.says(&["annotate", "--overwrite", "apiservice", name, "look=1"]);
    eventually("it is noticed", || condition("reason") == "FailedDiscoveryCheck");
    let away = get(&mut through, &things_of("default", ""), &[]).await;
    assert_eq!(away.status, 503, "{}", away.text());
    cluster.larder.start_again();
    cluster.wire.lead_to(format!("127.0.0.1:{}", cluster.larder.port()));
    kubectl.says(&["annotate", "--overwrite", "apiservice", name, "look=2"]);
    kubectl.says(&["wait", "--for=condition=Available", "apiservice/v1.example.com", "--timeout=60s"]);
    make_the_last(&api, "second").await;
    for (mode, follower) in &mut followers {
        let seen = follower.has("second").await;
        assert_eq!((seen.lists, seen.disordered), (1, 0), "{mode}");
    }

    cluster.kubernetes.kill();
    cluster.kubernetes.start_again();
    kubectl.says(&["wait", "--for=condition=Available", "apiservice/v1.example.com", "--timeout=60s"]);
    eventually("things are served again", || kubectl.run(&["get", "things"]).status.success());
    make_the_last(&api, "third").await;
    let shown = listed(&api).await;
    for (mode, follower) in &mut followers {
        let seen = follower.has("third").await;
        assert_eq!(((follower.view)(), seen.disordered), (shown.clone(), 0), "{mode}");
    }

    // Whether a server is there the kube-apiserver asks without looking at its certificate; what it is asked it passes on to nobody else.
    cluster.register("imposter", "openreports.io", "v1alpha1");
    let mut through = cluster.through(&cluster.admin).await;
    let deadline = Instant::now() + SOON;
    loop {
        let refused = get(&mut through, "/apis/openreports.io/v1alpha1/reports", &[]).await;
        if refused.text().contains("x509: certificate is valid for") {
            assert!(refused.text().contains("not imposter.default.svc"), "{}", refused.text());
            assert_eq!(refused.status, 503);
            break;
        }
        // Until the kube-apiserver knows of the group.
        assert!(Instant::now() < deadline, "{} {}", refused.status, refused.text());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_13_a_server_that_cannot_reach_its_cluster_never_says_that_something_is_not_there() {
    let home = tempfile::tempdir().unwrap();
    let kubeconfig = home.path().join("kubeconfig");
    // Nobody listens there: port 1 is for the system alone.
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "gone",
        "clusters": [{"name": "gone", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "gone", "user": {"token": "none"}}],
        "contexts": [{"name": "gone", "context": {"cluster": "gone", "user": "gone"}}],
    });
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let server = setup().cluster(&kubeconfig).start();
    let mut nobody = server.connect_with(None).await;
    for path in ["/openapi/v2", "/openapi/v3", "/apis", "/apis/example.com/v1", &things_of("default", "")] {
        let answer = get(&mut nobody, path, &[]).await;
        assert!([500, 503].contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
    }
    // Who shows a certificate is not told that it is no good.
    let mut somebody = server.connect().await;
    let answer = get(&mut somebody, &things_of("default", ""), &[]).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(server.probe("/readyz").await.status, 500);
    assert_eq!(server.probe("/livez").await.status, 200);
}
