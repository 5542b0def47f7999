//! What the revision store costs, against floors that are measured in the same run: raw inserts of rows of the same size, and reading and decompressing
//! the same bodies. On the embedded engine, in a directory below `LARDER_BENCH_DIR` (the system's temporary one).
//!
//! `LARDER_BENCH_OBJECTS` takes another number than 10,000; `LARDER_BENCH_RESIDENT` says at how many objects memory is looked at (100,000).
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops at the first surprise"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_apiserver::object::Object;
use larder_apiserver::results::{Filter, Group, Outcome, Questions, Results};
use larder_apiserver::store::{
    At, Draft, Json as _, Key, ListQuery, Requirement, Selection, Store, StoreOptions, Test,
};
use larder_apiserver::watch::{Event, From, Watches};
use larder_client::database::{Database, Embedded};
use larder_client::wire::{Request, Statement, Value};
use serde_json::json;

const RESOURCE: &str = "policyreports.wgpolicyk8s.io";
const TASKS: usize = 16;

/// Memory is looked at in a process of its own, which has nothing else in it.
const RESIDENT: &str = "resident";

/// Without watchers and memory, if that is the argument.
const SHORT: &str = "short";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let is_resident = std::env::args().any(|it| it == RESIDENT);
    let is_short = std::env::args().any(|it| it == SHORT);
    runtime.block_on(async {
        let home = match std::env::var_os("LARDER_BENCH_DIR") {
            Some(directory) => tempfile::tempdir_in(directory).unwrap(),
            None => tempfile::tempdir().unwrap(),
        };
        let database: Arc<dyn Database> = Arc::new(Embedded::open(home.path()).unwrap());
        let store = Store::open(Arc::clone(&database), StoreOptions::default()).await.unwrap();
        if is_resident {
            resident(&store).await;
            return;
        }
        let objects = variable("LARDER_BENCH_OBJECTS", 10_000);
        println!("one object is {} bytes of JSON; {objects} objects", text(&draft(0)).len());
        creates(&database, &store, objects).await;
        lists(&database, &store, objects).await;
        questions(&database, &store, objects).await;
        if !is_short {
            watchers(&store).await;
        }
    });
    if !is_resident && !is_short {
        let itself = std::env::current_exe().unwrap();
        let ended = std::process::Command::new(itself).arg(RESIDENT).status().unwrap();
        assert!(ended.success());
    }
}

fn variable(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |it| it.parse().unwrap())
}

/// A PolicyReport of 19 results. Every tenth is of one team; namespaces have a hundredth of them each.
fn draft(number: usize) -> Draft {
    let key = Key { namespace: format!("team-{:02}", number % 100), name: format!("report-{number:06}") };
    let hash = |it: usize| (number * 31 + it).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let results: Vec<_> = (0..19)
        .map(|it| {
            json!({
                "policy": format!("require-run-as-nonroot-{}", hash(it) % 40), "rule": format!("autogen-check-{it}"),
                "result": if hash(it) % 7 == 0 { "fail" } else { "pass" }, "severity": "medium", "scored": true,
                "category": "Pod Security Standards (Restricted)", "source": "kyverno",
                "message": format!("validation rule {} passed for container {:x}", it, hash(it)),
                "timestamp": {"seconds": 1_760_000_000 + hash(it) % 1_000_000, "nanos": 0},
            })
        })
        .collect();
    let uid = format!("{:08x}-0000-4000-8000-{:012x}", number, hash(99) & 0xffff_ffff_ffff);
    let object = json!({
        "metadata": {
            "name": key.name, "namespace": key.namespace, "uid": uid, "creationTimestamp": "2026-11-26T12:00:00Z",
            "labels": {"app.kubernetes.io/managed-by": "kyverno", "team": format!("t{}", (number / 7) % 10)},
        },
        "scope": {"apiVersion": "apps/v1", "kind": "Deployment", "name": format!("web-{number}"), "namespace": key.namespace},
        "results": results, "summary": {"error": 0, "fail": 3, "pass": 16, "skip": 0, "warn": 0},
    });
    let serde_json::Value::Object(object) = object else { unreachable!("it is an object") };
    Draft { key, uid, version: "v1alpha2".to_owned(), object: Object(object), fields: Vec::new() }
}

fn text(draft: &Draft) -> String {
    serde_json::to_string(&draft.object.0).unwrap()
}

/// Runs something for each number, in some tasks; says how many a second.
async fn rate<F: Future<Output = ()> + Send>(
    numbers: std::ops::Range<usize>,
    run: impl Fn(usize) -> F + Clone + Send + 'static,
) -> f64 {
    let began = Instant::now();
    let count = numbers.len();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (run, numbers) = (run.clone(), numbers.clone());
            tokio::spawn(async move {
                for number in numbers.skip(task).step_by(TASKS) {
                    run(number).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    count as f64 / began.elapsed().as_secs_f64()
}

async fn creates(database: &Arc<dyn Database>, store: &Store, objects: usize) {
    let table = "CREATE TABLE raw (id INTEGER PRIMARY KEY, body TEXT NOT NULL)";
    database.execute(&Request::new([Statement::new(table)])).await.unwrap();
    let texts: Arc<Vec<String>> = Arc::new((0..objects).map(|it| text(&draft(it))).collect());
    let (writer, body) = (Arc::clone(database), Arc::clone(&texts));
    let floor = rate(0..objects, move |number| {
        let (writer, body) = (Arc::clone(&writer), Arc::clone(&body));
        async move {
            let insert = "INSERT INTO raw (body) VALUES (?)";
            let insert = Statement::with(insert, [Value::from(body[number].as_str())]);
            writer.execute(&Request::new([insert])).await.unwrap();
        }
    })
    .await;
    let drafts: Arc<Vec<Draft>> = Arc::new((0..objects).map(draft).collect());
    let writer = store.clone();
    let made = rate(0..objects, move |number| {
        let (writer, drafts) = (writer.clone(), Arc::clone(&drafts));
        async move { drop(writer.create(RESOURCE, &drafts[number]).await.unwrap()) }
    })
    .await;
    println!(
        "create, {TASKS} tasks: {made:.0}/s; raw inserts {floor:.0}/s; ratio {:.2} (reach 0.5)",
        made / floor
    );
}

/// What results cost: creates while rows are made of them, making what is missing then, and making all anew; and how long the usual questions take.
async fn questions(database: &Arc<dyn Database>, store: &Store, objects: usize) {
    let questions = Questions::new(Arc::clone(database)).with_patience(Duration::from_secs(600));
    let began = Instant::now();
    questions.catch_up().await.unwrap();
    println!("result rows of {objects} objects made anew in {:.1?}", began.elapsed());
    let results = Results::keep(store);
    // Of another resource, so that the rows of questions are as many as without.
    let (writer, count) = (store.clone(), objects / 2);
    let made = async |resource: &'static str, writer: Store| {
        rate(0..count, move |number| {
            let writer = writer.clone();
            async move { drop(writer.create(resource, &draft(number)).await.unwrap()) }
        })
        .await
    };
    let with = made("with.example.com", writer.clone()).await;
    let lag = results.lag();
    let began = Instant::now();
    questions.catch_up().await.unwrap();
    let caught_up = began.elapsed();
    drop(results);
    let without = made("without.example.com", writer).await;
    println!(
        "creates with rows being made {with:.0}/s, without {without:.0}/s; ratio {:.2}; {:.1?} behind then, made up for in {caught_up:.1?}",
        with / without,
        lag.behind
    );
    questions.catch_up().await.unwrap();
    let filter = Filter { reports: vec![RESOURCE.to_owned()], ..Filter::failing() };
    let of = |policy: &str| Filter { policies: vec![policy.to_owned()], ..Filter::failing() };
    for (name, filter) in [
        ("what fails, newest first", Filter::failing()),
        ("what a policy fails", of("require-run-as-nonroot-7")),
        ("what fails in a namespace", Filter { namespaces: vec!["team-07".to_owned()], ..Filter::failing() }),
        ("all about one thing", Filter { names: vec!["web-77".to_owned()], ..Filter::default() }),
        (
            "a severity that there is not",
            Filter {
                severity_at_least: Some(larder_apiserver::results::Severity::High),
                ..Filter::default()
            },
        ),
        (
            "a source that there is not",
            Filter { sources: vec!["none".to_owned()], results: vec![Outcome::Fail], ..Filter::default() },
        ),
    ] {
        let (took, page) = shortest(async || questions.list(&filter, None, 100).await.unwrap()).await;
        println!("{name}: {} of at most 100 in {took:.2?}", page.rows.len());
    }
    for (name, filter, groups) in [
        ("by policy and result", Filter::default(), &[Group::Policy, Group::Result][..]),
        ("by namespace and result", Filter::default(), &[Group::Namespace, Group::Result]),
        ("failing, by policy and namespace", Filter::failing(), &[Group::Policy, Group::Namespace]),
        ("failing, of one resource, by policy", filter, &[Group::Policy]),
        ("by category and source", Filter::default(), &[Group::Category, Group::Source]),
    ] {
        let (took, page) =
            shortest(async || questions.counts(&filter, groups, None, 1000).await.unwrap()).await;
        let total: u64 = page.counts.iter().map(|it| it.count).sum();
        println!("counts {name}: {} groups of {total} results in {took:.2?}", page.counts.len());
    }
}

fn query() -> ListQuery {
    ListQuery { selection: Selection::default(), at: At::Latest, after: None, limit: None }
}

/// The shortest of some runs.
async fn shortest<T, F: Future<Output = T>>(run: impl Fn() -> F) -> (Duration, T) {
    let mut best: Option<(Duration, T)> = None;
    for _ in 0..5 {
        let began = Instant::now();
        let result = run().await;
        let took = began.elapsed();
        if best.as_ref().is_none_or(|(shortest, _)| took < *shortest) {
            best = Some((took, result));
        }
    }
    best.unwrap()
}

/// Reads a list as JSON, as a handler would; says how many objects.
async fn read(store: &Store, query: &ListQuery) -> usize {
    let mut list = store.list(RESOURCE, query).await.unwrap();
    let (mut count, mut out) = (0, Vec::with_capacity(128 << 10));
    while let Some(packed) = list.next_packed().await.unwrap() {
        packed.write_json("wgpolicyk8s.io/v1alpha2", "PolicyReport", &mut out).unwrap();
        count += 1;
        if out.len() > 64 << 10 {
            std::hint::black_box(&out);
            out.clear();
        }
    }
    count
}

async fn lists(database: &Arc<dyn Database>, store: &Store, objects: usize) {
    let (floor, bytes) = shortest(async || {
        let select = Statement::new("SELECT body FROM object ORDER BY id");
        let mut rows = database.stream(&Request::new([select])).await.unwrap();
        let mut context = zstd::bulk::Decompressor::new().unwrap();
        let mut bytes = 0;
        while let Some(row) = rows.next().await.unwrap() {
            let Value::Blob(packed) = &row[0] else { panic!("{row:?}") };
            bytes += context.decompress(packed, 64 << 10).unwrap().len();
        }
        bytes
    })
    .await;
    let everything = query();
    let (full, count) = shortest(|| read(store, &everything)).await;
    assert_eq!(count, objects);
    println!(
        "list all: {full:.1?}; reading and decompressing {} MB: {floor:.1?}; ratio {:.2} (reach 2, with TLS in both)",
        bytes / 1_000_000,
        full.as_secs_f64() / floor.as_secs_f64()
    );
    let label = Requirement { key: "team".to_owned(), test: Test::In(vec!["t3".to_owned()]) };
    let by_label = Selection { labels: vec![label], ..Selection::default() };
    let by_namespace = Selection { namespace: Some("team-07".to_owned()), ..Selection::default() };
    for (name, selection) in [("label", by_label), ("namespace", by_namespace)] {
        let query = ListQuery { selection, ..query() };
        let (took, count) = shortest(|| read(store, &query)).await;
        compare(name, took, count, full, objects);
    }
    let first = ListQuery { limit: Some(500), ..query() };
    let page = async || {
        let page = store.packed_page(RESOURCE, &first).await.unwrap();
        let mut out = Vec::new();
        for packed in &page.items {
            packed.write_json("wgpolicyk8s.io/v1alpha2", "PolicyReport", &mut out).unwrap();
        }
        std::hint::black_box(&out);
        page
    };
    let (took, page) = shortest(page).await;
    compare("limit=500", took, page.items.len(), full, objects);
    // Behind it is what was written since: all of it is looked through.
    let revision = page.revision;
    for number in 0..2000 {
        let draft = draft(number);
        let there = store.get(RESOURCE, &draft.key).await.unwrap().unwrap();
        store.update(RESOURCE, &draft, there.revision).await.unwrap();
    }
    let next = ListQuery { at: At::Exactly(revision), after: page.next, ..first.clone() };
    let (took, page) = shortest(async || store.page(RESOURCE, &next).await.unwrap()).await;
    compare("limit=500 of the past, 2000 changes later", took, page.items.len(), full, objects);
}

fn compare(name: &str, took: Duration, count: usize, full: Duration, objects: usize) {
    let share = count as f64 / objects as f64;
    let ratio = took.as_secs_f64() / (full.as_secs_f64() * share);
    println!(
        "list by {name}: {count} objects in {took:.2?}; {ratio:.2} times their share of the full list (reach 3)"
    );
}

/// 1,000 watchers of one resource, 200 writes a second: from the answer of the write until the last watcher has encoded bytes.
async fn watchers(store: &Store) {
    let watches = Watches::new(store.clone());
    let (say, mut hear) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..1000 {
        let mut watch = watches.watch(RESOURCE, Selection::default(), From::Now).await.unwrap();
        let say = say.clone();
        tokio::spawn(async move {
            while let Ok(Event::Added(told) | Event::Modified(told)) = watch.next().await {
                let bytes = told.encoded("wgpolicyk8s.io/v1alpha2", |stored| {
                    let mut out = Vec::new();
                    stored.write_json("wgpolicyk8s.io/v1alpha2", "PolicyReport", &mut out);
                    out
                });
                std::hint::black_box(bytes);
                if say.send((told.stored.revision, Instant::now())).is_err() {
                    return;
                }
            }
        });
    }
    let mut every = tokio::time::interval(Duration::from_millis(5));
    let mut written = std::collections::HashMap::new();
    for number in 0..1000 {
        every.tick().await;
        let draft = draft(number);
        let there = store.get(RESOURCE, &draft.key).await.unwrap().unwrap();
        let stored = store.update(RESOURCE, &draft, there.revision).await.unwrap();
        written.insert(stored.revision, Instant::now());
    }
    let mut last = std::collections::HashMap::new();
    for _ in 0..1000 * 1000 {
        let (revision, at) = hear.recv().await.unwrap();
        let slot = last.entry(revision).or_insert(at);
        *slot = at.max(*slot);
    }
    let mut delays: Vec<Duration> =
        written.iter().map(|(revision, at)| last[revision].saturating_duration_since(*at)).collect();
    delays.sort_unstable();
    println!(
        "1000 watchers, 200 writes/s: from the answer to the last watcher p50 {:.1?}, p99 {:.1?}, at most {:.1?} (reach 100 ms, with TLS)",
        delays[500], delays[990], delays[999]
    );
}

async fn resident(store: &Store) {
    let objects = variable("LARDER_BENCH_RESIDENT", 100_000);
    let watches = Watches::new(store.clone());
    let mut watching = Vec::new();
    for _ in 0..100 {
        watching.push(watches.watch(RESOURCE, Selection::default(), From::Now).await.unwrap());
    }
    let following: Vec<_> = watching
        .into_iter()
        .map(|mut watch| tokio::spawn(async move { while watch.next().await.is_ok() {} }))
        .collect();
    let writer = store.clone();
    let rate = rate(0..objects, move |number| {
        let writer = writer.clone();
        async move { drop(writer.create(RESOURCE, &draft(number)).await.unwrap()) }
    })
    .await;
    println!("{objects} objects and 100 watchers, {rate:.0} creates/s: {} MiB resident", resident_mib());
    let count = read(store, &query()).await;
    println!(
        "after a list of {count}: {} MiB resident, at most {} MiB (reach 96)",
        resident_mib(),
        peak_mib()
    );
    following.iter().for_each(tokio::task::JoinHandle::abort);
}

fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_matches(|it: char| !it.is_ascii_digit()).parse::<u64>().unwrap() >> 10
}

fn resident_mib() -> u64 {
    status("VmRSS:")
}

fn peak_mib() -> u64 {
    status("VmHWM:")
}
