//! Whether a client that trusts certain CAs would believe a server, found out before anybody is sent to it.

use std::sync::Arc;

use rustls::CertificateError::{
    Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{Error, RootCertStore};

/// Why a client with these CAs (PEM) would not believe a server of this name that shows `chain`. What only this library has doubts about is no reason:
/// clients of another one may have none.
pub(super) fn check(chain: &[CertificateDer<'_>], authorities: &str, name: &str) -> Result<(), String> {
    let authorities = CertificateDer::pem_slice_iter(authorities.as_bytes()).collect::<Result<Vec<_>, _>>();
    let authorities = authorities.map_err(|error| format!("the CAs are no certificates in PEM: {error}"))?;
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err("there is no certificate".to_owned());
    };
    // A certificate that is trusted itself is one for Go, and none for this library.
    if authorities.contains(leaf) {
        return Ok(());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), super::provider()).build();
    let verifier = verifier.map_err(|error| format!("the CAs cannot be used: {error}"))?;
    let name = ServerName::try_from(name).map_err(|_| format!("{name} is no name of a server"))?;
    match verifier.verify_server_cert(leaf, intermediates, &name, &[], UnixTime::now()) {
        Err(Error::InvalidCertificate(UnknownIssuer)) => Err("it is signed by none of the CAs".to_owned()),
        Err(Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
            Err(format!("it is not for {}", name.to_str()))
        }
        Err(Error::InvalidCertificate(Expired | ExpiredContext { .. })) => Err("it has expired".to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::issue::Authority;
    use super::*;

    #[test]
    fn a_certificate_convinces_who_trusts_its_signer_and_calls_it_by_its_name() {
        let (ca, other) = (Authority::generate("one").unwrap(), Authority::generate("other").unwrap());
        let pair = ca.issue_server(&["larder.reports.svc"]).unwrap();
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(pair.certificate_pem.as_bytes()).map(Result::unwrap).collect();
        let both = format!("{}{}", other.certificate_pem(), ca.certificate_pem());
        let checked = |authorities: &str, name| check(&chain, authorities, name);
        assert_eq!(checked(&both, "larder.reports.svc"), Ok(()));
        assert_eq!(checked(&pair.certificate_pem, "larder.reports.svc"), Ok(()));
        let unknown = "it is signed by none of the CAs".to_owned();
        assert_eq!(checked(other.certificate_pem(), "larder.reports.svc"), Err(unknown));
        assert_eq!(checked(&both, "larder.other.svc"), Err("it is not for larder.other.svc".to_owned()));
        assert!(checked("", "larder.reports.svc").is_err());
    }
}
