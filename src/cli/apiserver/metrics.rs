//! What the API server counts, for Prometheus. Labels are verbs, resources that are served and codes: nothing that a caller could make up.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use larder_apiserver::results::Lag;
use larder_apiserver::telemetry::{Request, Telemetry};
use larder_apiserver::transfer::Progress;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use tokio::sync::watch;

use crate::line_limit::LineLimit;
use crate::tls::Tls;

/// Everything that is counted in this process.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Family<VerbLabels, Histogram, fn() -> Histogram>,
    watchers: Family<ResourceLabel, Gauge>,
    events: Family<ResourceLabel, Counter>,
    lag: Histogram,
    operations: Family<OperationLabels, Histogram, fn() -> Histogram>,
    refused: Family<ResourceLabel, Counter>,
    transfer: Family<StateLabel, Gauge>,
    transfer_left: Family<StepLabels, Gauge>,
    transfer_failures: Gauge<u64, AtomicU64>,
    results_behind: Gauge<f64, AtomicU64>,
    results_written: Gauge<u64, AtomicU64>,
    results_cut: Gauge<u64, AtomicU64>,
    certificate_expiry: Gauge<i64, std::sync::atomic::AtomicI64>,
    tls_reloads: Gauge<u64, AtomicU64>,
    tls_refused: Gauge<u64, AtomicU64>,
    loud_lines: LineLimit,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    verb: String,
    resource: String,
    subresource: String,
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VerbLabels {
    verb: String,
    resource: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResourceLabel {
    resource: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StepLabels {
    resource: String,
    phase: &'static str,
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// From 100 µs to 52 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(100e-6, 2.0, 20))
}

impl Metrics {
    /// Registers everything.
    pub(super) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("larder_apiserver"),
            requests: Family::default(),
            latency: Family::new_with_constructor(seconds as fn() -> Histogram),
            watchers: Family::default(),
            events: Family::default(),
            lag: seconds(),
            operations: Family::new_with_constructor(seconds as fn() -> Histogram),
            refused: Family::default(),
            transfer: Family::default(),
            transfer_left: Family::default(),
            transfer_failures: Gauge::default(),
            results_behind: Gauge::default(),
            results_written: Gauge::default(),
            results_cut: Gauge::default(),
            certificate_expiry: Gauge::default(),
            tls_reloads: Gauge::default(),
            tls_refused: Gauge::default(),
            loud_lines: LineLimit::default(),
        };
        metrics.register_requests();
        metrics.register_transfer();
        metrics.register_results();
        metrics.register_certificates();
        metrics
    }

    fn register_requests(&mut self) {
        let r = &mut self.registry;
        r.register("requests", "Requests answered, by verb, resource and code", self.requests.clone());
        r.register_with_unit(
            "request_latency",
            "From the head of a request to the head of its answer",
            Unit::Seconds,
            self.latency.clone(),
        );
        r.register("watchers", "Watches that are open", self.watchers.clone());
        r.register("watch_events", "Events sent to watchers", self.events.clone());
        r.register_with_unit(
            "watch_lag",
            "From the clock of a write to the sending of its event",
            Unit::Seconds,
            self.lag.clone(),
        );
        r.register_with_unit(
            "store_operation",
            "Operations on the store, by how they ended",
            Unit::Seconds,
            self.operations.clone(),
        );
        r.register("validation_failures", "Objects refused for what they look like", self.refused.clone());
    }

    fn register_transfer(&mut self) {
        let r = &mut self.registry;
        r.register(
            "transfer_objects",
            "Objects between etcd and the store, by what became of them",
            self.transfer.clone(),
        );
        r.register(
            "transfer_left",
            "Objects that the present step of a move has before it",
            self.transfer_left.clone(),
        );
        r.register(
            "transfer_failures",
            "Attempts at moving a group that failed",
            self.transfer_failures.clone(),
        );
    }

    fn register_results(&mut self) {
        let r = &mut self.registry;
        r.register_with_unit(
            "result_rows_behind",
            "How much younger the latest change is than the latest of which result rows were made",
            Unit::Seconds,
            self.results_behind.clone(),
        );
        r.register(
            "result_rows_written",
            "Result rows that this process has written",
            self.results_written.clone(),
        );
        r.register(
            "result_rows_cut",
            "How often an object had more results than are kept as rows",
            self.results_cut.clone(),
        );
    }

    /// Takes how far the result rows are.
    pub(super) fn results(&self, lag: Lag) {
        self.results_behind.set(lag.behind.as_secs_f64());
        self.results_written.set(lag.rows);
        self.results_cut.set(lag.cut);
    }

    /// Counts what is moved, for as long as it is.
    pub(super) fn follow(self: Arc<Self>, mut progress: watch::Receiver<Progress>) {
        tokio::spawn(async move {
            while progress.changed().await.is_ok() {
                let now = progress.borrow_and_update().clone();
                self.moved(&now);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    }

    fn moved(&self, now: &Progress) {
        for (state, count) in [
            ("found", now.found),
            ("copied", now.copied),
            ("same", now.same),
            ("deleted", now.deleted),
            ("removed", now.removed),
            ("overruled", now.overruled),
            ("stays", now.stays),
        ] {
            self.transfer.get_or_create(&StateLabel { state }).set(signed(count));
        }
        // A step that is over has nothing before it, and so no line.
        self.transfer_left.clear();
        for (resource, step) in &now.steps {
            let labels = StepLabels { resource: resource.clone(), phase: step.phase.as_str() };
            self.transfer_left.get_or_create(&labels).set(signed(step.left));
        }
        self.transfer_failures.set(now.errors);
    }

    fn register_certificates(&mut self) {
        let r = &mut self.registry;
        r.register(
            "certificate_expiry_timestamp_seconds",
            "When the server's certificate expires",
            self.certificate_expiry.clone(),
        );
        r.register("certificate_reloads", "Certificates taken while running", self.tls_reloads.clone());
        r.register(
            "certificate_reloads_refused",
            "Certificates refused while running; the last good ones stay",
            self.tls_refused.clone(),
        );
    }

    /// The text that Prometheus scrapes.
    pub(super) fn render(&self, tls: &Tls) -> String {
        let tls = tls.snapshot();
        self.certificate_expiry.set(tls.leaf_not_after);
        self.tls_reloads.set(tls.reloaded);
        self.tls_refused.set(tls.refused);
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}

impl Telemetry for Metrics {
    fn answered(&self, request: &Request<'_>, code: u16, took: Duration) {
        let (verb, resource) = (request.verb.to_owned(), request.resource.to_owned());
        let labels = RequestLabels {
            verb: verb.clone(),
            resource: resource.clone(),
            subresource: request.subresource.to_owned(),
            code,
        };
        self.requests.get_or_create(&labels).inc();
        self.latency.get_or_create(&VerbLabels { verb, resource }).observe(took.as_secs_f64());
    }

    fn watchers(&self, resource: &str, change: i64) {
        self.watchers.get_or_create(&ResourceLabel { resource: resource.to_owned() }).inc_by(change);
    }

    fn events(&self, resource: &str, count: u64) {
        self.events.get_or_create(&ResourceLabel { resource: resource.to_owned() }).inc_by(count);
    }

    fn lag(&self, lag: Duration) {
        self.lag.observe(lag.as_secs_f64());
    }

    fn stored(&self, operation: &'static str, is_good: bool, took: Duration) {
        let outcome = if is_good { "good" } else { "failed" };
        self.operations.get_or_create(&OperationLabels { operation, outcome }).observe(took.as_secs_f64());
    }

    fn refused(&self, resource: &str) {
        self.refused.get_or_create(&ResourceLabel { resource: resource.to_owned() }).inc();
    }

    fn unknown(&self, why: &str) {
        let Some(left_out) = self.loud_lines.take() else { return };
        if left_out > 0 {
            tracing::warn!(left_out, "refusals were not logged: there were too many in a second");
        }
        tracing::warn!(error = why, "a request was refused: nobody is known by what it shows");
    }
}
