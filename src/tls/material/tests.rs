//! Which sets of files make a configuration, and what is said of those that do not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::tls::testing::{Room, issued, term};
use crate::tls::{Authority, Leaf, Tls};

fn error(room: &Room) -> TlsError {
    Tls::load(room.files()).err().unwrap()
}

fn put(room: &Room, name: &str, text: &str) {
    fs::write(room.dir.path().join(name), text).unwrap();
}

fn server(room: &Room, from: i64, until: i64) -> crate::tls::Issued {
    room.ca.issue(&Leaf::server(&["localhost"]).unwrap().valid(term(from, until))).unwrap()
}

#[test]
fn a_missing_file_is_named_with_its_flag() {
    for (name, flag) in [("tls.crt", "--tls-cert"), ("tls.key", "--tls-key"), ("ca.crt", "--client-ca")] {
        let room = Room::new();
        fs::remove_file(room.dir.path().join(name)).unwrap();
        let error = error(&room);
        assert!(matches!(error, TlsError::Missing(_)), "{error}");
        let path = room.dir.path().join(name);
        assert!(error.to_string().starts_with(&format!("{flag} {}: ", path.display())), "{error}");
    }
}

#[test]
fn an_empty_file_is_told_from_one_of_another_kind() {
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        let room = Room::new();
        put(&room, name, " \n");
        assert!(matches!(error(&room), TlsError::Empty(_)));
    }
    let room = Room::new();
    let pair = room.ca.issue_server(&["localhost"]).unwrap();
    put(&room, "tls.crt", &pair.key_pem);
    assert!(matches!(error(&room), TlsError::NoCertificate(_)));
    room.put_pair(&pair);
    put(&room, "tls.key", &pair.certificate_pem);
    assert!(matches!(error(&room), TlsError::NoKey(_)));
    room.put_pair(&pair);
    put(&room, "ca.crt", "no PEM at all\n");
    assert!(matches!(error(&room), TlsError::NoAuthority(_)));
}

#[test]
fn what_was_cut_off_or_garbled_is_refused() {
    let room = Room::new();
    let pair = room.ca.issue_server(&["localhost"]).unwrap();
    put(&room, "tls.crt", &pair.certificate_pem[..200]);
    assert!(matches!(error(&room), TlsError::Pem { .. }));
    put(&room, "tls.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert!(matches!(error(&room), TlsError::Malformed { position: 1, .. }));
    room.put_pair(&pair);
    put(&room, "tls.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    assert!(matches!(error(&room), TlsError::BadKey { .. }));
}

#[test]
fn an_encrypted_key_is_called_that() {
    let room = Room::new();
    put(
        &room,
        "tls.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    assert!(matches!(error(&room), TlsError::EncryptedKey(_)));
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let room = Room::new();
    put(&room, "tls.key", &room.ca.issue_server(&["localhost"]).unwrap().key_pem);
    assert!(matches!(error(&room), TlsError::KeyMismatch { .. }));
}

#[test]
fn a_leaf_out_of_its_time_is_refused() {
    let room = Room::new();
    room.put_pair(&server(&room, -9, -1));
    assert!(matches!(error(&room), TlsError::Expired { .. }));
    room.put_pair(&server(&room, 1, 9));
    assert!(matches!(error(&room), TlsError::NotYetValid { .. }));
}

#[test]
fn a_leaf_in_the_bundle_would_be_able_to_sign_clients_and_is_refused() {
    let room = Room::new();
    let leaf = issued(&room.ca, "alice").certificate_pem;
    put(&room, "ca.crt", &format!("{}{leaf}", room.ca.certificate_pem()));
    assert!(matches!(error(&room), TlsError::NotAnAuthority { position: 2, .. }));
}

#[test]
fn an_expired_ca_is_left_out_and_a_bundle_of_nothing_else_is_refused() {
    let room = Room::new();
    let expired = Authority::generate_valid("gone", term(-9, -1)).unwrap();
    room.put_bundle(&[&expired, &room.ca]);
    assert_eq!(Tls::load(room.files()).unwrap().snapshot().ca_count, 1);
    room.put_bundle(&[&expired]);
    assert!(matches!(error(&room), TlsError::AuthoritiesExpired(_)));
}

#[test]
fn the_snapshot_tells_the_ends_of_leaf_and_first_ca() {
    let room = Room::new();
    let short = Authority::generate_valid("short", term(-1, 3)).unwrap();
    let pair = server(&room, -1, 2);
    room.put_pair(&pair);
    room.put_bundle(&[&room.ca, &short]);
    let snapshot = Tls::load(room.files()).unwrap().snapshot();
    assert_eq!(snapshot.leaf_not_after, pair.certificate.not_after.unix_timestamp());
    assert_eq!(snapshot.ca_not_after, Some(short.certificate().not_after.unix_timestamp()));
    assert_eq!(snapshot.ca_count, 2);
}

#[test]
fn the_revision_follows_the_certificates_or_the_file_that_names_it() {
    let room = Room::new();
    let revision = || Tls::load(room.files()).unwrap().snapshot().revision;
    let first = revision();
    assert!(first.len() == 16 && first.bytes().all(|b| b.is_ascii_hexdigit()), "{first}");
    assert_eq!(first, revision());
    room.put_bundle(&[&room.ca, &Authority::generate("more").unwrap()]);
    assert_ne!(first, revision());

    let mut files = room.files();
    files.revision = Some(room.dir.path().join("revision"));
    put(&room, "revision", "42-blue\n");
    assert_eq!(Tls::load(files.clone()).unwrap().snapshot().revision, "42-blue");
    put(&room, "revision", "two\nlines\n");
    assert!(matches!(Tls::load(files).err().unwrap(), TlsError::BadRevision(_)));
}

/// The older forms are what PKCS#8 wraps in an octet string.
fn unwrapped(key: &rcgen::KeyPair, label: &str) -> String {
    let der = key.serialize_der();
    let (_, object) = x509_parser::der_parser::parse_der(&der).unwrap();
    let inner = object.as_sequence().unwrap()[2].as_slice().unwrap();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(inner))
}

#[test]
fn keys_in_pkcs8_sec1_and_pkcs1_are_read() {
    let file = NamedFile::new("--tls-key", std::path::Path::new("key"));
    let ec = rcgen::KeyPair::generate().unwrap();
    let rsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let forms = [
        (ec.serialize_pem(), &ec),
        (rsa.serialize_pem(), &rsa),
        (unwrapped(&ec, "EC PRIVATE KEY"), &ec),
        (unwrapped(&rsa, "RSA PRIVATE KEY"), &rsa),
    ];
    for (form, key) in forms {
        let read = private_key(&file, form.as_bytes()).unwrap();
        let loaded = crate::tls::provider().key_provider.load_private_key(read).unwrap();
        assert_eq!(loaded.public_key().unwrap().as_ref(), rcgen::PublicKeyData::subject_public_key_info(key));
    }
}
