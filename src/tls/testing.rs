//! Certificates on disk and a loopback server for tests. Everything is made at test time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{DistinguishedName, DnType, SerialNumber};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::issue::{Authority, Issued, Leaf, Term};
use super::{Clients, Identity, Tls, TlsFiles};

/// A directory with a server's three files, and the CA that made them.
pub(crate) struct Room {
    pub(crate) dir: TempDir,
    pub(crate) ca: Authority,
}

impl Room {
    /// A server called `localhost` that trusts the CA which signed it.
    pub(crate) fn new() -> Self {
        let room = Self { dir: tempfile::tempdir().unwrap(), ca: Authority::generate("test").unwrap() };
        room.put_pair(&room.ca.issue_server(&["localhost"]).unwrap());
        room.put_bundle(&[&room.ca]);
        room
    }

    pub(crate) fn files(&self) -> TlsFiles {
        files_in(self.dir.path())
    }

    pub(crate) fn put_pair(&self, pair: &Issued) {
        put_pair(self.dir.path(), pair);
    }

    pub(crate) fn put_bundle(&self, authorities: &[&Authority]) {
        put_bundle(self.dir.path(), authorities);
    }
}

pub(crate) fn files_in(dir: &Path) -> TlsFiles {
    TlsFiles {
        cert: dir.join("tls.crt"),
        key: dir.join("tls.key"),
        clients: Clients::SignedBy(dir.join("ca.crt")),
        revision: None,
    }
}

pub(crate) fn put_pair(dir: &Path, pair: &Issued) {
    fs::write(dir.join("tls.crt"), &pair.certificate_pem).unwrap();
    fs::write(dir.join("tls.key"), &pair.key_pem).unwrap();
}

pub(crate) fn put_bundle(dir: &Path, authorities: &[&Authority]) {
    let bundle: String = authorities.iter().map(|ca| ca.certificate_pem()).collect();
    fs::write(dir.join("ca.crt"), bundle).unwrap();
}

/// A term that began and ended so many days from now.
pub(crate) fn term(from: i64, until: i64) -> Term {
    let now = OffsetDateTime::now_utc();
    Term { from: now + Duration::days(from), until: now + Duration::days(until) }
}

/// A CA whose subject and serial number are the same each time; only the key differs.
pub(crate) fn twin() -> Authority {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, "twin");
    Authority::with_subject(subject, SerialNumber::from(7), term(-1, 100)).unwrap()
}

/// A client's configuration: the CA of the server, and what it shows itself.
pub(crate) fn client(
    server_ca: &Authority,
    shown: Option<&Issued>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(server_ca.certificate().der.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(super::provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match shown {
        None => builder.with_no_client_auth(),
        Some(issued) => {
            let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![issued.certificate.der.clone()], key).unwrap()
        }
    })
}

/// A server that greets each client with its identity and a line's end, and then echoes.
pub(crate) async fn serve(tls: Arc<Tls>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(tls.server_config());
            tokio::spawn(greet_and_echo(acceptor, stream));
        }
    });
    address
}

async fn greet_and_echo(acceptor: TlsAcceptor, stream: TcpStream) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let leaf: CertificateDer<'static> = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let greeting = Identity::of(&leaf).map_or_else(|e| format!("{e}\n"), |identity| format!("{identity}\n"));
    stream.write_all(greeting.as_bytes()).await?;
    let mut buffer = [0; 64];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

/// Connects and reads the greeting: with TLS 1.3 a client learns only then that it was refused.
pub(crate) async fn connect(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> std::io::Result<(TlsStream<TcpStream>, String)> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(config).connect(name, TcpStream::connect(address).await?).await?;
    let mut greeting = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => return Ok((stream, String::from_utf8(greeting).unwrap())),
            byte => greeting.push(byte),
        }
    }
}

/// Is the connection still good for a word there and back?
pub(crate) async fn echoes(stream: &mut TlsStream<TcpStream>) -> bool {
    let mut back = [0; 5];
    let sent = async {
        stream.write_all(b"hello").await?;
        stream.read_exact(&mut back).await
    };
    sent.await.is_ok() && &back == b"hello"
}

/// A client's pair from this CA.
pub(crate) fn issued(ca: &Authority, identity: &str) -> Issued {
    ca.issue(&Leaf::client(identity).unwrap()).unwrap()
}
