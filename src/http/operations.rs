//! What operators ask: version, status, what is under way, maintenance.

use axum::extract::{Path, Request as HttpRequest, State};
use axum::response::{IntoResponse, Response};
use larder_engine::{IntegrityStatus, Journal, Maintenance, Operation, Phase, QueryInfo};
use larder_wire::{Error, Kind, Role, code};
use serde_json::{Value, json};
use std::sync::Arc;

use super::error::Refusal;
use super::{App, caller_of};

/// Name and versions. Touches no database.
pub(super) async fn version(State(app): State<Arc<App>>, request: HttpRequest) -> Result<Response, Refusal> {
    caller_of(&request).require(Role::Reader)?;
    Ok(app.version.clone().into_response())
}

/// Figures of the moment; `?key=a.b` gives a part.
pub(super) async fn status(State(app): State<Arc<App>>, request: HttpRequest) -> Result<Response, Refusal> {
    caller_of(&request).require(Role::Reader)?;
    let whole = describe(&app);
    let query = request.uri().query().unwrap_or_default();
    let key =
        form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "key").map(|(_, value)| value);
    let part = match key.as_deref() {
        None => &whole,
        Some(key) => key.split('.').try_fold(&whole, |value, name| value.get(name)).ok_or_else(|| {
            let message = format!("the status has no {key:?}");
            Error::new(Kind::NotFound, code::NOT_FOUND, message)
        })?,
    };
    Ok(axum::Json(part).into_response())
}

fn describe(app: &App) -> Value {
    let status = app.engine.status();
    let tls = app.tls.as_ref().map(|tls| {
        let tls = tls.snapshot();
        json!({
            "certificate_not_after": tls.leaf_not_after,
            "ca_count": tls.ca_count,
            "ca_not_after": tls.ca_not_after,
            "revision": tls.revision,
            "reloads": tls.reloaded,
            "refused_reloads": tls.refused,
            "last_error": tls.last_error,
        })
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "sqlite_version": larder_engine::sqlite_version(),
        "uptime": app.started.elapsed().as_secs_f64(),
        "seq": status.seq,
        "database": {
            "bytes": status.database_bytes,
            "wal_bytes": status.wal_bytes,
            "wal_frames": status.wal_frames,
            "disk_free_bytes": status.free_bytes,
            "file_system": status.file_system.name,
            "journal": match status.journal { Journal::WriteAhead => "wal", Journal::Rollback => "rollback" },
            "sqlite_memory_bytes": status.heap_bytes,
            "recovered_after_unclean_stop": status.recovered,
        },
        "writer": { "queue": status.write_queue, "suspended": status.suspended },
        "readers": {
            "all": status.readers,
            "in_use": status.readers_in_use,
            "queue": status.read_queue,
            "oldest_snapshot": status.oldest_snapshot.map(|age| age.as_secs_f64()),
        },
        "integrity": integrity(&status.integrity),
        "tls": tls,
    })
}

fn integrity(status: &IntegrityStatus) -> Value {
    match status {
        IntegrityStatus::Unchecked => json!({ "state": "unchecked" }),
        IntegrityStatus::Running { progress } => json!({ "state": "running", "progress": progress }),
        IntegrityStatus::Sound { seconds } => json!({ "state": "ok", "seconds": seconds }),
        IntegrityStatus::Damaged { damage } => json!({ "state": "damaged", "damage": damage }),
        IntegrityStatus::Interrupted { reason } => json!({ "state": "interrupted", "reason": reason }),
    }
}

/// What is under way.
pub(super) async fn queries(State(app): State<Arc<App>>, request: HttpRequest) -> Result<Response, Refusal> {
    caller_of(&request).require(Role::Admin)?;
    let queries: Vec<Value> = app.engine.queries().iter().map(describe_query).collect();
    Ok(axum::Json(json!({ "queries": queries })).into_response())
}

fn describe_query(query: &QueryInfo) -> Value {
    json!({
        "id": query.id,
        "operation": match query.operation { Operation::Read => "read", Operation::Write => "write" },
        "phase": match query.phase { Phase::Queued => "queued", Phase::Running => "running", Phase::Sending => "sending" },
        "identity": &*query.identity,
        "sql": query.sql,
        "age": query.age.as_secs_f64(),
        "rows": query.rows,
    })
}

/// Cancels one request.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: HttpRequest,
) -> Result<Response, Refusal> {
    let caller = caller_of(&request);
    caller.require(Role::Admin)?;
    let known = id.parse().is_ok_and(|id| app.engine.cancel(id));
    if !known {
        return Err(
            Error::new(Kind::NotFound, code::NOT_FOUND, format!("no request {id} is under way")).into()
        );
    }
    tracing::info!(by = %caller.name, id, "a request was cancelled");
    Ok(axum::Json(json!({ "cancelled": id })).into_response())
}

/// Looks after the database.
pub(super) async fn maintain(
    State(app): State<Arc<App>>,
    Path(what): Path<String>,
    request: HttpRequest,
) -> Result<Response, Refusal> {
    caller_of(&request).require(Role::Admin)?;
    let what = match what.as_str() {
        "checkpoint" => Maintenance::Checkpoint,
        "optimize" => Maintenance::Optimize,
        "vacuum" => Maintenance::Vacuum,
        "integrity-check" => {
            let started = app.engine.check_integrity();
            let answer =
                json!({ "started": started, "integrity": integrity(&app.engine.status().integrity) });
            return Ok((http::StatusCode::ACCEPTED, axum::Json(answer)).into_response());
        }
        other => {
            let message =
                format!("no maintenance {other:?}: expected checkpoint, optimize, vacuum, integrity-check");
            return Err(Error::new(Kind::NotFound, code::NOT_FOUND, message).into());
        }
    };
    let started = std::time::Instant::now();
    app.engine.maintain(what).await?;
    let status = app.engine.status();
    Ok(axum::Json(json!({
        "done": true,
        "time": started.elapsed().as_secs_f64(),
        "database_bytes": status.database_bytes,
        "wal_bytes": status.wal_bytes,
    }))
    .into_response())
}

/// For every path that there is nothing at.
pub(super) async fn not_found(request: HttpRequest) -> Refusal {
    match caller_of(&request).require(Role::Reader) {
        Ok(_) => Error::new(
            Kind::NotFound,
            code::NOT_FOUND,
            format!("there is nothing at {}", request.uri().path()),
        )
        .into(),
        Err(error) => error.into(),
    }
}

/// For a method that a path does not take.
pub(super) async fn wrong_method(request: HttpRequest) -> Refusal {
    let message = format!("{} does not take {}", request.uri().path(), request.method());
    Error::new(Kind::Method, code::METHOD_NOT_ALLOWED, message).into()
}
