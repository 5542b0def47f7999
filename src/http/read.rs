//! `GET` and `POST /query`, `POST /describe`.

use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, header};
use larder_engine::{Operation, Read};
use larder_wire::encode::Encoder;
use larder_wire::{Error, Request, Role, Statement, code};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::caller::Caller;
use super::error::Refusal;
use super::options::{self, Choices};
use super::stream::{Head, StopIfDropped, StreamSink};
use super::{App, caller_of};

/// Reads: all statements see one snapshot, rows are streamed.
pub(super) async fn query(State(app): State<Arc<App>>, request: HttpRequest) -> Result<Response, Refusal> {
    let caller = caller_of(&request);
    caller.require(Role::Reader)?;
    let choices = Choices::parse(request.uri())?;
    let (parts, http_body) = request.into_parts();
    let (asked, _received) = if matches!(parts.method, Method::GET | Method::HEAD) {
        let sql =
            choices.sql.clone().ok_or_else(|| options::invalid("GET /query takes ?q=SQL".to_owned()))?;
        (Request::from_text(sql.as_bytes()).map_err(Error::from)?, None)
    } else {
        let (asked, received) = app.bodies.request(&parts.headers, http_body).await?;
        (asked, Some(received))
    };
    let encoder = options::negotiate(&parts.headers, choices.style(&asked))?;
    if encoder.media_type() == larder_wire::CSV && asked.statements.len() != 1 {
        return Err(options::invalid("text/csv holds the rows of one statement".to_owned()).into());
    }
    let limits = &app.limits;
    let timeout = choices.timeout(&asked, limits.read_timeout.0, limits.max_timeout.0)?;
    run(&app, &caller, asked.statements, timeout, encoder, true).await
}

/// Runs a read and answers with what it finds.
pub(super) async fn run(
    app: &App,
    caller: &Caller,
    statements: Vec<Statement>,
    timeout: Duration,
    encoder: Box<dyn Encoder>,
    all_or_nothing: bool,
) -> Result<Response, Refusal> {
    let media_type = encoder.media_type();
    let deadline = Instant::now() + timeout;
    let query = app.engine.begin(Operation::Read, Arc::clone(&caller.name), &statements, deadline);
    let stop = StopIfDropped::new(&query);
    let (sink, head) = StreamSink::new(encoder, Arc::clone(&query), app.sink_limits());
    app.engine.read(Read { statements, query, all_or_nothing }, Box::new(sink)).await;
    let head = head.await.map_err(|_| lost())?;
    stop.disarm();
    let body = match head {
        Head::Whole(bytes) => Body::from(bytes),
        Head::Streaming(streaming) => Body::new(streaming),
        Head::Failed(error) => return Err(error.into()),
    };
    Ok(with_media_type(body, media_type))
}

/// A successful answer.
pub(super) fn with_media_type(body: Body, media_type: &'static str) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

fn lost() -> Error {
    Error::new(larder_wire::Kind::Internal, code::INTERNAL, "the read ended without an answer")
}

/// What statements need and give, without running them.
pub(super) async fn describe(State(app): State<Arc<App>>, request: HttpRequest) -> Result<Response, Refusal> {
    caller_of(&request).require(Role::Reader)?;
    let (parts, http_body) = request.into_parts();
    let (asked, _received) = app.bodies.request(&parts.headers, http_body).await?;
    if asked.statements.len() > MAX_DESCRIBED {
        return Err(options::invalid(format!("describes {MAX_DESCRIBED} statements at a time")).into());
    }
    let engine = Arc::clone(&app.engine);
    let described = tokio::task::spawn_blocking(move || engine.describe(&asked.statements)).await;
    let results = described.map_err(|_| lost())??;
    Ok(axum::Json(serde_json::json!({ "results": results })).into_response())
}

/// Compiling cannot be interrupted, so there is little of it in one request.
const MAX_DESCRIBED: usize = 100;
