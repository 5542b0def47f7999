//! `GET …?watch=true`: events as they happen, each once and in order, until the time is up, the server ends, or the reader is stuck.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::{FutureExt as _, stream};
use http::StatusCode;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, interval_at, sleep_until};

use crate::auth::Verb;
use crate::http::answer::{Answer, Content};
use crate::http::body::{BodyError, Pieces};
use crate::http::call::Call;
use crate::http::options::ListOptions;
use crate::http::show::Show;
use crate::http::status::Refusal;
use crate::present::accept::Shown;
use crate::store::{Revision, StoreError};
use crate::telemetry::Telemetry;
use crate::watch::{Event, From, Watch};

/// How long before the end it is told once more.
const BEFORE_THE_END: Duration = Duration::from_secs(2);
/// How long a watch lasts at least, if nobody says; it is up to twice that.
const USUAL: u64 = 1800;
/// Events that are there are sent together up to this many bytes.
const PIECE: usize = 48 << 10;

pub(super) async fn watch(call: &Call) -> Result<Answer, Refusal> {
    let show = Show::of(call, Shown::Watch)?;
    let options = ListOptions::read(&call.query, call.resource.scope, call.version())?;
    let place = Arc::clone(&call.server.watchers).try_acquire_owned().map_err(|_| Refusal::too_many())?;
    let from = from(&options);
    let selection = options.selection(&call.place.namespace);
    let begun = call.timed("watch", call.server.watches.watch(&call.id(), selection, from)).await;
    let pieces: Pieces = match begun {
        Ok(watch) => Box::pin(stream::unfold(Some(Watcher::new(call, &options, show, watch, place)), step)),
        // What has gone wrong with a revision is told in the stream.
        Err(error @ (StoreError::Expired { .. } | StoreError::Future { .. })) => {
            let event = error_event(&call.refusal(Verb::Watch, &error));
            Box::pin(stream::once(async { Ok(event) }))
        }
        Err(error) => return Err(call.refusal(Verb::Watch, &error)),
    };
    Ok(Answer::new(StatusCode::OK, Content::Immediate(pieces)))
}

/// Where a watch begins, by `resourceVersion` and `sendInitialEvents`.
fn from(options: &ListOptions) -> From {
    match (options.resource_version.filter(|it| *it > 0), options.initial_events) {
        (revision, Some(true)) => From::Present(revision),
        (None, None) => From::Present(None),
        (None, Some(false)) => From::Now,
        (Some(revision), _) => From::Revision(revision),
    }
}

/// A watch on its way to its reader.
struct Watcher {
    watch: Watch,
    show: Show,
    resource: String,
    telemetry: Arc<dyn Telemetry>,
    draining: watch::Receiver<bool>,
    /// Whether bookmarks are wanted.
    bookmarks: bool,
    ticks: Interval,
    last_word: Option<Pin<Box<Sleep>>>,
    end: Pin<Box<Sleep>>,
    /// Ends when the objects are elsewhere.
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Whether nothing was shown yet.
    is_first: bool,
    _place: OwnedSemaphorePermit,
}

/// What a watcher waits for.
enum Occasion {
    Event(Result<Event, StoreError>),
    Bookmark,
    End,
    Gone,
}

impl Watcher {
    fn new(
        call: &Call,
        options: &ListOptions,
        show: Show,
        watch: Watch,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let now = Instant::now();
        let seconds = options.timeout_seconds.filter(|it| *it > 0).unwrap_or_else(usual);
        let end = now + Duration::from_secs(seconds.min(24 * 3600));
        let last_word = end.checked_sub(BEFORE_THE_END).filter(|it| options.bookmarks && *it > now);
        let every = call.server.budget.bookmarks();
        let mut ticks = interval_at(now + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        call.server.telemetry.watchers(&call.id(), 1);
        Self {
            watch,
            show,
            resource: call.id(),
            telemetry: Arc::clone(&call.server.telemetry),
            draining: call.server.draining.clone(),
            bookmarks: options.bookmarks,
            ticks,
            last_word: last_word.map(|it| Box::pin(sleep_until(it))),
            end: Box::pin(sleep_until(end)),
            gone: {
                let (gate, group) = (call.server.gate.clone(), call.place.group.clone());
                Box::pin(async move { gate.gone(&group).await })
            },
            is_first: true,
            _place: place,
        }
    }

    async fn occasion(&mut self) -> Occasion {
        if *self.draining.borrow() {
            return Occasion::End;
        }
        // Events come first: while they do, nothing else has to be asked. The end is looked at before them, or it might never be.
        tokio::select! {
            biased;
            () = &mut self.end => Occasion::End,
            () = &mut self.gone => Occasion::Gone,
            event = self.watch.next() => Occasion::Event(event),
            _ = self.draining.wait_for(|it| *it) => Occasion::End,
            _ = self.ticks.tick(), if self.bookmarks => Occasion::Bookmark,
            () = once(&mut self.last_word) => Occasion::Bookmark,
        }
    }

    /// Appends an event, and what is there behind it already.
    fn gather(&mut self, event: Event, piece: &mut Vec<u8>) -> Result<(), Refusal> {
        self.show.look_at_the_clock();
        let mut count = 0;
        let mut event = Some(Ok(event));
        while let Some(next) = event {
            let next = next.map_err(|error| self.refusal(&error))?;
            count += u64::from(!matches!(next, Event::InitialEnd(_)));
            self.append(&next, piece)?;
            event = if piece.len() < PIECE { self.watch.next().now_or_never() } else { None };
        }
        self.telemetry.events(&self.resource, count);
        Ok(())
    }

    fn append(&mut self, event: &Event, piece: &mut Vec<u8>) -> Result<(), Refusal> {
        let (kind, told) = match event {
            Event::Added(told) => ("ADDED", told),
            Event::Modified(told) => ("MODIFIED", told),
            Event::Deleted(told) => ("DELETED", told),
            Event::InitialEnd(revision) => {
                if self.bookmarks {
                    self.show.bookmark(*revision, true, piece);
                }
                return Ok(());
            }
        };
        self.show.event(kind, told, self.is_first, piece)?;
        self.is_first = false;
        if let Some(lag) = age(told.stored.revision) {
            self.telemetry.lag(lag);
        }
        Ok(())
    }

    fn refusal(&self, error: &StoreError) -> Refusal {
        Refusal::of_store(error, &self.show.resource, Verb::Watch, "")
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.telemetry.watchers(&self.resource, -1);
    }
}

async fn step(watcher: Option<Watcher>) -> Option<(Result<Bytes, BodyError>, Option<Watcher>)> {
    let mut watcher = watcher?;
    loop {
        let mut piece = Vec::new();
        let gathered = match watcher.occasion().await {
            Occasion::End => return None,
            // Revisions mean nothing where the objects are now.
            Occasion::Gone => {
                Err(Refusal::expired("the objects of this group are served elsewhere now", None))
            }
            Occasion::Bookmark => {
                // It is 0 until everything that there was has been told.
                let told = watcher.watch.told();
                if told > 0 {
                    watcher.show.bookmark(told, false, &mut piece);
                }
                Ok(())
            }
            Occasion::Event(Ok(event)) => watcher.gather(event, &mut piece),
            Occasion::Event(Err(error)) => Err(watcher.refusal(&error)),
        };
        if let Err(refusal) = gathered {
            piece.extend_from_slice(&error_event(&refusal));
            return Some((Ok(piece.into()), None));
        }
        if !piece.is_empty() {
            return Some((Ok(piece.into()), Some(watcher)));
        }
    }
}

/// Ends when the time has come, and never again.
async fn once(sleep: &mut Option<Pin<Box<Sleep>>>) {
    match sleep {
        Some(it) => it.await,
        None => std::future::pending().await,
    }
    *sleep = None;
}

fn error_event(refusal: &Refusal) -> Bytes {
    let object = match refusal {
        Refusal::Status(status) => status.to_json(),
        Refusal::Text(code, text, _) => {
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": text, "code": code.as_u16()})
        }
    };
    let mut line = json!({"type": "ERROR", "object": object}).to_string().into_bytes();
    line.push(b'\n');
    line.into()
}

/// Not the same for all watches, so that they do not all come back at once.
fn usual() -> u64 {
    let random = u64::try_from(uuid::Uuid::new_v4().as_u128() % u128::from(USUAL)).unwrap_or(0);
    USUAL + random
}

/// How long ago a revision was given: revisions are times in microseconds, unless a clock stood still.
fn age(revision: Revision) -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    now.checked_sub(Duration::from_micros(revision)).filter(|it| *it < Duration::from_secs(60))
}
