//! The certificate that a client shows.
//!
//! As in every Kubernetes API server it is asked for and not required, and the handshake only proves that the client has its key. Whether it
//! is trusted, and as what, is found out for each request against the CAs of the moment: they change while connections stay.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};

use super::trust::{Subject, Trust};

/// Takes any certificate whose key the client has, and none.
#[derive(Debug)]
pub struct AnyClient {
    provider: Arc<CryptoProvider>,
}

impl AnyClient {
    /// With the signatures that this provider verifies.
    #[must_use]
    pub fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider }
    }
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: Go's client shows no certificate if the hints leave its issuer out.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// How long a verdict on a certificate holds: it may expire meanwhile.
const VERDICT: Duration = Duration::from_secs(10);

/// The certificates of a connection's client, and what they were found to be worth.
#[derive(Debug, Default)]
pub struct Peer {
    chain: Vec<CertificateDer<'static>>,
    verdict: Mutex<Option<Verdict>>,
}

#[derive(Clone, Debug)]
struct Verdict {
    trust: Arc<Trust>,
    at: Instant,
    found: Arc<Found>,
}

/// What a certificate is, by each of the two bundles of CAs.
#[derive(Debug)]
pub(super) struct Found {
    /// As the front proxy's; the error says why it is not.
    pub(super) front_proxy: Result<Subject, String>,
    /// As a user's.
    pub(super) client: Result<Subject, String>,
}

impl Peer {
    /// Of a connection whose client showed this chain, the leaf first; it may be empty.
    #[must_use]
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        Self { chain, verdict: Mutex::default() }
    }

    /// What the certificate is; `None` if there is none.
    pub(super) fn found(&self, trust: &Arc<Trust>) -> Option<Arc<Found>> {
        let (leaf, intermediates) = self.chain.split_first()?;
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*verdict
            && Arc::ptr_eq(&known.trust, trust)
            && known.at.elapsed() < VERDICT
        {
            return Some(Arc::clone(&known.found));
        }
        let found = Arc::new(trust.judge(leaf, intermediates));
        *verdict = Some(Verdict { trust: Arc::clone(trust), at: Instant::now(), found: Arc::clone(&found) });
        Some(found)
    }
}
