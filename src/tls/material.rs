//! A TLS server configuration out of PEM bytes, and every way in which that can fail.
//!
//! Each configuration has a session store of its own, so a session that was begun under one set of CAs
//! can never be resumed under another. Tickets that carry the session themselves are not used: the server
//! would have no say over them once they are out. rustls does not look at the validity of a trust anchor,
//! so a CA that has expired is left out here.

use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::certificate::{Certificate, printable};
use super::contents::{Clients, Contents, Fingerprint, TlsFiles, fingerprint};
use super::error::{NamedFile, TlsError};

/// Sessions that can be resumed; two for each TLS 1.3 connection.
const SESSIONS: usize = 512;
/// The longest revision that is taken from a file.
const LONGEST_REVISION: usize = 128;

/// A configuration, and what there is to know about it.
pub(super) struct Material {
    pub(super) config: Arc<ServerConfig>,
    /// What is shown to clients, the leaf first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) leaf_not_after: OffsetDateTime,
    pub(super) ca_count: usize,
    pub(super) ca_not_after: Option<OffsetDateTime>,
    pub(super) revision: String,
    pub(super) fingerprint: Fingerprint,
    /// What is most likely a mistake although TLS works.
    pub(super) doubt: Option<String>,
    expired_authorities: Vec<Certificate>,
}

impl Material {
    /// Builds the configuration that these contents describe.
    pub(super) fn build(
        files: &TlsFiles,
        contents: &Contents,
        now: OffsetDateTime,
    ) -> Result<Self, TlsError> {
        let chain = certificates(&files.named_cert(), &contents.cert)?;
        let leaf = chain.first().ok_or_else(|| TlsError::NoCertificate(files.named_cert()))?;
        check_validity(files.named_cert(), leaf, now)?;
        let key = certified_key(files, &chain, &contents.key)?;
        let (expired_authorities, authorities) = match (files.named_client_ca(), &contents.client_ca) {
            (Some(file), Some(pem)) => authorities(file, pem, now)?,
            _ => (Vec::new(), Vec::new()),
        };
        Ok(Self {
            leaf_not_after: leaf.not_after,
            ca_count: authorities.len(),
            ca_not_after: authorities.iter().map(|ca| ca.not_after).min(),
            revision: revision(files, contents, &chain, &authorities)?,
            fingerprint: contents.fingerprint(),
            doubt: doubt(files, &chain, &authorities, &expired_authorities),
            config: Arc::new(server_config(files, key, &authorities)?),
            chain: chain.into_iter().map(|it| it.der).collect(),
            expired_authorities,
        })
    }

    /// Says what was left out. Not done while building: contents that are refused are built again and again.
    pub(super) fn warn(&self) {
        for ca in &self.expired_authorities {
            tracing::warn!(subject = %ca.subject, "expired CA in the trust bundle left out");
        }
        if let Some(doubt) = &self.doubt {
            tracing::warn!("{doubt}");
        }
    }
}

/// A certificate and a bundle that lie side by side are of one Secret, which clients have too. Elsewhere two CAs are in order.
fn doubt(
    files: &TlsFiles,
    chain: &[Certificate],
    valid: &[Certificate],
    expired: &[Certificate],
) -> Option<String> {
    let bundle = files.client_ca()?.first()?;
    let known = |certificate: &Certificate| {
        valid.iter().chain(expired).any(|ca| certificate.is_signed_by(ca) || certificate.der == ca.der)
    };
    if bundle.parent() != files.cert.parent() || chain.iter().any(known) {
        return None;
    }
    Some(format!(
        "{} is not signed by any CA in {}, so clients that trust this bundle refuse the server: put files there that were \
         issued together, or add the CA that signed the certificate",
        files.named_cert(),
        bundle.display()
    ))
}

fn server_config(
    files: &TlsFiles,
    key: CertifiedKey,
    authorities: &[Certificate],
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(super::provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(files.named_cert(), &e))?
        .with_client_cert_verifier(verifier(files, authorities)?)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    Ok(config)
}

fn verifier(files: &TlsFiles, authorities: &[Certificate]) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let file = match &files.clients {
        Clients::SignedBy(_) => files.named_client_ca().unwrap_or_else(|| files.named_cert()),
        Clients::Judged(verifier) => return Ok(Arc::clone(verifier)),
    };
    let mut roots = RootCertStore::empty();
    for ca in authorities {
        roots.add(ca.der.clone()).map_err(|e| unusable(file.clone(), &e))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), super::provider()).build();
    verifier.map(|it| it as _).map_err(|e| unusable(file, &e))
}

fn certified_key(files: &TlsFiles, chain: &[Certificate], pem: &[u8]) -> Result<CertifiedKey, TlsError> {
    let file = files.named_key();
    let key = private_key(&file, pem)?;
    let chain = chain.iter().map(|certificate| certificate.der.clone()).collect();
    CertifiedKey::from_der(chain, key, &super::provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::KeyMismatch { key: file, cert: files.named_cert() },
        rustls::Error::InvalidCertificate(_) => unusable(files.named_cert(), &error),
        source => TlsError::BadKey { file, source },
    })
}

fn private_key(file: &NamedFile, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    let encrypted = [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"];
    if encrypted.iter().any(|mark| contains(pem, mark)) {
        return Err(TlsError::EncryptedKey(file.clone()));
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::NoKey(file.clone()),
        source => TlsError::Pem { file: file.clone(), source },
    })
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn certificates(file: &NamedFile, pem: &[u8]) -> Result<Vec<Certificate>, TlsError> {
    let numbered = CertificateDer::pem_slice_iter(pem).zip(1..);
    let described = numbered.map(|(der, position)| {
        let der = der.map_err(|source| TlsError::Pem { file: file.clone(), source })?;
        Certificate::parse(der).map_err(|reason| TlsError::Malformed {
            file: file.clone(),
            position,
            reason: printable(&reason),
        })
    });
    described.collect()
}

/// The CAs of a bundle: those that have expired, and those that count.
fn authorities(
    file: NamedFile,
    pem: &[u8],
    now: OffsetDateTime,
) -> Result<(Vec<Certificate>, Vec<Certificate>), TlsError> {
    let mut all = certificates(&file, pem)?;
    if all.is_empty() {
        return Err(TlsError::NoAuthority(file));
    }
    if let Some(at) = all.iter().position(|certificate| !certificate.is_ca) {
        return Err(TlsError::NotAnAuthority {
            file,
            position: at + 1,
            subject: all.swap_remove(at).subject,
        });
    }
    let (expired, valid): (Vec<_>, Vec<_>) = all.into_iter().partition(|ca| ca.is_expired(now));
    if valid.is_empty() { Err(TlsError::AuthoritiesExpired(file)) } else { Ok((expired, valid)) }
}

fn check_validity(file: NamedFile, leaf: &Certificate, now: OffsetDateTime) -> Result<(), TlsError> {
    let subject = leaf.subject.clone();
    if leaf.is_expired(now) {
        Err(TlsError::Expired { file, subject, at: rfc3339(leaf.not_after) })
    } else if leaf.not_before > now {
        Err(TlsError::NotYetValid { file, subject, at: rfc3339(leaf.not_before) })
    } else {
        Ok(())
    }
}

fn revision(
    files: &TlsFiles,
    contents: &Contents,
    chain: &[Certificate],
    authorities: &[Certificate],
) -> Result<String, TlsError> {
    if let (Some(path), Some(bytes)) = (&files.revision, &contents.revision) {
        let line = std::str::from_utf8(bytes).map(str::trim).unwrap_or_default();
        let fits = !line.is_empty() && line.len() <= LONGEST_REVISION && !line.contains(char::is_control);
        return fits
            .then(|| line.to_owned())
            .ok_or_else(|| TlsError::BadRevision(files.named_revision(path)));
    }
    let hash = fingerprint(chain.iter().chain(authorities).map(|certificate| certificate.der.as_ref()));
    Ok(hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

fn unusable(file: NamedFile, error: &impl ToString) -> TlsError {
    TlsError::Unusable { file, reason: error.to_string() }
}

fn rfc3339(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_else(|_| at.to_string())
}

#[cfg(test)]
mod tests;
