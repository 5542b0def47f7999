//! Makes CAs and leaves: for `larder certs`, for `larder serve --dev` and for tests.
//!
//! Keys are ECDSA P-256, serial numbers random, and a leaf never outlives the CA that signed it. A CA signs
//! leaves only (path length 0). Nothing here touches a file.

use std::fmt;
use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls::pki_types::DnsName;
use time::{Duration, OffsetDateTime};

use super::certificate::{Certificate, SubjectName};

/// How long a CA is valid unless told otherwise: ten years.
pub(crate) const AUTHORITY_DAYS: u32 = 3653;
/// How long a leaf is valid unless told otherwise: a year.
pub(crate) const LEAF_DAYS: u32 = 365;
/// The peers' clocks are seldom right to the minute.
const CLOCK_SKEW: Duration = Duration::minutes(5);
/// The upper bound of a common name, X.520.
const LONGEST_COMMON_NAME: usize = 64;

/// Why a certificate cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    /// A server name that is none.
    #[error("{0:?} is no host name, address or URI")]
    BadServerName(String),
    /// A server without a name.
    #[error("a server certificate needs at least one name")]
    NoServerName,
    /// An identity that no certificate can carry.
    #[error("{0:?} is no identity: a URI, a DNS name, or a common name of at most 64 printable characters")]
    BadIdentity(String),
    /// A CA that cannot be read.
    #[error("the CA cannot be used: {0}")]
    BadAuthority(String),
    /// What rcgen refuses.
    #[error("cannot make the certificate: {0}")]
    Generator(#[from] rcgen::Error),
    /// No randomness.
    #[error("the system gives no random numbers")]
    NoRandom,
}

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    /// From.
    pub(crate) from: OffsetDateTime,
    /// Until.
    pub(crate) until: OffsetDateTime,
}

impl Term {
    /// From five minutes ago until so many days from now.
    pub(crate) fn days(days: u32) -> Self {
        let now = OffsetDateTime::now_utc();
        Self { from: now - CLOCK_SKEW, until: now + Duration::days(days.into()) }
    }

    /// From five minutes ago, for as long as this certificate was valid.
    pub(crate) fn as_long_as(certificate: &Certificate) -> Self {
        let from = OffsetDateTime::now_utc() - CLOCK_SKEW;
        Self { from, until: from + (certificate.not_after - certificate.not_before) }
    }
}

/// A leaf to be made.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    common_name: Option<String>,
    names: Vec<SanType>,
    usages: Vec<ExtendedKeyUsagePurpose>,
    term: Term,
}

impl Leaf {
    /// A server under these host names and addresses.
    pub(crate) fn server<S: AsRef<str>>(names: &[S]) -> Result<Self, IssueError> {
        let first = names.first().ok_or(IssueError::NoServerName)?.as_ref();
        let names = names.iter().map(|name| server_name(name.as_ref())).collect::<Result<_, _>>()?;
        let common_name = is_common_name(first).then(|| first.to_owned());
        Ok(Self {
            common_name,
            names,
            usages: vec![ExtendedKeyUsagePurpose::ServerAuth],
            term: Term::days(LEAF_DAYS),
        })
    }

    /// A client with this identity: a URI if it holds `://`, else a DNS name, else a common name alone.
    pub(crate) fn client(identity: &str) -> Result<Self, IssueError> {
        let names: Vec<SanType> = alternative_name(identity)?.into_iter().collect();
        let common_name = is_common_name(identity).then(|| identity.to_owned());
        if names.is_empty() && common_name.is_none() {
            return Err(IssueError::BadIdentity(identity.to_owned()));
        }
        Ok(Self {
            common_name,
            names,
            usages: vec![ExtendedKeyUsagePurpose::ClientAuth],
            term: Term::days(LEAF_DAYS),
        })
    }

    /// A leaf that says the same as this certificate, for as long as it was valid, from now.
    pub(crate) fn like(certificate: &Certificate) -> Result<Self, IssueError> {
        let names = certificate.names.iter().map(|name| match name {
            SubjectName::Dns(name) => Ok(SanType::DnsName(name.as_str().try_into()?)),
            SubjectName::Uri(uri) => Ok(SanType::URI(uri.as_str().try_into()?)),
            SubjectName::Ip(address) => Ok(SanType::IpAddress(*address)),
            SubjectName::Other(other) => Err(IssueError::BadIdentity(other.clone())),
        });
        let server = certificate.for_server.then_some(ExtendedKeyUsagePurpose::ServerAuth);
        let client = certificate.for_client.then_some(ExtendedKeyUsagePurpose::ClientAuth);
        Ok(Self {
            common_name: certificate.common_name.clone(),
            names: names.collect::<Result<_, _>>()?,
            usages: server.into_iter().chain(client).collect(),
            term: Term::as_long_as(certificate),
        })
    }

    /// Whether this certificate has the same names and uses.
    pub(crate) fn says_the_same_as(&self, certificate: &Certificate) -> bool {
        let held = Self::like(certificate);
        held.is_ok_and(|held| {
            held.common_name == self.common_name && held.names == self.names && held.usages == self.usages
        })
    }

    /// The same, valid in another term.
    pub(crate) fn valid(self, term: Term) -> Self {
        Self { term, ..self }
    }

    fn params(&self, authority: &Certificate) -> Result<CertificateParams, IssueError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = &self.common_name {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        params.subject_alt_names.clone_from(&self.names);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages.clone_from(&self.usages);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(random_serial()?);
        params.not_before = self.term.from;
        params.not_after = self.term.until.min(authority.not_after);
        Ok(params)
    }
}

/// A certificate and its private key.
pub(crate) struct Issued {
    /// The certificate, described.
    pub(crate) certificate: Certificate,
    /// The certificate as PEM.
    pub(crate) certificate_pem: String,
    /// The private key as PKCS#8 PEM. Secret.
    pub(crate) key_pem: String,
}

/// Says whose certificate it is, and nothing of the key.
impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("subject", &self.certificate.subject).finish_non_exhaustive()
    }
}

/// A CA that can sign: certificate and key.
pub(crate) struct Authority {
    certificate: Certificate,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    #[cfg(test)]
    /// A new CA of this name, valid for ten years.
    pub(crate) fn generate(name: &str) -> Result<Self, IssueError> {
        Self::generate_valid(name, Term::days(AUTHORITY_DAYS))
    }

    /// A new CA. Its organization is the name; the common name gets a random suffix, so that people can
    /// tell two CAs of one name apart. Nothing depends on that.
    pub(crate) fn generate_valid(name: &str, term: Term) -> Result<Self, IssueError> {
        if name.is_empty() || name.chars().count() > 50 || name.contains(char::is_control) {
            return Err(IssueError::BadAuthority(format!("{name:?} is no name of 1 to 50 characters")));
        }
        let serial = random_serial()?;
        let suffix: String = serial.to_bytes().iter().rev().take(4).map(|b| format!("{b:02x}")).collect();
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, name);
        subject.push(DnType::CommonName, format!("{name} CA {suffix}"));
        Self::with_subject(subject, serial, term)
    }

    /// A new CA with exactly this subject and serial number.
    pub(super) fn with_subject(
        subject: DistinguishedName,
        serial: SerialNumber,
        term: Term,
    ) -> Result<Self, IssueError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject;
        params.serial_number = Some(serial);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = term.from;
        params.not_after = term.until;
        let key = KeyPair::generate()?;
        let made = params.self_signed(&key)?;
        Ok(Self {
            certificate: describe(made.der().clone())?,
            certificate_pem: made.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// The CA of this PEM certificate and PEM key.
    pub(crate) fn load(certificate_pem: &str, key_pem: &str) -> Result<Self, IssueError> {
        let bad = |reason: &str| IssueError::BadAuthority(reason.to_owned());
        let found = Certificate::parse_pem(certificate_pem.as_bytes()).map_err(IssueError::BadAuthority)?;
        let certificate = found.into_iter().next().ok_or_else(|| bad("its file holds no certificate"))?;
        // The generator's own error could quote the key, so it goes no further.
        let key = KeyPair::from_pem(key_pem).map_err(|_| bad("its private key cannot be read"))?;
        if !certificate.is_ca {
            return Err(bad("its certificate is not that of a CA"));
        }
        if certificate.public_key() != key.subject_public_key_info() {
            return Err(bad("its private key belongs to another certificate"));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate.der, key)?;
        Ok(Self { certificate, certificate_pem: certificate_pem.to_owned(), issuer })
    }

    /// The CA's certificate, described.
    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The CA's certificate as PEM.
    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The CA's private key as PKCS#8 PEM. Secret.
    pub(crate) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Makes a key and signs a leaf for it.
    pub(crate) fn issue(&self, leaf: &Leaf) -> Result<Issued, IssueError> {
        let key = KeyPair::generate()?;
        let (certificate, certificate_pem) = self.sign(leaf, &key)?;
        Ok(Issued { certificate, certificate_pem, key_pem: key.serialize_pem() })
    }

    #[cfg(test)]
    /// A server certificate for these names.
    pub(crate) fn issue_server<S: AsRef<str>>(&self, names: &[S]) -> Result<Issued, IssueError> {
        self.issue(&Leaf::server(names)?)
    }

    #[cfg(test)]
    /// A client certificate for this identity.
    pub(crate) fn issue_client(&self, identity: &str) -> Result<Issued, IssueError> {
        self.issue(&Leaf::client(identity)?)
    }

    /// Signs the key of an existing certificate again; gives the PEM.
    pub(crate) fn reissue(&self, old: &Certificate) -> Result<String, IssueError> {
        let key = SubjectPublicKeyInfo::from_der(&old.public_key())?;
        self.sign(&Leaf::like(old)?, &key).map(|(_, pem)| pem)
    }

    fn sign(&self, leaf: &Leaf, key: &impl PublicKeyData) -> Result<(Certificate, String), IssueError> {
        let made = leaf.params(&self.certificate)?.signed_by(key, &self.issuer)?;
        Ok((describe(made.der().clone())?, made.pem()))
    }
}

impl Certificate {
    /// Is this PEM key the one of this certificate?
    pub(crate) fn has_key(&self, key_pem: &str) -> bool {
        KeyPair::from_pem(key_pem).is_ok_and(|key| key.subject_public_key_info() == self.public_key())
    }
}

fn describe(der: rustls::pki_types::CertificateDer<'static>) -> Result<Certificate, IssueError> {
    Certificate::parse(der).map_err(IssueError::BadAuthority)
}

fn server_name(name: &str) -> Result<SanType, IssueError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    alternative_name(name)?.ok_or_else(|| IssueError::BadServerName(name.to_owned()))
}

fn alternative_name(name: &str) -> Result<Option<SanType>, IssueError> {
    let host = name.strip_prefix("*.").unwrap_or(name);
    if name.contains("://") {
        let is_uri = name.bytes().all(|b| b.is_ascii_graphic());
        let uri = name.try_into().ok().filter(|_| is_uri);
        uri.map(|uri| Some(SanType::URI(uri))).ok_or_else(|| IssueError::BadIdentity(name.to_owned()))
    } else if host.parse::<IpAddr>().is_err() && DnsName::try_from(host).is_ok() {
        Ok(Some(SanType::DnsName(name.try_into()?)))
    } else {
        Ok(None)
    }
}

fn is_common_name(name: &str) -> bool {
    let length = name.chars().count();
    (1..=LONGEST_COMMON_NAME).contains(&length) && name.trim() == name && !name.contains(char::is_control)
}

/// 128 random bits, positive and never zero.
fn random_serial() -> Result<SerialNumber, IssueError> {
    let mut bytes = [0_u8; 16];
    super::provider().secure_random.fill(&mut bytes).map_err(|_| IssueError::NoRandom)?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
mod tests;
