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
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::framing::Framing;

/// What is read from the socket at once, at most: some TLS records.
const READ: usize = 64 * 1024;

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

    /// What stands in the `Host` header.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) async fn connect(&self) -> anyhow::Result<Connection> {
        let tcp = TcpStream::connect(&self.authority).await.context("cannot reach the server")?;
        tcp.set_nodelay(true)?;
        let stream =
            self.connector.connect(self.name.clone(), tcp).await.context("the TLS handshake failed")?;
        Ok(Connection { stream, inbox: BytesMut::with_capacity(READ) })
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
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    inbox: BytesMut,
}

impl Connection {
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
