//! The harness itself, on shell scripts in the place of the server.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use larder_harness::{Server, Setup};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A script that is called as the server is. Another process writes it: a file that is open for writing here, in
/// whichever thread forks at that moment, cannot be run.
fn script(dir: &TempDir, body: &str) -> PathBuf {
    let path = dir.path().join("larder");
    let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod +x "$0""#;
    let status = Command::new("sh").args(["-c", write]).arg(&path).arg(body).status().unwrap();
    assert!(status.success());
    path
}

/// Announces itself, as the server does, in one step.
const ANNOUNCE: &str = r#"
while [ "$1" != --announce ]; do shift; done
echo "{\"url\": \"https://127.0.0.1:1\", \"probe\": \"http://127.0.0.1:2\"}" > "$2.new"
mv "$2.new" "$2"
"#;

fn started(body: &str) -> (TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    let server = Setup::new(script(&dir, &format!("{ANNOUNCE}{body}"))).start();
    (dir, server)
}

#[test]
fn waits_for_the_announcement_and_stops() {
    let (_dir, mut server) = started("echo listening >&2; exec cat /dev/zero > /dev/null");
    assert_eq!((server.url(), server.probe_url()), ("https://127.0.0.1:1", "http://127.0.0.1:2"));
    assert_eq!(server.log().wait_for("listen", Duration::from_secs(10)), "listening");
    assert_eq!(server.terminate().signal(), Some(15));
    server.start_again();
    server.kill();
}

#[test]
#[should_panic(expected = "no database here")]
fn shows_why_a_server_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let _ = Setup::new(script(&dir, "echo no database here >&2; exit 1")).start();
}
