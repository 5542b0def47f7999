//! Handshakes over loopback: who gets in, and what a change of the files does to the old and the new.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, SupportedProtocolVersion};

use super::reload::Follower;
use super::testing::{
    Room, client, connect, echoes, files_in, issued, put_bundle, put_pair, serve, term, twin,
};
use super::{Authority, Leaf, Tls};

const VERSIONS: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];
const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

async fn refusal(address: std::net::SocketAddr, config: Arc<rustls::ClientConfig>) -> String {
    connect(address, config).await.map(|(_, greeting)| greeting).unwrap_err().to_string()
}

#[tokio::test]
async fn only_a_valid_certificate_of_a_trusted_ca_gets_in() {
    let room = Room::new();
    let stranger = Authority::generate("test").unwrap();
    let address = serve(Tls::load(room.files()).unwrap()).await;
    let expired = room.ca.issue(&Leaf::client("late").unwrap().valid(term(-9, -1))).unwrap();
    let early = room.ca.issue(&Leaf::client("early").unwrap().valid(term(1, 9))).unwrap();
    let server = room.ca.issue_server(&["localhost"]).unwrap();
    let cases = [
        (None, "CertificateRequired"),
        (Some(expired), "CertificateExpired"),
        (Some(early), "CertificateExpired"),
        (Some(issued(&stranger, "alice")), "UnknownCA"),
        (Some(server), "UnsupportedCertificate"),
    ];
    for versions in VERSIONS {
        for (shown, alert) in &cases {
            let error = refusal(address, client(&room.ca, shown.as_ref(), versions)).await;
            // TLS 1.2 has no alert of its own for a missing certificate.
            let is_expected =
                error.contains(alert) || (shown.is_none() && error.contains("HandshakeFailure"));
            assert!(is_expected, "{versions:?} wants {alert}, got {error}");
        }
        let good = client(&room.ca, Some(&issued(&room.ca, "spiffe://x/alice")), versions);
        assert_eq!(connect(address, good).await.unwrap().1, "spiffe://x/alice");
    }
}

#[tokio::test]
async fn http2_is_preferred_and_http1_is_spoken() {
    let room = Room::new();
    let address = serve(Tls::load(room.files()).unwrap()).await;
    for (offered, chosen) in [(&["http/1.1", "h2"][..], "h2"), (&["http/1.1"][..], "http/1.1")] {
        let mut config = (*client(&room.ca, Some(&issued(&room.ca, "alice")), BOTH)).clone();
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (stream, _) = connect(address, Arc::new(config)).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(chosen.as_bytes()));
    }
}

#[tokio::test]
async fn clients_of_two_cas_with_one_name_and_serial_both_get_in() {
    let (first, second, third) = (twin(), twin(), twin());
    assert_eq!(first.certificate().subject, second.certificate().subject);
    for bundle in [[&first, &second], [&second, &first]] {
        let room = Room::new();
        room.put_bundle(&bundle);
        let address = serve(Tls::load(room.files()).unwrap()).await;
        for (ca, name) in [(&first, "of-first"), (&second, "of-second")] {
            let shown = issued(ca, name);
            let (_, greeting) = connect(address, client(&room.ca, Some(&shown), BOTH)).await.unwrap();
            assert_eq!(greeting, name);
        }
        refusal(address, client(&room.ca, Some(&issued(&third, "of-third")), BOTH)).await;
    }
}

#[tokio::test]
async fn a_rotated_pair_serves_new_connections_and_the_open_one_lives() {
    let room = Room::new();
    let tls = Tls::load(room.files()).unwrap();
    let address = serve(tls.clone()).await;
    let shown = issued(&room.ca, "alice");
    let (mut open, _) = connect(address, client(&room.ca, Some(&shown), BOTH)).await.unwrap();

    let next = Authority::generate("next").unwrap();
    room.put_pair(&next.issue_server(&["localhost"]).unwrap());
    Follower::default().look(&tls);

    refusal(address, client(&room.ca, Some(&shown), BOTH)).await;
    assert!(connect(address, client(&next, Some(&shown), BOTH)).await.is_ok());
    assert!(echoes(&mut open).await);
}

#[tokio::test]
async fn a_bad_pair_changes_nothing_for_anybody() {
    let room = Room::new();
    let tls = Tls::load(room.files()).unwrap();
    let address = serve(tls.clone()).await;
    let shown = issued(&room.ca, "alice");
    let (mut open, _) = connect(address, client(&room.ca, Some(&shown), BOTH)).await.unwrap();

    let other = room.ca.issue_server(&["localhost"]).unwrap();
    fs::write(room.dir.path().join("tls.key"), &other.key_pem).unwrap();
    let mut follower = Follower::default();
    follower.look(&tls);
    follower.look(&tls);

    assert_eq!(tls.snapshot().refused, 1);
    assert!(connect(address, client(&room.ca, Some(&shown), BOTH)).await.is_ok());
    assert!(echoes(&mut open).await);
}

#[tokio::test]
async fn a_session_of_a_dropped_ca_is_not_resumed() {
    for versions in VERSIONS {
        let room = Room::new();
        let clients = Authority::generate("clients").unwrap();
        room.put_bundle(&[&room.ca, &clients]);
        let tls = Tls::load(room.files()).unwrap();
        let address = serve(tls.clone()).await;
        let config = client(&room.ca, Some(&issued(&clients, "alice")), versions);
        connect(address, config.clone()).await.unwrap();
        let (again, greeting) = connect(address, config.clone()).await.unwrap();
        assert_eq!(again.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        assert_eq!(greeting, "alice");

        room.put_bundle(&[&room.ca]);
        Follower::default().look(&tls);
        refusal(address, config).await;
    }
}

/// Kubernetes' way: `tls.crt -> ..data/tls.crt`, `..data -> ..version`, and a rename over `..data`.
fn publish(volume: &Path, version: &str, ca: &Authority, pair: &super::Issued) {
    let content = volume.join(version);
    fs::create_dir(&content).unwrap();
    put_pair(&content, pair);
    put_bundle(&content, &[ca]);
    let fresh = volume.join("..data_tmp");
    symlink(version, &fresh).unwrap();
    fs::rename(fresh, volume.join("..data")).unwrap();
}

#[tokio::test]
async fn the_symlink_swap_of_a_volume_is_followed() {
    let volume = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::generate("old").unwrap(), Authority::generate("new").unwrap());
    publish(volume.path(), "..1", &old, &old.issue_server(&["localhost"]).unwrap());
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        symlink(Path::new("..data").join(name), volume.path().join(name)).unwrap();
    }
    let tls = Tls::load(files_in(volume.path())).unwrap();
    let address = serve(tls.clone()).await;

    publish(volume.path(), "..2", &new, &new.issue_server(&["localhost"]).unwrap());
    fs::remove_dir_all(volume.path().join("..1")).unwrap();
    Follower::default().look(&tls);

    assert!(connect(address, client(&new, Some(&issued(&new, "alice")), BOTH)).await.is_ok());
    refusal(address, client(&new, Some(&issued(&old, "alice")), BOTH)).await;
}
