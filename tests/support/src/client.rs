//! A small HTTP client: one connection, requests one after the other, whole answers.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::authority::Pair;

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    ///
    /// # Panics
    /// It is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is not JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// The body as JSON, or `null` if it is something else.
    #[must_use]
    pub fn json_or_null(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The code of the error that this answer is.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn code(&self) -> String {
        let reply = self.json();
        reply["error"]["code"].as_str().unwrap_or_else(|| panic!("no error: {reply}")).to_owned()
    }
}

/// A connection to a server.
pub struct Connection {
    sender: Sender,
    authority: String,
    scheme: &'static str,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Connects to `url`, over TLS if there is a configuration. HTTP/2 is spoken if the configuration offers it and the
    /// server takes it.
    ///
    /// # Errors
    /// There is no connection, or the handshake fails.
    pub async fn open(url: &str, tls: Option<ClientConfig>) -> io::Result<Self> {
        let (scheme, authority) = url.trim_end_matches('/').split_once("://").unwrap();
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = tls else {
            assert_eq!(scheme, "http");
            return Ok(Self {
                sender: http1(stream).await?,
                authority: authority.to_owned(),
                scheme: "http",
            });
        };
        let host = authority.rsplit_once(':').unwrap().0.to_owned();
        let name = ServerName::try_from(host).unwrap();
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let sender = if is_http2 { http2(stream).await? } else { http1(stream).await? };
        Ok(Self { sender, authority: authority.to_owned(), scheme: "https" })
    }

    /// Sends a request without a body and gives back the answer as it comes.
    ///
    /// # Errors
    /// The connection ends before the answer begins.
    pub async fn open_stream(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Coming, hyper::Error> {
        let response = self.start(Method::GET, path, headers, Bytes::new()).await?;
        let (head, body) = response.into_parts();
        Ok(Coming { status: head.status.as_u16(), headers: head.headers, body, ahead: Vec::new() })
    }

    /// Asks for `path`.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Bytes::new()).await.unwrap()
    }

    /// Sends a JSON body to `path`.
    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Answer {
        let content = [(header::CONTENT_TYPE.as_str(), "application/json")];
        self.send(Method::POST, path, &content, body.into()).await.unwrap()
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// The connection ends before the answer does.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, hyper::Error> {
        let (head, body) = self.start(method, path, headers, body.into()).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    async fn start(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let uri = match self.sender {
            Sender::Http1(_) => path.to_owned(),
            Sender::Http2(_) => format!("{}://{}{path}", self.scheme, self.authority),
        };
        let mut request = Request::builder().method(method).uri(uri).header(header::HOST, &self.authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).unwrap();
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

/// An answer that comes. Whoever does not read it makes the server wait.
pub struct Coming {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    ahead: Vec<u8>,
}

impl Coming {
    /// The next line, without its end; `None` once the answer has ended in order.
    ///
    /// # Errors
    /// The answer broke off.
    pub async fn line(&mut self) -> Result<Option<Bytes>, hyper::Error> {
        loop {
            if let Some(end) = self.ahead.iter().position(|it| *it == b'\n') {
                let mut line: Vec<u8> = self.ahead.drain(..=end).collect();
                line.pop();
                return Ok(Some(line.into()));
            }
            match self.body.frame().await {
                None => return Ok((!self.ahead.is_empty()).then(|| std::mem::take(&mut self.ahead).into())),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.ahead.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

async fn http1(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> io::Result<Sender> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(Sender::Http1(sender))
}

async fn http2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> io::Result<Sender> {
    let stream = TokioIo::new(stream);
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), stream).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(Sender::Http2(sender))
}

/// Trusts the authorities in `ca` and shows the certificate of `pair`. It offers no HTTP/2: that is for the caller to add.
///
/// # Panics
/// A file is not there or is not PEM.
#[must_use]
pub fn trusting(ca: &Path, pair: Option<&Pair>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_file_iter(ca).unwrap() {
        roots.add(authority.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let Some(pair) = pair else { return builder.with_no_client_auth() };
    let chain = CertificateDer::pem_file_iter(&pair.cert).unwrap().map(Result::unwrap).collect();
    builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&pair.key).unwrap()).unwrap()
}
