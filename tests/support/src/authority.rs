//! Certificates, made when a test needs them.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use std::fs;
use std::path::{Path, PathBuf};

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate, PEM.
    pub cert: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority of this name; two of one name are still two.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// The certificate of the authority, PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a server on the loopback, written to `DIR/NAME.crt` and `DIR/NAME.key`.
    #[must_use]
    pub fn server(&self, dir: &Path, name: &str) -> Pair {
        let mut params =
            CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, dir, name)
    }

    /// As [`Authority::server`], for a server of these names.
    #[must_use]
    pub fn server_for(&self, names: &[&str], dir: &Path, name: &str) -> Pair {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // By this OpenSSL tells authorities of one name apart; cert-manager writes it too.
        params.use_authority_key_identifier_extension = true;
        self.issue(params, dir, name)
    }

    /// As [`Authority::server`], for a server that also calls itself as a client.
    #[must_use]
    pub fn peer(&self, dir: &Path, name: &str) -> Pair {
        self.peer_of(&["localhost", "127.0.0.1"], dir, name)
    }

    /// As [`Authority::peer`], for a server of these names.
    #[must_use]
    pub fn peer_of(&self, names: &[&str], dir: &Path, name: &str) -> Pair {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, dir, name)
    }

    /// A certificate for a client with this URI as its identity, if it is one, or else DNS name.
    #[must_use]
    pub fn client(&self, identity: &str, dir: &Path, name: &str) -> Pair {
        self.issue(client_params(identity), dir, name)
    }

    /// A certificate for a client that is no longer valid.
    #[must_use]
    pub fn expired_client(&self, identity: &str, dir: &Path, name: &str) -> Pair {
        let mut params = client_params(identity);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        self.issue(params, dir, name)
    }

    /// A certificate for a client without any name.
    #[must_use]
    pub fn nameless_client(&self, dir: &Path, name: &str) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, dir, name)
    }

    /// A certificate for a user of Kubernetes: the name is the common name, the groups are organizations.
    #[must_use]
    pub fn user(&self, user: &str, groups: &[&str], dir: &Path, name: &str) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        params.distinguished_name.push(DnType::CommonName, user);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, dir, name)
    }

    /// A certificate for a server of these names.
    #[must_use]
    pub fn server_of(&self, names: &[&str], dir: &Path, name: &str) -> Pair {
        let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, dir, name)
    }

    fn issue(&self, params: CertificateParams, dir: &Path, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let pair = Pair { cert: dir.join(format!("{name}.crt")), key: dir.join(format!("{name}.key")) };
        fs::write(&pair.cert, cert.pem()).unwrap();
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }
}

fn client_params(identity: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let name = identity.try_into().unwrap();
    params.subject_alt_names =
        vec![if identity.contains("://") { SanType::URI(name) } else { SanType::DnsName(name) }];
    params
}
