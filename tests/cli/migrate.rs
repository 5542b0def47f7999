//! Migrations from the command line: from real stores into the real server.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use larder_client::fallback::{Condition, Directory, KeyValue as _, Operation};
use larder_harness::{Consul, Etcd, Server, need, setup};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use crate::reports::{object, objects, payload};
use crate::run::{Run, larder};
use crate::served::{environment, run_as, succeeds};

/// The keys and payloads of all reports.
fn everything(server: &Server) -> BTreeMap<String, Vec<u8>> {
    let listed = objects(&succeeds(server, "reader", &["reports", "list"]));
    let keys = listed.iter().map(|it| it["key"].as_str().unwrap().to_owned());
    keys.map(|key| (key.clone(), payload(server, &key))).collect()
}

/// A store in a directory of the server's home, as it is typed.
fn directory(server: &Server) -> String {
    format!("directory={}", server.home().join("kv").display())
}

fn migrate(server: &Server, from: &str, arguments: &[&str]) -> Run {
    run_as(server, "owner", &[&["migrate", "--from", from], arguments].concat(), "")
}

fn last(run: &Run) -> Json {
    objects(&run.out).pop().unwrap_or_else(|| panic!("{run:?}"))
}

/// Writes values as somebody does who knows nothing of reports.
fn write(server: &Server, values: &[(&str, &[u8])]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = Arc::new(Directory::open(server.home().join("kv")).unwrap());
    for (key, value) in values {
        let (key, value) = ((*key).to_owned(), Bytes::copy_from_slice(value));
        let put = vec![Operation::Put { key, value, condition: Condition::Any }];
        assert!(runtime.block_on(store.commit(put)).unwrap());
    }
}

#[test]
fn reports_of_a_directory_move_bit_for_bit() {
    let (server, other) = (setup!().start(), setup!().start());
    let from = directory(&server);
    let generate = ["reports", "generate", "--count", "30", "--cves", "20"];
    succeeds(&server, "owner", &[&generate[..], &["--to", &from]].concat());
    succeeds(&other, "owner", &generate);
    let dry = migrate(&server, &from, &["--dry-run"]);
    assert_eq!((dry.code, &last(&dry)["moved"]), (0, &30.into()), "{dry:?}");
    let list = run_as(&server, "reader", &["reports", "list"], "");
    assert!(list.code == 1 && list.err.contains("there are no reports"), "nothing was made: {list:?}");
    let moved = migrate(&server, &from, &[]);
    assert_eq!((moved.code, moved.err.as_str()), (0, ""), "{moved:?}");
    let summary = last(&moved);
    assert_eq!(
        (&summary["state"], &summary["moved"], &summary["left"]),
        (&"done".into(), &30.into(), &0.into())
    );
    assert_eq!(everything(&server), everything(&other));
    let cves = |server| succeeds(server, "reader", &["reports", "cves", "--order", "name"]);
    assert_eq!(cves(&server), cves(&other));
    let again = migrate(&server, &from, &["--once"]);
    assert_eq!((again.code, &last(&again)["moved"]), (0, &0.into()), "{again:?}");
}

#[test]
fn a_directory_that_is_not_there_is_no_empty_store() {
    let server = setup!().start();
    let missing = server.home().join("not-mounted");
    let from = format!("directory={}", missing.display());
    for arguments in [&[][..], &["--dry-run"]] {
        let run = migrate(&server, &from, arguments);
        assert!(run.code == 3 && run.err.contains("there is no directory"), "{run:?}");
        assert!(!missing.exists(), "nothing is made where something was to be read");
    }
    assert_eq!(run_as(&server, "owner", &["reports", "put", "host/a"], "x").code, 0);
    let back = migrate(&server, &from, &["--evacuate", "--dry-run"]);
    assert_eq!((back.code, &last(&back)["moved"]), (0, &1.into()), "{back:?}");
    assert!(!missing.exists(), "a dry run changes nothing");
}

#[test]
fn what_cannot_be_moved_stays_and_is_named() {
    let server = setup!().start();
    let from = directory(&server);
    succeeds(&server, "owner", &["reports", "generate", "--count", "3", "--cves", "5", "--to", &from]);
    write(
        &server,
        &[
            ("scan/data/report/workload/cut", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 75]),
            ("scan/data/report/workload/lone/3", b"a piece of nothing"),
            (
                "scan/state/report/workload/ahead",
                br#"{"scanned_at":"2999-01-01T00:00:00Z","status":"finished"}"#,
            ),
            ("scan/data/report/workload/ahead", b"of the future"),
        ],
    );
    let run = migrate(&server, &from, &[]);
    assert_eq!(run.code, 1, "{run:?}");
    let summary = last(&run);
    assert_eq!((&summary["moved"], &summary["left"]), (&3.into(), &3.into()), "{summary}");
    let skipped = summary["skipped"].as_array().unwrap();
    let reason = |key: &str| {
        let found = skipped.iter().find(|it| it["key"].as_str().unwrap().contains(key));
        found.unwrap_or_else(|| panic!("{key}: {summary}"))["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!((reason("ahead").as_str(), reason("cut").as_str()), ("future", "undecodable"));
    assert!(!reason("lone").is_empty());
    let table = migrate(&server, &from, &["--dry-run", "--table"]);
    assert!(table.code == 1 && table.out.contains("workload/cut"), "{table:?}");
}

#[test]
fn a_dry_run_says_what_the_real_one_does() {
    let server = setup!().start();
    let from = directory(&server);
    let scanned = |what: &str| format!(r#"{{"scanned_at":"2024-05-01T00:00:00Z","Vuls":[],"Tag":"{what}"}}"#);
    write(&server, &[("scan/data/report/workload/other", scanned("one").as_bytes())]);
    assert_eq!(migrate(&server, &from, &[]).code, 0);
    assert_eq!(run_as(&server, "owner", &["reports", "put", "workload/undated"], "of today").code, 0);
    let crossed = ["reports", "put", "workload/crossed", "--scanned-at", "2024-01-01"];
    assert_eq!(run_as(&server, "owner", &crossed, "scanned early, written late").code, 0);
    // It was deleted and scanned anew while the database was away, which has it of a scan that was later and written earlier.
    let late = ["reports", "put", "workload/late", "--scanned-at", "2025-01-01"];
    assert_eq!(run_as(&server, "owner", &late, "deleted").code, 0);
    let away = |arguments: &[&str], input: &str| {
        let url = ["--fallback", &from, "--url", "https://127.0.0.1:1"];
        let run = run_as(&server, "owner", &[&["reports"], arguments, &url].concat(), input);
        assert_eq!(run.code, 0, "{run:?}");
    };
    away(&["delete", "workload/late"], "");
    away(&["put", "workload/late", "--scanned-at", "2024-05-01"], "anew");
    write(
        &server,
        &[
            ("scan/data/report/workload/other", scanned("two").as_bytes()),
            ("scan/data/report/workload/undated", b"nobody says when"),
            ("scan/data/report/workload/crossed", scanned("later").as_bytes()),
            ("scan/data/report/workload/lone/3", b"a piece of nothing"),
            ("scan/data/report/workload/new", scanned("new").as_bytes()),
        ],
    );
    let (dry, real) = (migrate(&server, &from, &["--dry-run"]), migrate(&server, &from, &[]));
    let (would, did) = (last(&dry), last(&real));
    assert_eq!((dry.code, real.code), (1, 1), "{dry:?} {real:?}");
    for figure in ["moved", "already_there", "older", "deleted", "left", "reasons"] {
        assert_eq!(would[figure], did[figure], "{figure}: {would} {did}");
    }
    assert_eq!((&did["moved"], &did["left"]), (&3.into(), &3.into()), "{did}");
}

#[test]
fn payloads_stay_closed_if_nobody_wants_findings() {
    let server = setup!().start();
    let from = directory(&server);
    succeeds(&server, "owner", &["reports", "generate", "--count", "10", "--cves", "5", "--to", &from]);
    let run = migrate(&server, &from, &["--findings", "off"]);
    assert_eq!((run.code, &last(&run)["moved"]), (0, &10.into()), "{run:?}");
    let stats = objects(&succeeds(&server, "reader", &["reports", "stats"]));
    assert!(stats.iter().all(|it| it["with_findings"] == 0), "{stats:?}");
    assert_eq!(succeeds(&server, "reader", &["reports", "cves"]), "");
}

#[test]
fn the_way_back_leaves_nothing_in_the_database() {
    let (server, other) = (setup!().start(), setup!().start());
    let from = directory(&server);
    let generate = ["reports", "generate", "--count", "20", "--cves", "20"];
    succeeds(&server, "owner", &generate);
    succeeds(&other, "owner", &generate);
    let back = migrate(&server, &from, &["--evacuate"]);
    assert_eq!(back.code, 0, "{back:?}");
    assert_eq!(last(&back)["database"], "empty; it may be removed");
    assert_eq!(succeeds(&server, "reader", &["reports", "list"]), "");
    let dry = migrate(&server, &from, &["--dry-run"]);
    assert_eq!((dry.code, &last(&dry)["moved"]), (0, &20.into()), "{dry:?}");
    let again = migrate(&server, &from, &[]);
    assert_eq!((again.code, &last(&again)["moved"]), (0, &20.into()), "{again:?}");
    assert_eq!(everything(&server), everything(&other));
}

#[test]
fn a_migration_that_runs_for_ever_ends_with_a_signal() {
    let server = setup!().start();
    let from = directory(&server);
    succeeds(&server, "owner", &["reports", "generate", "--count", "5", "--cves", "5", "--to", &from]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_larder"))
        .envs(environment(&server, "owner"))
        .args(["migrate", "--from", &from, "--interval", "50ms"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    // A later pass than the first: what was there was moved.
    assert!(lines.any(|it| serde_json::from_str::<Json>(&it.unwrap()).unwrap()["pass"].as_u64() > Some(1)));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let ended = lines.last().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
    let ended = object(&ended);
    assert_eq!((&ended["state"], &ended["moved"]), (&"stopped".into(), &5.into()), "of all passes");
    assert_eq!(objects(&succeeds(&server, "reader", &["reports", "list"])).len(), 5);
}

#[test]
fn what_stays_is_named_before_the_end() {
    let server = setup!().start();
    write(&server, &[("scan/data/report/workload/cut", &[0x1f, 0x8b, 8])]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_larder"))
        .envs(environment(&server, "owner"))
        .args(["migrate", "--from", &directory(&server), "--interval", "50ms"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let names = |line: String| {
        let said = object(&line);
        (&said["state"], &said["key"]) == (&"skipped".into(), &"workload/cut".into())
    };
    assert!(lines.any(|it| names(it.unwrap())));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_migration_that_is_over_says_so_whatever_the_index_says() {
    let server = setup!().start();
    let from = directory(&server);
    let report = r#"{"Vuls":[{"Name":"CVE-2021-20530","Score":7.5}]}"#;
    assert_eq!(run_as(&server, "owner", &["reports", "put", "host/damaged"], report).code, 0);
    let damage = "UPDATE report SET findings = x'deadbeef'";
    succeeds(&server, "owner", &["execute", damage]);
    let generate = ["reports", "generate", "--count", "3", "--cves", "5", "--to", &from];
    succeeds(&server, "owner", &generate);
    let moved = migrate(&server, &from, &[]);
    assert_eq!((moved.code, &last(&moved)["moved"]), (1, &3.into()), "{moved:?}");
    assert!(moved.err.contains("all was moved") && moved.err.contains("damaged"), "{moved:?}");
    let dump = run_as(&server, "reader", &["reports", "dump"], "");
    let keys: std::collections::BTreeSet<_> =
        objects(&dump.out).iter().map(|it| it["key"].to_string()).collect();
    assert_eq!((dump.code, keys.len()), (1, 3), "{dump:?}");
    assert!(dump.err.contains("its findings cannot be read"), "{dump:?}");
}

#[test]
fn nothing_moves_while_nobody_is_known_to_be_ready() {
    let server = setup!().start();
    let from = directory(&server);
    succeeds(&server, "owner", &["reports", "generate", "--count", "2", "--cves", "5", "--to", &from]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_larder"))
        .envs(environment(&server, "owner"))
        .args(["migrate", "--from", &from, "--members", "announced", "--since", "5.5.0", "--interval", "1s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let waits = |line: String| {
        let state = object(&line);
        assert_eq!((&state["state"], &state["moved"]), (&"waiting".into(), &0.into()), "{line}");
        state["waits_for"].as_str().unwrap().contains("no member is alive")
    };
    assert!(lines.by_ref().any(|it| waits(it.unwrap())));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(object(&lines.last().unwrap().unwrap())["moved"], 0);
    assert!(child.wait().unwrap().success());
}

#[test]
fn who_waits_for_others_says_so_and_can_be_stopped() {
    let server = setup!().start();
    write(&server, &[]);
    let from = directory(&server);
    let mut child = Command::new(env!("CARGO_BIN_EXE_larder"))
        .envs(environment(&server, "owner"))
        .args(["migrate", "--from", &from, "--members", "announced", "--since", "5.5.0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    assert!(said.any(|it| it.unwrap() == "waiting: closed: no member is alive"));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(said.last().unwrap().unwrap(), "cancelled");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(object(&String::from_utf8(output.stdout).unwrap())["state"], "stopped");
}

#[test]
fn a_store_or_a_database_that_is_away_is_said_to_be() {
    let mut server = setup!().start();
    // A port that was free a moment ago: nobody listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = migrate(&server, &format!("consul=http://{free}"), &[]);
    assert!(run.code == 3 && run.err.contains(&free.to_string()), "{run:?}");
    let error = last(&run)["error"].to_string();
    assert_eq!(error.matches(&free.to_string()).count(), 1, "it is named once: {error}");
    assert!(server.terminate().success());
    write(&server, &[]);
    let from = directory(&server);
    let run = migrate(&server, &from, &[]);
    assert!(run.code == 3 && run.err.contains("cannot reach"), "{run:?}");
    for wrong in [
        &["--from", "redis"][..],
        &["--from", "directory=x", "--leader", "consul"],
        &["--from", "directory=x", "--members", "announced"],
        &["--from", "consul=https://localhost:1"],
        &["--from", "directory=x", "--interval", "0s"],
    ] {
        let run = run_as(&server, "owner", &[&["migrate"], wrong].concat(), "");
        assert!(matches!(run.code, 2 | 3) && run.out.is_empty(), "{wrong:?}: {run:?}");
    }
}

/// Runs a command that shows Consul its token.
fn with_token(server: &Server, consul: &Consul, arguments: &[&str]) -> Run {
    let mut variables = environment(server, "owner").to_vec();
    variables.push(("LARDER_CONSUL_TOKEN", consul.token().to_owned()));
    larder(server.home(), &variables, arguments, "")
}

fn keys_in(consul: &Consul) -> Vec<String> {
    let token = format!("X-Consul-Token: {}", consul.token());
    let url = format!("{}/v1/kv/?keys", consul.url());
    let output = Command::new("curl").args(["--silent", "--header", &token, &url]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

#[test]
fn reports_move_out_of_etcd() {
    let etcd = need!(Etcd::start());
    let server = setup!().start();
    let mut variables = environment(&server, "owner").to_vec();
    variables.extend([
        ("LARDER_ETCD_USER", etcd.user().to_owned()),
        ("LARDER_ETCD_PASSWORD", etcd.password().to_owned()),
    ]);
    let store = format!("etcd={}", etcd.url());
    let run = |arguments: &[&str]| {
        let run = larder(server.home(), &variables, &[arguments, &["--layout", "plain"]].concat(), "");
        assert_eq!(run.code, 0, "{run:?}");
        run
    };
    run(&["reports", "generate", "--count", "12", "--cves", "10", "--to", &store]);
    let summary = last(&run(&["migrate", "--from", &store]));
    assert_eq!((&summary["moved"], &summary["left"]), (&12.into(), &0.into()), "{summary}");
    assert_eq!(everything(&server).len(), 12);
}

#[test]
fn neuvectors_keys_in_consul_move_in_pieces_or_whole() {
    let consul = need!(Consul::start());
    let (server, other) = (setup!().start(), setup!().start());
    let from = format!("consul={}", consul.url());
    // Of one in pieces, four benchmarks, and ordinary ones.
    for recipe in [
        &["--count", "1", "--cves", "20000", "--class", "host", "--seed", "2"][..],
        &["--count", "4", "--class", "bench"],
        &["--count", "20", "--cves", "50"],
    ] {
        let generate = [&["reports", "generate"], recipe].concat();
        let run = with_token(&server, &consul, &[&generate[..], &["--to", &from]].concat());
        assert_eq!(run.code, 0, "{run:?}");
        succeeds(&other, "owner", &generate);
    }
    assert!(keys_in(&consul).iter().any(|it| it.starts_with("scan/data/report/host/") && it.ends_with("/1")));
    let refused = migrate(&server, &from, &[]);
    assert!(
        matches!(refused.code, 1 | 3) && refused.out.lines().count() <= 2,
        "without a token: {refused:?}"
    );
    let run = with_token(&server, &consul, &["migrate", "--from", &from, "--leader", "consul"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(last(&run)["moved"], 25, "{run:?}");
    assert_eq!(everything(&server), everything(&other));
    let left = keys_in(&consul);
    assert!(left.iter().all(|it| it.starts_with("scan/state/") || it == "larder-migrate"), "{left:?}");
    assert!(left.len() >= 22, "the states stay: {left:?}");
}
