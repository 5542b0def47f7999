//! What does a table cost, and metadata alone, beside the list of the same objects as they are?
//!
//! 10,000 policy reports of 19 results, 6.3 KB of JSON each, in memory. The list is copied, no more; a server has still to read, decompress and
//! encrypt it, which is why the figures are also given as the bytes of objects per second that go through.

use std::hint::black_box;
use std::time::{Duration, Instant};

use larder_apiserver::present::accept::{Form, MetaVersion};
use larder_apiserver::present::{IncludeObject, ListMeta, Presenter};
use larder_apiserver::registry::Registry;
use serde_json::{Value, json};

const OBJECTS: usize = 10_000;
const ROUNDS: usize = 5;

fn report(number: usize) -> String {
    let result = |rule: usize| {
        json!({
            "category": "Pod Security Standards (Restricted)", "policy": format!("require-run-as-nonroot-{rule}"),
            "message": "validation rule 'run-as-non-root' passed for every container of the workload.",
            "properties": {"controller": "true", "process": "background scan"},
            "result": if rule % 7 == 0 { "fail" } else { "pass" }, "rule": format!("autogen-run-as-non-root-{rule}"),
            "scored": true, "severity": "medium", "source": "kyverno",
            "timestamp": {"nanos": 0, "seconds": 1_700_000_000 + number}
        })
    };
    let results: Vec<Value> = (0..19).map(result).collect();
    json!({
        "apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport",
        "metadata": {
            "creationTimestamp": "2024-01-01T00:00:00Z", "generation": 3, "name": format!("{number:032x}"),
            "namespace": format!("team-{}", number % 50), "resourceVersion": number.to_string(), "uid": format!("{number:036x}"),
            "labels": {"app.kubernetes.io/managed-by": "kyverno", "cpol.kyverno.io/require-run-as-nonroot": "71234"}
        },
        "results": results,
        "scope": {"apiVersion": "apps/v1", "kind": "Deployment", "name": format!("app-{number}"), "namespace": "team"},
        "summary": {"error": 0, "fail": 3, "pass": 16, "skip": 0, "warn": 0}
    })
    .to_string()
}

fn list(presenter: &Presenter, objects: &[String]) -> usize {
    let mut out = Vec::with_capacity(1 << 20);
    let mut written = 0;
    presenter.begin(&ListMeta { resource_version: "1".to_owned(), ..ListMeta::default() }, &mut out);
    for (index, object) in objects.iter().enumerate() {
        presenter.item(object.as_bytes(), index == 0, &mut out).expect("it is an object");
        // A server sends what it has and begins anew.
        if out.len() > 1 << 19 {
            written += black_box(&out).len();
            out.clear();
        }
    }
    presenter.end(&mut out);
    written + out.len()
}

fn best(mut run: impl FnMut() -> usize) -> (Duration, usize) {
    let round = |_| {
        let start = Instant::now();
        let bytes = run();
        (start.elapsed(), bytes)
    };
    (0..ROUNDS).map(round).min().expect("there are rounds")
}

#[expect(clippy::print_stdout, reason = "its figures are what it is for")]
fn main() {
    let registry = Registry::builtin();
    let found = registry.find("wgpolicyk8s.io", "v1alpha2", "policyreports");
    let (resource, version) = found.expect("it is built in");
    let objects: Vec<String> = (0..OBJECTS).map(report).collect();
    let bytes: usize = objects.iter().map(String::len).sum();
    println!("{OBJECTS} objects, {} bytes each", bytes / OBJECTS);
    let forms = [
        ("list", Form::Object, IncludeObject::None),
        ("metadata", Form::Metadata(MetaVersion::V1), IncludeObject::None),
        ("table", Form::Table(MetaVersion::V1), IncludeObject::Metadata),
        ("table without objects", Form::Table(MetaVersion::V1), IncludeObject::None),
        ("table with objects", Form::Table(MetaVersion::V1), IncludeObject::Object),
    ];
    for (name, form, include) in forms {
        let presenter = Presenter::new(resource, version, form, include, jiff::Timestamp::now());
        let (time, written) = best(|| list(&presenter, &objects));
        let rate = bytes as f64 / time.as_secs_f64() / 1e6;
        println!(
            "{name:22} {:7.1} ms, {rate:7.0} MB/s of objects, {written} bytes written",
            time.as_secs_f64() * 1e3
        );
    }
}
