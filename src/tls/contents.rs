//! The bytes of the TLS files, read as one.
//!
//! Kubernetes swaps a whole volume by one rename, but a reader that opens the files one after another can
//! still see the certificate before it and the key behind it. So they are read until two readings in a
//! row agree. Contents are compared, never times or inodes: those say nothing through the symlinks of a
//! volume, and a rewrite with the same bytes is no change. Inotify was left out for the same reason.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;
use sha2::{Digest, Sha256};

use super::error::{NamedFile, TlsError};

/// A SHA-256 over something.
pub(super) type Fingerprint = [u8; 32];

/// No bundle of CAs is as large as this.
const LIMIT: u64 = 1024 * 1024;
/// How often a reading is repeated before the files count as never settling.
const READINGS: usize = 8;

/// Whose certificates a server takes.
#[derive(Clone, Debug)]
pub(crate) enum Clients {
    /// Those that a CA of this file has signed; nobody else gets a connection.
    SignedBy(PathBuf),
    /// Those that this says, which may be none.
    Judged(Arc<dyn ClientCertVerifier>),
}

/// Where the server's certificate and its key are, and which clients it takes.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    /// The server's leaf and intermediates.
    pub(crate) cert: PathBuf,
    /// The leaf's private key.
    pub(crate) key: PathBuf,
    /// Whose certificates are taken.
    pub(crate) clients: Clients,
    /// A line that names the certificates' revision; without it, it is computed.
    pub(crate) revision: Option<PathBuf>,
}

impl TlsFiles {
    pub(super) fn named_cert(&self) -> NamedFile {
        NamedFile::new("--tls-cert", &self.cert)
    }

    pub(super) fn named_key(&self) -> NamedFile {
        NamedFile::new("--tls-key", &self.key)
    }

    /// The file of the CAs that sign clients, if it is a file that says it.
    pub(super) fn named_client_ca(&self) -> Option<NamedFile> {
        match &self.clients {
            Clients::SignedBy(file) => Some(NamedFile::new("--client-ca", file)),
            Clients::Judged(_) => None,
        }
    }

    pub(super) fn named_revision(&self, path: &Path) -> NamedFile {
        NamedFile::new("--tls-revision", path)
    }
}

/// One reading of all files. Holds the private key, so it is not `Debug` and does not live long.
#[derive(PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) cert: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) client_ca: Option<Vec<u8>>,
    pub(super) revision: Option<Vec<u8>>,
}

impl Contents {
    /// Reads until two readings agree.
    pub(super) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        settled(|| Self::read_once(files))
    }

    fn read_once(files: &TlsFiles) -> Result<Self, TlsError> {
        let revision = files.revision.as_deref();
        Ok(Self {
            cert: read_file(files.named_cert())?,
            key: read_file(files.named_key())?,
            client_ca: files.named_client_ca().map(read_file).transpose()?,
            revision: revision.map(|path| read_file(files.named_revision(path))).transpose()?,
        })
    }

    /// Tells these contents from any others.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let revision = self.revision.as_deref().unwrap_or_default();
        let client_ca = self.client_ca.as_deref().unwrap_or_default();
        fingerprint([&self.cert, &self.key, client_ca, revision])
    }
}

fn settled<T: PartialEq>(mut read: impl FnMut() -> Result<T, TlsError>) -> Result<T, TlsError> {
    let mut last = read()?;
    for _ in 0..READINGS {
        let next = read()?;
        if next == last {
            return Ok(next);
        }
        last = next;
    }
    Err(TlsError::Unsettled)
}

/// The hash of several byte strings; lengths are hashed too, so that no two sequences run into each other.
pub(super) fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Fingerprint {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn read_file(file: NamedFile) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let read = File::open(&file.path).and_then(|opened| opened.take(LIMIT + 1).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(TlsError::Missing(file)),
        Err(source) => Err(TlsError::Unreadable { file, source }),
        Ok(length) if length as u64 > LIMIT => Err(TlsError::TooLarge { file, limit: LIMIT }),
        Ok(_) if bytes.iter().all(u8::is_ascii_whitespace) => Err(TlsError::Empty(file)),
        Ok(_) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_torn_by_a_swap_is_not_taken() {
        let mut readings = ["old", "torn", "new", "new", "later"].into_iter();
        assert_eq!(settled(|| Ok(readings.next())).ok(), Some(Some("new")));
    }

    #[test]
    fn files_that_never_settle_are_an_error() {
        let mut reading = 0;
        let read = || {
            reading += 1;
            Ok(reading)
        };
        assert!(matches!(settled(read), Err(TlsError::Unsettled)));
    }

    #[test]
    fn bytes_that_moved_from_one_file_to_the_next_are_a_change() {
        assert_ne!(fingerprint([&b"ab"[..], b"c"]), fingerprint([&b"a"[..], b"bc"]));
    }
}
