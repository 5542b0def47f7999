//! Who we are and whom we trust: a CA bundle, and a certificate chain with its key, followed on disk.
//!
//! The files are read again before each new connection, which is seldom and costs a few kilobytes; that
//! works for every way of replacing files, the symlink swaps of Kubernetes volumes included. A set that
//! cannot be used (a pair of which only one half is written yet) leaves the last good one in place.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// A certificate, key or CA file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct CredentialsError {
    /// The file.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The files of a client, and what was last read from them.
pub struct Credentials {
    files: Files,
    current: Mutex<Loaded>,
}

struct Files {
    ca: PathBuf,
    own: Option<Pair<PathBuf>>,
}

#[derive(PartialEq, Eq)]
struct Contents {
    ca: Vec<u8>,
    own: Option<Pair<Vec<u8>>>,
}

#[derive(PartialEq, Eq)]
struct Pair<T> {
    certificate: T,
    key: T,
}

struct Loaded {
    contents: Contents,
    config: Arc<ClientConfig>,
}

impl Credentials {
    /// Reads a CA bundle, a certificate chain (the client's own first) and its private key, all PEM.
    ///
    /// # Errors
    /// A file cannot be read, holds no PEM of its kind, or the key is not that of the certificate.
    pub fn from_files(
        ca: impl Into<PathBuf>,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, CredentialsError> {
        let own = Pair { certificate: certificate.into(), key: key.into() };
        Self::load(Files { ca: ca.into(), own: Some(own) })
    }

    /// Reads a CA bundle, PEM, and shows no certificate: for servers that know their callers by a token.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate.
    pub fn trusting(ca: impl Into<PathBuf>) -> Result<Self, CredentialsError> {
        Self::load(Files { ca: ca.into(), own: None })
    }

    fn load(files: Files) -> Result<Self, CredentialsError> {
        let contents = files.read()?;
        let config = files.configure(&contents)?;
        Ok(Self { files, current: Mutex::new(Loaded { contents, config }) })
    }

    /// As [`Credentials::config`], for a connection that speaks HTTP/1.1.
    pub(crate) fn config_of_http1(&self) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.config());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// The configuration for a new connection, from the files as they are now.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(contents) = self.files.read()
            && contents != current.contents
            && let Ok(config) = self.files.configure(&contents)
        {
            *current = Loaded { contents, config };
        }
        Arc::clone(&current.config)
    }
}

/// Shows where the files are, never what is in them.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("ca", &self.files.ca)
            .field("certificate", &self.files.own.as_ref().map(|own| &own.certificate))
            .field("key", &self.files.own.as_ref().map(|own| &own.key))
            .finish_non_exhaustive()
    }
}

impl Files {
    fn read(&self) -> Result<Contents, CredentialsError> {
        let own = match &self.own {
            Some(own) => Some(Pair { certificate: read(&own.certificate)?, key: read(&own.key)? }),
            None => None,
        };
        Ok(Contents { ca: read(&self.ca)?, own })
    }

    fn configure(&self, contents: &Contents) -> Result<Arc<ClientConfig>, CredentialsError> {
        let mut roots = RootCertStore::empty();
        for ca in certificates(&self.ca, &contents.ca)? {
            roots.add(ca).map_err(|error| unusable(&self.ca, error))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&self.ca, error))?
            .with_root_certificates(roots);
        let mut config = match (&self.own, &contents.own) {
            (Some(files), Some(own)) => {
                let chain = certificates(&files.certificate, &own.certificate)?;
                let key = private_key(&files.key, &own.key)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| unusable(&files.key, error))?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    std::fs::read(path).map_err(|error| unusable(path, error))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(unusable(path, "no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(path, error)),
    }
}

fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, CredentialsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        PemError::NoItemsFound => unusable(path, "no private key in it"),
        other => unusable(path, other),
    })
}

fn unusable(path: &Path, reason: impl fmt::Display) -> CredentialsError {
    CredentialsError { path: path.display().to_string(), reason: reason.to_string() }
}
