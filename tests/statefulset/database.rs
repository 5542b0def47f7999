//! The database's pod, confined as its manifest says: it starts, serves, is probed, follows its Secrets, drains and comes back.

use http::StatusCode;
use larder_harness::{Authority, Pair, need};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::objects::{manifests, printed};
use crate::pod::Pod;
use crate::sandbox::{Container, HOSTS, Node};

/// What the README quotes.
#[expect(clippy::print_stdout, reason = "whoever runs the test with --nocapture wants to read it")]
pub(crate) fn report(line: &str) {
    println!("pod {line}");
}

fn count(container: &Container, node: &Node, pair: &Pair) -> String {
    printed(&mut container.larder(node, pair, &["query", "-o", "csv", "SELECT count(*) FROM report"]))
}

#[test]
fn the_pod_starts_serves_follows_its_secret_drains_and_comes_back() {
    let node = need!(Node::with("self-signed"));
    let container = node.run();

    // Confined as the manifest says.
    let user = node.user.0.to_string();
    if node.is_root {
        assert_eq!(container.status("Uid:").split_whitespace().collect::<Vec<_>>(), [&user; 4]);
    }
    assert_eq!(container.status("NSpid:").split_whitespace().last(), Some("1"));
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(u64::from_str_radix(&container.status(set), 16).unwrap(), 0, "{set}");
    }
    assert_eq!(container.status("NoNewPrivs:"), "1");
    assert_eq!(container.status("Seccomp:"), "2", "no filter of system calls");
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", container.pid)).unwrap();
    let writable = |line: &&str| line.split_whitespace().nth(5).unwrap().split(',').any(|it| it == "rw");
    let writable: Vec<_> =
        mounts.lines().filter(writable).map(|it| it.split_whitespace().nth(4).unwrap()).collect();
    let expected: Vec<_> = node.pod.mounts().filter(|it| it.2).map(|it| it.1).collect();
    let outside: Vec<_> =
        writable.iter().filter(|it| !it.starts_with("/dev") && !it.starts_with("/proc")).collect();
    assert_eq!(outside.len(), expected.len(), "{outside:?}");
    assert!(expected.iter().all(|it| outside.contains(&it)), "{outside:?}");

    let ids = ["Uid:", "Gid:", "NSpid:", "NoNewPrivs:", "CapEff:", "CapBnd:", "Seccomp:"];
    let confined = ids.map(|it| format!("{it} {}", container.status(it).replace('\t', " "))).join(", ");
    report(&format!("confined: {confined}; can be written to: {}", expected.join(" ")));
    report(&format!("started: {:.2} s to the startup probe", container.started.elapsed().as_secs_f64()));

    // It serves those that the manifest names, and nobody else.
    let owner = node.client(&node.pod.granted("owner"));
    let create = "CREATE TABLE report (name TEXT PRIMARY KEY, body BLOB)";
    printed(&mut container.larder(&node, &owner, &["execute", create]));
    printed(&mut container.larder(&node, &owner, &["execute", "INSERT INTO report VALUES ('a', x'00')"]));
    let stranger = node.client("stranger.example");
    let refused = container.larder(&node, &stranger, &["query", "SELECT 1"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("IDENTITY_NOT_GRANTED"), "{refused:?}");
    let (readiness, _) = node.pod.probe("readinessProbe");
    assert_eq!(container.get(&readiness).0, StatusCode::OK);
    assert_eq!(container.get(&node.pod.probe("livenessProbe").0).0, StatusCode::OK);

    // A Secret that Kubernetes changes is followed.
    let health = format!("http://127.0.0.1:{}/healthz", node.pod.port("probe"));
    let before = container.get(&health).1;
    let renewed = node.authority.server(&node.made(), "renewed");
    node.write_secret("tls", &renewed, &node.authority.pem());
    let _ = container.daemon.log().wait_for("TLS files reloaded", Duration::from_secs(10));
    assert_ne!(container.get(&health).1, before);
    assert_eq!(count(&container, &node, &owner), "count(*)\r\n1\r\n");

    // What is under way when the pod is ended is answered.
    let slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT count(*) FROM n";
    let mut asking = container.larder(&node, &owner, &["query", "-o", "csv", slow]);
    let asking = asking.stdout(std::process::Stdio::piped()).spawn().unwrap();
    wait_for_a_read(&container, &node);
    let (code, took, log) = container.terminate();
    let answered = asking.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&answered.stdout), "count(*)\r\n3000000\r\n");
    assert_eq!(code, Some(0), "{log}");
    assert!(took < node.pod.grace(), "{took:?}");
    report(&format!(
        "ended: answered what was under way, exit code 0 after {:.2} s of {} s",
        took.as_secs_f64(),
        node.pod.grace().as_secs()
    ));
    assert!(log.contains("\"stopped\""), "{log}");
    assert_eq!(fs::metadata(node.volume("data").join("larder.db-wal")).map_or(0, |it| it.len()), 0);

    // The next pod finds the volume as it was left.
    let container = node.run();
    assert_eq!(count(&container, &node, &owner), "count(*)\r\n1\r\n");
    assert_eq!(container.get(&readiness).0, StatusCode::OK);
    assert_eq!(container.terminate().0, Some(0));
}

/// Waits until the server says that somebody reads.
fn wait_for_a_read(container: &Container, node: &Node) {
    let metrics = format!("http://127.0.0.1:{}/metrics", node.pod.port("probe"));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !container.get(&metrics).1.contains("\nlarder_readers_in_use 1\n") {
        assert!(Instant::now() < deadline, "nobody reads");
    }
}

#[test]
fn the_neuvector_pod_knows_the_controller_by_another_ca_than_the_shared_one() {
    let node = need!(Node::with("neuvector"));
    let controllers = Authority::new("larder");
    node.write_files("client-ca", &[("ca.crt", &controllers.pem())]);
    // The whole of neuvector-internal-certs is mounted: what its upgrader has prepared lies beside what is in use.
    let shared = node.authority.peer_of(&["NeuVector", "127.0.0.1"], &node.made(), "shared");
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    let (cert, key, ca) = (text(&shared.cert), text(&shared.key), node.authority.pem());
    let triples = ["", "new-", "dest-"];
    let names: Vec<_> = triples
        .iter()
        .flat_map(|it| {
            [("tls.crt", &cert), ("tls.key", &key), ("ca.crt", &ca)]
                .map(|(name, text)| (format!("{it}{name}"), text))
        })
        .collect();
    let files: Vec<_> = names.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    node.write_files("tls", &files);

    let container = node.run();
    let controller = controllers.client(&node.pod.granted("owner"), &node.made(), "controller");
    printed(&mut container.larder(&node, &controller, &["execute", "CREATE TABLE report (name TEXT)"]));
    // Enforcer and scanner hold the shared certificate; it opens nothing.
    let refused = container.larder(&node, &shared, &["query", "SELECT 1"]).output().unwrap();
    assert!(!refused.status.success(), "{}", String::from_utf8_lossy(&refused.stdout));
    let (_, readiness) = container.get(&node.pod.probe("readinessProbe").0);
    assert!(
        readiness.contains("[!]clients: a client showed a certificate that no CA in --client-ca has signed"),
        "{readiness}"
    );
    assert!(!readiness.contains("[!]tls"), "two CAs on purpose are no mistake: {readiness}");

    if node.is_root {
        back_up(&node, &container, &controllers);
    }

    // The rotation's first step: both CAs, the old pair. Then a new pair. Each is followed while connections come.
    let next = Authority::new("larder");
    let renewed = next.peer(&node.made(), "renewed");
    let health = format!("http://127.0.0.1:{}/healthz", node.pod.port("probe"));
    let mut revisions = vec![container.get(&health).1];
    for (number, (pair, bundle)) in
        [(&renewed, format!("{ca}{}", next.pem())), (&renewed, next.pem())].iter().enumerate()
    {
        node.write_secret("tls", pair, bundle);
        let deadline = Instant::now() + Duration::from_secs(10);
        while number == 0 && container.get(&health).1 == revisions[0] {
            assert!(Instant::now() < deadline, "the rotation is not followed");
        }
        revisions.push(container.get(&health).1);
    }
    assert_ne!(revisions[0], revisions[1], "{revisions:?}");
    assert_eq!(container.terminate().0, Some(0));
}

/// Runs the nightly backup's pod, which calls a server whose certificate is not for its Service.
fn back_up(node: &Node, container: &Container, controllers: &Authority) {
    let objects = manifests(&["neuvector", "--backup"]);
    let mut backup = Node::of(Pod::named("CronJob/neuvector-db-pod-backup", &objects))
        .unwrap_or_else(|skip| panic!("{skip:?}"));
    let pair = controllers.client("backup.larder", &node.made(), "backup");
    backup.write_secret("tls", &pair, &controllers.pem());
    backup.write_files("server-ca", &[("ca.crt", &node.authority.pem())]);
    let hosts = node.made().join("hosts");
    fs::write(&hosts, "127.0.0.1 neuvector-svc-db.neuvector.svc\n").unwrap();
    backup.surroundings.network = Some(container.pid);
    backup.surroundings.places = vec![(hosts, HOSTS)];
    let (mut daemon, _) = backup.start();
    assert!(daemon.wait().success(), "{}", daemon.log().text());
    let kept: Vec<_> =
        fs::read_dir(backup.volume("backup")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(kept.len() == 1 && kept[0].to_string_lossy().ends_with(".db.zst"), "{kept:?}");
}
