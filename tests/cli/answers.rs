//! Against prepared answers: what is printed of them, byte by byte.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::prepared::{Server, backup};
use crate::run::larder;

#[test]
fn a_query_prints_json_into_a_pipe() {
    let run = Server::start().run(&["query", "SELECT 2"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let expected =
        r#"{"results":[{"columns":["n"],"types":[""],"rows":[[0],[1]],"time":0.25}],"time":0.5,"seq":9}"#;
    assert_eq!(run.out, format!("{expected}\n"));
}

#[test]
fn formats() {
    let server = Server::start();
    let printed = |format: &str, arguments: &[&str]| {
        let run = server.run(&[&["query", "-o", format], arguments].concat());
        assert_eq!(run.code, 0, "{run:?}");
        run.out
    };
    let blob = server.file("blob");
    std::fs::write(&blob, [1, 2, 3]).unwrap();
    let blob = format!("@{blob}");
    let row = ["SELECT", "1", "-2.5", "null", "a,\"b\"", &blob];
    assert_eq!(printed("csv", &row), "?,?,?,?,?\r\n1,-2.5,,\"a,\"\"b\"\"\",AQID\r\n");
    let lines = printed("ndjson", &row);
    assert_eq!(lines.lines().nth(1), Some(r#"[1,-2.5,null,"a,\"b\"",{"$blob":"AQID"}]"#));
    assert!(printed("table", &row).contains("│ 1 ┆ -2.5 ┆ NULL ┆ a,\"b\" ┆ x'010203' │"));
    assert_eq!(printed("line", &["SELECT :a", ":a=x\ny", ":long=5"]), "   a = x\n       y\nlong = 5\n\n");
}

#[test]
fn a_write_says_what_it_did() {
    let server = Server::start();
    let run = server.run(&["execute", "-o", "table", "INSERT INTO t DEFAULT VALUES RETURNING id"]);
    assert!(run.out.ends_with("│  7 │\n└────┘\n(1 row)\n1 row changed, last id 7\n"), "{run:?}");
    let run = server.run(&["execute", "INSERT INTO t VALUES (1)"]);
    let expected = r#"{"results":[{"rows_affected":1,"last_insert_id":7,"time":0.5}],"time":0.5,"seq":9}"#;
    assert_eq!(run.out, format!("{expected}\n"));
    let run = server.run(&["execute", "-e", "INSERT 1", "-e", "INSERT 2 RETURNING id"]);
    let answer: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(answer["results"][1]["rows"][0][0], 7);
    assert_eq!(server.paths(), ["/execute"; 3]);
}

#[test]
fn a_script_comes_through_standard_input() {
    let server = Server::start();
    let run =
        server.run_with_input(&["query", "-", "-o", "csv"], "SELECT 1; -- one; two\nSELECT ';' AS a, 2");
    assert_eq!((run.code, run.out.as_str()), (0, "n\r\n0\r\nn\r\n0\r\n1\r\n"));
    assert_eq!(server.run_with_input(&["query", "-"], " -- nothing\n").code, 2);
    assert_eq!(server.run_with_input(&["query", "-", "5"], "SELECT 1; SELECT 2").code, 2);
}

#[test]
fn an_error_points_at_its_place() {
    let server = Server::start();
    let run = server.run(&["query", "-e", "SELECT 1", "-e", "SELECT *\nFORM t"]);
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert_eq!(
        run.err,
        "error: SQLITE_ERROR: near \"FORM\": syntax error\nin statement 2 of 2\n  FORM t\n  ^\n"
    );
}

#[test]
fn an_answer_that_breaks_off_is_a_failure_in_every_format() {
    let server = Server::start();
    for format in ["table", "json", "csv", "ndjson", "line"] {
        let run = server.run(&["query", "-o", format, "SELECT late 2"]);
        assert_eq!(run.code, 1, "{format}");
        assert!(run.err.starts_with("error: SQLITE_ERROR"), "{format}: {run:?}");
    }
    let run = server.run(&["query", "-o", "json", "SELECT late 2"]);
    let answer: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(answer["error"]["code"], "SQLITE_ERROR");
}

#[test]
fn a_table_is_cut_and_says_so() {
    let server = Server::start();
    let run =
        server.run(&["query", "-o", "table", "--max-rows", "3", "-e", "SELECT 50000", "-e", "SELECT 9"]);
    assert_eq!(run.out.matches("(the first 3 rows; --max-rows").count(), 2, "{run:?}");
    let all = server.run(&["query", "-o", "csv", "SELECT 50000"]);
    assert_eq!(all.out.lines().count(), 50_001);
}

#[test]
fn a_reader_that_stops_is_no_failure() {
    let server = Server::start();
    let mut child = Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(["query", "--url", &server.url, "-o", "csv", "SELECT 200000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn exit_codes_of_connections_and_usage() {
    let directory = TempDir::new().unwrap();
    let code = |arguments: &[&str]| {
        let run = larder(directory.path(), &[], arguments, "");
        assert!(run.out.is_empty(), "{run:?}");
        (run.code, run.err)
    };
    // A port that was free a moment ago: nobody listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (status, text) = code(&["query", "--url", &format!("http://{free}"), "SELECT 1"]);
    assert_eq!(status, 3);
    assert!(text.starts_with("error: cannot reach http://127.0.0.1:"), "{text}");
    let (status, text) = code(&["query", "SELECT 1"]);
    assert_eq!(status, 2);
    assert!(text.contains("missing --ca, --cert, --key"), "{text}");
    assert_eq!(code(&["query", "--url", "http://example.com", "SELECT 1"]).0, 2);
    assert_eq!(code(&["query", "--dev", "SELECT 1"]).0, 2);
    assert_eq!(code(&["query"]).0, 2);
    assert_eq!(code(&["query", "--timeout", "0", "SELECT 1"]).0, 2);
    let files = ["--ca", "none", "--cert", "none", "--key", "none"];
    assert_eq!(code(&[&["query", "SELECT 1"][..], &files].concat()).0, 3);
}

#[test]
fn a_backup_is_whole_or_not_there() {
    let server = Server::start();
    let (plain, packed) = (server.file("copy.db"), server.file("copy.db.zst"));
    let run = server.run(&["backup", &plain]);
    assert_eq!(run.code, 0, "{run:?}");
    let database = rusqlite::Connection::open(&plain).unwrap();
    let count: i64 = database.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
    assert_eq!(server.run(&["backup", &plain]).code, 2);
    assert_eq!(server.run(&["backup", "--force", &plain]).code, 0);
    assert_eq!(server.run(&["backup", &packed]).code, 0);
    let unpacked = zstd::decode_all(std::fs::File::open(&packed).unwrap()).unwrap();
    assert_eq!(unpacked, std::fs::read(&plain).unwrap());
    assert!(!Path::new(&format!("{plain}.part")).exists());
    assert_eq!(server.run(&["backup", &server.file("no/such/copy.db")]).code, 1);
}

#[test]
fn a_restore_sends_the_file_and_needs_a_yes() {
    let server = Server::start();
    let file = server.file("copy.zst");
    std::fs::write(&file, backup()).unwrap();
    let run = server.run(&["restore", &file]);
    assert_eq!((run.code, server.paths().len()), (2, 0), "{run:?}");
    assert_eq!(server.run(&["restore", "--yes", &file]).code, 0);
    assert_eq!(server.bodies()[0], std::fs::read(&file).unwrap());
}

#[test]
fn status_as_json_and_as_a_table() {
    let server = Server::start();
    let run = server.run(&["status"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&run.out).unwrap()["writer"]["queue"], 3);
    let run = server.run(&["status", "-o", "table"]);
    assert!(run.out.lines().any(|it| it.split_whitespace().eq(["writer.queue", "3"])), "{run:?}");
}

#[test]
fn a_shell_obeys_a_pipe_until_the_first_error() {
    let server = Server::start();
    let script = ".mode csv\nSELECT\n 1;\nINSERT INTO t\n VALUES (1);\nSELECT FORM;\nSELECT 2;\n";
    let run = server.run_with_input(&["shell"], script);
    assert_eq!(run.code, 1);
    assert!(run.err.ends_with("  SELECT FORM\n         ^\n"), "{run:?}");
    assert_eq!(run.out, "n\r\n0\r\n");
    assert_eq!(server.paths(), ["/describe", "/query", "/describe", "/execute", "/describe", "/query"]);
    assert_eq!(server.run_with_input(&["shell"], "SELECT 1;\n.quit\nSELECT FORM;\n").code, 0);
    assert_eq!(server.run_with_input(&["shell"], ".nonsense\n").code, 2);
    let last = server.run_with_input(&["shell", "-o", "csv"], "SELECT 1");
    assert_eq!(last.out, "n\r\n0\r\n", "the last statement needs no semicolon");
}

#[test]
fn a_development_server_is_found_by_its_directory() {
    let server = Server::start();
    let directory = TempDir::new().unwrap();
    for name in ["larder-data", "other"] {
        std::fs::create_dir(directory.path().join(name)).unwrap();
        std::fs::write(directory.path().join(name).join("dev.url"), format!("{}\n", server.url)).unwrap();
    }
    let code = |arguments: &[&str]| larder(directory.path(), &[], arguments, "").code;
    assert_eq!(code(&["query", "--dev", "SELECT 1"]), 0);
    assert_eq!(code(&["query", "SELECT 1", "--dev=other"]), 0);
    let run = larder(directory.path(), &[], &["query", "SELECT 1"], "");
    assert!(run.code == 2 && run.err.contains("say --dev"), "{run:?}");
}
