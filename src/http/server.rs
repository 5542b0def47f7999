//! Accepting connections: limits, handshakes, identities, and an orderly end.

use axum::extract::Request as HttpRequest;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::pki_types::CertificateDer;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::{App, Caller, router, serve};
use crate::tls::{Grants, Identity};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// What a connection holds of a request head, and of an answer that its client has not read.
const BUFFER: usize = 128 << 10;
/// What is read from a socket at once. rustls asks for 4 KiB at a time, so that a long body would be mostly system calls.
const READ: usize = 32 << 10;
/// The largest frame of HTTP/2 that a client may send: long bodies come in few pieces.
const FRAME: u32 = 64 << 10;
/// Requests at the same time on one HTTP/2 connection.
const STREAMS: u32 = 256;
/// How often a silent HTTP/2 connection is asked whether it lives.
const PING: Duration = Duration::from_secs(20);
/// After an error of accept, which is mostly a lack of file descriptors.
const BREATH: Duration = Duration::from_millis(50);

/// Accepts until `draining`, then lets requests end until `drain_timeout`. Gives back whether all have ended.
pub(crate) async fn run(
    listener: TcpListener,
    app: Arc<App>,
    grants: Grants,
    mut draining: watch::Receiver<bool>,
    drain_timeout: Duration,
) -> bool {
    let server = Arc::new(Server {
        router: router(&app),
        connections: Arc::new(Semaphore::new(app.limits.max_connections)),
        builder: builder(app.limits.idle_timeout.0),
        app,
        grants,
    });
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &server.connections) => accepted,
            _ = draining.wait_for(|draining| *draining) => break,
        };
        let Some((stream, permit)) = accepted else { continue };
        let (server, watcher) = (Arc::clone(&server), graceful.watcher());
        tokio::spawn(async move { server.handle(stream, permit, watcher).await });
    }
    drop(listener);
    tokio::time::timeout(drain_timeout, graceful.shutdown()).await.is_ok()
}

/// The next connection, once there is room for one.
pub(super) async fn accept(
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
    app: Arc<App>,
    router: axum::Router,
    grants: Grants,
    connections: Arc<Semaphore>,
    builder: auto::Builder<TokioExecutor>,
}

fn builder(idle: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(BUFFER)
        .max_frame_size(FRAME)
        .max_header_list_size(64 << 10)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

impl Server {
    async fn handle(&self, stream: TcpStream, _permit: OwnedSemaphorePermit, watcher: Watcher) {
        let peer = stream.peer_addr().map_or_else(|_| "unknown".to_owned(), |peer| peer.to_string());
        // An answer is one write; waiting for more to send would only delay it.
        let _ = stream.set_nodelay(true);
        let _connection = self.app.metrics.connection();
        let Some(tls) = &self.app.tls else {
            return self.converse(stream, Caller::developer(), watcher).await;
        };
        let acceptor = TlsAcceptor::from(tls.server_config());
        let stream = BufReader::with_capacity(READ, stream);
        match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(mut stream)) => {
                stream.get_mut().1.set_buffer_limit(Some(BUFFER));
                let caller = self.identify(stream.get_ref().1.peer_certificates(), &peer);
                self.converse(stream, caller, watcher).await;
            }
            Ok(Err(error)) => {
                self.app.metrics.handshake_refused();
                let advice = self.app.last_refusal.note(&error).unwrap_or_default();
                tracing::warn!(peer, %error, advice, "a handshake was refused");
            }
            Err(_) => {
                self.app.metrics.handshake_refused();
                tracing::debug!(peer, "a handshake took too long");
            }
        }
    }

    fn identify(&self, certificates: Option<&[CertificateDer<'_>]>, peer: &str) -> Caller {
        let Some(leaf) = certificates.and_then(<[_]>::first) else {
            return Caller::nameless("there is none");
        };
        let caller = match Identity::of(leaf) {
            Ok(identity) => Caller::identified(&identity, &self.grants),
            Err(error) => Caller::nameless(&error.to_string()),
        };
        if !caller.is_granted() {
            self.app.metrics.identity_refused();
            tracing::warn!(peer, identity = %caller.name, "nothing is granted to this identity");
        }
        caller
    }

    async fn converse<S>(&self, stream: S, caller: Caller, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (app, router) = (Arc::clone(&self.app), self.router.clone());
        let asked = Arc::new(AtomicBool::new(false));
        let has_asked = Arc::clone(&asked);
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            has_asked.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(caller.clone());
            let answer = serve(
                Arc::clone(&app),
                router.clone(),
                HttpRequest::from(request.map(axum::body::Body::new)),
            );
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service).into_owned();
        // Whoever breaks a connection off knows it; there is nothing to tell anybody else.
        tokio::select! {
            ended = watcher.watch(connection) => if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended");
            },
            () = self.nothing_asked(&asked) => tracing::debug!("a connection that said nothing was closed"),
        }
    }

    /// Ends if no first request has come within the idle timeout, which hyper only watches between requests.
    async fn nothing_asked(&self, asked: &AtomicBool) {
        tokio::time::sleep(self.app.limits.idle_timeout.0).await;
        if asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}
