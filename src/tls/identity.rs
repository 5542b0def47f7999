//! Who a client is, by the certificate that the handshake has already verified.
//!
//! The names are the URI and DNS subject alternative names; only a certificate without any has its common
//! name looked at. Anything doubtful in the names is refused rather than skipped, and the two kinds have
//! alphabets of their own, so that a host name can never pass for a URI. Addresses are no identities.

use std::fmt;

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::printable;

/// More names than any client has.
const MOST_NAMES: usize = 64;
/// A longer name is no name.
const LONGEST_NAME: usize = 512;

/// The names of a client; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    names: Vec<String>,
}

/// A verified certificate that still says nobody's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdentityError {
    /// No URI, no DNS name, no single common name.
    #[error("the client certificate names nobody: it has no URI or DNS name and no common name")]
    NoName,
    /// A name that is too long, or holds what does not belong in it.
    #[error("the client certificate holds a name that cannot be one: {0}")]
    BadName(String),
    /// Too many names.
    #[error("the client certificate holds {0} names, more than {MOST_NAMES}")]
    TooManyNames(usize),
    /// Not a certificate, or with a broken extension.
    #[error("the client certificate cannot be read: {0}")]
    Malformed(String),
    /// Past its end: a resumed session is not verified again by the handshake.
    #[error("the client certificate has expired")]
    Expired,
}

impl Identity {
    /// The identity that the leaf of a verified chain gives its holder.
    pub(crate) fn of(leaf: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        Self::at(leaf, OffsetDateTime::now_utc())
    }

    fn at(leaf: &CertificateDer<'_>, now: OffsetDateTime) -> Result<Self, IdentityError> {
        let (rest, x509) = X509Certificate::from_der(leaf).map_err(malformed)?;
        if !rest.is_empty() {
            return Err(IdentityError::Malformed("bytes after its end".to_owned()));
        }
        if x509.validity().not_after.to_datetime() < now {
            return Err(IdentityError::Expired);
        }
        let mut names = alternative_names(&x509)?;
        if names.is_empty() {
            names.push(common_name(&x509)?);
        }
        Ok(Self { names })
    }

    /// All names, in the certificate's order.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }
}

/// The first name, and how many more there are: for logs.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.names.first().map_or("", String::as_str))?;
        match self.names.len() {
            0 | 1 => Ok(()),
            n => write!(f, " (and {} more)", n - 1),
        }
    }
}

fn alternative_names(x509: &X509Certificate<'_>) -> Result<Vec<String>, IdentityError> {
    let Some(extension) = x509.subject_alternative_name().map_err(malformed)? else { return Ok(Vec::new()) };
    let general = &extension.value.general_names;
    if general.len() > MOST_NAMES {
        return Err(IdentityError::TooManyNames(general.len()));
    }
    general.iter().filter_map(|name| alternative_name(name).transpose()).collect()
}

fn alternative_name(name: &GeneralName<'_>) -> Result<Option<String>, IdentityError> {
    match name {
        GeneralName::DNSName(name) => checked(name, is_host).map(Some),
        GeneralName::URI(uri) => checked(uri, is_uri).map(Some),
        GeneralName::Invalid(..) => Err(IdentityError::BadName("not text".to_owned())),
        _ => Ok(None),
    }
}

/// Two common names would leave it to chance who this is.
fn common_name(x509: &X509Certificate<'_>) -> Result<String, IdentityError> {
    let mut values = x509.subject().iter_common_name();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(IdentityError::NoName) };
    let name = value.as_str().map_err(malformed)?;
    if name.is_empty() { Err(IdentityError::NoName) } else { checked(name, is_text) }
}

fn checked(name: &str, is_good: fn(&str) -> bool) -> Result<String, IdentityError> {
    if name.len() <= LONGEST_NAME && is_good(name) {
        return Ok(name.to_owned());
    }
    Err(IdentityError::BadName(printable(&name.chars().take(64).collect::<String>())))
}

fn is_host(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.*".contains(&b))
}

fn is_uri(uri: &str) -> bool {
    uri.contains(':') && uri.bytes().all(|b| b.is_ascii_graphic())
}

fn is_text(name: &str) -> bool {
    name.trim() == name && !name.contains(char::is_control)
}

fn malformed(error: impl ToString) -> IdentityError {
    IdentityError::Malformed(printable(&error.to_string()))
}

#[cfg(test)]
mod tests;
