//! The HTTP front: one file for each family of endpoints, each handler of one shape: who asks, what for, run, answer.
//!
//! Nothing here knows SQLite; nothing below knows HTTP. Handlers return a [`Refusal`] for everything that is not a
//! success, and [`serve`] gives it its body, its request id and its line in the log.

mod backup;
mod body;
mod caller;
mod error;
mod operations;
mod options;
pub(crate) mod probe;
mod read;
mod remarks;
mod rqlite;
pub(crate) mod server;
mod stream;
mod watch;
mod write;

pub(crate) use caller::Caller;
use error::Refusal;

use axum::Router;
use axum::body::Body;
use axum::extract::Request as HttpRequest;
use axum::response::Response;
use axum::routing::{delete, get, post};
use http::{HeaderName, HeaderValue, header};
use larder_engine::Engine;
use larder_wire::{Error, Kind, code};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Semaphore, watch as signal};
use tower::ServiceExt;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use crate::config::Limits;
use crate::line_limit::LineLimit;
use crate::metrics::Metrics;
use crate::tls::Tls;
use body::Bodies;
use caller::RateLimit;
use stream::SinkLimits;

/// What handlers share.
pub(crate) struct App {
    pub(crate) engine: Arc<Engine>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tls: Option<Arc<Tls>>,
    last_refusal: remarks::LastRefusal,
    limits: Limits,
    bodies: Bodies,
    rate: Option<RateLimit>,
    watchers: Arc<Semaphore>,
    draining: signal::Receiver<bool>,
    version: axum::Json<serde_json::Value>,
    started: Instant,
    loud_lines: LineLimit,
}

/// Watchers at the same time; each costs a connection and a place in the feed.
const MAX_WATCHERS: usize = 256;

impl App {
    pub(crate) fn new(
        engine: Arc<Engine>,
        metrics: Arc<Metrics>,
        tls: Option<Arc<Tls>>,
        limits: Limits,
        draining: signal::Receiver<bool>,
    ) -> Arc<Self> {
        let version = serde_json::json!({
            "name": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
            "commit": option_env!("LARDER_COMMIT").unwrap_or("unknown"),
            "sqlite_version": larder_engine::sqlite_version(),
        });
        Arc::new(Self {
            bodies: Bodies::new(limits.max_body.0, limits.body_memory.0, limits.body_timeout.0),
            rate: RateLimit::new(limits.rate_limit),
            watchers: Arc::new(Semaphore::new(MAX_WATCHERS)),
            version: axum::Json(version),
            started: Instant::now(),
            loud_lines: LineLimit::default(),
            last_refusal: remarks::LastRefusal::default(),
            engine,
            metrics,
            tls,
            limits,
            draining,
        })
    }

    /// Takes one request from the caller's share of the second.
    fn check_rate(&self, caller: &Caller) -> Result<(), Error> {
        match &self.rate {
            Some(rate) if caller.is_granted() => rate.take(&caller.name),
            _ => Ok(()),
        }
    }

    fn sink_limits(&self) -> SinkLimits {
        let whole = usize::try_from(self.limits.max_result.0).unwrap_or(usize::MAX);
        SinkLimits { stall: self.limits.stall_timeout.0, whole }
    }
}

/// All endpoints of the SQL port.
pub(crate) fn router(app: &Arc<App>) -> Router {
    // Small answers are not worth it, events must not be held back, and a backup is compressed already.
    let worth_it = SizeAbove::new(1024)
        .and(NotForContentType::new("text/event-stream"))
        .and(NotForContentType::new("application/vnd.sqlite3"));
    Router::new()
        .route("/execute", post(write::execute))
        .route("/query", get(read::query).post(read::query))
        .route("/describe", post(read::describe))
        .route("/watch", get(watch::watch))
        .route("/backup", get(backup::backup))
        .route("/restore", post(backup::restore))
        .route("/version", get(operations::version))
        .route("/status", get(operations::status))
        .route("/queries", get(operations::queries))
        .route("/queries/{id}", delete(operations::cancel))
        .route("/maintenance/{what}", post(operations::maintain))
        .route("/db/execute", post(rqlite::execute))
        .route("/db/query", get(rqlite::query).post(rqlite::query))
        .route("/db/request", post(rqlite::request))
        .fallback(operations::not_found)
        .method_not_allowed_fallback(operations::wrong_method)
        .layer(CompressionLayer::new().compress_when(worth_it))
        .with_state(Arc::clone(app))
}

/// The caller of a request, put there by [`server`] when the connection was accepted.
fn caller_of(request: &HttpRequest) -> Caller {
    request.extensions().get::<Caller>().cloned().unwrap_or_else(|| Caller::nameless("unknown connection"))
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Serves one request: everything that all endpoints have in common.
async fn serve(app: Arc<App>, router: Router, request: HttpRequest) -> Response {
    let started = Instant::now();
    let endpoint = endpoint(request.uri().path());
    let id = request_id(&request, &app.metrics);
    let caller = caller_of(&request);
    let method = request.method().clone();
    let admitted = refuse_web_pages(&app, &request).and_then(|()| app.check_rate(&caller));
    let mut response = match admitted {
        Ok(()) => router.oneshot(request).await.unwrap_or_else(|never| match never {}),
        Err(error) => axum::response::IntoResponse::into_response(Refusal::from(error)),
    };
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        log_refusal(&app, &refusal, &caller, &method, endpoint, id.to_str().unwrap_or_default());
        app.metrics.refused(&refusal.0.error);
        let body = error::write_body(&refusal, id.to_str().unwrap_or_default());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(larder_wire::JSON));
        response.headers_mut().insert(header::CONTENT_LENGTH, body.len().into());
        *response.body_mut() = Body::from(body);
    }
    app.metrics.answered(endpoint, response.status(), started.elapsed());
    tracing::debug!(
        id = id.to_str().unwrap_or_default(),
        caller = %caller.name,
        %method,
        endpoint,
        status = response.status().as_u16(),
        seconds = started.elapsed().as_secs_f64(),
        "answered"
    );
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Without TLS there is no identity, and any web page that a developer opens could post to the loopback port. Browsers
/// say on whose behalf they ask.
fn refuse_web_pages(app: &App, request: &HttpRequest) -> Result<(), Error> {
    if app.tls.is_none() && request.headers().contains_key(header::ORIGIN) {
        let message = "--plain answers no web pages: the request carries an Origin";
        return Err(Error::new(Kind::Denied, code::IDENTITY_NOT_GRANTED, message));
    }
    Ok(())
}

/// Told once, here: loudly where it is the server's fault or a matter of rights, quietly where it is the caller's own.
fn log_refusal(
    app: &App,
    refusal: &Refusal,
    caller: &Caller,
    method: &http::Method,
    endpoint: &str,
    id: &str,
) {
    let failure = &refusal.0;
    let error = &failure.error;
    let is_loud =
        error::is_the_servers_fault(failure) || matches!(error.kind, Kind::Denied | Kind::Unidentified);
    // Quiet lines are not counted.
    let left_out = if is_loud { app.loud_lines.take() } else { Some(0) };
    let Some(left_out) = left_out else { return };
    if left_out > 0 {
        tracing::warn!(left_out, "refusals were not logged: there were too many in a second");
    }
    macro_rules! tell {
        ($level:ident) => {
            tracing::$level!(id, caller = %caller.name, %method, endpoint, code = %error.code, applied = ?failure.applied, error = error.message, "refused")
        };
    }
    if error::is_the_servers_fault(failure) {
        tell!(error);
    } else if matches!(error.kind, Kind::Denied | Kind::Unidentified) {
        tell!(warn);
    } else {
        tell!(debug);
    }
}

/// The caller's own id, if it is sane; else a new one.
fn request_id(request: &HttpRequest, metrics: &Metrics) -> HeaderValue {
    const LONGEST: usize = 64;
    let is_sane = |id: &&HeaderValue| {
        (1..=LONGEST).contains(&id.len()) && id.as_bytes().iter().all(|byte| byte.is_ascii_graphic())
    };
    match request.headers().get(&REQUEST_ID).filter(is_sane) {
        Some(id) => id.clone(),
        None => {
            HeaderValue::from_str(&metrics.next_request_id()).unwrap_or(HeaderValue::from_static("unknown"))
        }
    }
}

/// A path's name in metrics: there are as many as there are endpoints, whatever is asked for.
fn endpoint(path: &str) -> &'static str {
    const ENDPOINTS: [&str; 12] = [
        "/execute",
        "/query",
        "/describe",
        "/watch",
        "/backup",
        "/restore",
        "/version",
        "/status",
        "/queries",
        "/db/execute",
        "/db/query",
        "/db/request",
    ];
    match ENDPOINTS.into_iter().find(|endpoint| *endpoint == path) {
        Some(endpoint) => endpoint,
        None if path.starts_with("/queries/") => "/queries/{id}",
        None if path.starts_with("/maintenance/") => "/maintenance/{what}",
        None => "other",
    }
}
