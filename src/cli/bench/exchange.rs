//! One connection of the load: HTTP/1.1 over mutual TLS, written for doing little per request.
//!
//! The load shares the machine with the server, so it has neither a connection pool nor header maps: a
//! request is a slice of bytes that somebody prepared, an answer is its status and its body. Both framings of
//! a body are understood (`Content-Length`, chunked), nothing else; every body is read to its end.

use anyhow::{Context as _, bail, ensure};
use bytes::{Buf as _, BytesMut};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::framing::Framing;

/// What is read from the socket at once, at most: some TLS records.
const READ: usize = 64 * 1024;

/// A socket under TLS.
pub(super) type Socket = TlsStream<BufReader<TcpStream>>;

/// Whom to talk to, and how to prove who is talking.
#[derive(Clone)]
pub(super) struct Target {
    authority: String,
    name: ServerName<'static>,
    connector: TlsConnector,
}

impl Target {
    /// The server at `url` (`https://host:port`), with the certificates that `--dev` made in `certs`.
    pub(super) fn new(url: &str, certs: &Path) -> anyhow::Result<Self> {
        let authority = url.trim().strip_prefix("https://").context("the server's URL is not https")?;
        let authority = authority.trim_end_matches('/').to_owned();
        let (host, _port) = authority.rsplit_once(':').context("the server's URL has no port")?;
        let name = ServerName::try_from(host.to_owned()).context("the server's URL has no host")?;
        let connector = TlsConnector::from(Arc::new(client_config(certs)?));
        Ok(Self { authority, name, connector })
    }

    /// The same server, spoken to in HTTP/2.
    pub(super) fn over_http2(&self) -> Self {
        let mut config = rustls::ClientConfig::clone(self.connector.config());
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { connector: TlsConnector::from(Arc::new(config)), ..self.clone() }
    }

    /// What stands in the `Host` header.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) async fn connect(&self) -> anyhow::Result<Connection> {
        Ok(Connection::over(self.dial().await?))
    }

    /// A connection that nothing was said on yet.
    pub(super) async fn dial(&self) -> anyhow::Result<Socket> {
        let tcp = TcpStream::connect(&self.authority).await.context("cannot reach the server")?;
        tcp.set_nodelay(true)?;
        // TLS asks for 4 KiB at a time.
        let tcp = BufReader::with_capacity(READ, tcp);
        self.connector.connect(self.name.clone(), tcp).await.context("the TLS handshake failed")
    }
}

fn client_config(certs: &Path) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for authority in chain(&certs.join("ca.crt"))? {
        roots.add(authority)?;
    }
    let key = PrivateKeyDer::from_pem_file(certs.join("client.key")).context("client.key")?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain(&certs.join("client.crt"))?, key)?)
}

fn chain(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.with_context(|| path.display().to_string())
}

/// An open connection, between two requests.
pub(super) struct Connection<S = Socket> {
    stream: S,
    inbox: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn over(stream: S) -> Self {
        Self { stream, inbox: BytesMut::with_capacity(READ) }
    }

    /// Sends `request` and gives the body of the answer to `sink`, piece by piece. Returns the status.
    pub(super) async fn exchange(
        &mut self,
        request: &[u8],
        mut sink: impl FnMut(&[u8]),
    ) -> anyhow::Result<u16> {
        self.stream.write_all(request).await.context("the server closed while a request was sent")?;
        self.stream.flush().await?;
        let (status, mut framing) = self.head().await?;
        loop {
            let taken = framing.feed(&self.inbox, &mut sink)?;
            self.inbox.advance(taken);
            if framing.is_complete() {
                return Ok(status);
            }
            self.fill().await?;
        }
    }

    async fn head(&mut self) -> anyhow::Result<(u16, Framing)> {
        loop {
            if let Some((length, status, framing)) = parse_head(&self.inbox)? {
                self.inbox.advance(length);
                return Ok((status, framing));
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        self.inbox.reserve(READ);
        let read = self.stream.read_buf(&mut self.inbox).await.context("reading an answer")?;
        ensure!(read > 0, "the server closed in the middle of an answer");
        Ok(())
    }
}

/// The length of the head, the status, and how the body is framed; nothing if the head is not there in full.
fn parse_head(bytes: &[u8]) -> anyhow::Result<Option<(usize, u16, Framing)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(bytes).context("not an HTTP/1.1 answer")? else {
        return Ok(None);
    };
    let status = head.code.context("an answer without a status")?;
    for header in &*head.headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            let body = std::str::from_utf8(header.value)?.trim().parse().context("Content-Length")?;
            return Ok(Some((length, status, Framing::sized(body))));
        }
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Ok(Some((length, status, Framing::chunked())));
        }
    }
    bail!("an answer whose end cannot be known: neither Content-Length nor chunked");
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use std::fs;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    /// Answers the first request of each connection with `answer` in pieces of `step` bytes, then closes.
    struct Peer {
        url: String,
        certs: tempfile::TempDir,
    }

    impl Peer {
        async fn start(answer: &'static [u8], step: usize) -> Self {
            let certs = tempfile::tempdir().unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(server_config(certs.path())));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("https://{}", listener.local_addr().unwrap());
            tokio::spawn(async move {
                while let Ok((tcp, _)) = listener.accept().await {
                    let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
                    let mut request = [0; 4];
                    stream.read_exact(&mut request).await.unwrap();
                    for piece in answer.chunks(step) {
                        stream.write_all(piece).await.unwrap();
                        stream.flush().await.unwrap();
                    }
                    stream.shutdown().await.unwrap();
                }
            });
            Self { url, certs }
        }

        async fn ask(&self) -> anyhow::Result<(u16, Vec<u8>)> {
            let mut body = Vec::new();
            let mut connection = Target::new(&self.url, self.certs.path())?.connect().await?;
            let status = connection.exchange(b"ping", |piece| body.extend_from_slice(piece)).await?;
            Ok((status, body))
        }
    }

    /// Makes what `--dev` makes, and a server that asks for it.
    fn server_config(certs: &Path) -> rustls::ServerConfig {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new([name.to_owned()]).unwrap();
            (params.signed_by(&key, &authority).unwrap(), key)
        };
        let (client, client_key) = issue("bench");
        fs::write(certs.join("ca.crt"), authority.pem()).unwrap();
        fs::write(certs.join("client.crt"), client.pem()).unwrap();
        fs::write(certs.join("client.key"), client_key.serialize_pem()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let (server, key) = issue("127.0.0.1");
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![server.der().clone()], key.into())
            .unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_read_whole_in_either_framing() {
        let sized = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        let chunked =
            b"HTTP/1.1 409 Conflict\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
        for step in [1, 7, 1000] {
            assert_eq!(Peer::start(sized, step).await.ask().await.unwrap(), (200, b"hello".to_vec()));
            assert_eq!(Peer::start(chunked, step).await.ask().await.unwrap(), (409, b"hello".to_vec()));
        }
    }

    #[tokio::test]
    async fn half_an_answer_is_an_error() {
        let sized = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell";
        Peer::start(sized, 1000).await.ask().await.unwrap_err();
        let without_an_end = b"HTTP/1.1 200 OK\r\n\r\nhello";
        Peer::start(without_an_end, 1000).await.ask().await.unwrap_err();
        let not_http = b"SSH-2.0-OpenSSH\r\n\r\n";
        Peer::start(not_http, 1000).await.ask().await.unwrap_err();
    }
}
