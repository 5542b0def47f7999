//! Two servers on one sidecar, which may be away for a while.

use std::sync::Arc;

use http::Method;
use larder_harness::{ApiServer, ApiServerSetup, Proxy, Server};
use serde_json::json;

use crate::controllers::{Follower, all, client, listed, make_the_last};
use crate::world::{Watcher, World, names, reason, revision, setup, thing};

/// Servers of the API, the wire to their sidecar, and that.
struct Replicas {
    servers: [Arc<ApiServer>; 2],
    wire: Proxy,
    _sidecar: Server,
}

/// A server that keeps objects in a sidecar, which it reaches by this address.
pub(crate) fn on_sidecar(setup: ApiServerSetup, url: &str, sidecar: &Server) -> ApiServerSetup {
    let owner = sidecar.pair("owner");
    let files = [sidecar.home().join("ca.crt"), owner.cert, owner.key];
    let flags = ["--database-ca", "--database-cert", "--database-key"];
    let setup = setup.args(["--database-url", url]);
    flags.iter().zip(&files).fold(setup, |it, (flag, file)| it.args([flag.as_ref(), file.as_os_str()]))
}

impl Replicas {
    fn start() -> Self {
        let sidecar = larder_harness::setup!().start();
        let wire = Proxy::start(sidecar.url().trim_start_matches("https://"));
        let url = format!("https://{}", wire.address());
        let server = || Arc::new(on_sidecar(setup(), &url, &sidecar).start());
        Self { servers: [server(), server()], wire, _sidecar: sidecar }
    }

    /// A client of each, in one namespace.
    async fn worlds(&self) -> [World; 2] {
        let [mut one, mut two] =
            [World::on(Arc::clone(&self.servers[0])).await, World::on(Arc::clone(&self.servers[1])).await];
        for world in [&mut one, &mut two] {
            world.namespace = "default".to_owned();
        }
        [one, two]
    }
}

/// The next events: type, name and revision.
async fn events(watcher: &mut Watcher, count: usize) -> Vec<(String, String, u64)> {
    let mut events = Vec::new();
    for _ in 0..count {
        let event = watcher.event().await.expect("an event");
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let object = &event["object"];
        events.push((text(&event["type"]), text(&object["metadata"]["name"]), revision(object)));
    }
    events
}

#[tokio::test]
async fn replicas_tell_the_same_story() {
    let replicas = Replicas::start();
    let mut worlds = replicas.worlds().await;
    let start = revision(&worlds[0].get(&worlds[0].things("")).await.json());
    let mut watchers = Vec::new();
    for world in &worlds {
        watchers.push(world.watch(&format!("resourceVersion={start}")).await);
    }
    let mut written = Vec::new();
    for number in 0..10 {
        let name = format!("t{number}");
        let [one, two] = &mut worlds;
        let (here, there) = if number % 2 == 0 { (one, two) } else { (two, one) };
        let made = here.make(&thing(&name, "red")).await;
        // What one has acknowledged the other shows at once, and changes.
        assert_eq!(revision(&there.thing(&name).await), revision(&made));
        let patched =
            there.merge(&there.things(&format!("/{name}")), &json!({"spec": {"color": "blue"}})).await;
        assert_eq!(patched.status, 200, "{}", patched.text());
        let stale = here.put(&here.things(&format!("/{name}")), &made).await;
        assert_eq!(reason(&stale), (409, "Conflict".to_owned()));
        written.push(("ADDED".to_owned(), name.clone(), revision(&made)));
        written.push(("MODIFIED".to_owned(), name.clone(), revision(&patched.json())));
        let newest = format!("?resourceVersion={}&resourceVersionMatch=Exact", revision(&patched.json()));
        assert_eq!(names(&here.get(&here.things(&newest)).await.json()).len(), number + 1);
    }
    for watcher in &mut watchers {
        assert_eq!(events(watcher, written.len()).await, written);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_is_away_is_no_empty_list_and_its_return_no_reason_to_begin_anew() {
    let replicas = Replicas::start();
    let [mut world, mut other] = replicas.worlds().await;
    let client = client(&replicas.servers[0].home().join("kubeconfig"), None).await;
    let api = all(&client);
    make_the_last(&api, "first").await;
    let mut followers = Follower::in_each_mode(&client);
    for (_, follower) in &mut followers {
        follower.has("first").await;
    }
    replicas.wire.cut();
    let new = thing("new", "red").to_string();
    for (method, rest, body) in [
        (Method::GET, "", ""),
        (Method::GET, "/first", ""),
        (Method::GET, "/missing", ""),
        (Method::POST, "", &*new),
        (Method::DELETE, "/missing", ""),
    ] {
        let path = world.things(rest);
        let away = world.send(method.clone(), &path, &[crate::world::JSON], body.to_owned()).await;
        assert_eq!(away.status, 503, "{method} {path}: {}", away.text());
        assert_eq!(reason(&away).1, "ServerTimeout", "{method} {path}");
        assert!(away.headers.contains_key("retry-after"), "{method} {path}: {:?}", away.headers);
    }
    let server = &replicas.servers[0];
    assert_eq!((server.probe("/readyz").await.status, server.probe("/livez").await.status), (500, 200));
    // What is served is known all the same.
    assert_eq!(world.get("/apis/example.com/v1").await.status, 200);
    replicas.wire.heal();
    other.make(&thing("second", "red")).await;
    let shown = listed(&api).await;
    for (mode, follower) in &mut followers {
        let seen = follower.has("second").await;
        assert_eq!(((follower.view)(), seen.lists, seen.disordered), (shown.clone(), 1, 0), "{mode}");
    }
    assert_eq!(server.probe("/readyz").await.status, 200);
}
