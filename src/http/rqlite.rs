//! `/db/execute`, `/db/query` and `/db/request` as rqlite has them, so that its clients work: HTTP 200 with an `error`
//! string in the place of a statement's result (<https://rqlite.io/docs/api/api/>).
//!
//! There is one node, so every read is as consistent as a read can be, and every write is on disk when it is answered:
//! `level`, `freshness`, `queue`, `wait` and `redirect` are accepted and change nothing.

use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::response::Response;
use http::Method;
use larder_wire::encode::{Encoder, Rqlite, RqliteOptions, Trailer};
use larder_wire::{Error, Kind, Request, Role};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::body::{Form, Received};
use super::error::Refusal;
use super::options::{self, flag};
use super::{App, body, caller_of, read, write};

/// rqlite's query parameters, as far as they mean something here.
#[derive(Debug, Default)]
struct Parameters {
    sql: Option<String>,
    transaction: bool,
    pretty: bool,
    timeout: Option<Duration>,
    form: RqliteOptions,
}

impl Parameters {
    fn parse(request: &HttpRequest) -> Self {
        let mut parameters = Self::default();
        let query = request.uri().query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()).into_owned() {
            let on = flag(&value).unwrap_or(true);
            match name.as_str() {
                "q" => parameters.sql = Some(value),
                "transaction" => parameters.transaction = on,
                "pretty" => parameters.pretty = on,
                "timings" => parameters.form.timings = on,
                "associative" => parameters.form.associative = on,
                "blob_array" => parameters.form.blob_array = on,
                "db_timeout" => {
                    parameters.timeout = value.parse().ok().map(|span: crate::config::Span| span.0)
                }
                _ => {}
            }
        }
        parameters
    }

    fn encoder(&self) -> Rqlite {
        Rqlite::new(self.form)
    }
}

/// Reads.
pub(super) async fn query(State(app): State<Arc<App>>, request: HttpRequest) -> Result<Response, Refusal> {
    let caller = caller_of(&request);
    caller.require(Role::Reader)?;
    let parameters = Parameters::parse(&request);
    let (asked, _received) = receive(&app, request, &parameters).await?;
    let timeout = parameters.timeout.unwrap_or(app.limits.read_timeout.0).min(app.limits.max_timeout.0);
    let encoder = Box::new(parameters.encoder());
    let answered = read::run(&app, &caller, asked.statements, timeout, encoder, false).await;
    let response = answered.or_else(|refusal| told_in_200(refusal, &parameters))?;
    Ok(if parameters.pretty { indent(response).await } else { response })
}

/// Writes, each statement for itself unless `?transaction`.
pub(super) async fn execute(State(app): State<Arc<App>>, request: HttpRequest) -> Result<Response, Refusal> {
    let caller = caller_of(&request);
    let role = caller.require(Role::Writer)?;
    let parameters = Parameters::parse(&request);
    let (asked, _received) = receive(&app, request, &parameters).await?;
    let timeout = parameters.timeout.unwrap_or(app.limits.write_timeout.0).min(app.limits.max_timeout.0);
    let started = Instant::now();
    let written =
        write::run(&app, &caller, role, asked.statements, parameters.transaction, timeout, None).await;
    let response = match written {
        Ok(answer) => {
            let mut encoder = parameters.encoder();
            let body = write::encode(&mut encoder, &answer, started);
            read::with_media_type(Body::from(body), encoder.media_type())
        }
        Err(failure) => told_in_200(failure.into(), &parameters)?,
    };
    Ok(if parameters.pretty { indent(response).await } else { response })
}

/// Reads and writes mixed. One who may only read gets reads.
pub(super) async fn request(app: State<Arc<App>>, request: HttpRequest) -> Result<Response, Refusal> {
    let role = caller_of(&request).require(Role::Reader)?;
    if role == Role::Reader { query(app, request).await } else { execute(app, request).await }
}

/// What is asked, and what counts its memory until it is dropped.
async fn receive(
    app: &App,
    request: HttpRequest,
    parameters: &Parameters,
) -> Result<(Request, Option<Received>), Refusal> {
    let (parts, http_body) = request.into_parts();
    if matches!(parts.method, Method::GET | Method::HEAD) {
        let sql = parameters.sql.as_deref().ok_or_else(|| options::invalid("GET takes ?q=SQL".to_owned()))?;
        let request = Request::from_text(sql.as_bytes()).map_err(Error::from)?;
        return Ok((request, None));
    }
    let received = app.bodies.receive(&parts.headers, http_body).await?;
    let parsed = match body::form(&parts.headers, &received.bytes)? {
        Form::Text => Request::from_text(&received.bytes),
        Form::Json | Form::Msgpack => Request::from_rqlite_json(&received.bytes),
    };
    let (request, received) = app.bodies.charge_for(parsed.map_err(Error::from)?, received)?;
    Ok((request, Some(received)))
}

/// Failures of SQL are results; failures of the server, of the body and of rights are statuses, as in rqlite. Of a
/// transaction that failed, the statements before the culprit get an error too: they were rolled back.
fn told_in_200(refusal: Refusal, parameters: &Parameters) -> Result<Response, Refusal> {
    let Refusal(failure) = &refusal;
    let of_sql = matches!(
        failure.error.kind,
        Kind::Invalid | Kind::Constraint | Kind::Deadline | Kind::TooLarge | Kind::Expectation | Kind::Denied
    );
    if !of_sql || failure.applied != larder_wire::Applied::No {
        return Err(refusal);
    }
    let mut encoder = parameters.encoder();
    let mut out = Vec::new();
    encoder.start(&mut out);
    let culprit = failure.error.statement.unwrap_or(0);
    let message = format!("rolled back: statement {culprit} failed: {}", failure.error.message);
    let rolled_back = Error { message, ..failure.error.clone() };
    (0..culprit).for_each(|index| encoder.failed(&mut out, index, &rolled_back));
    encoder.failed(&mut out, culprit, &failure.error);
    encoder.finish(&mut out, &Trailer::default());
    Ok(read::with_media_type(Body::from(out), encoder.media_type()))
}

/// For people; an answer that is too long to be held for it, or broke off, stays as it is.
async fn indent(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    if http_body::Body::size_hint(&body).exact().is_none_or(|length| length > LONGEST_INDENTED) {
        return Response::from_parts(parts, body);
    }
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return Response::from_parts(parts, Body::empty());
    };
    let value = serde_json::from_slice::<serde_json::Value>(&bytes);
    let pretty = value.and_then(|value| serde_json::to_vec_pretty(&value));
    Response::from_parts(parts, pretty.map_or_else(|_| Body::from(bytes), Body::from))
}

const LONGEST_INDENTED: u64 = 1 << 20;
