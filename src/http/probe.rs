//! The probe port: plain HTTP for the kubelet and for Prometheus, and no SQL.

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use larder_engine::{Operation, Read};
use larder_wire::Statement;
use larder_wire::encode::{Json, Style};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::App;
use super::server::accept;
use super::stream::{Head, StreamSink};

/// Connections at the same time. The port asks nobody who he is, so it must not take what the SQL port needs.
const CONNECTIONS: usize = 64;
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// What a connection may hold of a request.
const BUFFER: usize = 16 << 10;
/// How long the read of a readiness probe may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Serves until `ended`. While the server drains it is alive and not ready.
pub(crate) async fn run(listener: TcpListener, app: Arc<App>, ended: watch::Receiver<bool>) {
    let router = Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .with_state(app);
    serve(listener, router, ended).await;
}

/// Serves any router over plain HTTP, within the limits of a port that asks nobody who he is, until `ended`.
pub(crate) async fn serve(listener: TcpListener, router: Router, mut ended: watch::Receiver<bool>) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(SILENCE).max_buf_size(BUFFER);
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections) => accepted,
            _ = ended.wait_for(|ended| *ended) => return,
        };
        let Some((stream, permit)) = accepted else { continue };
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // Whoever breaks a connection off knows it.
            let _ = connection.await;
            drop(permit);
        });
    }
}

/// Whether a restart would not help.
async fn live(State(app): State<Arc<App>>) -> Response {
    if app.engine.is_alive() {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "[-]writer: its thread has ended\n").into_response()
    }
}

/// Whether requests are answered: reads, and looks at writer, disk, log and soundness.
async fn ready(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let mut health = app.engine.health();
    health.reader = try_to_read(&app).await;
    let draining = *app.draining.borrow();
    let mut text = String::new();
    for (part, result) in health.parts() {
        let _ = match result {
            Ok(()) => writeln!(text, "[+]{part} ok"),
            Err(reason) => writeln!(text, "[-]{part}: {reason}"),
        };
    }
    if draining {
        text.push_str("[-]server: stopping\n");
    }
    let thresholds = exceeded(&app, query.as_deref().unwrap_or_default());
    thresholds.iter().for_each(|line| text.push_str(line));
    let is_ready = health.is_good() && !draining && thresholds.is_empty();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text).into_response()
}

/// Whoever probes may ask for more than the server does by itself.
fn exceeded(app: &App, query: &str) -> Vec<String> {
    let status = app.engine.status();
    let mib = |bytes: u64| bytes >> 20;
    let mut lines = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let Ok(limit) = value.parse::<u64>() else { continue };
        let line = match &*name {
            "max_wal_mb" if mib(status.wal_bytes) > limit => {
                format!("[-]wal: {} MiB\n", mib(status.wal_bytes))
            }
            "max_queue" if status.write_queue as u64 > limit => {
                format!("[-]queue: {} writes\n", status.write_queue)
            }
            "min_free_mb" if status.free_bytes.is_some_and(|free| mib(free) < limit) => {
                format!("[-]disk: {} MiB free\n", mib(status.free_bytes.unwrap_or(0)))
            }
            _ => continue,
        };
        lines.push(line);
    }
    lines
}

async fn try_to_read(app: &App) -> Result<(), String> {
    let statements = vec![Statement::new("SELECT count(*) FROM sqlite_schema")];
    let query = app.engine.begin(Operation::Read, "(probe)".into(), &statements, Instant::now() + PATIENCE);
    let encoder = Box::new(Json::new(Style::default()));
    let (sink, head) = StreamSink::new(encoder, Arc::clone(&query), app.sink_limits());
    app.engine.read(Read { statements, all_or_nothing: true, query }, Box::new(sink)).await;
    match head.await {
        Ok(Head::Whole(_) | Head::Streaming(_)) => Ok(()),
        Ok(Head::Failed(error)) => Err(error.to_string()),
        Err(_) => Err("the read ended without an answer".to_owned()),
    }
}

/// Which certificates are in use, so that whoever rotates them can wait for this server.
async fn health(State(app): State<Arc<App>>) -> Response {
    let revision = app.tls.as_ref().map(|tls| tls.snapshot().revision).unwrap_or_default();
    axum::Json(serde_json::json!({ "cert.revision": revision })).into_response()
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.render(&app.engine, app.tls.as_deref());
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, media_type)], text).into_response()
}
