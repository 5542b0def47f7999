//! Who a certificate names, and which certificates name nobody.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

use super::*;

fn certificate(common_names: Option<&str>, names: Vec<SanType>) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(name) = common_names {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params.subject_alt_names = names;
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

fn names(leaf: &CertificateDer<'_>) -> Vec<String> {
    Identity::of(leaf).unwrap().names().to_vec()
}

#[test]
fn every_uri_and_dns_name_counts_and_the_common_name_then_does_not() {
    let address = SanType::IpAddress([127, 0, 0, 1].into());
    let leaf = certificate(Some("root"), vec![uri("spiffe://x/a"), address, dns("a.example")]);
    assert_eq!(names(&leaf), ["spiffe://x/a", "a.example"]);
    assert_eq!(Identity::of(&leaf).unwrap().to_string(), "spiffe://x/a (and 1 more)");
}

#[test]
fn the_common_name_counts_where_there_is_no_other() {
    assert_eq!(names(&certificate(Some("Alice of Reports"), vec![])), ["Alice of Reports"]);
    let address = SanType::IpAddress([127, 0, 0, 1].into());
    assert_eq!(names(&certificate(Some("alice"), vec![address])), ["alice"]);
}

#[test]
fn nobody_is_an_error() {
    assert_eq!(Identity::of(&certificate(None, vec![])), Err(IdentityError::NoName));
    assert_eq!(Identity::of(&certificate(Some(""), vec![])), Err(IdentityError::NoName));
}

#[test]
fn rubbish_among_the_names_is_refused_and_never_passed_over() {
    let long = "a".repeat(LONGEST_NAME + 1);
    for bad in [
        dns("a b"),
        dns("spiffe://x/a"),
        dns("a\0.example"),
        dns(""),
        uri("no-scheme"),
        uri("a:\n"),
        dns(&long),
    ] {
        let leaf = certificate(Some("alice"), vec![dns("good.example"), bad.clone()]);
        assert!(matches!(Identity::of(&leaf), Err(IdentityError::BadName(_))), "{bad:?}");
    }
    for bad in ["a\nb", " a", "a\0"] {
        assert!(matches!(Identity::of(&certificate(Some(bad), vec![])), Err(IdentityError::BadName(_))));
    }
}

#[test]
fn the_number_of_names_is_bounded() {
    let many = |n: usize| certificate(None, (0..n).map(|i| dns(&format!("n{i}.example"))).collect());
    assert_eq!(names(&many(MOST_NAMES)).len(), MOST_NAMES);
    assert_eq!(Identity::of(&many(MOST_NAMES + 1)), Err(IdentityError::TooManyNames(MOST_NAMES + 1)));
}

#[test]
fn a_certificate_past_its_end_is_nobodys() {
    let leaf = certificate(Some("alice"), vec![]);
    let late = OffsetDateTime::from_unix_timestamp(67_100_000_000).unwrap();
    assert_eq!(Identity::at(&leaf, late), Err(IdentityError::Expired));
}

proptest! {
    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        prop_assert!(Identity::of(&CertificateDer::from(bytes)).is_err());
    }

    #[test]
    fn a_flipped_byte_never_panics(at in 0_usize..400, with in any::<u8>()) {
        static LEAF: std::sync::LazyLock<CertificateDer<'static>> =
            std::sync::LazyLock::new(|| certificate(Some("alice"), vec![uri("spiffe://x/a"), dns("a.example")]));
        let mut bytes = LEAF.to_vec();
        let at = at % bytes.len();
        bytes[at] = with;
        if let Ok(identity) = Identity::of(&CertificateDer::from(bytes)) {
            prop_assert!(identity.names().iter().all(|name| !name.contains(char::is_control)));
        }
    }
}
