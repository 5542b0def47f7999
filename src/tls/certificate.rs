//! What one certificate says, read from its DER, for people and for the rules that look at it.
//!
//! This is a description, not a verdict: trust is rustls' business, identity that of `identity`.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// One subject alternative name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SubjectName {
    /// A host name.
    Dns(String),
    /// A URI, such as a SPIFFE identity.
    Uri(String),
    /// An address.
    Ip(IpAddr),
    /// Anything else, as text for people.
    Other(String),
}

/// One certificate, described.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// The certificate itself.
    pub(crate) der: CertificateDer<'static>,
    /// The subject, in words.
    pub(crate) subject: String,
    /// The issuer, in words.
    pub(crate) issuer: String,
    /// The subject's organization, where it has one.
    pub(crate) organization: Option<String>,
    /// The subject's common name, where it has one.
    pub(crate) common_name: Option<String>,
    /// The subject alternative names.
    pub(crate) names: Vec<SubjectName>,
    /// Valid from.
    pub(crate) not_before: OffsetDateTime,
    /// Valid until.
    pub(crate) not_after: OffsetDateTime,
    /// May it sign others?
    pub(crate) is_ca: bool,
    /// May a server show it?
    pub(crate) for_server: bool,
    /// May a client show it?
    pub(crate) for_client: bool,
}

impl Certificate {
    /// Describes a certificate; the error says what is wrong with it.
    pub(crate) fn parse(der: CertificateDer<'static>) -> Result<Self, String> {
        let x509 = x509(&der)?;
        let usage = x509.extended_key_usage().map_err(|e| e.to_string())?.map(|e| e.value);
        let any =
            |server: bool| usage.is_none_or(|u| u.any || if server { u.server_auth } else { u.client_auth });
        Ok(Self {
            subject: printable(&x509.subject().to_string()),
            issuer: printable(&x509.issuer().to_string()),
            organization: first(x509.subject().iter_organization()),
            common_name: first(x509.subject().iter_common_name()),
            names: names(&x509)?,
            not_before: x509.validity().not_before.to_datetime(),
            not_after: x509.validity().not_after.to_datetime(),
            is_ca: x509.basic_constraints().map_err(|e| e.to_string())?.is_some_and(|b| b.value.ca),
            for_server: any(true),
            for_client: any(false),
            der: der.clone(),
        })
    }

    /// Describes every certificate of a PEM file's contents; the error names the position, from 1.
    pub(crate) fn parse_pem(pem: &[u8]) -> Result<Vec<Self>, String> {
        let numbered = CertificateDer::pem_slice_iter(pem).zip(1..);
        let described = numbered.map(|(der, n)| {
            let der = der.map_err(|e| format!("certificate {n}: {e}"))?;
            Self::parse(der).map_err(|e| format!("certificate {n}: {e}"))
        });
        described.collect()
    }

    /// Did this authority's key sign this certificate?
    pub(crate) fn is_signed_by(&self, authority: &Self) -> bool {
        let (Ok(leaf), Ok(ca)) = (x509(&self.der), x509(&authority.der)) else { return false };
        leaf.issuer().as_raw() == ca.subject().as_raw()
            && leaf.verify_signature(Some(ca.public_key())).is_ok()
    }

    /// The public key, as SubjectPublicKeyInfo DER.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        x509(&self.der).map(|x509| x509.public_key().raw.to_vec()).unwrap_or_default()
    }

    /// The certificate as PEM.
    pub(crate) fn pem(&self) -> String {
        let text = STANDARD.encode(&self.der);
        let lines: Vec<_> =
            (0..text.len()).step_by(64).filter_map(|at| text.get(at..text.len().min(at + 64))).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    /// Is it past its end?
    pub(crate) fn is_expired(&self, now: OffsetDateTime) -> bool {
        self.not_after < now
    }
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Uri(name) | Self::Other(name) => f.write_str(&printable(name)),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

fn x509<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    let (rest, x509) = X509Certificate::from_der(der).map_err(|e| e.to_string())?;
    if rest.is_empty() { Ok(x509) } else { Err("bytes after the end of the certificate".to_owned()) }
}

fn names(x509: &X509Certificate<'_>) -> Result<Vec<SubjectName>, String> {
    let extension = x509.subject_alternative_name().map_err(|e| e.to_string())?;
    Ok(extension.map(|e| e.value.general_names.iter().map(subject_name).collect()).unwrap_or_default())
}

fn subject_name(name: &GeneralName<'_>) -> SubjectName {
    match name {
        GeneralName::DNSName(name) => SubjectName::Dns((*name).to_owned()),
        GeneralName::URI(uri) => SubjectName::Uri((*uri).to_owned()),
        GeneralName::IPAddress(octets) => address(octets).map_or_else(
            || SubjectName::Other(format!("an address of {} bytes", octets.len())),
            SubjectName::Ip,
        ),
        other => SubjectName::Other(printable(&other.to_string())),
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

fn first<'a>(
    mut values: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>,
) -> Option<String> {
    values.next().and_then(|value| value.as_str().ok()).map(printable)
}

/// Text from a certificate is somebody else's: no control characters reach a terminal or a log.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
