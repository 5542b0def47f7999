//! Reports from the command line, against the real server over mutual TLS.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use larder_client::fallback::Directory;
use larder_harness::{STRANGER, Server, setup};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use serde_json::Value as Json;

use crate::run::Run;
use crate::served::{environment, fails, run_as, succeeds};

/// Every byte there is, among them all that shells, terminals and texts stumble over.
fn binary() -> Vec<u8> {
    (0..100_000u32).map(|it| (it % 251 * 7 % 256) as u8).chain(0..=255).collect()
}

pub(crate) fn objects(out: &str) -> Vec<Json> {
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

pub(crate) fn object(out: &str) -> Json {
    let [object] = <[Json; 1]>::try_from(objects(out)).unwrap();
    object
}

fn put(server: &Server, role: &str, arguments: &[&str], payload: &str) -> Run {
    run_as(server, role, &[&["reports", "put"], arguments].concat(), payload)
}

/// The payload of a report as it comes out of the pipe.
pub(crate) fn payload(server: &Server, key: &str) -> Vec<u8> {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_larder"))
        .envs(environment(server, "reader"))
        .args(["reports", "get", key])
        .output()
        .unwrap();
    assert!(output.status.success(), "{key}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn what_is_put_comes_back_bit_for_bit() {
    let server = setup!().start();
    let (file, copy) = (server.home().join("report"), server.home().join("copy"));
    std::fs::write(&file, binary()).unwrap();
    let key = "image/quay.io/tëam's/4f5a:1";
    let asset =
        ["--name", "web", "--namespace", "shop", "--scanned-at", "2024-05-01", "--scanner-version", "3.4"];
    let arguments = [&[key, file.to_str().unwrap()], &asset[..]].concat();
    let run = put(&server, "owner", &arguments, "");
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    let done = object(&run.out);
    assert_eq!(
        (&done["stored"], &done["bytes"], &done["encoding"]),
        (&true.into(), &100_256.into(), &"opaque".into())
    );
    assert_eq!(payload(&server, key), binary());
    let run = run_as(&server, "reader", &["reports", "get", key, "-o", copy.to_str().unwrap()], "");
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{run:?}");
    assert_eq!(std::fs::read(copy).unwrap(), binary());
    let meta = object(&succeeds(&server, "reader", &["reports", "get", "--meta", key]));
    assert_eq!(meta["scanned_at"], "2024-05-01T00:00:00Z");
    assert_eq!((&meta["asset"]["name"], &meta["asset"]["namespace"]), (&"web".into(), &"shop".into()));
    assert_eq!((&meta["scanner_version"], &meta["bytes"]), (&"3.4".into(), &100_256.into()));
}

#[test]
fn what_is_no_file_is_written_to_and_never_replaced() {
    let server = setup!().start();
    assert_eq!(put(&server, "owner", &["host/a"], "payload").code, 0);
    let get =
        |to: &Path| run_as(&server, "reader", &["reports", "get", "host/a", "-o", to.to_str().unwrap()], "");
    let pipe = server.home().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // Opened both ways, it waits for nobody, and keeps what is written until it is read.
    let ends = OFlags::RDWR | OFlags::NONBLOCK;
    let mut reader = File::from(open(&pipe, ends, Mode::empty()).unwrap());
    let run = get(&pipe);
    assert_eq!(run.code, 0, "{run:?}");
    let mut got = [0; 7];
    reader.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"payload");

    let (file, link) = (server.home().join("file"), server.home().join("link"));
    std::fs::write(&file, "before").unwrap();
    std::os::unix::fs::symlink("file", &link).unwrap();
    let run = get(&link);
    assert_eq!((run.code, std::fs::read(&file).unwrap().as_slice()), (0, &b"payload"[..]), "{run:?}");
    assert!(link.is_symlink());
}

#[test]
fn an_older_report_changes_nothing_and_says_so() {
    let server = setup!().start();
    assert_eq!(put(&server, "owner", &["host/a", "-", "--scanned-at", "2024-05-02"], "new").code, 0);
    let run = put(&server, "owner", &["host/a", "--scanned-at", "2024-05-01"], "old");
    assert_eq!(object(&run.out)["stored"], false, "{run:?}");
    assert_eq!(payload(&server, "host/a"), b"new");
    let run = put(&server, "owner", &["host/a", "--scanned-at", "2999-01-01"], "ahead");
    assert!(run.code == 1 && run.err.contains("in the future"), "{run:?}");
    assert_eq!(put(&server, "owner", &["no-class"], "").code, 2);
    for time in ["yesterday", "0001-01-01", "1970-01-01", "60000d"] {
        assert_eq!(put(&server, "owner", &["host/a", "--scanned-at", time], "").code, 2, "{time}");
    }
}

#[test]
fn lists_are_paged_by_key() {
    let server = setup!().start();
    for key in ["host/a", "workload/1", "workload/2", "workload/3", "workload%/x"] {
        assert_eq!(put(&server, "owner", &[key, "--scanned-at", "2024-05-01"], "x").code, 0);
    }
    let keys = |arguments: &[&str]| -> Vec<String> {
        let out = succeeds(&server, "reader", &[&["reports", "list"], arguments].concat());
        objects(&out).iter().map(|it| it["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&[]).len(), 5);
    assert_eq!(keys(&["workload/", "--limit", "2"]), ["workload/1", "workload/2"]);
    assert_eq!(keys(&["workload/", "--after", "workload/2"]), ["workload/3"]);
    assert_eq!(keys(&["workload%"]), ["workload%/x"]);
    assert!(keys(&["nothing"]).is_empty());
    let table = succeeds(&server, "reader", &["reports", "list", "--table", "--limit", "1"]);
    let expected = "\
┌────────┬──────────────────────┬───────┬──────────┬──────┬────────┬─────┬───────┬─────┬──────┐
│ key    ┆ scanned at           ┆ bytes ┆ critical ┆ high ┆ medium ┆ low ┆ score ┆ v3  ┆ name │
╞════════╪══════════════════════╪═══════╪══════════╪══════╪════════╪═════╪═══════╪═════╪══════╡
│ host/a ┆ 2024-05-01 00:00:00Z ┆     1 ┆        0 ┆    0 ┆      0 ┆   0 ┆   0.0 ┆ 0.0 ┆      │
└────────┴──────────────────────┴───────┴──────────┴──────┴────────┴─────┴───────┴─────┴──────┘
(1 report)
more with --after host/a, or with --limit
";
    assert_eq!(table, expected);
    succeeds(&server, "writer", &["reports", "delete", "workload/1", "workload/none"]);
    assert_eq!(run_as(&server, "writer", &["reports", "delete", "--prefix", "workload/"], "").code, 2);
    let done = succeeds(&server, "writer", &["reports", "delete", "--prefix", "workload/", "--yes"]);
    assert_eq!(object(&done)["deleted"], 2);
    assert_eq!(keys(&[]), ["host/a", "workload%/x"]);
}

#[test]
fn an_outage_is_not_absence() {
    let mut server = setup!().start();
    assert_eq!(put(&server, "owner", &["host/a"], "x").code, 0);
    fails(&server, "reader", &["reports", "get", "host/b"], 1, "there is no report host/b");
    assert!(server.terminate().success());
    for command in [
        &["reports", "get", "host/a"][..],
        &["reports", "get", "host/b"],
        &["reports", "list"],
        &["reports", "stats"],
        &["reports", "cves"],
        &["reports", "find", "--cve", "CVE-2021-20530"],
        &["reports", "dump"],
        &["reports", "delete", "host/a"],
        &["reports", "put", "host/a"],
    ] {
        let run = run_as(&server, "owner", command, "x");
        assert_eq!((run.code, run.out.as_str()), (3, ""), "{command:?}: {run:?}");
        assert!(run.err.contains("cannot reach") && !run.err.contains("there is no"), "{run:?}");
    }
}

#[test]
fn tables_are_made_by_an_owner_once() {
    let server = setup!().start();
    for command in [&["reports", "list"][..], &["reports", "get", "host/a"], &["reports", "cves"]] {
        fails(&server, "reader", command, 1, "there are no reports in this database");
    }
    let run = put(&server, "writer", &["host/a"], "x");
    assert!(run.code == 1 && run.err.contains("that takes the role owner"), "{run:?}");
    assert_eq!(put(&server, "owner", &["host/a"], "x").code, 0);
    assert_eq!(put(&server, "writer", &["host/b"], "x").code, 0);
    let run = put(&server, STRANGER, &["host/c"], "x");
    assert!(run.code == 1 && run.err.contains("nothing was granted"), "{run:?}");
    assert!(!run.err.contains("owner"), "the tables are there: {run:?}");
    let run = put(&server, "reader", &["host/c"], "x");
    assert!(run.code == 1 && run.err.contains("ROLE_INSUFFICIENT"), "{run:?}");
}

#[test]
fn questions_are_answered_as_the_reports_say() {
    let server = setup!().start();
    let report = |vulnerabilities: &str| format!(r#"{{"Version":"3.4","Vuls":[{vulnerabilities}]}}"#);
    let of = |name: &str, severity: &str, score: f64, fixed: &str| {
        format!(
            r#"{{"Name":"{name}","Severity":"{severity}","Score":{score},"ScoreV3":{score},"PackageName":"zlib","PackageVersion":"1","FixedVersion":"{fixed}","PublishedDate":"1554768900"}}"#
        )
    };
    let (old, new) = (of("CVE-2021-20530", "High", 7.5, "2"), of("GHSA-1", "Critical", 9.8, ""));
    for (key, name, payload) in [
        ("workload/1", "web", report(&format!("{old},{new}"))),
        ("workload/2", "cart", report(&old)),
        ("host/n", "node", report("")),
    ] {
        let run = put(&server, "owner", &[key, "--name", name, "--namespace", "shop"], &payload);
        assert!(run.code == 0 && object(&run.out)["encoding"] == "json", "{run:?}");
    }
    let ask = |arguments: &[&str]| objects(&succeeds(&server, "reader", &[&["reports"], arguments].concat()));
    let names = |arguments: &[&str], field: &str| -> Vec<String> {
        ask(arguments).iter().map(|it| it[field].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["find", "--cve", "CVE-2021-20530"], "key"), ["workload/1", "workload/2"]);
    assert_eq!(ask(&["find", "--cve", "GHSA-1"])[0]["packages"][0]["name"], "zlib");
    assert_eq!(names(&["find", "--min-score", "8"], "key"), ["workload/1"]);
    assert_eq!(names(&["find", "--min-score", "7.5", "--v2", "--where", "name=cart"], "key"), ["workload/2"]);
    assert_eq!(names(&["find", "--found", "false"], "key"), ["host/n"]);
    assert_eq!(names(&["find", "--search", "NOD"], "key"), ["host/n"]);
    assert_eq!(names(&["cves"], "name"), ["CVE-2021-20530", "GHSA-1"]);
    assert_eq!(names(&["cves", "--severity", "critical"], "name"), ["GHSA-1"]);
    assert_eq!(names(&["cves", "--fix", "all", "--score-v3", "7..8"], "name"), ["CVE-2021-20530"]);
    assert_eq!(names(&["cves", "--view", "infrastructure"], "name").len(), 0);
    assert_eq!(names(&["cves", "--order", "score", "--limit", "1"], "name"), ["GHSA-1"]);
    let count = &ask(&["cves", "--count", "--search", "ghsa"])[0];
    assert_eq!(
        (&count["vulnerabilities"], &count["matched"], &count["high"]),
        (&2.into(), &1.into(), &1.into())
    );
    assert_eq!(names(&["top", "--assets", "1"], "key"), ["workload/1"]);
    let cve = ask(&["cve", "CVE-2021-20530"]);
    assert_eq!((&cve[0]["assets"], cve.len()), (&2.into(), 3));
    fails(&server, "reader", &["reports", "cve", "CVE-1999-0001"], 1, "no asset has CVE-1999-0001");
    let dump = names(&["dump"], "vulnerability");
    assert_eq!(dump.len(), 3);
    let csv = succeeds(&server, "reader", &["reports", "dump", "--csv", "--severity", "critical"]);
    let lines: Vec<_> = csv.lines().collect();
    assert!(
        lines.len() == 2
            && lines[0].starts_with("key,scanned_at,name,")
            && lines[1].contains(",GHSA-1,critical,9.8,")
    );
    let allowed = server.home().join("allowed");
    std::fs::write(&allowed, "workload/2\nhost/n\n").unwrap();
    let allowed = ["find", "--cve", "CVE-2021-20530", "--allowed", allowed.to_str().unwrap()];
    assert_eq!(names(&allowed, "key"), ["workload/2"]);
    for wrong in
        [&["cves", "--score", "9..7"][..], &["find", "--where", "color=red"], &["cves", "--after", "x"]]
    {
        assert_eq!(run_as(&server, "reader", &[&["reports"], wrong].concat(), "").code, 2, "{wrong:?}");
    }
}

#[test]
fn made_up_reports_have_the_sizes_of_real_ones() {
    let server = setup!().start();
    for (cves, bytes) in [("142", 4505.0), ("1371", 33_875.0)] {
        let seed = ["--seed", if cves == "142" { "7" } else { "8" }];
        let generate = ["reports", "generate", "--count", "20", "--cves", cves];
        let done = object(&succeeds(&server, "owner", &[&generate[..], &seed].concat()));
        let each = done["bytes"].as_f64().unwrap() / 20.0;
        assert!((each / bytes - 1.0).abs() < 0.1, "{cves}: {each}");
    }
    let stats = objects(&succeeds(&server, "reader", &["reports", "stats"]));
    let of = |field: &str| -> Vec<_> { stats.iter().map(|it| it[field].clone()).collect() };
    assert_eq!(of("class"), ["host", "image", "workload"]);
    assert_eq!((of("reports"), of("with_findings")), (vec![4.into(), 4.into(), 32.into()], of("reports")));
    let dump = succeeds(&server, "reader", &["reports", "dump", "--limit", "3000"]);
    let dumped = objects(&dump);
    assert_eq!(dumped.len(), 3000);
    let keys: BTreeSet<_> = dumped.iter().map(|it| it["key"].to_string()).collect();
    assert!(keys.len() > 1, "a page does not end with an asset");
    let run =
        run_as(&server, "owner", &["reports", "generate", "--count", "4", "--class", "bench", "--table"], "");
    assert!(run.code == 0 && run.out.contains("reports = 4\n"), "{run:?}");
}

pub(crate) fn generated() -> Server {
    let server = setup!().start();
    succeeds(&server, "owner", &["reports", "generate", "--count", "3", "--cves", "20"]);
    server
}

#[test]
fn a_schema_of_another_release_is_named_also_by_those_who_read() {
    let server = generated();
    let newer = "INSERT INTO schema_version VALUES (1000, 'next', 'x', 1000)";
    succeeds(&server, "owner", &["execute", newer]);
    for command in [["list", "--json"].as_slice(), &["stats"], &["cves"], &["find"], &["dump"]] {
        let arguments = [["reports"].as_slice(), command].concat();
        fails(&server, "reader", &arguments, 1, "the schema is at version 1000");
    }
    // There, 1 would say that the report is absent.
    fails(&server, "reader", &["reports", "get", "host/x"], 4, "the schema is at version 1000");
}

/// Takes connections, and answers nothing.
fn frozen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn a_timeout_holds_whoever_hangs() {
    let server = generated();
    let (key, consul) = (first_key(&server), frozen());
    let fallback = format!("consul=http://{}", consul.local_addr().unwrap());
    let begun = Instant::now();
    let arguments = ["reports", "get", &key, "--meta", "--fallback", &fallback, "--timeout", "1"];
    let got = run_as(&server, "reader", &arguments, "");
    assert_eq!((got.code, &object(&got.out)["complete"]), (0, &false.into()), "{got:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let begun = Instant::now();
    let arguments = ["reports", "get", "host/none", "--fallback", &fallback, "--timeout", "1"];
    let lost = run_as(&server, "reader", &arguments, "");
    assert!(lost.code == 3 && !lost.err.contains("may have been done"), "{lost:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    let sidecar = frozen();
    let url = format!("https://{}", sidecar.local_addr().unwrap());
    let begun = Instant::now();
    let lost = run_as(&server, "reader", &["reports", "get", &key, "--url", &url, "--timeout", "1"], "");
    assert!(lost.code == 3 && begun.elapsed() < Duration::from_secs(4), "{lost:?} {:?}", begun.elapsed());

    let lock = std::fs::create_dir(server.home().join("kv")).and_then(|()| {
        drop(Directory::open(server.home().join("kv")));
        let lock = std::fs::File::open(server.home().join("kv/lock"))?;
        lock.lock().map(|()| lock)
    });
    let begun = Instant::now();
    let fallback = format!("directory={}", server.home().join("kv").display());
    let arguments = ["reports", "get", "host/none", "--fallback", &fallback, "--timeout", "1"];
    let lost = run_as(&server, "reader", &arguments, "");
    assert!(lost.code == 3 && begun.elapsed() < Duration::from_secs(5), "{lost:?} {:?}", begun.elapsed());
    drop(lock.unwrap());
}

fn first_key(server: &Server) -> String {
    let listed = objects(&succeeds(server, "reader", &["reports", "list"]));
    listed[0]["key"].as_str().unwrap().to_owned()
}

#[test]
fn programs_are_told_where_a_page_ends() {
    let server = generated();
    let run = run_as(&server, "reader", &["reports", "cves", "--limit", "3"], "");
    let after =
        run.err.strip_prefix("more with --after ").and_then(|it| it.split(',').next()).unwrap_or_default();
    let next = succeeds(&server, "reader", &["reports", "cves", "--limit", "3", "--after", after]);
    let both = succeeds(&server, "reader", &["reports", "cves", "--limit", "6"]);
    assert_eq!(run.out + &next, both);
}

#[test]
fn a_payload_that_cannot_be_read_is_stored_and_said() {
    let server = generated();
    let arguments = ["reports", "put", "--encoding", "json", "host/odd", "-"];
    let run = run_as(&server, "writer", &arguments, "{no JSON");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.err.contains("without findings: the payload is no JSON from line 1"), "{run:?}");
    assert_eq!(succeeds(&server, "reader", &["reports", "get", "host/odd"]), "{no JSON");
    for (key, payload) in [("host/c", r#"{"a": 1}"#), ("host/d", "[1, 2")] {
        let run = put(&server, "owner", &[key, "--encoding", "json"], payload);
        assert!(run.code == 0 && run.err.contains("this JSON is no report"), "{run:?}");
    }
}

#[test]
fn answers_say_how_many_reports_nobody_could_look_into() {
    let server = generated();
    let note = "note: 2 reports say nothing here of what they found";
    assert_eq!(put(&server, "owner", &["host/nothing"], r#"{"Vuls":[]}"#).code, 0);
    let quiet = run_as(&server, "reader", &["reports", "cves"], "");
    assert_eq!((quiet.code, quiet.err.as_str()), (0, ""), "{quiet:?}");
    for (key, payload) in [("host/gob", "a gob"), ("host/odd", r#"{"Vuls":[{"Name":"CVE-1","Score":NaN}]}"#)]
    {
        assert_eq!(put(&server, "owner", &[key, "--encoding", "json"], payload).code, 0);
    }
    for (question, code) in [
        (&["cves"][..], 0),
        (&["cves", "--count"], 0),
        (&["cve", "CVE-1"], 1),
        (&["find", "--cve", "CVE-1"], 0),
        (&["find", "--min-score", "9"], 0),
        (&["top"], 0),
        (&["dump"], 0),
    ] {
        let run = run_as(&server, "reader", &[&["reports"], question].concat(), "");
        assert!(run.code == code && run.err.contains(note), "{question:?}: {run:?}");
    }
}
