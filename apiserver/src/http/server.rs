//! Accepting connections: limits, handshakes, the certificates that are shown, and an orderly end.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::ApiServer;
use super::pulse::{Cutting, watched};
use crate::auth::Peer;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// What a connection holds of an answer that its client has not read.
const BUFFER: usize = 128 << 10;
/// The longest head of a request, as of Go's servers: a front proxy sends the groups of a user in a header each. Addresses end at 64 KiB.
const HEAD: u32 = 1 << 20;
/// Headers of a request over HTTP/1, which takes room for so many each time; over HTTP/2, as front proxies speak it, their length alone counts.
const HEADERS: usize = 2000;
/// Requests at the same time on one HTTP/2 connection. The kube-apiserver sends those of all its users over one.
const STREAMS: u32 = 1000;
/// How often a silent HTTP/2 connection is asked whether it lives.
const PING: Duration = Duration::from_secs(30);
/// After an error of accept, which is mostly a lack of file descriptors.
const BREATH: Duration = Duration::from_millis(50);

/// How connections are treated.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections at the same time.
    pub connections: usize,
    /// How long a connection may idle between requests.
    pub idle: Duration,
    /// How long a reader may take nothing of an answer.
    pub stall: Duration,
    /// How long requests may go on once the server drains.
    pub drain: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            idle: Duration::from_secs(90),
            stall: Duration::from_secs(30),
            drain: Duration::from_secs(20),
        }
    }
}

/// The TLS configuration for the next handshake.
pub type TlsSource = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

/// Accepts until `draining`, then lets requests end. Gives back whether all have ended.
pub async fn run(
    listener: TcpListener,
    tls: TlsSource,
    api: Arc<ApiServer>,
    limits: ConnectionLimits,
    mut draining: watch::Receiver<bool>,
) -> bool {
    let server = Arc::new(Server { api, tls, limits, builder: builder(limits) });
    let connections = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections) => accepted,
            _ = draining.wait_for(|draining| *draining) => break,
        };
        let Some((stream, permit)) = accepted else { continue };
        let (server, watcher) = (Arc::clone(&server), graceful.watcher());
        tokio::spawn(async move { server.handle(stream, permit, watcher).await });
    }
    drop(listener);
    tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_ok()
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(BREATH).await;
            None
        }
    }
}

struct Server {
    api: Arc<ApiServer>,
    tls: TlsSource,
    limits: ConnectionLimits,
    builder: auto::Builder<Cutting>,
}

fn builder(limits: ConnectionLimits) -> auto::Builder<Cutting> {
    let mut builder = auto::Builder::new(Cutting(limits.stall));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size(HEAD as usize)
        .max_headers(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(BUFFER)
        .max_header_list_size(HEAD)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

impl Server {
    async fn handle(&self, stream: TcpStream, _permit: OwnedSemaphorePermit, watcher: Watcher) {
        let address = stream.peer_addr().map_or_else(|_| "unknown".to_owned(), |it| it.to_string());
        // An answer is one write; waiting for more to send would only delay it.
        let _ = stream.set_nodelay(true);
        let acceptor = TlsAcceptor::from((self.tls)());
        match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let peer = Arc::new(Peer::new(shown.iter().map(|it| it.clone().into_owned()).collect()));
                self.converse(stream, peer, &address, watcher).await;
            }
            Ok(Err(error)) => tracing::debug!(address, %error, "a handshake failed"),
            Err(_) => tracing::debug!(address, "a handshake took too long"),
        }
    }

    async fn converse(
        &self,
        stream: tokio_rustls::server::TlsStream<TcpStream>,
        peer: Arc<Peer>,
        address: &str,
        watcher: Watcher,
    ) {
        let asked = Arc::new(AtomicBool::new(false));
        let has_asked = Arc::clone(&asked);
        let api = Arc::clone(&self.api);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            has_asked.store(true, Ordering::Relaxed);
            let (api, peer) = (Arc::clone(&api), Arc::clone(&peer));
            async move { Ok::<_, Infallible>(api.answer(&peer, request.map(Body::new)).await) }
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let driven = async {
            // Whoever breaks a connection off knows it; there is nothing to tell anybody else.
            tokio::select! {
                ended = watcher.watch(connection) => if let Err(error) = ended {
                    tracing::debug!(address, %error, "a connection ended");
                },
                () = self.nothing_asked(&asked) => tracing::debug!(address, "a connection that said nothing was closed"),
            }
        };
        if !watched(self.limits.stall, driven).await {
            tracing::info!(address, "a connection was broken off: its reader takes nothing");
        }
    }

    /// Ends if no first request has come within the idle timeout, which hyper only watches between requests.
    async fn nothing_asked(&self, asked: &AtomicBool) {
        tokio::time::sleep(self.limits.idle).await;
        if asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}
