//! What goes wrong in clusters: the real binary, as its pod, says in one sentence what is wrong and what to do. Where it cannot run, that is the
//! last line of its log, which Kubernetes shows as the reason of the pod's end; where it can, `/readyz` has it.

use larder_harness::{Authority, need};
use std::fs;

use crate::sandbox::{Container, Data, Node};

/// Starts a pod that ends by itself, and gives the last line that it said.
fn last_words(node: &Node) -> String {
    let (mut daemon, _) = node.start();
    let status = daemon.wait();
    let log = daemon.log().text();
    assert_eq!(status.code(), Some(1), "{log}");
    let line = log.lines().last().unwrap_or_default().to_owned();
    assert!(line.starts_with("error: "), "{log}");
    line
}

fn readiness(container: &Container, node: &Node) -> (u16, String) {
    let (status, text) = container.get(&node.pod.probe("readinessProbe").0);
    (status.as_u16(), text)
}

#[test]
fn a_missing_volume() {
    let mut node = need!(Node::with("self-signed"));
    node.data = Data::Nothing;
    let said = last_words(&node);
    assert_eq!(
        said,
        "error: cannot create /var/lib/larder: Read-only file system (os error 30); no writable volume is mounted there: mount one, \
         or choose another --data"
    );
}

#[test]
fn a_volume_of_another_user() {
    let node = need!(Node::with("self-signed"));
    node.give(&node.volume("data"), 0o555);
    let said = last_words(&node);
    for part in [
        "error: cannot open /var/lib/larder/larder.lock: Permission denied (os error 13); this process is user 65532, group 65532",
        "and /var/lib/larder belongs to user",
        "mode 0555: set fsGroup: 65532 on the pod, or chown the volume",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
}

#[test]
fn files_of_another_user_on_the_volume() {
    let node = need!(Node::with("self-signed"));
    let file = node.volume("data").join("larder.lock");
    fs::write(&file, "").unwrap();
    node.give(&file, 0o400);
    // As root the file is root's; else it is ours, and whoever owns a file may open it only as its mode says.
    let said = last_words(&node);
    assert!(said.contains("larder.lock: Permission denied"), "{said}");
    assert!(said.contains("chown the volume"), "{said}");
}

#[test]
fn a_volume_without_room() {
    let mut node = need!(Node::with("self-signed"));
    node.data = Data::Small(8 << 10);
    let said = last_words(&node);
    assert!(said.contains("; the volume is full: grow it, or remove from it what is not Larder's"), "{said}");
}

#[test]
fn a_volume_that_is_smaller_than_the_quota() {
    let mut node = need!(Node::with("self-signed"));
    node.data = Data::Small(256 << 20);
    let container = node.run();
    let remark = "the volume holds 256 MiB, less than --max-db-size (4096 MiB) and the log (--wal-limit, 64 MiB): grow the volume, \
                  or lower --max-db-size";
    let (status, text) = readiness(&container, &node);
    assert_eq!(status, 200, "{text}");
    assert!(text.contains(&format!("[!]disk: {remark}")), "{text}");
    let log = container.daemon.log().text();
    assert!(log.contains(remark), "{log}");
    // bubblewrap's small volume is one that does not last, which is told as well.
    assert!(text.contains("[!]volume: the data directory is on tmpfs"), "{text}");
}

#[test]
fn a_secret_without_a_key() {
    for (missing, flag) in [("tls.crt", "--tls-cert"), ("tls.key", "--tls-key"), ("ca.crt", "--client-ca")] {
        let node = need!(Node::with("self-signed"));
        fs::remove_file(node.volume("tls").join("..data").join(missing)).unwrap();
        assert_eq!(
            last_words(&node),
            format!(
                "error: {flag} /etc/larder/tls/{missing}: no such file; make one with `larder certs`, or mount a Secret there that \
                 has this key"
            )
        );
    }
}

#[test]
fn a_key_of_another_certificate() {
    let node = need!(Node::with("self-signed"));
    let other = node.authority.server(&node.made(), "other");
    let tls = node.volume("tls").join("..data/tls.key");
    fs::remove_file(&tls).unwrap();
    fs::copy(other.key, &tls).unwrap();
    node.give(&tls, 0o440);
    let said = last_words(&node);
    assert!(said.contains("is not the key of the certificate in --tls-cert"), "{said}");
    assert!(said.contains("put a pair there that was issued together"), "{said}");
}

#[test]
fn a_ca_that_does_not_match() {
    let node = need!(Node::with("self-signed"));
    let server = node.authority.server(&node.made(), "server");
    node.write_secret("tls", &server, &Authority::new("elsewhere").pem());
    let container = node.run();
    let (status, text) = readiness(&container, &node);
    assert_eq!(status, 200, "{text}");
    let doubt = "[!]tls: --tls-cert /etc/larder/tls/tls.crt is not signed by any CA in /etc/larder/tls/ca.crt, so clients that trust \
                 this bundle refuse the server: put files there that were issued together, or add the CA that signed the certificate";
    assert!(text.contains(doubt), "{text}");

    let controller = node.client(&node.pod.granted("owner"));
    let refused = container.larder(&node, &controller, &["query", "SELECT 1"]).output().unwrap();
    assert!(!refused.status.success());
    let advice = "a client showed a certificate that no CA in --client-ca has signed: issue it one of these CAs' certificates, or add its CA \
                  to the bundle";
    // The client may be gone before the server has seen why.
    let _ = container.daemon.log().wait_for(advice, std::time::Duration::from_secs(10));
    let (_, text) = readiness(&container, &node);
    assert!(text.contains(&format!("[!]clients: {advice}")), "{text}");
    let log = container.daemon.log().text();
    assert!(log.contains(advice) && log.contains("is not signed by any CA"), "{log}");

    // Put right, it works without a restart.
    node.write_secret("tls", &server, &node.authority.pem());
    let _ = container.daemon.log().wait_for("TLS files reloaded", std::time::Duration::from_secs(10));
    let answer = container.larder(&node, &controller, &["query", "SELECT 1"]).output().unwrap();
    assert!(answer.status.success(), "{answer:?}");
    assert!(!readiness(&container, &node).1.contains("[!]tls"));
}

#[test]
fn a_secret_that_goes_bad_while_the_pod_runs() {
    let node = need!(Node::with("self-signed"));
    let container = node.run();
    node.write_files(
        "tls",
        &[("tls.crt", "no PEM"), ("tls.key", "nor this"), ("ca.crt", &node.authority.pem())],
    );
    let _ =
        container.daemon.log().wait_for("the last good ones stay in use", std::time::Duration::from_secs(10));
    let (status, text) = readiness(&container, &node);
    assert_eq!(status, 200, "the last good certificate serves: {text}");
    assert!(text.contains("[!]tls: --tls-cert /etc/larder/tls/tls.crt: holds no certificate"), "{text}");
    assert!(text.contains("; the last good files serve meanwhile"), "{text}");
}
