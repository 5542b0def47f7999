//! Which certificates are trusted, and as whose: CAs of users, and CAs of front proxies, which are never mixed up.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::front_proxy::FrontProxy;
use super::peer::Found;

/// What is trusted at the moment. It is replaced as a whole.
#[derive(Debug, Default)]
pub struct Trust {
    /// The CAs that sign users; without them no certificate is a user's.
    pub clients: Option<Bundle>,
    /// Who may say on whose behalf it asks; nobody if there is none.
    pub front_proxy: Option<FrontProxy>,
}

impl Trust {
    pub(super) fn judge(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Found {
        let verify = |bundle: Option<&Bundle>| match bundle {
            Some(bundle) => bundle.verify(leaf, intermediates),
            None => Err("no CA is trusted for this".to_owned()),
        };
        Found {
            front_proxy: verify(self.front_proxy.as_ref().map(|it| &it.authorities)),
            client: verify(self.clients.as_ref()),
        }
    }
}

/// CAs that certificates of clients are verified with.
#[derive(Clone, Debug)]
pub struct Bundle {
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Whom a verified certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// The common name; may be empty.
    pub(super) common_name: String,
    /// The organizations.
    pub(super) organizations: Vec<String>,
    /// The SHA-256 of the certificate, in hexadecimal digits.
    pub(super) digest: String,
}

impl Bundle {
    /// The CAs of a PEM text.
    ///
    /// # Errors
    /// Not PEM, or without a CA that can be used.
    pub fn from_pem(pem: &[u8], provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for ca in CertificateDer::pem_slice_iter(pem) {
            let ca = ca.map_err(|error| format!("not a certificate in PEM: {error}"))?;
            roots.add(ca).map_err(|error| format!("a CA cannot be used: {error}"))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Self { verifier: verifier.map_err(|error| error.to_string())? })
    }

    /// The subject of a leaf that is valid now, for clients, and signed by one of the CAs.
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<Subject, String> {
        let verified = self.verifier.verify_client_cert(leaf, intermediates, UnixTime::now());
        verified.map_err(|error| error.to_string())?;
        Subject::of(leaf)
    }
}

impl Subject {
    fn of(leaf: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, x509) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().map(str::to_owned).map_err(|error| format!("its subject is no text: {error}"))
        };
        // Of several common names Go takes the last.
        let common_name = x509.subject().iter_common_name().last().map(text).transpose()?;
        Ok(Self {
            common_name: common_name.unwrap_or_default(),
            organizations: x509.subject().iter_organization().map(text).collect::<Result<_, _>>()?,
            digest: Sha256::digest(leaf).iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}
