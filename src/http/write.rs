//! `POST /execute`.

use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::response::Response;
use http::HeaderMap;
use larder_engine::{Idempotency, Operation, Write, WriteAnswer};
use larder_wire::encode::{Encoder, Trailer};
use larder_wire::{Error, Kind, Role, Statement, code};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::caller::Caller;
use super::error::Refusal;
use super::options::{self, Choices};
use super::{App, caller_of, read};

/// Writes: all statements or none, unless the caller asks otherwise.
pub(super) async fn execute(State(app): State<Arc<App>>, request: HttpRequest) -> Result<Response, Refusal> {
    let caller = caller_of(&request);
    let role = caller.require(Role::Writer)?;
    let choices = Choices::parse(request.uri())?;
    let (parts, http_body) = request.into_parts();
    let (asked, received) = app.bodies.request(&parts.headers, http_body).await?;
    let mut encoder = options::negotiate(&parts.headers, choices.style(&asked))?;
    if encoder.media_type() == larder_wire::CSV && asked.statements.len() != 1 {
        return Err(options::invalid("text/csv holds the rows of one statement".to_owned()).into());
    }
    let limits = &app.limits;
    let timeout = choices.timeout(&asked, limits.write_timeout.0, limits.max_timeout.0)?;
    let atomic = choices.atomic.or(asked.atomic).unwrap_or(true);
    if encoder.media_type() == larder_wire::CSV && !atomic {
        return Err(options::invalid(
            "text/csv has no place for a statement's error: leave out atomic=false".to_owned(),
        )
        .into());
    }
    let idempotency = idempotency(&parts.headers, &caller, &received.bytes, atomic)?;
    let started = Instant::now();
    let answer = run(&app, &caller, role, asked.statements, atomic, timeout, idempotency).await?;
    let body = encode(&mut *encoder, &answer, started);
    Ok(read::with_media_type(Body::from(body), encoder.media_type()))
}

/// Runs a write.
pub(super) async fn run(
    app: &App,
    caller: &Caller,
    role: Role,
    statements: Vec<Statement>,
    atomic: bool,
    timeout: Duration,
    idempotency: Option<Idempotency>,
) -> Result<WriteAnswer, larder_engine::Failure> {
    let deadline = Instant::now() + timeout;
    let query = app.engine.begin(Operation::Write, Arc::clone(&caller.name), &statements, deadline);
    app.engine.write(Write { statements, atomic, role, query, idempotency }).await
}

/// Writes the answer to a write.
pub(super) fn encode(encoder: &mut dyn Encoder, answer: &WriteAnswer, started: Instant) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    encoder.start(&mut out);
    for (index, result) in answer.results.iter().enumerate() {
        match result {
            Ok(result) => encoder.changed(&mut out, index, result),
            Err(error) => encoder.failed(&mut out, index, error),
        }
    }
    let trailer = Trailer {
        time: started.elapsed().as_secs_f64(),
        seq: answer.seq,
        replayed: answer.replayed,
        errors: answer.results.iter().filter(|result| result.is_err()).count(),
        rows: 0,
    };
    encoder.finish(&mut out, &trailer);
    out
}

/// The longest idempotency key; a UUID has 36 characters.
const MAX_KEY: usize = 255;

/// The caller's key with a digest of everything that decides what is done, and of nothing that only decides how it is
/// answered.
fn idempotency(
    headers: &HeaderMap,
    caller: &Caller,
    body: &[u8],
    atomic: bool,
) -> Result<Option<Idempotency>, Error> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().map(str::trim).filter(|key| (1..=MAX_KEY).contains(&key.len())).ok_or_else(
        || {
            let message = format!("Idempotency-Key has to be 1 to {MAX_KEY} visible ASCII characters");
            Error::new(Kind::Invalid, code::OPTION_INVALID, message)
        },
    )?;
    let mut digest = Sha256::new();
    digest.update([u8::from(atomic)]);
    digest.update(body);
    let fingerprint = digest.finalize().into();
    Ok(Some(Idempotency { identity: caller.name.to_string(), key: key.to_owned(), fingerprint }))
}
