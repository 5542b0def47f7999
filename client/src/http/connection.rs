//! Connections: opened when needed, used again while they live, thrown away when stale.
//!
//! HTTP/2, where the server offers it, needs one connection; of HTTP/1.1 there are as many as calls at one
//! time. A long answer goes over HTTP/1.1 even so, where the server speaks it: a connection of its own needs no frames and no
//! windows, and took a sixth less time for 340 MB. Nothing here knows what a call means, so nothing here decides whether it may be repeated.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::credentials::Credentials;
use super::endpoint::Endpoint;
use super::filling::Filling;
use super::reason::{Reason, explain, find};
use super::telling::Telling;

/// The body of a call: bytes in memory or a stream.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Idle HTTP/1.1 connections that are kept, at most.
const IDLE: usize = 32;
/// What a stream may have under way, so that large answers are not held up by the round trip.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// The largest frame that the other side may send: that of a whole buffer, with one header instead of many.
const FRAME: u32 = 128 << 10;

/// What is read from a socket at once, and handed on. rustls asks for 4 KiB at a time, so that a large answer would be mostly system calls.
const READ: usize = 128 << 10;

/// The connections to one endpoint.
pub(crate) struct Connections {
    endpoint: Endpoint,
    credentials: Option<Credentials>,
    open: Mutex<Open>,
    /// Held while a connection is opened, so that many calls at once open one HTTP/2 connection.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Open {
    http1: Vec<http1::SendRequest<Body>>,
    http2: Option<http2::SendRequest<Body>>,
}

/// A connection that is ready for one call.
pub(crate) struct Connection {
    sender: Sender,
    /// Whether it has served before, so that it may have been closed by the other side in the meantime.
    pub(crate) reused: bool,
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Connections {
    pub(crate) fn new(endpoint: Endpoint, credentials: Option<Credentials>) -> Arc<Self> {
        let (open, opening) = (Mutex::default(), tokio::sync::Mutex::default());
        Arc::new(Self { endpoint, credentials, open, opening })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A connection of before, or a new one within `limit`.
    pub(crate) async fn get(&self, limit: Duration) -> Result<Connection, Reason> {
        if let Some(sender) = self.reuse() {
            return Ok(Connection { sender, reused: true });
        }
        tokio::time::timeout(limit, self.open_one()).await.unwrap_or(Err(Reason::Timeout(limit)))
    }

    /// The same for a call with a long answer.
    pub(crate) async fn get_for_long(&self, limit: Duration) -> Result<Connection, Reason> {
        if let Some(sender) = self.reuse_http1() {
            return Ok(Connection { sender, reused: true });
        }
        let Some(credentials) = &self.credentials else { return self.get(limit).await };
        match tokio::time::timeout(limit, self.connect(Some(credentials.config_of_http1()))).await {
            Ok(Ok(sender)) => Ok(Connection { sender, reused: false }),
            // A server that speaks HTTP/2 alone says so in an alert; if it is something else, it is told here.
            Ok(Err(Reason::Tls(_))) => self.get(limit).await,
            Ok(Err(reason)) => Err(reason),
            Err(_) => Err(Reason::Timeout(limit)),
        }
    }

    /// Forgets the idle connections, as one of them turned out to be closed: so are the others, most likely.
    pub(crate) fn forget(&self) {
        self.lock().http1.clear();
    }

    async fn open_one(&self) -> Result<Connection, Reason> {
        let _opening = self.opening.lock().await;
        if let Some(sender) = self.reuse() {
            return Ok(Connection { sender, reused: true });
        }
        let sender = self.connect(self.credentials.as_ref().map(Credentials::config)).await?;
        if let Sender::Http2(sender) = &sender {
            self.lock().http2 = Some(sender.clone());
        }
        Ok(Connection { sender, reused: false })
    }

    fn reuse(&self) -> Option<Sender> {
        let mut open = self.lock();
        open.http2.take_if(|sender| sender.is_closed());
        if let Some(sender) = &open.http2 {
            return Some(Sender::Http2(sender.clone()));
        }
        drop(open);
        self.reuse_http1()
    }

    fn reuse_http1(&self) -> Option<Sender> {
        let mut open = self.lock();
        while let Some(sender) = open.http1.pop() {
            if sender.is_ready() {
                return Some(Sender::Http1(sender));
            }
        }
        None
    }

    async fn connect(&self, config: Option<Arc<ClientConfig>>) -> Result<Sender, Reason> {
        let address = (self.endpoint.host(), self.endpoint.port());
        let tcp = TcpStream::connect(address).await.map_err(Reason::Connect)?;
        tcp.set_nodelay(true).map_err(Reason::Connect)?;
        let (Some(name), Some(config)) = (self.endpoint.server_name(), config) else {
            return handshake_http1(TokioIo::new(tcp)).await;
        };
        let connector = TlsConnector::from(config);
        let tcp = BufReader::with_capacity(READ, tcp);
        let tls =
            connector.connect(name.clone(), Telling::new(tcp)).await.map_err(|error| tls_reason(&error))?;
        let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(Filling::new(tls));
        if is_http2 { handshake_http2(io).await } else { handshake_http1(io).await }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Whether requests carry the whole URL (HTTP/2) or only its path (HTTP/1.1).
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// Sends one request and waits for the head of its answer. An error comes with the request if nothing of
    /// it was sent.
    pub(crate) async fn send(
        self,
        request: Request<Body>,
        home: &Arc<Connections>,
    ) -> Result<Response<Incoming>, Box<TrySendError<Request<Body>>>> {
        match self.sender {
            Sender::Http2(mut sender) => sender.try_send_request(request).await.map_err(Box::new),
            Sender::Http1(mut sender) => {
                let response = sender.try_send_request(request).await?;
                tokio::spawn(keep(sender, Arc::downgrade(home)));
                Ok(response)
            }
        }
    }
}

/// Puts an HTTP/1.1 connection back once its answer has been read. If the answer is dropped before, hyper
/// closes the connection and nothing is kept.
async fn keep(mut sender: http1::SendRequest<Body>, home: Weak<Connections>) {
    if sender.ready().await.is_ok()
        && let Some(home) = home.upgrade()
    {
        let mut open = home.lock();
        if open.http1.len() < IDLE {
            open.http1.push(sender);
        }
    }
}

async fn handshake_http1<T: Read + Write + Unpin + Send + 'static>(io: T) -> Result<Sender, Reason> {
    let handshake = http1::Builder::new().max_buf_size(READ).handshake(io);
    let (sender, connection) = handshake.await.map_err(|error| Reason::of(&error))?;
    // What goes wrong on a connection is told to the calls that are on it.
    tokio::spawn(async move { drop(connection.await) });
    Ok(Sender::Http1(sender))
}

async fn handshake_http2<T: Read + Write + Unpin + Send + 'static>(io: T) -> Result<Sender, Reason> {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        // A peer that vanished without a word is noticed while calls wait for it.
        .keep_alive_interval(Duration::from_secs(15))
        .keep_alive_timeout(Duration::from_secs(10))
        .handshake(io)
        .await
        .map_err(|error| Reason::of(&error))?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(Sender::Http2(sender))
}

fn tls_reason(error: &io::Error) -> Reason {
    match find::<rustls::Error>(error) {
        Some(tls) => Reason::Tls(explain(tls)),
        None => Reason::Tls(format!("the handshake broke off ({error})")),
    }
}
