//! What is counted, for Prometheus (<https://prometheus.io/docs/practices/naming/>).
//!
//! Counters and histograms are fed as things happen; gauges are read off the engine when somebody asks, so that
//! nobody has to keep them right.

use http::StatusCode;
use larder_engine::{CheckpointOutcome, Engine, IntegrityStatus, Status, Telemetry};
use larder_wire::Error;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::tls::{Tls, TlsSnapshot};

/// Everything that is counted in this process.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Family<EndpointLabel, Histogram, fn() -> Histogram>,
    refusals: Family<CodeLabel, Counter>,
    connections: Gauge,
    handshakes_refused: Counter,
    identities_refused: Counter,
    group_size: Histogram,
    group_execute: Histogram,
    commit: Histogram,
    queue_wait: Histogram,
    sync: Histogram,
    checkpoints: Family<OutcomeLabel, Counter>,
    checkpoint_time: Histogram,
    evicted: Counter,
    replayed: Counter,
    gauges: Gauges,
    request_ids: AtomicU64,
    id_prefix: u64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    endpoint: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EndpointLabel {
    endpoint: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabel {
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Read off the engine at each scrape.
#[derive(Default)]
struct Gauges {
    write_queue: Gauge,
    read_queue: Gauge,
    readers_in_use: Gauge,
    oldest_snapshot: Gauge<f64, AtomicU64>,
    wal_bytes: Gauge,
    database_bytes: Gauge,
    disk_free_bytes: Gauge,
    sqlite_memory: Gauge,
    seq: Gauge,
    suspended: Gauge,
    damaged: Gauge,
    check_progress: Gauge<f64, AtomicU64>,
    certificate_expiry: Gauge,
    ca_expiry: Gauge,
    tls_reloads: Gauge,
    tls_refused: Gauge,
}

/// From 20 µs to 10 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(20e-6, 2.0, 20))
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn new() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut metrics = Self {
            registry: Registry::with_prefix("larder"),
            requests: Family::default(),
            latency: Family::new_with_constructor(seconds as fn() -> Histogram),
            refusals: Family::default(),
            connections: Gauge::default(),
            handshakes_refused: Counter::default(),
            identities_refused: Counter::default(),
            group_size: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            group_execute: seconds(),
            commit: seconds(),
            queue_wait: seconds(),
            sync: seconds(),
            checkpoints: Family::default(),
            checkpoint_time: seconds(),
            evicted: Counter::default(),
            replayed: Counter::default(),
            gauges: Gauges::default(),
            request_ids: AtomicU64::new(0),
            id_prefix: (started.as_nanos() as u64).rotate_left(20) ^ u64::from(std::process::id()),
        };
        metrics.register_requests();
        metrics.register_engine();
        metrics.register_gauges();
        metrics.register_certificates();
        metrics
    }

    /// What callers and connections do.
    fn register_requests(&mut self) {
        let r = &mut self.registry;
        r.register("requests", "Requests answered", self.requests.clone());
        r.register_with_unit(
            "request_latency",
            "From the head of a request to the head of its answer",
            Unit::Seconds,
            self.latency.clone(),
        );
        r.register("refusals", "Requests refused, by the code of the error", self.refusals.clone());
        r.register("connections", "Connections that are open", self.connections.clone());
        r.register("handshakes_refused", "TLS handshakes that failed", self.handshakes_refused.clone());
        r.register(
            "identities_refused",
            "Connections of identities without a grant",
            self.identities_refused.clone(),
        );
    }

    /// What the engine tells as it happens.
    fn register_engine(&mut self) {
        let r = &mut self.registry;
        r.register("group_size", "Writes that shared a commit", self.group_size.clone());
        r.register_with_unit(
            "group_execute",
            "Running the statements of a group",
            Unit::Seconds,
            self.group_execute.clone(),
        );
        r.register_with_unit(
            "commit",
            "COMMIT of a group, fsync included",
            Unit::Seconds,
            self.commit.clone(),
        );
        r.register_with_unit(
            "write_queue_wait",
            "From the arrival of a write to its turn",
            Unit::Seconds,
            self.queue_wait.clone(),
        );
        r.register_with_unit(
            "fsync",
            "Each fsync of the write-ahead log and the database",
            Unit::Seconds,
            self.sync.clone(),
        );
        r.register("checkpoints", "Checkpoints, by how they ended", self.checkpoints.clone());
        r.register_with_unit(
            "checkpoint",
            "Duration of checkpoints",
            Unit::Seconds,
            self.checkpoint_time.clone(),
        );
        r.register(
            "readers_evicted",
            "Reads ended because they kept the write-ahead log from being emptied",
            self.evicted.clone(),
        );
        r.register(
            "writes_replayed",
            "Writes run again because a neighbour lost the transaction of their group",
            self.replayed.clone(),
        );
    }

    /// What is read off the engine when somebody asks.
    fn register_gauges(&mut self) {
        let Self { registry: r, gauges: g, .. } = self;
        r.register("write_queue_length", "Writes that wait", g.write_queue.clone());
        r.register("read_queue_length", "Reads that wait for a connection", g.read_queue.clone());
        r.register("readers_in_use", "Read connections in use", g.readers_in_use.clone());
        r.register_with_unit(
            "oldest_reader",
            "Age of the oldest snapshot that a read holds",
            Unit::Seconds,
            g.oldest_snapshot.clone(),
        );
        r.register_with_unit("wal", "Length of the write-ahead log", Unit::Bytes, g.wal_bytes.clone());
        r.register_with_unit("database", "Length of the database", Unit::Bytes, g.database_bytes.clone());
        r.register_with_unit(
            "disk_free",
            "What the disk still takes",
            Unit::Bytes,
            g.disk_free_bytes.clone(),
        );
        r.register_with_unit(
            "sqlite_memory",
            "What SQLite holds in memory",
            Unit::Bytes,
            g.sqlite_memory.clone(),
        );
        r.register("seq", "Number of the last commit", g.seq.clone());
        r.register(
            "writer_suspended",
            "1 while writing is suspended after a failure of the disk",
            g.suspended.clone(),
        );
        r.register("database_damaged", "1 after an integrity check has found damage", g.damaged.clone());
        r.register(
            "integrity_check_progress",
            "Part of the database that the integrity check has read; -1 if none runs",
            g.check_progress.clone(),
        );
    }

    /// What is read off the certificates when somebody asks.
    fn register_certificates(&mut self) {
        let Self { registry: r, gauges: g, .. } = self;
        r.register(
            "certificate_expiry_timestamp_seconds",
            "When the server's certificate expires",
            g.certificate_expiry.clone(),
        );
        r.register(
            "ca_expiry_timestamp_seconds",
            "When the first of the clients' CAs expires",
            g.ca_expiry.clone(),
        );
        r.register("certificate_reloads", "Certificates taken while running", g.tls_reloads.clone());
        r.register(
            "certificate_reloads_refused",
            "Certificates refused while running; the last good ones stay",
            g.tls_refused.clone(),
        );
    }

    /// The text that Prometheus scrapes.
    pub(crate) fn render(&self, engine: &Engine, tls: Option<&Tls>) -> String {
        self.gauges.read(&engine.status());
        if let Some(tls) = tls {
            self.gauges.read_tls(&tls.snapshot());
        }
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }

    /// Names the next request: unique within the process, and most likely among all.
    pub(crate) fn next_request_id(&self) -> String {
        let mut id = String::with_capacity(32);
        let number = self.request_ids.fetch_add(1, Ordering::Relaxed);
        let _ = write!(id, "{:016x}-{number:x}", self.id_prefix);
        id
    }

    /// A request was answered.
    pub(crate) fn answered(&self, endpoint: &'static str, status: StatusCode, took: Duration) {
        self.requests.get_or_create(&RequestLabels { endpoint, status: status.as_u16() }).inc();
        self.latency.get_or_create(&EndpointLabel { endpoint }).observe(took.as_secs_f64());
    }

    /// A request was refused.
    pub(crate) fn refused(&self, error: &Error) {
        self.refusals.get_or_create(&CodeLabel { code: error.code.to_string() }).inc();
    }

    /// A handshake failed.
    pub(crate) fn handshake_refused(&self) {
        self.handshakes_refused.inc();
    }

    /// A certificate was good and its identity has no grant.
    pub(crate) fn identity_refused(&self) {
        self.identities_refused.inc();
    }

    /// A connection was accepted; it is counted until the guard is dropped.
    pub(crate) fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }
}

/// Counts one connection.
pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Gauges {
    fn read(&self, status: &Status) {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.write_queue.set(status.write_queue as i64);
        self.read_queue.set(status.read_queue as i64);
        self.readers_in_use.set(status.readers_in_use as i64);
        self.oldest_snapshot.set(status.oldest_snapshot.unwrap_or_default().as_secs_f64());
        self.wal_bytes.set(signed(status.wal_bytes));
        self.database_bytes.set(signed(status.database_bytes));
        self.disk_free_bytes.set(signed(status.free_bytes.unwrap_or(0)));
        self.sqlite_memory.set(status.heap_bytes);
        self.seq.set(signed(status.seq));
        self.suspended.set(status.suspended.is_some().into());
        self.damaged.set(matches!(status.integrity, IntegrityStatus::Damaged { .. }).into());
        self.check_progress.set(match status.integrity {
            IntegrityStatus::Running { progress } => progress,
            _ => -1.0,
        });
    }

    fn read_tls(&self, tls: &TlsSnapshot) {
        self.certificate_expiry.set(tls.leaf_not_after);
        self.ca_expiry.set(tls.ca_not_after.unwrap_or_default());
        self.tls_reloads.set(i64::try_from(tls.reloaded).unwrap_or(i64::MAX));
        self.tls_refused.set(i64::try_from(tls.refused).unwrap_or(i64::MAX));
    }
}

impl Telemetry for Metrics {
    fn group(&self, requests: usize, execute: Duration, commit: Duration) {
        self.group_size.observe(requests as f64);
        self.group_execute.observe(execute.as_secs_f64());
        self.commit.observe(commit.as_secs_f64());
    }

    fn queued(&self, wait: Duration) {
        self.queue_wait.observe(wait.as_secs_f64());
    }

    fn sync(&self, took: Duration) {
        self.sync.observe(took.as_secs_f64());
    }

    fn checkpoint(&self, outcome: CheckpointOutcome, took: Duration) {
        let outcome = match outcome {
            CheckpointOutcome::Complete => "complete",
            CheckpointOutcome::Partial => "partial",
            CheckpointOutcome::Busy => "busy",
            CheckpointOutcome::Failed => "failed",
        };
        self.checkpoints.get_or_create(&OutcomeLabel { outcome }).inc();
        self.checkpoint_time.observe(took.as_secs_f64());
    }

    fn evicted(&self, readers: usize) {
        self.evicted.inc_by(readers as u64);
    }

    fn replayed(&self, neighbours: usize) {
        self.replayed.inc_by(neighbours as u64);
    }
}
