//! What an operator does: the nightly backup with the CronJob's own arguments, and the drill that shows that its backups can be restored.

use larder_harness::{Server, setup};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::objects::{larder, manifests, parsed, pod_template};

/// The arguments of the backup's container, with what the cluster would have mounted in its places.
fn backup_arguments(server: &Server, volume: &Path) -> Vec<String> {
    let objects = parsed(&manifests(&["self-signed", "--backup"]));
    let job = objects.iter().find(|it| it["kind"] == "CronJob" && it["metadata"]["name"] == "larder-backup");
    let container = &pod_template(job.unwrap()).unwrap()["spec"]["containers"][0];
    let pair = server.pair("admin");
    let places = [
        ("https://larder.$(NAMESPACE).svc:4001", server.url().to_owned()),
        ("/backup", volume.display().to_string()),
        ("/etc/larder/tls/ca.crt", server.home().join("ca.crt").display().to_string()),
        ("/etc/larder/tls/tls.crt", pair.cert.display().to_string()),
        ("/etc/larder/tls/tls.key", pair.key.display().to_string()),
    ];
    let place = |text: &str| {
        let (flag, value) = text.split_once('=').unwrap_or((text, ""));
        let found = places.iter().find(|(place, _)| *place == value);
        found.map_or_else(|| text.to_owned(), |(_, here)| format!("{flag}={here}"))
    };
    container["args"].as_array().unwrap().iter().map(|it| place(it.as_str().unwrap())).collect()
}

fn run(arguments: &[String]) -> Output {
    Command::new(larder()).args(arguments).output().unwrap()
}

fn restore(server: &Server, from: &Path) -> Output {
    let pair = server.pair("admin");
    Command::new(larder())
        .args(["restore", "--yes"])
        .arg(from)
        .env("LARDER_URL", server.url())
        .env("LARDER_CA", server.home().join("ca.crt"))
        .env("LARDER_CERT", pair.cert)
        .env("LARDER_KEY", pair.key)
        .output()
        .unwrap()
}

async fn write(server: &Server, statements: serde_json::Value) {
    let answer = server.connect("owner").await.post("/execute", statements.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn names(server: &Server) -> serde_json::Value {
    let asked = r#"["SELECT name FROM report ORDER BY name"]"#;
    server.connect("reader").await.post("/query", asked).await.json()["results"][0]["rows"].clone()
}

#[tokio::test]
async fn the_nightly_backup_is_one_that_can_be_restored() {
    let server = setup!().start();
    let volume = tempfile::tempdir().unwrap();
    let arguments = backup_arguments(&server, volume.path());
    assert!(arguments.iter().any(|it| it == "--keep=14"), "{arguments:?}");
    // Three nights, and room for two.
    let arguments: Vec<_> = arguments.iter().map(|it| it.replace("--keep=14", "--keep=2")).collect();
    write(&server, json!(["CREATE TABLE report (name TEXT)"])).await;
    for night in ["one", "two", "three"] {
        write(&server, json!([["INSERT INTO report VALUES (?)", night]])).await;
        let output = run(&arguments);
        assert!(output.status.success(), "{output:?}");
    }
    let mut kept: Vec<_> = fs::read_dir(volume.path()).unwrap().map(|it| it.unwrap().path()).collect();
    kept.sort();
    assert_eq!(kept.len(), 2, "{kept:?}");

    // The drill: another server, the newest backup, and the same reports.
    let drill = setup!().start();
    let output = restore(&drill, volume.path());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(names(&drill).await, json!([["one"], ["three"], ["two"]]));

    // A backup that has rotted is found out, and changes nothing.
    let newest = &kept[1];
    let mut bytes = fs::read(newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(newest, bytes).unwrap();
    assert!(!restore(&drill, volume.path()).status.success());
    assert_eq!(names(&drill).await, json!([["one"], ["three"], ["two"]]));
    assert!(restore(&drill, &kept[0]).status.success());
    assert_eq!(names(&drill).await, json!([["one"], ["two"]]));
}

#[tokio::test]
async fn a_backup_that_fails_removes_nothing() {
    let mut server = setup!().start();
    let volume = tempfile::tempdir().unwrap();
    let arguments = backup_arguments(&server, volume.path());
    assert!(run(&arguments).status.success());
    assert!(server.terminate().success());
    let output = run(&arguments.iter().map(|it| it.replace("--keep=14", "--keep=1")).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let left: Vec<_> = fs::read_dir(volume.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left.len(), 1, "{left:?}");

    let empty = tempfile::tempdir().unwrap();
    server.start_again();
    let output = restore(&server, empty.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("no larder-TIME.db.zst in it"), "{said}");
}
