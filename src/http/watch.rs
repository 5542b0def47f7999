//! `GET /watch`: which tables changed in which commit, as server-sent events. A client that reconnects says where it
//! was (`from`, or `Last-Event-ID`, which browsers and libraries send by themselves), and goes on from there or
//! learns that it cannot.

use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use http_body::Frame;
use larder_engine::{Change, Subscription, WatchError};
use larder_wire::{Error, Kind, Role, code};
use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

use super::error::Refusal;
use super::options;
use super::{App, caller_of, read};

/// How often a silent stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Streams changes until the client leaves, falls behind, or the server stops.
pub(super) async fn watch(State(app): State<Arc<App>>, request: HttpRequest) -> Result<Response, Refusal> {
    caller_of(&request).require(Role::Reader)?;
    let wanted = Wanted::parse(&request)?;
    let permit = Arc::clone(&app.watchers).try_acquire_owned().map_err(|_| {
        Error::new(Kind::Busy, code::QUEUE_FULL, "there are too many watchers already").retryable()
    })?;
    let subscription = app.engine.feed().subscribe(wanted.from).map_err(|gap| expired(&gap))?;
    let events =
        Events { subscription, tables: wanted.tables, draining: app.draining.clone(), state: Stage::Begin };
    let stream = futures_util::stream::unfold((events, permit), |(mut events, permit)| async move {
        let frame = events.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(frame)), (events, permit)))
    });
    let body = Body::new(http_body_util::StreamBody::new(stream));
    let mut response = read::with_media_type(body, "text/event-stream");
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

struct Wanted {
    tables: Option<HashSet<String>>,
    from: Option<u64>,
}

impl Wanted {
    fn parse(request: &HttpRequest) -> Result<Self, Error> {
        let mut wanted = Self { tables: None, from: None };
        let number =
            |text: &str| text.parse().map_err(|_| options::invalid(format!("{text:?} is no commit number")));
        let query = request.uri().query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "tables" => {
                    let names = value.split(',').filter(|name| !name.is_empty()).map(str::to_ascii_lowercase);
                    wanted.tables = Some(names.collect()).filter(|names: &HashSet<_>| !names.is_empty());
                }
                "from" => wanted.from = Some(number(&value)?),
                _ => {
                    return Err(options::invalid(format!(
                        "unknown parameter {name:?}: expected tables, from"
                    )));
                }
            }
        }
        if let Some(last) = request.headers().get("last-event-id").and_then(|it| it.to_str().ok()) {
            wanted.from = Some(number(last)?);
        }
        Ok(wanted)
    }
}

enum Stage {
    Begin,
    Running,
    Ended,
}

struct Events {
    subscription: Subscription,
    tables: Option<HashSet<String>>,
    draining: watch::Receiver<bool>,
    state: Stage,
}

impl Events {
    /// The next piece of the stream; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        match self.state {
            Stage::Begin => {
                self.state = Stage::Running;
                let seq = self.subscription.seen();
                return Some(event("ready", seq, &serde_json::json!({ "seq": seq })));
            }
            Stage::Ended => return None,
            Stage::Running => {}
        }
        let mut keep_alive = tokio::time::interval(KEEP_ALIVE);
        keep_alive.reset();
        loop {
            let seen = self.subscription.seen();
            let changes = tokio::select! {
                changes = self.subscription.next() => changes,
                _ = keep_alive.tick() => return Some(still_here(seen)),
                _ = self.draining.wait_for(|draining| *draining) => return None,
            };
            match changes {
                Ok(None) => return None,
                Ok(Some(changes)) => {
                    let text: Vec<u8> =
                        changes.iter().filter_map(|change| self.tell(change)).flatten().collect();
                    if !text.is_empty() {
                        return Some(text.into());
                    }
                }
                Err(gap) => {
                    self.state = Stage::Ended;
                    return Some(event("error", gap.newest, &expired(&gap)));
                }
            }
        }
    }

    fn tell(&self, change: &Change) -> Option<Bytes> {
        let wanted = |table: &&Arc<str>| {
            self.tables.as_ref().is_none_or(|tables| tables.contains(&table.to_ascii_lowercase()))
        };
        let tables: Vec<&str> = change.tables.iter().filter(wanted).map(|table| &**table).collect();
        if tables.is_empty() && !change.schema {
            return None;
        }
        let mut data = serde_json::json!({ "seq": change.seq, "tables": tables });
        if change.schema {
            data["schema"] = true.into();
        }
        Some(event("change", change.seq, &data))
    }
}

/// An id without data is remembered and not told (HTML, section 9.2.6): a client that saw none of many commits can
/// still go on from here.
fn still_here(seen: u64) -> Bytes {
    format!(": still here\nid: {seen}\n\n").into()
}

fn event(name: &str, seq: u64, data: &impl serde::Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\nid: {seq}\ndata: {data}\n\n").into()
}

fn expired(gap: &WatchError) -> Error {
    let message = format!("{gap}: read the tables again and watch from {}", gap.newest);
    Error::new(Kind::Gone, code::WATCH_EXPIRED, message)
}
