//! The API server's pod, confined as its manifest says, beside the database's pod and before a real kube-apiserver, with the rights of its
//! account and no others: it starts, serves, is probed, drains and comes back.
//!
//! `LARDER_REPORTS` says how many reports it is filled with: what it takes of memory then is what the manifest's requests rest on.

use http::{Method, StatusCode};
use larder_harness::{Connection, Daemon, Skip, need, trusting};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

use crate::admission::Cluster;
use crate::database::report;
use crate::objects::manifests;
use crate::pod::Pod;
use crate::sandbox::{Container, HOSTS, Node, SERVICE_ACCOUNT};

const SOON: Duration = Duration::from_secs(30);
const REPORTS: &str = "/apis/wgpolicyk8s.io/v1alpha2/namespaces/default/policyreports";
/// Who write at a time.
const WRITERS: usize = 8;

/// What the container says last before it ends by itself.
fn last_words(node: &Node) -> String {
    let (mut daemon, _) = node.start();
    assert_eq!(daemon.wait().code(), Some(1), "{}", daemon.log().text());
    daemon.log().text().lines().last().unwrap().to_owned()
}

#[test]
fn a_secret_of_the_database_without_a_key() {
    let node = need!(Node::of(Pod::named("Deployment/larder-apiserver", &manifests(&["apiserver"]))));
    node.write_files("client", &[("ca.crt", &node.authority.pem())]);
    assert_eq!(
        last_words(&node),
        "error: --database-cert /etc/larder/client/tls.crt: no such file; make one with `larder certs`, or mount a Secret there that has \
         this key"
    );
}

#[test]
fn a_database_that_is_not_there_yet_is_waited_for() {
    let mut node = need!(Node::of(Pod::named("Deployment/larder-apiserver", &manifests(&["apiserver"]))));
    let pair = node.client("apiserver.larder");
    node.write_secret("client", &pair, &node.authority.pem());
    let hosts = node.made().join("hosts");
    fs::write(&hosts, "127.0.0.1 larder.larder.svc\n").unwrap();
    node.surroundings.places = vec![(hosts, HOSTS)];
    let container = node.run_until("waiting for the database");
    let live = node.pod.probe("livenessProbe").0;
    assert_eq!(container.get(&live).0, StatusCode::OK);
    let (status, text) = container.get(&node.pod.probe("readinessProbe").0);
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        text.starts_with(
            "[-]database: cannot reach the database: cannot reach https://larder.larder.svc:4001"
        ),
        "{text}"
    );
    // It is process 1, to which a signal that it does not handle is none.
    let (code, took, log) = container.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < node.pod.grace() / 2, "{took:?}");
}

/// Both pods and what leads from one network to the other. What runs is dropped before what it runs on.
struct Site {
    cluster: Cluster,
    database: Container,
    _stored: Node,
    node: Node,
    relays: Vec<Daemon>,
    home: tempfile::TempDir,
}

impl Site {
    fn start() -> Result<Self, Skip> {
        Skip::unless_root()?;
        let cluster = Cluster::bare()?;
        let overlay = manifests(&["apiserver"]);
        // Until the namespaces of the system are there.
        let deadline = Instant::now() + SOON;
        while !cluster.run(&["apply", "-f", "-"], &overlay).status.success() {
            assert!(Instant::now() < deadline, "the overlay is not taken");
        }
        let (stored, node) =
            (Node::with("apiserver")?, Node::of(Pod::named("Deployment/larder-apiserver", &overlay))?);
        let names = ["larder.larder.svc", "larder-apiserver.larder.svc", "127.0.0.1"];
        let pair = stored.authority.server_for(&names, &stored.made(), "both");
        stored.write_secret("tls", &pair, &stored.authority.pem());
        node.write_secret("tls", &pair, &stored.authority.pem());
        node.write_secret("client", &stored.client("apiserver.larder"), &stored.authority.pem());
        let database = stored.run();
        let home = tempfile::tempdir().unwrap();
        let mut site = Self { cluster, database, _stored: stored, node, relays: Vec::new(), home };
        site.surround();
        Ok(site)
    }

    /// What a kubelet would have brought: names, the account's token, and the way to the kube-apiserver.
    fn surround(&mut self) {
        let port = self.lead_in(&self.cluster.server.address());
        let account = self.home.path().join("account");
        fs::create_dir(&account).unwrap();
        fs::write(account.join("token"), self.token("larder-apiserver", "larder")).unwrap();
        fs::write(account.join("namespace"), "larder").unwrap();
        fs::copy(self.cluster.server.ca(), account.join("ca.crt")).unwrap();
        let hosts = self.home.path().join("hosts");
        fs::write(&hosts, "127.0.0.1 localhost larder.larder.svc\n").unwrap();
        let around = &mut self.node.surroundings;
        around.network = Some(self.database.pid);
        around.places = vec![(account, SERVICE_ACCOUNT), (hosts, HOSTS)];
        around.variables = vec![
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1".to_owned()),
            ("KUBERNETES_SERVICE_PORT", port.to_string()),
        ];
    }

    fn token(&self, account: &str, namespace: &str) -> String {
        self.cluster.must(&["create", "token", account, "--namespace", namespace, "--duration=2h"], "")
    }

    /// A port in the pods' network that leads to an address outside.
    fn lead_in(&mut self, target: &str) -> u16 {
        let socket = self.socket();
        self.relay(Command::new("python3"), &[&socket, target]);
        self.relay(self.database.inside("python3"), &["127.0.0.1:0", &socket])
    }

    /// A port outside that leads to one in the pods' network.
    fn lead_out(&mut self, port: u64) -> u16 {
        let socket = self.socket();
        self.relay(self.database.inside("python3"), &[&socket, &format!("127.0.0.1:{port}")]);
        self.relay(Command::new("python3"), &["127.0.0.1:0", &socket])
    }

    fn socket(&self) -> String {
        self.home.path().join(format!("relay-{}", self.relays.len())).display().to_string()
    }

    fn relay(&mut self, mut python: Command, places: &[&str]) -> u16 {
        python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/statefulset/relay.py")).args(places);
        let daemon = Daemon::start(&mut python);
        let line = daemon.log().wait_for("relays from", SOON);
        self.relays.push(daemon);
        let port = line.rsplit(' ').next().unwrap().trim_end_matches(')');
        port.parse().unwrap_or_default()
    }

    /// The authority that signed the API server's certificate.
    fn ca(&self) -> PathBuf {
        self.node.volume("tls").join("ca.crt")
    }

    /// Waits until the readiness probe succeeds.
    fn ready(&self, container: &Container) {
        let url = self.node.pod.probe("readinessProbe").0;
        let deadline = Instant::now() + SOON;
        loop {
            let (status, text) = container.get(&url);
            if status == StatusCode::OK {
                return;
            }
            assert!(Instant::now() < deadline, "{text}\n{}", container.daemon.log().text());
        }
    }
}

/// Who calls, and how.
#[derive(Clone)]
struct Caller {
    port: u16,
    ca: PathBuf,
    token: String,
}

impl Caller {
    async fn connect(&self) -> Connection {
        let url = format!("https://127.0.0.1:{}", self.port);
        Connection::open(&url, Some(trusting(&self.ca, None))).await.unwrap()
    }

    async fn ask(
        &self,
        connection: &mut Connection,
        method: Method,
        path: &str,
        body: String,
    ) -> (u16, Value) {
        let headers =
            [("authorization", &*format!("Bearer {}", self.token)), ("content-type", "application/json")];
        let answer = connection.send(method, path, &headers, body).await.unwrap();
        (answer.status, answer.json_or_null())
    }

    /// What is at a path, into a file.
    fn curl(&self, path: &str, into: &Path) -> Command {
        let mut command = Command::new("curl");
        // Curl by its own name would be answered for eyes, with spaces.
        command.args(["-sS", "--fail", "--no-buffer", "--max-time", "300", "--user-agent", "test"]);
        command.arg("--cacert").arg(&self.ca);
        command.arg("--header").arg(format!("Authorization: Bearer {}", self.token));
        command.arg("--output").arg(into).arg(format!("https://127.0.0.1:{}{path}", self.port));
        command
    }

    /// Creates reports of so many results each, those that are not there yet.
    async fn fill(&self, made: Arc<AtomicUsize>, count: usize) {
        let mut connection = self.connect().await;
        loop {
            let number = made.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            let (status, answer) =
                self.ask(&mut connection, Method::POST, REPORTS, policy_report(number)).await;
            assert_eq!(status, 201, "{answer}");
        }
    }
}

/// One of 6 KB, as a policy engine makes them.
fn policy_report(number: usize) -> String {
    let message = "validation error: the field securityContext.allowPrivilegeEscalation must be set to false in each container";
    let results: Vec<_> = (0..19)
        .map(|rule| {
            json!({
                "policy": format!("policy-{rule}"), "rule": format!("rule-{rule}"), "message": message, "source": "kyverno",
                "result": if (number + rule).is_multiple_of(7) { "fail" } else { "pass" }, "severity": "medium", "scored": true,
                "category": "Pod Security Standards (Restricted)", "timestamp": {"seconds": 1_764_000_000 + number, "nanos": 0},
            })
        })
        .collect();
    json!({
        "apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport",
        "metadata": {"name": format!("report-{number}"), "labels": {"team": format!("team-{}", number % 50)}},
        "summary": {"pass": 16, "fail": 3, "warn": 0, "error": 0, "skip": 0}, "results": results,
    })
    .to_string()
}

fn memory(container: &Container) -> String {
    let mebibytes = |name| {
        let text = container.status(name);
        text.trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    };
    format!("{:.1} MiB resident, {:.1} MiB at its peak", mebibytes("VmRSS:"), mebibytes("VmHWM:"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pod_starts_serves_by_the_clusters_rules_drains_and_comes_back() {
    let mut site = need!(Site::start());
    let count: usize = std::env::var("LARDER_REPORTS").map_or(50, |it| it.parse().unwrap());
    let container = site.node.run();
    site.ready(&container);
    assert_eq!(container.status("Seccomp:"), "2");
    assert_eq!(container.status("NoNewPrivs:"), "1");
    assert_eq!(u64::from_str_radix(&container.status("CapBnd:"), 16).unwrap(), 0);
    assert_eq!(container.get(&site.node.pod.probe("livenessProbe").0).0, StatusCode::OK);
    let ready = container.started.elapsed().as_secs_f64();
    report(&format!("apiserver ready after {ready:.2} s; {}", memory(&container)));

    let caller = caller_with_rights(&mut site).await;
    let begun = Instant::now();
    fill(&caller, count).await;
    let took = begun.elapsed().as_secs_f64();
    report(&format!("apiserver filled with {count} reports in {took:.0} s; {}", memory(&container)));
    let listed = site.home.path().join("listed");
    assert!(caller.curl(REPORTS, &listed).spawn().unwrap().wait().unwrap().success());
    let text = fs::read_to_string(listed).unwrap();
    assert_eq!(text.matches("\"name\":\"report-").count(), count);
    report(&format!("apiserver has listed them, {} MB; {}", text.len() / 1_000_000, memory(&container)));
    end_under_a_watch(&site, &caller, container, count);

    // The next pod serves what the one before has stored.
    let container = site.node.run();
    site.ready(&container);
    let mut connection = caller.connect().await;
    let page = format!("{REPORTS}?limit=1");
    let (status, page) = caller.ask(&mut connection, Method::GET, &page, String::new()).await;
    let left = page["metadata"]["remainingItemCount"].as_u64().unwrap();
    assert_eq!((status, left), (200, count as u64 - 1));
    report(&format!("apiserver restarted on {count} reports; {}", memory(&container)));
    assert_eq!(container.terminate().0, Some(0));
}

/// Who calls, and what they may, is what the kube-apiserver says of them: an account that is given the roles which the manifest makes.
async fn caller_with_rights(site: &mut Site) -> Caller {
    site.cluster.must(&["create", "serviceaccount", "engine", "--namespace", "default"], "");
    let token = site.token("engine", "default");
    let port = site.lead_out(site.node.pod.port("https"));
    let caller = Caller { port, ca: site.ca(), token };
    let stranger = Caller { token: "no-token-of-anybodys".to_owned(), ..caller.clone() };
    let mut connection = caller.connect().await;
    assert_eq!(stranger.ask(&mut connection, Method::GET, REPORTS, String::new()).await.0, 401);
    let (status, refused) = caller.ask(&mut connection, Method::GET, REPORTS, String::new()).await;
    assert_eq!(status, 403, "{refused}");
    for role in ["view", "edit"] {
        let name = format!("larder-apiserver-{role}");
        let bind =
            ["create", "rolebinding", &name, "--clusterrole", &name, "--serviceaccount=default:engine"];
        site.cluster.must(&[&bind[..], &["--namespace=default"]].concat(), "");
    }
    let deadline = Instant::now() + SOON;
    while caller.ask(&mut connection, Method::GET, REPORTS, String::new()).await.0 != 200 {
        assert!(Instant::now() < deadline, "the rights do not arrive");
    }
    caller
}

async fn fill(caller: &Caller, count: usize) {
    let made = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (caller, made) = (caller.clone(), Arc::clone(&made));
        writers.spawn(async move { caller.fill(made, count).await });
    }
    writers.join_all().await;
}

/// A watch that is open when the pod is ended ends with its last event whole.
fn end_under_a_watch(site: &Site, caller: &Caller, container: Container, count: usize) {
    let events = site.home.path().join("events");
    let watch = format!("{REPORTS}?watch=true&resourceVersion=0&labelSelector=team=team-1");
    let mut watching = caller.curl(&watch, &events).spawn().unwrap();
    let seen = || fs::read_to_string(&events).unwrap_or_default();
    let deadline = Instant::now() + SOON;
    while seen().lines().count() < count.div_ceil(50) {
        assert!(Instant::now() < deadline, "a watch without its first events: {}", seen());
    }
    let (code, took, log) = container.terminate();
    assert!(watching.wait().unwrap().success());
    let events = seen();
    let added = events.lines().filter(|it| serde_json::from_str::<Value>(it).unwrap()["type"] == "ADDED");
    assert_eq!(added.count(), count.div_ceil(50), "{events}");
    assert_eq!(code, Some(0), "{log}");
    let grace = site.node.pod.grace();
    assert!(took < grace, "{took:?}");
    let took = took.as_secs_f64();
    report(&format!(
        "apiserver ended: the watch whole, exit code 0 after {took:.2} s of {} s",
        grace.as_secs()
    ));
}
