//! `larder bench` from start to end, with everything small: that every figure comes out, that the server kept
//! what it acknowledged (the command fails otherwise), and that nothing is left behind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

use larder_harness::Consul;

fn bench(dir: &std::path::Path, args: &[&str]) -> Output {
    run(&["bench"], dir, args)
}

fn run(command: &[&str], dir: &std::path::Path, args: &[&str]) -> Output {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_larder"));
    bench.args(command).args(["--quick", "--dir"]).arg(dir).args(args).output().unwrap()
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

#[test]
fn every_figure_comes_out_and_nothing_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("figures.json");
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let output = bench(&data, &["--json", json.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let figures = report["figures"].as_array().unwrap();
    let names: Vec<_> = figures.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "insert",
            "insert-grouped",
            "insert-json",
            "latency",
            "many",
            "reads",
            "stream",
            "stream-memory",
            "memory-idle",
            "memory-loaded",
            "ready"
        ]
    );
    for figure in figures.iter().filter(|it| it["name"] != "stream-memory") {
        assert!(figure["reached"].as_f64().unwrap() > 0.0, "{figure}");
    }
    let table = text(&output.stdout);
    assert_eq!(table.matches('×').count(), 2 * 7, "{table}");
    assert_eq!(std::fs::read_dir(data).unwrap().count(), 0);
}

#[test]
fn one_figure_can_be_asked_for_alone() {
    let dir = tempfile::tempdir().unwrap();
    let output = bench(dir.path(), &["--only", "reads"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    assert!(table.contains("point reads") && !table.contains("insert"), "{table}");
}

#[test]
fn moving_reports_is_measured_against_its_floors() {
    let consul = larder_harness::need!(Consul::program());
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("figures.json");
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let args = ["--consul", consul.to_str().unwrap(), "--json", json.to_str().unwrap()];
    let output = run(&["bench", "migrate"], &data, &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let figures = report["figures"].as_array().unwrap();
    let names: Vec<_> = figures.iter().map(|it| it["name"].as_str().unwrap()).collect();
    let moved = ["migrate", "memory", "migrate-findings", "memory-findings"];
    let of = |workload: &str| {
        let names = names.iter().filter_map(|it| it.strip_prefix(workload)?.strip_prefix('-'));
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!((of("a"), of("b")), (moved.map(str::to_owned).into(), moved.map(str::to_owned).into()));
    assert_eq!(
        of("c"),
        [
            "migrate",
            "seconds",
            "memory",
            "migrate-findings",
            "seconds-findings",
            "memory-findings",
            "cold-start",
            "scored",
            "scored-ratio",
            "affected",
            "affected-ratio",
            "impact",
            "impact-ratio",
            "disk",
            "outage"
        ]
    );
    assert_eq!(std::fs::read_dir(data).unwrap().count(), 0);
}

#[test]
fn the_kubernetes_api_is_measured_against_its_floors() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("figures.json");
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let output = run(&["bench", "apiserver"], &data, &["--json", json.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let figures = report["figures"].as_array().unwrap();
    let names: Vec<_> = figures.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "create",
            "list",
            "list-memory",
            "table",
            "list-label",
            "list-namespace",
            "list-page",
            "list-walk",
            "watch",
            "watch-stuck",
            "watch-whole",
            "memory"
        ]
    );
    for figure in figures.iter().filter(|it| it["name"] != "list-memory") {
        assert!(figure["reached"].as_f64().unwrap() > 0.0, "{figure}");
    }
    assert_eq!(std::fs::read_dir(data).unwrap().count(), 0);
}
