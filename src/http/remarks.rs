//! What is wrong without a reason to refuse service: told by `/readyz` beside what is right, so that whoever looks at a server
//! that works and that nobody can use reads why. The log has said it before.
//!
//! The port asks nobody who he is, so there are no names and addresses here.

use rustls::{AlertDescription, CertificateError};
use std::fmt::Write as _;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::App;

/// How long a refused handshake is worth telling.
const RECENT: Duration = Duration::from_secs(600);

/// The last handshake that was refused, and why.
#[derive(Default)]
pub(crate) struct LastRefusal(Mutex<Option<(Instant, &'static str)>>);

impl LastRefusal {
    /// Notes a handshake that failed; gives what to do about it, if that is known.
    pub(super) fn note(&self, error: &io::Error) -> Option<&'static str> {
        let advice = advice(error.get_ref()?.downcast_ref::<rustls::Error>()?)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), advice));
        Some(advice)
    }

    fn recent(&self) -> Option<&'static str> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|(at, _)| at.elapsed() < RECENT).map(|(_, advice)| advice)
    }
}

/// Adds a line for everything that there is to remark.
pub(super) fn write(app: &App, text: &mut String) {
    let tls = app.tls.as_ref().map(|tls| tls.snapshot());
    let certificates = tls.and_then(|tls| {
        let refused = tls.last_error.map(|error| format!("{error}; the last good files serve meanwhile"));
        refused.or(tls.doubt)
    });
    let lines = app.engine.remarks().into_iter();
    let lines = lines.chain(certificates.map(|it| ("tls", it)));
    let lines = lines.chain(app.last_refusal.recent().map(|it| ("clients", it.to_owned())));
    for (part, remark) in lines {
        let _ = writeln!(text, "[!]{part}: {remark}");
    }
}

fn advice(error: &rustls::Error) -> Option<&'static str> {
    use rustls::Error as E;
    match error {
        E::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => Some(
            "a client showed a certificate that no CA in --client-ca has signed: issue it one of these CAs' certificates, or \
             add its CA to the bundle",
        ),
        E::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => Some("a client showed a certificate out of its time: renew it, and compare the clocks"),
        E::InvalidCertificate(
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
        ) => Some(
            "a client showed a certificate that is not for clients: issue one with the usage client auth",
        ),
        E::NoCertificatesPresented => Some("a client showed no certificate: give it one"),
        E::AlertReceived(AlertDescription::UnknownCA | AlertDescription::BadCertificate) => Some(
            "a client does not trust the server's certificate: give it the CA that signed --tls-cert, and call the server by a \
             name that is in it",
        ),
        _ => None,
    }
}
