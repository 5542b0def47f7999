//! Against the real server, over mutual TLS.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use larder_harness::{Authority, Server, setup};
use tempfile::TempDir;

use crate::run::{Run, larder};

/// What makes a command speak to a server as a role.
pub(crate) fn environment(server: &Server, role: &str) -> [(&'static str, String); 4] {
    let pair = server.pair(role);
    [
        ("LARDER_URL", server.url().to_owned()),
        ("LARDER_CA", server.home().join("ca.crt").display().to_string()),
        ("LARDER_CERT", pair.cert.display().to_string()),
        ("LARDER_KEY", pair.key.display().to_string()),
    ]
}

/// Runs a command as a role.
pub(crate) fn run_as(server: &Server, role: &str, arguments: &[&str], input: &str) -> Run {
    larder(server.home(), &environment(server, role), arguments, input)
}

#[track_caller]
pub(crate) fn succeeds(server: &Server, role: &str, arguments: &[&str]) -> String {
    let run = run_as(server, role, arguments, "");
    assert_eq!(run.code, 0, "{run:?}");
    run.out
}

#[track_caller]
pub(crate) fn fails(server: &Server, role: &str, arguments: &[&str], code: i32, part: &str) {
    let run = run_as(server, role, arguments, "");
    assert_eq!((run.code, run.out.as_str()), (code, ""), "{run:?}");
    assert!(run.err.contains(part), "{run:?}");
}

fn with_reports() -> Server {
    let server = setup!().start();
    succeeds(
        &server,
        "owner",
        &["execute", "CREATE TABLE report (id INTEGER PRIMARY KEY, kind TEXT, body BLOB)"],
    );
    succeeds(&server, "writer", &["execute", "INSERT INTO report VALUES (?, ?, ?)", "7", "007", "null"]);
    server
}

#[test]
fn what_is_written_is_read() {
    let server = with_reports();
    let sql = "SELECT id, kind, typeof(kind), body FROM report";
    assert_eq!(
        succeeds(&server, "reader", &["query", "-o", "csv", sql]),
        "id,kind,typeof(kind),body\r\n7,007,text,\r\n"
    );
    let table = succeeds(&server, "reader", &["query", "-o", "table", sql]);
    assert!(table.contains("│  7 ┆ 007  ┆ text         ┆ NULL │") && table.ends_with("(1 row)\n"), "{table}");
    let returned = succeeds(
        &server,
        "writer",
        &["execute", "-o", "table", "DELETE FROM report WHERE id = :id RETURNING kind", ":id=7"],
    );
    assert!(returned.ends_with("│ 007  │\n└──────┘\n(1 row)\n1 row changed\n"), "{returned}");
}

#[test]
fn refusals_say_why() {
    let server = with_reports();
    fails(&server, "reader", &["query", "SELECT *\n FORM report"], 1, "syntax error\n   FORM report\n   ^\n");
    fails(&server, "reader", &["query", "DELETE FROM report"], 1, "STATEMENT_REFUSED");
    fails(&server, "reader", &["execute", "DELETE FROM report"], 1, "ROLE_INSUFFICIENT");
    fails(&server, "stranger", &["query", "SELECT 1"], 1, "IDENTITY_NOT_GRANTED");
    let twice = [
        "execute",
        "-e",
        "INSERT INTO report VALUES (8, 'a', NULL)",
        "-e",
        "INSERT INTO report VALUES (7, 'b', NULL)",
    ];
    fails(&server, "writer", &twice, 1, "UNIQUE constraint failed: report.id\nin statement 2 of 2\n");
    assert_eq!(
        succeeds(&server, "reader", &["query", "-o", "csv", "SELECT count(*) AS n FROM report"]),
        "n\r\n1\r\n"
    );
}

#[test]
fn a_query_without_end_ends_by_its_deadline() {
    let server = setup!().start();
    let sql = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";
    fails(&server, "reader", &["query", "--timeout", "0.2", sql], 1, "DEADLINE");
    // A table that is cut takes no more rows than it shows.
    let sql = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c";
    let table = succeeds(&server, "reader", &["query", "-o", "table", "--max-rows", "2", sql]);
    assert!(table.contains("(the first 2 rows;"), "{table}");
}

#[test]
fn a_server_that_is_not_trusted_or_not_there_is_not_reached() {
    let mut server = setup!().start();
    // Of the same name as the true one.
    let other = Authority::new("larder test");
    std::fs::write(server.home().join("other.crt"), other.pem()).unwrap();
    let ca = server.home().join("other.crt").display().to_string();
    fails(&server, "reader", &["query", "--ca", &ca, "SELECT 1"], 3, "signed by none of the given CAs");
    let strange = other.client("reader.test", server.home(), "strange");
    let (cert, key) = (strange.cert.display().to_string(), strange.key.display().to_string());
    fails(&server, "reader", &["query", "--cert", &cert, "--key", &key, "SELECT 1"], 3, "cannot reach");
    assert!(server.terminate().success());
    fails(&server, "reader", &["query", "SELECT 1"], 3, "cannot reach");
}

#[test]
fn a_backup_brings_everything_back() {
    for name in ["copy.db", "copy.db.zst"] {
        let server = with_reports();
        succeeds(&server, "admin", &["backup", name]);
        succeeds(&server, "writer", &["execute", "DELETE FROM report"]);
        succeeds(&server, "admin", &["restore", "--yes", name]);
        let count = succeeds(&server, "reader", &["query", "-o", "csv", "SELECT count(*) AS n FROM report"]);
        assert_eq!(count, "n\r\n1\r\n");
    }
}

#[test]
fn a_backup_and_a_restore_are_for_admins() {
    let server = with_reports();
    fails(&server, "writer", &["backup", "other.db"], 1, "ROLE_INSUFFICIENT");
    assert!(!server.home().join("other.db").exists() && !server.home().join("other.db.part").exists());
    // The refusal comes while the file is still being sent.
    let mut large = b"SQLite format 3\0".to_vec();
    large.resize(32 << 20, 0);
    std::fs::write(server.home().join("large.db"), large).unwrap();
    fails(&server, "writer", &["restore", "--yes", "large.db"], 1, "ROLE_INSUFFICIENT");
}

#[test]
fn a_shell_sends_each_statement_to_where_it_belongs() {
    let server = with_reports();
    let script = "CREATE TRIGGER t AFTER DELETE ON report BEGIN\n INSERT INTO report VALUES (1, 'kept', NULL);\nEND;\n\
                  .mode csv\nDELETE FROM\n report; SELECT kind FROM report;\n.tables\n.schema report\n";
    let run = run_as(&server, "owner", &["shell", "-o", "csv"], script);
    assert_eq!(run.code, 0, "{run:?}");
    let expected = "kind\r\nkept\r\nreport\n\
        CREATE TABLE report (id INTEGER PRIMARY KEY, kind TEXT, body BLOB);\n\
        CREATE TRIGGER t AFTER DELETE ON report BEGIN\n INSERT INTO report VALUES (1, 'kept', NULL);\nEND;\n";
    assert_eq!(run.out, expected);
    let run = run_as(&server, "owner", &["shell"], "BEGIN;\nSELECT 1;\n");
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
}

#[test]
fn status_is_shown() {
    let server = setup!().start();
    let status: serde_json::Value = serde_json::from_str(&succeeds(&server, "reader", &["status"])).unwrap();
    assert_eq!(status["writer"]["queue"], 0);
    let table = succeeds(&server, "reader", &["status", "-o", "table"]);
    assert!(table.lines().any(|it| it.split_whitespace().eq(["writer.queue", "0"])), "{table}");
}

/// A development server in the working directory; killed at the end.
struct Development(std::process::Child);

impl Drop for Development {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_development_server_needs_nothing_but_dev() {
    for plain in [false, true] {
        let directory = TempDir::new().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"]);
        command.args(plain.then_some("--plain")).current_dir(directory.path());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Development(child);
        let mut said = BufReader::new(server.0.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().contains("is ready")));
        let run = larder(directory.path(), &[], &["query", "--dev", "-o", "csv", "SELECT 1 AS one"], "");
        assert_eq!((run.code, run.out.as_str()), (0, "one\r\n1\r\n"), "{run:?}");
        if plain {
            refuses_web_pages(&directory.path().join("larder-data/dev.url"));
        }
    }
}

/// A page in the developer's browser can post to loopback; the browser says where the page is from.
fn refuses_web_pages(url: &Path) {
    let url = std::fs::read_to_string(url).unwrap();
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let request = "POST /execute HTTP/1.1\r\nhost: larder\r\norigin: https://elsewhere.example\r\n\
        content-type: text/plain\r\ncontent-length: 20\r\nconnection: close\r\n\r\nCREATE TABLE t (a)  ";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}
