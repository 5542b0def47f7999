//! Why a set of TLS files cannot be used. Every message names the flag and the file, and says what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem;

/// A file as the operator knows it: the flag and the path that was given to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedFile {
    /// The flag that names the file.
    pub(crate) flag: &'static str,
    /// The path.
    pub(crate) path: PathBuf,
}

impl NamedFile {
    pub(super) fn new(flag: &'static str, path: &Path) -> Self {
        Self { flag, path: path.to_owned() }
    }
}

impl fmt::Display for NamedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.flag, self.path.display())
    }
}

/// A set of TLS files that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// There is no such file.
    #[error("{0}: no such file; make one with `larder certs`, or mount a Secret there that has this key")]
    Missing(NamedFile),
    /// The file is there but cannot be read.
    #[error("{file}: cannot be read: {source}; check its owner and mode")]
    Unreadable {
        /// Which file.
        file: NamedFile,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Far larger than any PEM file is.
    #[error("{file}: larger than {limit} bytes, so it is no PEM file; check the path")]
    TooLarge {
        /// Which file.
        file: NamedFile,
        /// The limit.
        limit: u64,
    },
    /// Nothing in it.
    #[error("{0}: the file is empty; write it again, and to a temporary name first")]
    Empty(NamedFile),
    /// The files changed on every look.
    #[error("the TLS files kept changing while they were read; write them to temporary names and rename")]
    Unsettled,
    /// Not PEM.
    #[error("{file}: not valid PEM: {source}; it was perhaps cut off while being copied")]
    Pem {
        /// Which file.
        file: NamedFile,
        /// What is wrong.
        #[source]
        source: pem::Error,
    },
    /// No certificate where one belongs.
    #[error("{0}: holds no certificate; it wants the leaf's PEM, followed by any intermediates")]
    NoCertificate(NamedFile),
    /// A certificate that cannot be read.
    #[error("{file}: certificate {position} is malformed: {reason}; issue it again")]
    Malformed {
        /// Which file.
        file: NamedFile,
        /// Which certificate in it, from 1.
        position: usize,
        /// What is wrong.
        reason: String,
    },
    /// No key where one belongs.
    #[error("{0}: holds no private key; it wants one in PEM, as PKCS#8, SEC1 or PKCS#1")]
    NoKey(NamedFile),
    /// A key behind a passphrase.
    #[error("{0}: the private key is encrypted; decrypt it first: `openssl pkey -in KEY -out KEY.plain`")]
    EncryptedKey(NamedFile),
    /// A key that the crypto provider refuses.
    #[error("{file}: the private key cannot be used: {source}; make an ECDSA P-256, RSA or Ed25519 key")]
    BadKey {
        /// Which file.
        file: NamedFile,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The key belongs to another certificate.
    #[error("{key}: is not the key of the certificate in {cert}; put a pair there that was issued together")]
    KeyMismatch {
        /// The key's file.
        key: NamedFile,
        /// The certificate's file.
        cert: NamedFile,
    },
    /// The leaf is past its end.
    #[error("{file}: the certificate of {subject} expired at {at}; issue a new one")]
    Expired {
        /// Which file.
        file: NamedFile,
        /// Whose certificate.
        subject: String,
        /// Its end.
        at: String,
    },
    /// The leaf's time has not come.
    #[error("{file}: the certificate of {subject} is not valid before {at}; check this machine's clock")]
    NotYetValid {
        /// Which file.
        file: NamedFile,
        /// Whose certificate.
        subject: String,
        /// Its beginning.
        at: String,
    },
    /// No CA in the bundle.
    #[error("{0}: holds no CA certificate; it wants the PEM of every CA that signs clients")]
    NoAuthority(NamedFile),
    /// A leaf in the bundle. As a trust anchor it could sign clients, so it is not merely passed over.
    #[error("{file}: certificate {position} ({subject}) is not a CA; take it out of the bundle")]
    NotAnAuthority {
        /// Which file.
        file: NamedFile,
        /// Which certificate in it, from 1.
        position: usize,
        /// Whose certificate.
        subject: String,
    },
    /// Every CA in the bundle is past its end.
    #[error(
        "{0}: every CA in it has expired; add one that has not, and issue the clients' certificates again"
    )]
    AuthoritiesExpired(NamedFile),
    /// The revision file is not a line of text.
    #[error("{0}: wants one line of at most 128 printable characters")]
    BadRevision(NamedFile),
    /// What rustls itself refuses.
    #[error("{file}: cannot be used for TLS: {reason}")]
    Unusable {
        /// Which file.
        file: NamedFile,
        /// What rustls says.
        reason: String,
    },
}
