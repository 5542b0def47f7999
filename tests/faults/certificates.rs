//! Certificates that change while the server runs: new ones are taken, bad ones refused, and open connections live on.

use http::{Method, header};
use larder_harness::{Authority, Connection, Pair, STRANGER, Server, setup, trusting};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What the contract promises for new handshakes.
const PROMISED: Duration = Duration::from_secs(10);

async fn revision(server: &Server) -> String {
    server.probe("/healthz").await.json()["cert.revision"].as_str().unwrap().to_owned()
}

/// Waits until another set of certificates is in use than that of `before`.
async fn changed(server: &Server, before: &str) -> String {
    until(|| async {
        let now = revision(server).await;
        (now != before).then_some(now)
    })
    .await
}

/// Asks again and again, for as long as is promised.
async fn until<T, F: Future<Output = Option<T>>>(ask: impl Fn() -> F) -> T {
    let deadline = Instant::now() + PROMISED;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < deadline, "nothing has changed within {PROMISED:?}");
    }
}

async fn metric(server: &Server, name: &str) -> u64 {
    let text = server.probe("/metrics").await.text().to_owned();
    let names = [format!("larder_{name}_total "), format!("larder_{name} ")];
    let line = text.lines().find(|line| names.iter().any(|it| line.starts_with(it)));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).rsplit(' ').next().unwrap().parse().unwrap()
}

/// Whether a new connection that trusts `ca` gets an answer.
async fn is_answered(server: &Server, ca: &Path, pair: &Pair) -> bool {
    let Ok(mut connection) = Connection::open(server.url(), Some(trusting(ca, Some(pair)))).await else {
        return false;
    };
    let accept = [(header::ACCEPT.as_str(), "application/json")];
    connection.send(Method::GET, "/query?q=SELECT%201", &accept, "").await.is_ok_and(|it| it.status == 200)
}

#[tokio::test]
async fn pairs_and_bundles_change_under_open_connections() {
    let server = setup!().start();
    let home = server.home();
    let (ours, theirs) = (home.join("ours.crt"), home.join("theirs.crt"));
    // Of the same name as the first, which has to be kept apart from it.
    let next = Authority::new("larder test");
    fs::write(&ours, server.authority().pem()).unwrap();
    fs::write(&theirs, next.pem()).unwrap();
    let mut open = server.connect("reader").await;
    let (old, new) = (server.pair("reader"), next.client("reader.test", home, "new-reader"));
    assert!(!is_answered(&server, &ours, &new).await);

    let first = revision(&server).await;
    fs::write(home.join("ca.crt"), server.authority().pem() + &next.pem()).unwrap();
    let second = changed(&server, &first).await;
    assert!(is_answered(&server, &ours, &old).await && is_answered(&server, &ours, &new).await);

    let _ = next.server(home, "server");
    let third = changed(&server, &second).await;
    assert!(is_answered(&server, &theirs, &old).await && is_answered(&server, &theirs, &new).await);
    assert!(!is_answered(&server, &ours, &old).await, "the server still shows the old certificate");
    assert_eq!(open.get("/query?q=SELECT%201").await.status, 200);

    let good = fs::read(home.join("server.key")).unwrap();
    let other = server.authority().server(home, "other");
    for (count, bad) in [(1, b"no key at all".to_vec()), (2, fs::read(&other.key).unwrap())] {
        fs::write(home.join("server.key"), bad).unwrap();
        until(|| async { (metric(&server, "certificate_reloads_refused").await == count).then_some(()) })
            .await;
        assert_eq!(revision(&server).await, third);
        assert!(is_answered(&server, &theirs, &new).await);
        let _ = server.log().wait_for("TLS files refused", PROMISED);
        let status = server.connect_over(&theirs, &new).await.get("/status").await.json();
        assert!(status["tls"]["last_error"].is_string(), "{status}");
    }
    fs::write(home.join("server.key"), good).unwrap();

    fs::write(home.join("ca.crt"), next.pem()).unwrap();
    let fourth = changed(&server, &third).await;
    assert!(!is_answered(&server, &theirs, &old).await && is_answered(&server, &theirs, &new).await);
    assert_eq!(open.get("/query?q=SELECT%201").await.status, 200);
    assert_eq!([&first, &second, &third, &fourth].iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
}

/// Connects past the harness's own bundle, which these tests change.
trait ConnectOver {
    async fn connect_over(&self, ca: &Path, pair: &Pair) -> Connection;
}

impl ConnectOver for Server {
    async fn connect_over(&self, ca: &Path, pair: &Pair) -> Connection {
        Connection::open(self.url(), Some(trusting(ca, Some(pair)))).await.unwrap()
    }
}

#[tokio::test]
async fn the_refused_are_counted() {
    let server = setup!().start();
    let before = metric(&server, "handshakes_refused").await;
    let _ = server.connect_with(None).await;
    let foreign = Authority::new("larder test").client("reader.test", server.home(), "foreign");
    assert!(!is_answered(&server, &server.home().join("ca.crt"), &foreign).await);
    until(|| async { (metric(&server, "handshakes_refused").await == before + 2).then_some(()) }).await;
    assert_eq!(metric(&server, "identities_refused").await, 0);
    assert_eq!(server.connect(STRANGER).await.get("/query?q=SELECT%201").await.status, 403);
    assert_eq!(metric(&server, "identities_refused").await, 1);
    let line = server.log().wait_for("nothing is granted", PROMISED);
    assert!(line.contains("stranger.test"), "{line}");
}

#[tokio::test]
async fn both_versions_of_tls_are_spoken() {
    static VERSIONS: [[&SupportedProtocolVersion; 1]; 2] = [[&TLS12], [&TLS13]];
    let server = setup!().start();
    for versions in &VERSIONS {
        let pair = server.pair("reader");
        let config = trusting(&server.home().join("ca.crt"), Some(&pair));
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(config.crypto_provider()));
        let mut roots = rustls::RootCertStore::empty();
        use rustls::pki_types::pem::PemObject;
        roots
            .add(
                rustls::pki_types::CertificateDer::from_pem_slice(server.authority().pem().as_bytes())
                    .unwrap(),
            )
            .unwrap();
        let builder = builder.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
        let anonymous = builder.clone().with_no_client_auth();
        let mut named = builder.with_no_client_auth();
        named.client_auth_cert_resolver = config.client_auth_cert_resolver;
        let answer =
            Connection::open(server.url(), Some(named)).await.unwrap().get("/query?q=SELECT%201").await;
        assert_eq!(answer.status, 200, "{versions:?}");
        let accept = [(header::ACCEPT.as_str(), "*/*")];
        let refused = match Connection::open(server.url(), Some(anonymous)).await {
            Ok(mut connection) => connection.send(Method::GET, "/version", &accept, "").await.is_err(),
            Err(_) => true,
        };
        assert!(refused, "{versions:?}");
    }
}

fn certs(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_larder")).arg("certs").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The three steps of `larder certs rotate`, with a client that never stops asking over new connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_is_not_noticed() {
    let server = setup!().arg("--grant").arg("writer=load.test").start();
    let dir = server.home().join("certs");
    let text = dir.to_str().unwrap();
    certs(&["init", text]);
    certs(&["issue", text, "--server", "localhost", "127.0.0.1", "--file", "server"]);
    certs(&["issue", text, "--client", "load.test", "--file", "load"]);
    let mut at = revision(&server).await;
    for name in ["ca.crt", "server.crt", "server.key"] {
        let fresh = server.home().join("fresh");
        std::os::unix::fs::symlink(dir.join(name), &fresh).unwrap();
        fs::rename(fresh, server.home().join(name)).unwrap();
    }
    at = changed(&server, &at).await;
    let (ca, pair) = (dir.join("ca.crt"), Pair { cert: dir.join("load.crt"), key: dir.join("load.key") });
    until(|| async { is_answered(&server, &ca, &pair).await.then_some(()) }).await;

    let (url, ended, asked) =
        (server.url().to_owned(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (until_then, counted) = (Arc::clone(&ended), Arc::clone(&asked));
    let load = tokio::spawn(async move {
        let mut failures = Vec::new();
        while !until_then.load(Ordering::Relaxed) {
            match Connection::open(&url, Some(trusting(&ca, Some(&pair)))).await {
                Ok(mut connection) => {
                    let answer = connection.send(Method::POST, "/execute", &[], r#"["SELECT 1"]"#).await;
                    if !answer.as_ref().is_ok_and(|it| it.status == 200) {
                        failures.push(format!("{answer:?}"));
                    }
                }
                Err(error) => failures.push(error.to_string()),
            }
            counted.fetch_add(1, Ordering::Relaxed);
        }
        failures
    });
    for step in ["add", "reissue", "drop"] {
        certs(&["rotate", text, "--step", step]);
        at = changed(&server, &at).await;
    }
    ended.store(true, Ordering::Relaxed);
    assert_eq!(load.await.unwrap(), Vec::<String>::new());
    assert!(asked.load(Ordering::Relaxed) > 10);
}

#[tokio::test]
async fn curl_speaks_both_versions() {
    let server = setup!().start();
    for version in ["1.2", "1.3"] {
        let output = Command::new("curl")
            .args([
                "-sS",
                "--tls-max",
                version,
                "--cacert",
                "ca.crt",
                "--cert",
                "reader.crt",
                "--key",
                "reader.key",
            ])
            .arg(format!("{}/query?q=SELECT%2041%2B1", server.url()))
            .current_dir(server.home())
            .output()
            .unwrap();
        let answer = String::from_utf8_lossy(&output.stdout);
        assert!(answer.contains("[[42]]"), "{version}: {answer} {}", String::from_utf8_lossy(&output.stderr));
    }
}
