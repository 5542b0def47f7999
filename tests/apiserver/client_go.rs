//! client-go itself, as most controllers use it: its shared informers in both ways of listing, its pager, and what it does when it is told to wait.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use larder_harness::{ApiServer, Log, Proxy, Skip, need, prepared, trusting};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{JSON, World, message, names, reason, revision, setup, thing};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Requests that change something at the same time, at most.
const WRITES: usize = 200;

/// A program made with client-go, at work in the namespace `default`.
struct Program {
    child: Child,
    input: Option<ChildStdin>,
    log: Log,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// Starts it on a server, which it reaches by `wire`.
    fn start(server: &ApiServer, wire: &Proxy, args: &[&str], streaming: bool) -> Result<Self, Skip> {
        let kubeconfig = server.home().join("kubeconfig-of-client-go");
        let text = std::fs::read_to_string(server.home().join("kubeconfig")).unwrap();
        let url = format!("https://{}", wire.address());
        std::fs::write(&kubeconfig, text.replace(server.url(), &url)).unwrap();
        let mut command = Command::new(prepared("client-go")?);
        command.arg(kubeconfig).arg("default").args(args);
        command.env("KUBE_FEATURE_WatchListClient", streaming.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (input, log) = (child.stdin.take(), Log::of(child.stdout.take().unwrap(), || ()));
        Ok(Self { child, input, log })
    }

    /// Waits until it has done something; says to what.
    fn did(&self, what: &str, to: &str) -> Value {
        let line = format!(r#""did":"{what}","what":{to}"#);
        let said: Value = serde_json::from_str(&self.log.wait_for(&line, PATIENCE)).unwrap();
        said["what"].clone()
    }

    /// The requests so far that begin like this.
    fn sent(&self, like: &str) -> Vec<String> {
        let text = self.log.text();
        let all = text.lines().map(|it| serde_json::from_str::<Value>(it).unwrap());
        let sent = all.filter(|it| it["did"] == "sent").map(|it| it["what"].as_str().unwrap().to_owned());
        sent.filter(|it| it.starts_with(like)).collect()
    }

    /// How often it began anew: by a list, or by a watch that lists.
    fn lists(&self) -> usize {
        let streamed = self.sent("WATCH 200").into_iter().filter(|it| it.contains("sendInitialEvents=true"));
        self.sent("GET 200").len() + streamed.count()
    }
}

/// A server that remembers little: a few changes, of which its own start is one. And a wire to it.
fn forgetful() -> (ApiServer, Proxy) {
    let server = setup().args(["--history", "1s", "--history-changes", "4"]).start();
    let wire = Proxy::start(format!("127.0.0.1:{}", server.port()));
    (server, wire)
}

/// Changes something until a revision is forgotten.
async fn forget(world: &mut World, old: u64) {
    let deadline = Instant::now() + PATIENCE;
    let path = world.things(&format!("?resourceVersion={old}&resourceVersionMatch=Exact"));
    for number in 0.. {
        world.merge(&world.things("/a"), &json!({"spec": {"count": number}})).await;
        let listed = world.get(&path).await;
        if listed.status == 410 {
            return;
        }
        assert!(Instant::now() < deadline, "{old} is not forgotten");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn world_on(server: &Arc<ApiServer>) -> World {
    let mut world = World::on(Arc::clone(server)).await;
    world.namespace = "default".to_owned();
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_59_and_66_a_list_that_is_overtaken_by_compaction_is_read_to_its_end() {
    let (server, wire) = forgetful();
    let server = Arc::new(server);
    let mut world = world_on(&server).await;
    for name in ["a", "b", "c", "d", "e"] {
        world.make(&thing(name, "red")).await;
    }
    let mut pages = need!(Program::start(&server, &wire, &["pages"], false));
    let first = world.get(&world.things("?limit=2")).await.json();
    pages.did("waits", "2");
    world.delete(&world.things("/b")).await;
    forget(&mut world, revision(&first)).await;

    // The pager reads the whole list anew, since it cannot go on.
    pages.input.take().unwrap().write_all(b"go on\n").unwrap();
    assert_eq!(pages.did("read", ""), json!(["a", "c", "d", "e"]));
    assert_eq!(pages.sent("GET 410").len(), 1, "{}", pages.log.text());

    // Whoever wants to goes on where it was, with what there is now.
    let token = first["metadata"]["continue"].as_str().unwrap();
    let gone = world.get(&world.things(&format!("?limit=2&continue={token}"))).await;
    assert_eq!(reason(&gone), (410, "Expired".to_owned()));
    assert!(message(&gone).starts_with("The provided continue parameter is too old"), "{}", gone.text());
    let token = gone.json()["metadata"]["continue"].as_str().unwrap().to_owned();
    let rest = world.get(&world.things(&format!("?limit=2&continue={token}"))).await.json();
    assert_eq!(names(&rest), ["c", "d"]);
    assert!(revision(&rest) > revision(&first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_80_shared_informers_go_on_where_they_were_and_list_again_when_they_cannot() {
    for streaming in [false, true] {
        let (mut server, wire) = forgetful();
        let made = async |server: &ApiServer, name: &str| {
            let mut connection = server.connect().await;
            let path = "/apis/example.com/v1/namespaces/default/things";
            let made =
                connection.send(Method::POST, path, &[JSON], thing(name, "red").to_string()).await.unwrap();
            assert_eq!(made.status, 201, "{}", made.text());
            made.json()
        };
        made(&server, "a").await;
        let began = Instant::now();
        let informer = need!(Program::start(&server, &wire, &["informer"], streaming));
        assert_eq!(informer.did("synced", ""), 1);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!(informer.lists(), 1, "{}", informer.log.text());

        // A watch that ends within a second without an event is taken for one that does not work.
        made(&server, "early").await;
        informer.did("added", r#""default/early""#);
        // A server that is not there refuses connections; of any other failure client-go thinks that it has to list.
        tokio::task::block_in_place(|| {
            wire.cut();
            server.kill();
            server.start_again();
        });
        wire.lead_to(format!("127.0.0.1:{}", server.port()));
        wire.heal();
        let last = made(&server, "b").await;
        informer.did("added", r#""default/b""#);
        assert_eq!(informer.lists(), 1, "{streaming}: {}", informer.log.text());

        wire.cut();
        let server = Arc::new(server);
        let mut world = world_on(&server).await;
        world.delete(&world.things("/b")).await;
        forget(&mut world, revision(&last)).await;
        wire.heal();
        made(&server, "c").await;
        informer.did("deleted", r#""default/b""#);
        informer.did("added", r#""default/c""#);
        assert_eq!(informer.lists(), 2, "{streaming}: {}", informer.log.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_89_who_is_told_to_wait_waits_and_sends_it_again() {
    let server = setup().start();
    let wire = Proxy::start(format!("127.0.0.1:{}", server.port()));
    let mut held = Vec::new();
    for _ in 0..WRITES {
        held.push(hold(&server).await);
    }
    let deadline = Instant::now() + PATIENCE;
    let mut connection = server.connect().await;
    let path = "/apis/example.com/v1/namespaces/default/things";
    let refused = loop {
        let name = format!("t{}", deadline.saturating_duration_since(Instant::now()).as_nanos());
        let answer =
            connection.send(Method::POST, path, &[JSON], thing(&name, "red").to_string()).await.unwrap();
        if answer.status == 429 {
            break answer;
        }
        assert!(Instant::now() < deadline, "nobody is refused");
    };
    assert_eq!(refused.headers.get("retry-after").unwrap(), "1");
    let began = Instant::now();
    let program = need!(Program::start(&server, &wire, &["create", "late"], false));
    program.did("sent", r#""POST 429"#);
    drop(held);
    program.did("created", r#""late""#);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

/// A request that changes something, and whose body does not come.
async fn hold(server: &ApiServer) -> TlsStream<TcpStream> {
    let tls = trusting(&server.home().join("ca.crt"), Some(&server.user()));
    let tcp = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.unwrap();
    let head = "POST /apis/example.com/v1/namespaces/default/things HTTP/1.1\r\nhost: localhost\r\n\
                content-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}
