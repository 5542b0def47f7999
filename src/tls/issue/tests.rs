//! What certificates that were made here say, and what cannot be asked for.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::tls::Identity;
use crate::tls::testing::term;

fn authority() -> Authority {
    Authority::generate("test").unwrap()
}

#[test]
fn an_identity_becomes_a_uri_a_dns_name_or_a_common_name() {
    let cases = [
        (
            "spiffe://cluster.local/ns/a/sa/b",
            vec![SubjectName::Uri("spiffe://cluster.local/ns/a/sa/b".into())],
        ),
        ("controller.reports", vec![SubjectName::Dns("controller.reports".into())]),
        ("Alice of Reports", vec![]),
        ("10.0.0.1", vec![]),
    ];
    let ca = authority();
    for (identity, names) in cases {
        let made = ca.issue_client(identity).unwrap().certificate;
        assert_eq!(made.names, names);
        assert!(made.for_client && !made.for_server && !made.is_ca);
        assert_eq!(Identity::of(&made.der).unwrap().names(), [identity]);
    }
}

#[test]
fn a_long_uri_is_carried_without_a_common_name() {
    let identity = format!("spiffe://cluster.local/{}", "x".repeat(100));
    let made = authority().issue_client(&identity).unwrap().certificate;
    assert_eq!(made.common_name, None);
    assert_eq!(Identity::of(&made.der).unwrap().names(), [identity]);
}

#[test]
fn what_no_certificate_can_carry_is_refused() {
    for identity in ["", " ", "a\nb", "spiffe://with space", &"x y".repeat(30)] {
        assert!(Leaf::client(identity).is_err(), "{identity:?}");
    }
    for names in [&[][..], &["not a host"], &["localhost", ""]] {
        assert!(Leaf::server(names).is_err(), "{names:?}");
    }
}

#[test]
fn a_server_has_hosts_and_addresses() {
    let made = authority().issue_server(&["larder.reports.svc", "*.reports", "::1", "127.0.0.1"]).unwrap();
    let names: Vec<_> = made.certificate.names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["larder.reports.svc", "*.reports", "::1", "127.0.0.1"]);
    assert!(made.certificate.for_server && !made.certificate.for_client);
}

#[test]
fn a_leaf_never_outlives_its_ca() {
    let ca = Authority::generate_valid("short", term(-1, 5)).unwrap();
    let made = ca.issue_client("alice").unwrap().certificate;
    assert_eq!(made.not_after, ca.certificate().not_after);
    assert!(made.not_before < OffsetDateTime::now_utc() - Duration::minutes(4));
}

#[test]
fn a_ca_that_was_loaded_signs_as_before() {
    let ca = authority();
    let loaded = Authority::load(ca.certificate_pem(), &ca.key_pem()).unwrap();
    let made = loaded.issue_client("alice").unwrap().certificate;
    assert!(made.is_signed_by(ca.certificate()));
    assert!(!made.is_signed_by(authority().certificate()));
}

#[test]
fn a_ca_with_another_key_or_a_leaf_as_ca_is_not_loaded() {
    let (ca, other) = (authority(), authority());
    assert!(Authority::load(ca.certificate_pem(), &other.key_pem()).is_err());
    let leaf = ca.issue_client("alice").unwrap();
    assert!(Authority::load(&leaf.certificate_pem, &leaf.key_pem).is_err());
}

#[test]
fn an_error_about_a_key_does_not_quote_it() {
    let text = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    let error = Authority::load(authority().certificate_pem(), text).err().unwrap().to_string();
    assert!(!error.contains("c2VjcmV0") && !error.contains("secret"), "{error}");
    assert!(!format!("{:?}", authority().issue_client("alice").unwrap()).contains("PRIVATE"));
}

#[test]
fn serial_numbers_differ_for_one_key() {
    let ca = authority();
    let first = ca.issue_client("alice").unwrap().certificate;
    let again = ca.reissue(&first).unwrap();
    let again = Certificate::parse_pem(again.as_bytes()).unwrap().remove(0);
    assert_eq!(first.public_key(), again.public_key());
    assert_eq!(first.names, again.names);
    let serial =
        |c: &Certificate| x509_parser::parse_x509_certificate(&c.der).unwrap().1.raw_serial().to_vec();
    assert_ne!(serial(&first), serial(&again));
}

#[test]
fn the_pem_of_a_described_certificate_is_its_own() {
    let made = authority().issue_client("alice").unwrap();
    assert_eq!(made.certificate.pem(), made.certificate_pem);
}
