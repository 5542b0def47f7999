//! What stood in the way of a call, in words for somebody who has to do something about it.

use std::fmt;
use std::io;
use std::time::Duration;

/// What stood in the way of a connection or an answer.
#[derive(Debug)]
pub enum Reason {
    /// The address could not be resolved, or nothing listens there.
    Connect(io::Error),
    /// The two sides do not accept each other's certificates, or do not speak TLS.
    Tls(String),
    /// It took longer than allowed.
    Timeout(Duration),
    /// The connection broke off.
    Lost(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Tls(what) => write!(f, "TLS: {what}"),
            Self::Timeout(limit) => write!(f, "nothing came within {limit:?}"),
            Self::Lost(what) => f.write_str(what),
        }
    }
}

impl Reason {
    /// What an error of hyper says about the connection. A refusal of our certificate shows only here:
    /// with TLS 1.3 the server judges it after the client's part of the handshake is over.
    pub(crate) fn of(error: &hyper::Error) -> Self {
        match find::<rustls::Error>(error) {
            Some(tls) => Self::Tls(explain(tls)),
            // The alert that says so may be read by the connection alone, after the call has given up.
            None if error.is_canceled() => Self::Lost(format!(
                "the server closed the connection before it answered, as it does when it does not trust the client certificate; \
                 its log says which ({})",
                sentence(error)
            )),
            None => Self::of_text(sentence(error)),
        }
    }

    /// HTTP/2 keeps only the text of what broke a connection. A fatal alert behind a finished handshake is
    /// the server's judgement of our certificate.
    fn of_text(text: String) -> Self {
        if text.contains("received fatal alert") {
            Self::Tls(format!("the server did not accept the client certificate ({text})"))
        } else {
            Self::Lost(text)
        }
    }
}

/// An error and its causes in one line.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

/// Looks for a cause of type `T`, also inside `io::Error`s, which hide theirs from `source`.
pub(crate) fn find<'e, T: std::error::Error + 'static>(
    error: &'e (dyn std::error::Error + 'static),
) -> Option<&'e T> {
    let mut current = Some(error);
    while let Some(cause) = current {
        if let Some(found) = cause.downcast_ref::<T>() {
            return Some(found);
        }
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        current = match inner {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    None
}

/// What a TLS error means to somebody who has three files in his hand.
pub(crate) fn explain(error: &rustls::Error) -> String {
    use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error as Tls};
    let hint = match error {
        // A CA of the same name with another key shows as a bad signature.
        Tls::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature) => {
            "the server's certificate is signed by none of the given CAs"
        }
        Tls::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => "the server's certificate is for another name than the URL's",
        Tls::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "the server's certificate has expired"
        }
        Tls::AlertReceived(Alert::CertificateRequired) => "the server wants a client certificate",
        Tls::AlertReceived(Alert::UnknownCA) => "the server does not know the CA of the client certificate",
        Tls::AlertReceived(Alert::CertificateExpired) => "the client certificate has expired",
        Tls::InvalidMessage(_) => "the server does not speak TLS on this port",
        _ => return error.to_string(),
    };
    format!("{hint} ({error})")
}
