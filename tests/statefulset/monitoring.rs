//! The alerts, unit-tested with promtool on what a real server says of itself, and the dashboard's metrics.

use larder_harness::{ApiServerSetup, Server, need, prepared, setup};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::objects::{manifests, parsed, printed, statefulset};

/// What makes an alert fire: a series in place of the healthy one, or beside it, and after how many minutes.
struct Case {
    alert: &'static str,
    severity: &'static str,
    series: &'static str,
    /// In promtool's notation, one value a minute.
    values: &'static str,
    /// It does not fire yet at the first of these minutes, and does at the second.
    minutes: (u32, u32),
}

const fn case(
    alert: &'static str,
    severity: &'static str,
    series: &'static str,
    values: &'static str,
    minutes: (u32, u32),
) -> Case {
    Case { alert, severity, series, values, minutes }
}

const CASES: [Case; 28] = [
    case("LarderDown", "critical", "up", "1x9 0x50", (11, 13)),
    // A pod that is not placed is no target any more; a minute's sample is looked back at for five.
    case("LarderDown", "critical", "up", "1x9 _x60", (14, 18)),
    case("LarderApiServerDown", "critical", r#"up{container="apiserver"}"#, "1x9 0x50", (11, 13)),
    case("LarderApiServerDown", "critical", r#"up{container="apiserver"}"#, "1x9 _x60", (14, 18)),
    case(
        "LarderApiServerErrors",
        "warning",
        r#"larder_apiserver_requests_total{verb="list",resource="policyreports.wgpolicyk8s.io",subresource="",code="503"}"#,
        "0x20 0+60x60",
        (29, 34),
    ),
    case(
        "LarderApiServerStoreFails",
        "critical",
        r#"larder_apiserver_store_operation_seconds_count{operation="list",outcome="failed"}"#,
        "0x20 0+60x60",
        (24, 29),
    ),
    case(
        "LarderApiServerResultsBehind",
        "warning",
        "larder_apiserver_result_rows_behind_seconds",
        "0x9 400x60",
        (19, 22),
    ),
    case(
        "LarderCertificateExpires",
        "warning",
        "larder_apiserver_certificate_expiry_timestamp_seconds",
        "1123200x100",
        (59, 62),
    ),
    case(
        "LarderCertificateRefused",
        "warning",
        "larder_apiserver_certificate_reloads_refused",
        "0x20 1x60",
        (20, 22),
    ),
    case("LarderWriterSuspended", "critical", "larder_writer_suspended", "0x9 1x50", (10, 12)),
    case("LarderDatabaseDamaged", "critical", "larder_database_damaged", "0x9 1x50", (9, 10)),
    // An error that came once, after which nothing rises any more, and one that goes on.
    case("LarderErrors", "critical", r#"larder_refusals_total{code="INTERNAL"}"#, "_x20 1x40", (19, 23)),
    case(
        "LarderErrors",
        "critical",
        r#"larder_refusals_total{code="SQLITE_IOERR_FSYNC"}"#,
        "0x20 0+1x40",
        (20, 23),
    ),
    case(
        "LarderDiskFull",
        "critical",
        r#"larder_refusals_total{code="SQLITE_FULL"}"#,
        "0x20 0+2x40",
        (21, 24),
    ),
    case("LarderDiskNearlyFull", "critical", "larder_disk_free_bytes", "1e10x9 1e8x50", (14, 16)),
    case("LarderNoRoomForBackup", "warning", "larder_database_bytes", "1e5x9 1e18x60", (39, 41)),
    case("LarderDiskFills", "warning", "larder_disk_free_bytes", "1e10-3e6x700", (10, 500)),
    case("LarderDiskSlow", "warning", "larder_fsync_seconds", "slow", (14, 40)),
    case("LarderWritesWait", "warning", "larder_write_queue_wait_seconds", "slow", (9, 40)),
    case(
        "LarderQueueFull",
        "warning",
        r#"larder_refusals_total{code="QUEUE_FULL"}"#,
        "0x20 0+2x40",
        (24, 30),
    ),
    case("LarderLogLong", "warning", "larder_wal_bytes", "1e6x9 2e8x50", (14, 16)),
    case(
        "LarderCheckpointsFail",
        "warning",
        r#"larder_checkpoints_total{outcome="failed"}"#,
        "_x20 1x40",
        (19, 23),
    ),
    // The clock of these tests begins at 0: 13 days are left, and one.
    case(
        "LarderCertificateExpires",
        "warning",
        "larder_certificate_expiry_timestamp_seconds",
        "1123200x100",
        (59, 62),
    ),
    case(
        "LarderCertificateExpiresNow",
        "critical",
        "larder_certificate_expiry_timestamp_seconds",
        "1e9x9 86400x50",
        (9, 11),
    ),
    case("LarderAuthorityExpires", "warning", "larder_ca_expiry_timestamp_seconds", "5097600x100", (59, 62)),
    case("LarderCertificateRefused", "warning", "larder_certificate_reloads_refused", "0x20 1x60", (20, 22)),
    case("LarderStrangers", "warning", "larder_identities_refused_total", "0x20 0+1x60", (34, 38)),
    case("LarderStrangers", "warning", "larder_handshakes_refused_total", "0x20 0+5x60", (34, 45)),
];

const DATABASE: &str = r#"job="larder",namespace="reports",container="larder",pod="larder-0""#;
const API_SERVER: &str =
    r#"job="larder",namespace="reports",container="apiserver",pod="larder-apiserver-5c""#;

/// What both servers say after they have written and read something.
async fn scrape() -> String {
    [scrape_database(&setup!().start()).await, scrape_api_server()].concat()
}

fn scrape_api_server() -> String {
    let server = ApiServerSetup::new(env!("CARGO_BIN_EXE_larder")).start();
    let pair = server.user();
    let path = "/apis/wgpolicyk8s.io/v1alpha2/namespaces/default/policyreports";
    let curl = |command: &mut Command| printed(command.args(["-sS", "--max-time", "20"]));
    let ask = |query: &str| {
        let mut ask = Command::new("curl");
        ask.arg(format!("{}{path}{query}", server.url())).arg("--cacert").arg(server.home().join("ca.crt"));
        curl(ask.arg("--cert").arg(&pair.cert).arg("--key").arg(&pair.key))
    };
    assert!(ask("").contains("PolicyReportList"));
    // What has labels is told only once it has happened.
    ask("?watch=true&timeoutSeconds=1");
    curl(Command::new("curl").arg(format!("{}/metrics", server.probe_url())))
}

async fn scrape_database(server: &Server) -> String {
    let mut owner = server.connect("owner").await;
    for statement in ["CREATE TABLE t (a)", "INSERT INTO t VALUES (1)"] {
        assert_eq!(owner.post("/execute", json!([statement]).to_string()).await.status, 200);
    }
    assert_eq!(owner.post("/query", r#"["SELECT a FROM t"]"#).await.status, 200);
    // What has labels is told only once it has happened.
    assert_eq!(owner.post("/query", r#"["SELECT b FROM t"]"#).await.status, 400);
    let mut admin = server.connect("admin").await;
    assert_eq!(admin.send(http::Method::POST, "/maintenance/checkpoint", &[], "").await.unwrap().status, 200);
    server.probe("/metrics").await.text().to_owned()
}

/// The names of all series of a scrape, those too that have no sample yet.
fn names(scrape: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::from(["up".to_owned()]);
    for line in scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let suffixes: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "gauge" => &[""],
            other => panic!("{name} is a {other}"),
        };
        names.extend(suffixes.iter().map(|suffix| format!("{name}{suffix}")));
    }
    names
}

/// The metrics that an expression names.
fn metrics_in(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    words.filter(|word| word.starts_with("larder_"))
}

fn rules() -> Value {
    let objects = parsed(&manifests(&["self-signed", "--monitoring"]));
    objects.into_iter().find(|it| it["kind"] == "PrometheusRule").unwrap()["spec"].clone()
}

/// A series with the labels of the target that it is of.
fn on_target(series: &str) -> String {
    if let Some(rest) = series.strip_prefix(r#"up{container="apiserver"}"#) {
        return format!("up{{{API_SERVER}}}{rest}");
    }
    let target = if series.starts_with("larder_apiserver") { API_SERVER } else { DATABASE };
    match series.split_once('{') {
        Some((name, labels)) => format!("{name}{{{target},{labels}"),
        None => format!("{series}{{{target}}}"),
    }
}

/// A healthy server, for as long as any case takes.
fn healthy(scrape: &str) -> Vec<(String, String)> {
    let samples = scrape.lines().filter(|line| !line.starts_with('#'));
    let constant = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (on_target(series), format!("{value}x700"))
    };
    let up = ["up", r#"up{container="apiserver"}"#].map(|it| (on_target(it), "1x700".to_owned()));
    samples.map(constant).chain(up).collect()
}

/// The healthy series with those of the case in their place.
fn ill(case: &Case, healthy: &[(String, String)]) -> Value {
    let mut series: Vec<_> = healthy.to_vec();
    if case.values == "slow" {
        // Every observation of a minute falls into the last bucket.
        for (name, values) in &mut series {
            let is = |suffix| name.starts_with(&format!("{}_{suffix}", case.series));
            if is("count") || name.starts_with(&format!("{}_bucket", case.series)) && name.contains("+Inf") {
                "0+60x700".clone_into(values);
            }
        }
    } else {
        let ours = on_target(case.series);
        series.retain(|(name, _)| *name != ours);
        series.push((ours, case.values.to_owned()));
    }
    series.into_iter().map(|(series, values)| json!({ "series": series, "values": values })).collect()
}

/// Whether the alert of a case fires at its two minutes.
fn test_of(case: &Case, healthy: &[(String, String)]) -> Value {
    let expression =
        format!("count by (severity) (ALERTS{{alertname={:?},alertstate=\"firing\"}})", case.alert);
    let fired = json!([{ "labels": format!("{{severity={:?}}}", case.severity), "value": 1 }]);
    json!({
        "interval": "1m",
        "input_series": ill(case, healthy),
        "promql_expr_test": [
            { "expr": expression, "eval_time": format!("{}m", case.minutes.0), "exp_samples": [] },
            { "expr": expression, "eval_time": format!("{}m", case.minutes.1), "exp_samples": fired },
        ],
    })
}

#[tokio::test]
async fn every_alert_fires_when_it_has_to_and_not_before() {
    let promtool = need!(prepared("promtool"));
    let healthy = healthy(&scrape().await);
    let rules = rules();
    let groups = rules["groups"].as_array().unwrap().iter();
    let alerts = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let alerts: BTreeSet<_> = alerts.map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect();
    let tested: BTreeSet<_> = CASES.iter().map(|case| case.alert.to_owned()).collect();
    assert_eq!(alerts, tested, "an alert without a test, or a test without an alert");

    let mut tests: Vec<Value> = CASES.iter().map(|case| test_of(case, &healthy)).collect();
    let series: Vec<_> =
        healthy.iter().map(|(series, values)| json!({ "series": series, "values": values })).collect();
    let quiet = json!({ "expr": "ALERTS", "eval_time": "600m", "exp_samples": [] });
    tests.push(json!({ "interval": "1m", "input_series": series, "promql_expr_test": [quiet] }));

    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("rules.yaml"), rules.to_string()).unwrap();
    let whole = json!({ "rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests });
    fs::write(home.path().join("tests.yaml"), whole.to_string()).unwrap();
    for arguments in [["check", "rules", "rules.yaml"], ["test", "rules", "tests.yaml"]] {
        let output = Command::new(&promtool).args(arguments).current_dir(home.path()).output().unwrap();
        let said =
            [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
        assert!(output.status.success(), "promtool {arguments:?}: {said}");
    }
}

#[tokio::test]
async fn alerts_and_dashboard_name_metrics_that_there_are() {
    let names = names(&scrape().await);
    let text = fs::read_to_string(statefulset().join("chart/monitoring/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut expressions = Vec::new();
    collect(&dashboard, &mut expressions);
    assert!(expressions.len() > 25, "{expressions:?}");
    collect(&rules(), &mut expressions);
    let mut shown = BTreeSet::new();
    for metric in expressions.iter().flat_map(|it| metrics_in(it)) {
        assert!(names.contains(metric), "{metric} is no metric of the server");
        shown.insert(metric.to_owned());
    }
    assert!(shown.len() > 25, "{shown:?}");
}

/// Every expression below a value: in dashboards and rules alike they are called `expr`, and the query of a variable `query`.
fn collect(value: &Value, expressions: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" || name == "query" => {
                        expressions.push(text.clone())
                    }
                    other => collect(other, expressions),
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|it| collect(it, expressions)),
        _ => {}
    }
}

#[tokio::test]
async fn every_panel_shows_something_on_the_chosen_data_source() {
    let text = fs::read_to_string(statefulset().join("chart/monitoring/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: Vec<_> = variables.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(variables, ["datasource", "namespace"]);
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|it| it["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels of one id");
    for panel in panels {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
            assert!(target["expr"].as_str().unwrap().contains("namespace=\"$namespace\""), "{target}");
        }
    }
}
