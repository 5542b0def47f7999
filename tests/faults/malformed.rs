//! HTTP that is wrong: each request gets its status and its code, and none leaves anything behind.

use flate2::{Compression, write::GzEncoder};
use http::Method;
use larder_harness::{Connection, Server, setup, trusting};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const JSON: (&str, &str) = ("content-type", "application/json");
const INSERT: &str = r#"["INSERT INTO jar (name) VALUES ('left behind')"]"#;

async fn with_jar() -> (Server, Connection) {
    let server = setup!().arg("--max-body").arg("1MiB").start();
    let mut owner = server.connect("owner").await;
    let created = owner.post("/execute", r#"["CREATE TABLE jar (id INTEGER PRIMARY KEY, name TEXT)"]"#).await;
    assert_eq!(created.status, 200, "{:?}", created.body);
    (server, owner)
}

async fn rows(connection: &mut Connection) -> Value {
    connection.get("/query?q=SELECT%20count(*)%20FROM%20jar").await.json()["results"][0]["rows"][0][0].clone()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Cut off in the middle.
fn half(bytes: Vec<u8>) -> Vec<u8> {
    bytes[..bytes.len() / 2].to_vec()
}

struct Case(&'static str, &'static str, Vec<(&'static str, &'static str)>, Vec<u8>, u16, &'static str);

fn case(
    method: &'static str,
    path: &'static str,
    headers: &[(&'static str, &'static str)],
    body: impl Into<Vec<u8>>,
    status: u16,
    code: &'static str,
) -> Case {
    Case(method, path, headers.to_vec(), body.into(), status, code)
}

fn bodies() -> Vec<Case> {
    let malformed = |body: &str| case("POST", "/execute", &[JSON], body, 400, "BODY_MALFORMED");
    let bomb = vec![b' '; 64 << 20];
    let coded = |coding: &'static str, body: Vec<u8>, status, code| {
        case("POST", "/execute", &[JSON, ("content-encoding", coding)], body, status, code)
    };
    let typed = |name: &'static str, status, code| {
        case("POST", "/execute", &[("content-type", name)], INSERT, status, code)
    };
    vec![
        malformed(""),
        malformed("["),
        malformed("{}"),
        malformed("null"),
        malformed("7"),
        malformed("[7]"),
        malformed("[[]]"),
        malformed("[[7]]"),
        malformed(&format!("{INSERT} {INSERT}")),
        malformed(&format!("{INSERT}]")),
        malformed(r#"["INSERT INTO jar (name) VALUES ('left behind')",]"#),
        malformed(r#"{"statements":["SELECT 1"],"nothing":1}"#),
        malformed(r#"{"statements":["SELECT 1"],"atomic":"yes"}"#),
        malformed(r#"{"statements":["SELECT 1"],"timeout_ms":-1}"#),
        malformed(r#"{"statements":["SELECT 1"],"timeout_ms":1.5}"#),
        case(
            "POST",
            "/execute",
            &[JSON],
            r#"{"statements":["SELECT 1"],"timeout_ms":1e400}"#,
            400,
            "VALUE_OUT_OF_RANGE",
        ),
        malformed(r#"{"statements":["SELECT 1"],"statements":["SELECT 2"]}"#),
        malformed(r#"[["SELECT ?", {"$blob":"*"}]]"#),
        malformed(r#"[["SELECT ?", {"$blob":"AA==", "x":1}]]"#),
        malformed(r#"[["SELECT ?", [1]]]"#),
        malformed(r#"[["SELECT ?", {"$real":"NaN"}]]"#),
        malformed(r#"[{"sql":"SELECT 1","params":[],"many":[]}]"#),
        malformed(r#"[{"params":[]}]"#),
        malformed(r#"[{"sql":"SELECT 1","expect_rows":-1}]"#),
        malformed("[\"\\ud800\"]"),
        malformed(&"[".repeat(100_000)),
        case("POST", "/execute", &[JSON], b"[\"SELECT '\xff'\"]".to_vec(), 400, "BODY_MALFORMED"),
        case(
            "POST",
            "/execute",
            &[("content-type", "text/plain")],
            b"SELECT '\xff'".to_vec(),
            400,
            "BODY_MALFORMED",
        ),
        case(
            "POST",
            "/execute",
            &[JSON],
            r#"[["SELECT ?", 9223372036854775808]]"#,
            400,
            "VALUE_OUT_OF_RANGE",
        ),
        case("POST", "/execute", &[JSON], r#"[["SELECT ?"]]"#, 400, "PARAMETER_COUNT"),
        case("POST", "/execute", &[JSON], r#"[["SELECT :a", {"b":1}]]"#, 400, "PARAMETER_UNKNOWN"),
        case("POST", "/execute", &[JSON], r#"["SELECT 1; SELECT 2"]"#, 400, "SQLITE_ERROR"),
        case(
            "POST",
            "/execute",
            &[JSON],
            r#"["INSERT INTO jar (name) VALUES ('left behind')", "SELECT nothing"]"#,
            400,
            "SQLITE_ERROR",
        ),
        case(
            "POST",
            "/execute",
            &[JSON],
            r#"[{"sql":"INSERT INTO jar (name) VALUES ('left behind')","expect_rows":2}]"#,
            412,
            "EXPECTATION_FAILED",
        ),
        case(
            "POST",
            "/execute",
            &[JSON],
            r#"["INSERT INTO jar VALUES (1, 'left behind'), (1, 'twice')"]"#,
            409,
            "SQLITE_CONSTRAINT_PRIMARYKEY",
        ),
        case("POST", "/execute", &[JSON], vec![b' '; (1 << 20) + 1], 413, "BODY_TOO_LARGE"),
        coded("gzip", gzip(&bomb), 413, "BODY_TOO_LARGE"),
        coded("zstd", zstd(&bomb), 413, "BODY_TOO_LARGE"),
        coded("gzip", half(gzip(INSERT.as_bytes())), 400, "BODY_MALFORMED"),
        coded("zstd", half(zstd(INSERT.as_bytes())), 400, "BODY_MALFORMED"),
        coded("gzip", INSERT.into(), 400, "BODY_MALFORMED"),
        coded("zstd", INSERT.into(), 400, "BODY_MALFORMED"),
        coded("gzip", Vec::new(), 400, "BODY_MALFORMED"),
        coded("gzip", zstd(INSERT.as_bytes()), 400, "BODY_MALFORMED"),
        coded("br", INSERT.into(), 415, "MEDIA_TYPE_UNSUPPORTED"),
        coded("gzip, zstd", INSERT.into(), 415, "MEDIA_TYPE_UNSUPPORTED"),
        coded("", INSERT.into(), 415, "MEDIA_TYPE_UNSUPPORTED"),
        typed("application/xml", 415, "MEDIA_TYPE_UNSUPPORTED"),
        typed("multipart/form-data; boundary=x", 415, "MEDIA_TYPE_UNSUPPORTED"),
        typed("json", 415, "MEDIA_TYPE_UNSUPPORTED"),
        typed("text/plain", 400, "SQLITE_ERROR"),
        typed("application/vnd.msgpack", 400, "BODY_MALFORMED"),
    ]
}

fn heads() -> Vec<Case> {
    let get = |path: &'static str, status, code| case("GET", path, &[], "", status, code);
    let key = |value: &'static str| {
        case("POST", "/execute", &[JSON, ("idempotency-key", value)], INSERT, 400, "OPTION_INVALID")
    };
    let accept = |value: &'static str| {
        case("POST", "/execute", &[JSON, ("accept", value)], INSERT, 415, "MEDIA_TYPE_UNSUPPORTED")
    };
    let choice = |path: &'static str| case("POST", path, &[JSON], INSERT, 400, "OPTION_INVALID");
    vec![
        get("/", 404, "NOT_FOUND"),
        get("/nothing", 404, "NOT_FOUND"),
        get("/query/", 404, "NOT_FOUND"),
        get("//query?q=SELECT%201", 404, "NOT_FOUND"),
        get("/db", 404, "NOT_FOUND"),
        get("/../etc/passwd", 404, "NOT_FOUND"),
        get("/%2e%2e/etc/passwd", 404, "NOT_FOUND"),
        get("/status?key=no.such.thing", 404, "NOT_FOUND"),
        get("/execute", 405, "METHOD_NOT_ALLOWED"),
        get("/restore", 405, "METHOD_NOT_ALLOWED"),
        get("/describe", 405, "METHOD_NOT_ALLOWED"),
        case("PUT", "/execute", &[JSON], INSERT, 405, "METHOD_NOT_ALLOWED"),
        case("DELETE", "/query", &[], "", 405, "METHOD_NOT_ALLOWED"),
        case("OPTIONS", "/execute", &[], "", 405, "METHOD_NOT_ALLOWED"),
        case("TRACE", "/query", &[], "", 405, "METHOD_NOT_ALLOWED"),
        case("PROPFIND", "/query", &[], "", 405, "METHOD_NOT_ALLOWED"),
        get("/query", 400, "OPTION_INVALID"),
        get("/query?q=", 400, "BODY_MALFORMED"),
        get("/query?sql=SELECT%201", 400, "OPTION_INVALID"),
        get("/query?q=SELECT%201&timeout_ms=0", 400, "OPTION_INVALID"),
        get("/query?q=SELECT%201&timeout_ms=99999999999999999999", 400, "OPTION_INVALID"),
        get("/query?q=SELECT%201&timeout_ms=18446744073709551615", 400, "OPTION_INVALID"),
        get("/query?q=SELECT%201&timeout_ms=-5", 400, "OPTION_INVALID"),
        get("/query?q=SELECT%201&rows=none", 400, "OPTION_INVALID"),
        get("/query?q=SELECT%201&ints=none", 400, "OPTION_INVALID"),
        get("/query?q=SELECT%201&pretty=perhaps", 400, "OPTION_INVALID"),
        get("/query?%ff=%ff", 400, "OPTION_INVALID"),
        get("/db/query", 400, "OPTION_INVALID"),
        get("/watch?from=yesterday", 400, "OPTION_INVALID"),
        get("/watch?nothing=1", 400, "OPTION_INVALID"),
        get("/watch?from=99999999", 410, "WATCH_EXPIRED"),
        get("/backup", 403, "ROLE_INSUFFICIENT"),
        get("/queries", 403, "ROLE_INSUFFICIENT"),
        case("DELETE", "/queries/1", &[], "", 403, "ROLE_INSUFFICIENT"),
        case("POST", "/maintenance/vacuum", &[], "", 403, "ROLE_INSUFFICIENT"),
        case("POST", "/restore", &[], "rubbish", 403, "ROLE_INSUFFICIENT"),
        choice("/execute?atomic=perhaps"),
        choice("/execute?timeout_ms=0"),
        choice("/execute?timeout_ms=86400000"),
        choice("/execute?nothing"),
        key(""),
        key(" "),
        key(concat!(
            "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
            "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
            "01234567890123456789012345678901234567890123456789012345"
        )),
        accept("text/html"),
        accept("image/png, text/html;q=0.9"),
        accept("nonsense"),
        case(
            "POST",
            "/query",
            &[JSON, ("accept", "text/csv")],
            r#"["SELECT 1", "SELECT 2"]"#,
            400,
            "OPTION_INVALID",
        ),
    ]
}

#[tokio::test]
async fn each_wrong_request_is_told_so() {
    let (server, mut owner) = with_jar().await;
    let mut wrong = Vec::new();
    let cases: Vec<_> = bodies().into_iter().chain(heads()).collect();
    assert!(cases.len() >= 60);
    for Case(method, path, headers, body, status, code) in cases {
        let shown =
            format!("{method} {path} {headers:?} {:?}", String::from_utf8_lossy(&body[..body.len().min(60)]));
        let method: Method = method.parse().unwrap();
        let answer = owner.send(method, path, &headers, body).await.unwrap();
        if answer.status == 413 {
            // The server does not read the rest, so the connection ends.
            owner = server.connect("owner").await;
        }
        let reply = answer.json_or_null();
        let found = (answer.status, reply["error"]["code"].as_str().unwrap_or_default());
        let is_whole = reply["applied"] == json!(false)
            && reply["request_id"].as_str().is_some_and(|it| answer.headers["x-request-id"] == it)
            && answer.headers["content-type"] == "application/json";
        if found != (status, code) || !is_whole {
            wrong.push(format!("{shown}: {found:?} instead of {status} {code}: {reply}"));
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(rows(&mut owner).await, 0);
}

#[tokio::test]
async fn what_is_odd_but_right_works() {
    let (_server, mut owner) = with_jar().await;
    for (method, path, headers, body) in [
        ("HEAD", "/query?q=SELECT%201", &[][..], &b""[..]),
        ("HEAD", "/version", &[], b""),
        ("POST", "/query", &[("content-type", "APPLICATION/JSON; charset=utf-8")], br#"["SELECT 1"]"#),
        ("POST", "/query", &[("content-type", "application/x-www-form-urlencoded")], br#"  ["SELECT 1"]"#),
        ("POST", "/query", &[("content-type", "text/plain")], b"SELECT 1;"),
        ("POST", "/query", &[], b"SELECT 1"),
        ("POST", "/query", &[("content-encoding", "IDENTITY")], b"SELECT 1"),
        ("POST", "/query", &[("accept", "text/html, */*;q=0.1")], b"SELECT 1"),
        ("POST", "/query", &[("accept", "")], b"SELECT 1"),
        ("POST", "/query?timeout_ms=300000", &[], b"SELECT 1"),
        ("POST", "/query", &[("idempotency-key", "")], b"SELECT 1"),
        ("GET", "/query?q=SELECT+'%C3%BC'", &[], b""),
        ("GET", "/status", &[("accept-encoding", "gzip, zstd, br")], b""),
    ] {
        let answer = owner.send(method.parse().unwrap(), path, headers, body).await.unwrap();
        assert_eq!(answer.status, 200, "{method} {path} {headers:?}: {:?}", answer.body);
    }
    let gzipped = [JSON, ("content-encoding", "gzip")];
    assert_eq!(
        owner.send(Method::POST, "/execute", &gzipped, gzip(INSERT.as_bytes())).await.unwrap().status,
        200
    );
    assert_eq!(rows(&mut owner).await, 1);
}

#[tokio::test]
async fn a_key_names_one_request() {
    let (server, mut owner) = with_jar().await;
    let keyed = [JSON, ("idempotency-key", "5f0c"), ("x-request-id", "mine")];
    let send = |path: &'static str, body: &'static str| (path, body);
    let mut seen = Vec::new();
    for (path, body) in [
        send("/execute", INSERT),
        send("/execute", INSERT),
        send("/execute?pretty&timeout_ms=500", INSERT),
        send("/execute", r#"["INSERT INTO jar (name) VALUES ('other')"]"#),
        send("/execute?atomic=false", INSERT),
    ] {
        let answer = owner.send(Method::POST, path, &keyed, body).await.unwrap();
        assert_eq!(answer.headers["x-request-id"], "mine");
        seen.push((answer.status, answer.json()["replayed"] == json!(true)));
    }
    assert_eq!(seen, [(200, false), (200, true), (200, true), (422, false), (422, false)]);
    let other = server.connect("writer").await.send(Method::POST, "/execute", &keyed, INSERT).await.unwrap();
    assert_eq!((other.status, other.json()["replayed"] == json!(true)), (200, false));
    assert_eq!(rows(&mut owner).await, 2);
}

/// What a hand-written request is answered with: the first line, or nothing.
async fn raw(server: &Server, request: &[u8], end: bool) -> String {
    let config = trusting(&server.home().join("ca.crt"), Some(&server.pair("owner")));
    let address = server.url().strip_prefix("https://").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let _ = stream.write_all(request).await;
    if end {
        let _ = stream.shutdown().await;
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    let read = async {
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..length]);
            if answer.contains(&b'\n') {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("an answer or an end");
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn bytes_that_are_no_http_leave_nothing() {
    let (server, mut owner) = with_jar().await;
    let head = "POST /execute HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let body = INSERT;
    let long = "x".repeat(300 << 10);
    let many: String = (0..2000).map(|it| format!("x-{it}: y\r\n")).collect();
    for (name, request, end, expected) in [
        ("rubbish", "\x16\x03\x01rubbish\r\n\r\n".to_owned(), false, &["HTTP/1.1 400", ""][..]),
        ("no version", "GET /query\r\n\r\n".to_owned(), false, &["HTTP/1.1 400"]),
        ("another version", "GET / HTTP/9.9\r\n\r\n".to_owned(), false, &["HTTP/1.1 400", ""]),
        ("half of HTTP/2", "PRI * HTTP/2.0\r\n\r\n".to_owned(), true, &["HTTP/1.1 400", ""]),
        (
            "a body that is shorter",
            format!("{head}content-length: 500\r\n\r\n{body}"),
            true,
            &["HTTP/1.1 400", ""],
        ),
        ("a negative length", format!("{head}content-length: -1\r\n\r\n{body}"), false, &["HTTP/1.1 400"]),
        (
            "two lengths",
            format!("{head}content-length: 46\r\ncontent-length: 2\r\n\r\n{body}"),
            false,
            &["HTTP/1.1 400"],
        ),
        (
            "an endless length",
            format!("{head}content-length: 18446744073709551616\r\n\r\n{body}"),
            false,
            &["HTTP/1.1 400"],
        ),
        (
            "a long length",
            format!("{head}content-length: 9000000000\r\n\r\n{body}"),
            false,
            &["HTTP/1.1 413"],
        ),
        (
            "a length and chunks",
            format!("{head}content-length: 3\r\ntransfer-encoding: gzip\r\n\r\n{body}"),
            true,
            &["HTTP/1.1 400"],
        ),
        (
            "chunks that are none",
            format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n{body}"),
            true,
            &["HTTP/1.1 400", ""],
        ),
        (
            "an endless chunk",
            format!("{head}transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n{body}"),
            true,
            &["HTTP/1.1 400", "HTTP/1.1 413", ""],
        ),
        (
            "chunks without an end",
            format!("{head}transfer-encoding: chunked\r\n\r\n2e\r\n{body}"),
            true,
            &["HTTP/1.1 400", ""],
        ),
        ("a long header", format!("{head}x: {long}\r\n\r\n"), false, &["HTTP/1.1 431", "HTTP/1.1 400", ""]),
        ("many headers", format!("{head}{many}\r\n"), false, &["HTTP/1.1 431", "HTTP/1.1 400", ""]),
        (
            "a long path",
            format!("GET /{long} HTTP/1.1\r\n\r\n"),
            false,
            &["HTTP/1.1 414", "HTTP/1.1 431", "HTTP/1.1 400", ""],
        ),
        ("a broken header", "GET /version HTTP/1.1\r\nhost x\r\n\r\n".to_owned(), false, &["HTTP/1.1 400"]),
        ("NUL in a header", "GET /version HTTP/1.1\r\nx: \0\r\n\r\n".to_owned(), false, &["HTTP/1.1 400"]),
        ("nothing", String::new(), true, &[""]),
    ] {
        let line = raw(&server, request.as_bytes(), end).await;
        let status = line.get(..12).unwrap_or_default();
        assert!(expected.contains(&status), "{name}: {line:?}");
        assert_eq!(rows(&mut owner).await, 0, "{name}");
    }
    let fine = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    assert!(raw(&server, fine.as_bytes(), false).await.starts_with("HTTP/1.1 200"));
}
