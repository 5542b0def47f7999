//! Watchers of one resource while it is written to, and when each of them has been told of what.
//!
//! The clock of a write starts when it is due, which is before it is sent and so before it is committed, and stops for each watcher when the last byte of
//! the event is out of TLS. All watchers have to be told of all writes in the order of their revisions: the k-th event of each is the k-th
//! write. Events are counted by their ends while the clock runs. Of each connection the first watcher keeps what it is told, which is parsed afterwards;
//! the others have to be told as many bytes.
//!
//! Watchers share a thread, writers another one, so that a write is on time whatever is to be read.

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use serde_json::Value;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::super::exchange::Target;
use super::super::load::Timing;
use super::super::stage::Sample;
use super::http2::{Http2, Reading, told};
use super::push::{Push, Pushed};
use super::request::{self, Request};
use super::site::Site;
use super::workload::{PATH, Turn};

/// How long events may take to arrive behind the last write.
const PATIENCE: Duration = Duration::from_secs(30);
/// Writes that may be under way at the same time.
const WRITERS: usize = 32;
/// A window that has less left is used up: servers do not always cut an event to fit.
const NEARLY: u32 = 16 << 10;
/// Watches that are begun on a connection before the first of them is answered: a server may refuse those for which it has no room.
const AT_ONCE: usize = 50;
/// Between the last handshake and the first write.
const A_MOMENT: Duration = Duration::from_millis(50);

/// What watchers want to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// What informers ask for that want to know what there is: Kyverno's, the garbage collector's, the quota's.
    Metadata,
    /// Whole objects.
    Object,
}

impl Form {
    fn accept(self) -> &'static str {
        match self {
            Self::Metadata => "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json",
            Self::Object => "application/json",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Metadata => "PartialObjectMetadata",
            Self::Object => "PolicyReport",
        }
    }
}

/// How much of everything.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) form: Form,
    pub(super) watchers: usize,
    /// The watchers share so many.
    pub(super) connections: usize,
    /// Writes a second.
    pub(super) rate: f64,
    pub(super) timing: Timing,
    /// Whether two more watch and do not read: one on the first connection, one on a connection of its own.
    pub(super) stuck: bool,
}

/// What was seen.
pub(super) struct Seen {
    /// Events a second that arrived, and their latency.
    pub(super) sample: Sample,
    /// One event.
    pub(super) event: Vec<u8>,
    /// Writes a second that were answered.
    pub(super) writes: f64,
}

/// A write, once it is answered.
struct Written {
    revision: u64,
    /// When it was due.
    due: Instant,
}

/// What a watcher was told.
struct Told {
    ends: Vec<Instant>,
    bytes: u64,
    kept: Option<Vec<u8>>,
}

impl Plan {
    fn writes(&self) -> usize {
        ((self.timing.warm_up + self.timing.measure).as_secs_f64() * self.rate).ceil() as usize
    }

    /// How many of the watchers are on a connection.
    fn shares(&self) -> impl Iterator<Item = usize> {
        let (watchers, connections) = (self.watchers, self.connections);
        (0..connections).map(move |it| watchers / connections + usize::from(it < watchers % connections))
    }

    fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.rate)
    }
}

/// Watches `site` while it is written to.
pub(super) fn run(runtime: &Runtime, site: &Site, plan: &Plan, scan: u64) -> anyhow::Result<Seen> {
    runtime.block_on(async {
        let revision = site.revision().await?;
        let shares = plan.shares().enumerate();
        let begun =
            shares.map(|(number, share)| begin(site, plan, revision, share, plan.stuck && number == 0));
        let connections = try_join_all(begun).await?;
        let stuck = if plan.stuck { Some(begin(site, plan, revision, 0, true).await?) } else { None };
        let (done, doing) = watch::channel(None);
        let writers = write(site, plan, scan, done);
        let told = try_join_all(
            connections
                .into_iter()
                .zip(plan.shares())
                .map(|(connection, share)| follow(connection, share, doing.clone())),
        );
        let told: Vec<_> = told.await?.into_iter().flatten().collect();
        drop(stuck);
        let written = writers.join().ok().context("the writers ended")??;
        let event = check(plan, &told, &written)?;
        sample(plan, &told, &written, event)
    })
}

/// A connection with so many watchers, all of which have been answered. The one that gets stuck comes last.
async fn begin(site: &Site, plan: &Plan, revision: u64, share: usize, stuck: bool) -> anyhow::Result<Http2> {
    let mut connection = site.connect().await?;
    let path = format!("{PATH}?watch=true&resourceVersion={revision}&timeoutSeconds=600");
    for number in 0..share {
        connection.ask(&path, plan.form.accept(), Reading::On);
        if number % AT_ONCE == AT_ONCE - 1 {
            await_heads(&mut connection).await?;
        }
    }
    if stuck {
        connection.ask(&path, Form::Object.accept(), Reading::Stuck);
    }
    await_heads(&mut connection).await?;
    Ok(connection)
}

async fn await_heads(connection: &mut Http2) -> anyhow::Result<()> {
    while !connection.all_have_begun() {
        connection.fill().await?;
        connection.take(|_, _| {})?;
    }
    Ok(())
}

/// Reads until every watcher was told of all writes.
async fn follow(
    mut connection: Http2,
    share: usize,
    mut doing: watch::Receiver<Option<usize>>,
) -> anyhow::Result<Vec<Told>> {
    let told = |number| Told { ends: Vec::new(), bytes: 0, kept: (number == 0).then(Vec::new) };
    let mut told: Vec<_> = (0..share).map(told).collect();
    let mut deadline = None;
    loop {
        let expected = *doing.borrow_and_update();
        if let Some(expected) = expected {
            if told.iter().all(|it| it.ends.len() >= expected) {
                break;
            }
            let deadline = *deadline.get_or_insert(Instant::now() + PATIENCE);
            let fewest = told.iter().map(|it| it.ends.len()).min().unwrap_or_default();
            ensure!(Instant::now() < deadline, "a watcher was told of {fewest} writes of {expected}");
        }
        tokio::select! {
            filled = connection.fill() => filled?,
            _ = doing.changed(), if expected.is_none() => {}
            () = tokio::time::sleep(Duration::from_secs(1)), if expected.is_some() => {}
        }
        let now = Instant::now();
        connection.take(|answer, piece| {
            if let Some(it) = told.get_mut(answer) {
                it.take(piece, now);
            }
        })?;
    }
    if let Some(left) = connection.window_left(share) {
        ensure!(
            left < NEARLY,
            "the watcher that does not read was not stuck: it could still take {left} bytes"
        );
    }
    Ok(told)
}

impl Told {
    fn take(&mut self, piece: &[u8], now: Instant) {
        self.bytes += piece.len() as u64;
        self.ends.extend(memchr::memchr_iter(b'\n', piece).map(|_| now));
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(piece);
        }
    }
}

/// Replaces reports, each when it is due, on a thread of its own. Says through `done` how many there were.
fn write(
    site: &Site,
    plan: &Plan,
    scan: u64,
    done: watch::Sender<Option<usize>>,
) -> JoinHandle<anyhow::Result<Vec<Written>>> {
    let (target, revisions, plan) = (site.target.clone(), Arc::clone(&site.revisions), *plan);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let written = runtime.block_on(write_all(&target, &revisions, plan, scan));
        // Whatever became of it: nobody waits for more.
        let count = written.as_ref().map_or(0, Vec::len);
        let _ = done.send(Some(count));
        written
    })
}

async fn write_all(
    target: &Target,
    revisions: &Arc<Vec<AtomicU64>>,
    plan: Plan,
    scan: u64,
) -> anyhow::Result<Vec<Written>> {
    let connections = try_join_all((0..WRITERS).map(|_| target.connect())).await?;
    let (next, start) = (Arc::new(AtomicUsize::new(0)), Instant::now() + A_MOMENT);
    let mut clients = JoinSet::new();
    for mut connection in connections {
        let authority = target.authority().to_owned();
        let (next, revisions) = (Arc::clone(&next), Arc::clone(revisions));
        clients.spawn(async move {
            let (mut request, mut body, mut written) = (Request::default(), Vec::new(), Vec::new());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= plan.writes() {
                    return anyhow::Ok(written);
                }
                let due = start + plan.interval() * number as u32;
                tokio::time::sleep_until(due.into()).await;
                let report = number % revisions.len();
                let scan = scan + (number / revisions.len()) as u64;
                let replaces = Some(revisions[report].load(Ordering::Relaxed));
                let turn = Turn { report: report as u64, scan, replaces };
                body.clear();
                let sent = request.write(&authority, turn);
                let status = connection.exchange(sent, |piece| body.extend_from_slice(piece)).await?;
                ensure!(status == 200, "writing: {status} {}", String::from_utf8_lossy(&body));
                let revision = request::revision(&body)?;
                revisions[report].store(revision, Ordering::Relaxed);
                written.push(Written { revision, due });
            }
        });
    }
    let mut written = Vec::new();
    while let Some(client) = clients.join_next().await {
        written.append(&mut client??);
    }
    written.sort_unstable_by_key(|it| it.revision);
    Ok(written)
}

/// Whether each watcher was told of each write. Gives back one event.
fn check(plan: &Plan, told: &[Told], written: &[Written]) -> anyhow::Result<Vec<u8>> {
    let first = told.first().context("nobody watched")?;
    for it in told {
        ensure!(it.ends.len() == written.len(), "told of {} writes, not {}", it.ends.len(), written.len());
        ensure!(it.bytes == first.bytes, "told {} bytes and {} bytes of the same", it.bytes, first.bytes);
    }
    let mut last = Vec::new();
    for kept in told.iter().filter_map(|it| it.kept.as_ref()) {
        for (line, write) in kept.split_inclusive(|it| *it == b'\n').zip(written) {
            let event: Value = serde_json::from_slice(line)?;
            let object = &event["object"];
            let revision = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            ensure!(revision == write.revision.to_string(), "told of {revision}, not of {}", write.revision);
            ensure!(
                event["type"] == "MODIFIED" && object["kind"] == plan.form.kind(),
                "{} of a {}",
                event["type"],
                object["kind"]
            );
            ensure!(
                object["results"].is_array() == (plan.form == Form::Object),
                "not in the form that was asked for"
            );
            last = line.to_vec();
        }
    }
    Ok(last)
}

fn sample(plan: &Plan, told: &[Told], written: &[Written], event: Vec<u8>) -> anyhow::Result<Seen> {
    let begun = written.iter().map(|it| it.due).min().context("nothing was written")? + plan.timing.warm_up;
    let mut latencies = Histogram::<u64>::new(3)?;
    let (mut counted, mut last) = (0_u64, begun);
    for (number, write) in written.iter().enumerate().filter(|(_, it)| it.due >= begun) {
        counted += 1;
        for watcher in told {
            let end = watcher.ends[number];
            last = last.max(end);
            latencies.record(end.saturating_duration_since(write.due).as_nanos() as u64)?;
        }
    }
    let latency = |quantile| Duration::from_nanos(latencies.value_at_quantile(quantile));
    let seconds = (last - begun).as_secs_f64();
    let sample = Sample {
        rate: (counted * told.len() as u64) as f64 / seconds,
        latency: Some((latency(0.5), latency(0.99))),
        growth: None,
    };
    Ok(Seen { sample, event, writes: counted as f64 / seconds })
}

/// The same bytes to as many watchers over as many connections, without a server of Kubernetes.
pub(super) fn floor(runtime: &Runtime, site: &Site, plan: &Plan, event: &[u8]) -> anyhow::Result<Sample> {
    let push = Push::listen(&site.server.certs())?;
    let target = push.target.over_http2();
    let (done, doing) = watch::channel(None);
    let pusher = {
        let (plan, event) = (*plan, event.to_vec());
        std::thread::spawn(move || {
            let pushed = push_all(&push, &plan, &event);
            let _ = done.send(Some(pushed.as_ref().map_or(0, |(written, _)| written.len())));
            pushed
        })
    };
    let told = runtime.block_on(async {
        let connected = plan.shares().map(|share| {
            let target = &target;
            async move {
                let mut connection = Http2::connect(target).await?;
                for _ in 0..share {
                    connection.ask("/", "*/*", Reading::On);
                }
                anyhow::Ok((connection, share))
            }
        });
        let mut told = Vec::new();
        for connection in connected {
            told.push(connection.await?);
        }
        let told = told.into_iter().map(|(connection, share)| follow(connection, share, doing.clone()));
        anyhow::Ok(try_join_all(told).await?.into_iter().flatten().collect::<Vec<_>>())
    })?;
    // Whoever closes a socket too early takes away what was not read yet.
    let (written, _sockets) = pusher.join().ok().context("what pushes ended")??;
    Ok(sample(plan, &told, &written, Vec::new())?.sample)
}

fn push_all(push: &Push, plan: &Plan, event: &[u8]) -> anyhow::Result<(Vec<Written>, Vec<Pushed>)> {
    let mut sockets = Vec::new();
    for share in plan.shares() {
        let mut socket: Pushed = push.accept()?;
        let mut heads = Vec::new();
        told::heads(share, &mut heads);
        socket.write_all(&heads)?;
        let mut events = Vec::new();
        told::pieces(share, event, &mut events);
        sockets.push((socket, events));
    }
    let start = Instant::now() + A_MOMENT;
    let mut written = Vec::new();
    for number in 0..plan.writes() {
        let due = start + plan.interval() * number as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        for (socket, events) in &mut sockets {
            socket.write_all(events)?;
            socket.flush()?;
        }
        written.push(Written { revision: number as u64, due });
    }
    Ok((written, sockets.into_iter().map(|(socket, _)| socket).collect()))
}
