//! A server of prepared answers over plain HTTP on loopback.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use larder_wire::encode::{Encoder, MsgpackStream, Trailer};
use larder_wire::{
    Applied, Bindings, Column, Description, Error, ErrorReply, Kind, Rows, StatementResult, Value,
};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::run::{Run, larder};

type Seen = Arc<Mutex<Vec<(String, Bytes)>>>;

/// A server on its own runtime, the paths and bodies that it was sent, and a directory for files.
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Seen,
    home: TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    pub(crate) fn start() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Seen::default();
        runtime.spawn(serve(listener, seen.clone()));
        Self { url, seen, home: TempDir::new().unwrap(), _runtime: runtime }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.run_with_input(arguments, "")
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> Run {
        let mut arguments = arguments.to_vec();
        arguments.splice(1..1, ["--url", &self.url]);
        larder(self.home.path(), &[], &arguments, input)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.home.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }

    pub(crate) fn bodies(&self) -> Vec<Bytes> {
        self.seen.lock().unwrap().iter().map(|(_, body)| body.clone()).collect()
    }
}

async fn serve(listener: TcpListener, seen: Seen) {
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let seen = seen.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, seen.clone()));
            drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tcp), service).await);
        });
    }
}

async fn answer(request: Request<Incoming>, seen: Seen) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let Ok(body) = request.into_body().collect().await else { return Ok(Response::default()) };
    let body = body.to_bytes();
    seen.lock().unwrap().push((path.clone(), body.clone()));
    let json = |status: u16, body: String| (status, "application/json", body.into_bytes());
    let (status, media_type, body) = match path.as_str() {
        "/query" | "/execute" => match statements(&body) {
            Ok(body) => (200, larder_wire::MSGPACK_STREAM, body),
            Err(reply) => json(400, serde_json::to_string(&reply).unwrap()),
        },
        "/describe" => json(200, described(&body)),
        "/version" => {
            json(200, r#"{"name":"larder","version":"0.1.0","sqlite_version":"3.53.0"}"#.to_owned())
        }
        "/status" => json(200, r#"{"ready":true,"writer":{"queue":3}}"#.to_owned()),
        "/backup" => (200, "application/vnd.sqlite3+zstd", backup()),
        "/restore" => json(200, "{}".to_owned()),
        _ => json(404, String::new()),
    };
    let mut response = Response::builder().status(status).header("content-type", media_type);
    if path == "/backup" {
        response = response.header("larder-database-bytes", BACKUP_LENGTH);
    }
    Ok(response.body(body.into()).unwrap())
}

/// What the SQL asks for: an error where it says FORM, a change where it says INSERT, otherwise rows.
fn statements(body: &[u8]) -> Result<Vec<u8>, ErrorReply> {
    let request = larder_wire::Request::from_msgpack(body).unwrap();
    let (mut out, mut encoder) = (Vec::new(), MsgpackStream::default());
    encoder.start(&mut out);
    for (index, statement) in request.statements.iter().enumerate() {
        let sql = &statement.sql;
        let error = Error::new(Kind::Invalid, "SQLITE_ERROR", "near \"FORM\": syntax error");
        let error = Error { offset: sql.find("FORM"), ..error.in_statement(index) };
        if error.offset.is_some() {
            return Err(ErrorReply { error, applied: Applied::No, request_id: None });
        }
        if sql.starts_with("INSERT") {
            encoder.changed(&mut out, index, &changed(sql));
            continue;
        }
        let count = rows(&mut encoder, &mut out, index, sql, &statement.args.sets()[0]);
        if sql.contains("late") {
            encoder.abort(&mut out, &error);
            return Ok(out);
        }
        encoder.end(&mut out, count, 0.25);
    }
    encoder.finish(&mut out, &Trailer { time: 0.5, seq: 9, ..Trailer::default() });
    Ok(out)
}

fn column(name: &str) -> Column {
    Column { name: name.to_owned(), type_name: String::new() }
}

fn changed(sql: &str) -> StatementResult {
    let rows = Rows { columns: vec![column("id")], rows: vec![vec![Value::Integer(7)]] };
    let rows = sql.contains("RETURNING").then_some(rows);
    StatementResult { rows_affected: 1, last_insert_id: Some(7), rows, time: 0.5 }
}

/// One row of the arguments, or as many numbers as the last word of the SQL says.
fn rows(encoder: &mut MsgpackStream, out: &mut Vec<u8>, index: usize, sql: &str, bindings: &Bindings) -> u64 {
    let values: Vec<Value> = bindings.values().cloned().collect();
    if !values.is_empty() {
        let columns: Vec<Column> = match bindings {
            Bindings::Positional(values) => values.iter().map(|_| column("?")).collect(),
            Bindings::Named(pairs) => pairs.iter().map(|(name, _)| column(name)).collect(),
        };
        encoder.columns(out, index, &columns);
        encoder.row(out, &values);
        return 1;
    }
    let count = sql.rsplit(' ').next().and_then(|it| it.parse().ok()).unwrap_or(1);
    encoder.columns(out, index, &[column("n")]);
    (0..count).for_each(|number| encoder.row(out, &vec![Value::Integer(number)]));
    count as u64
}

fn described(body: &[u8]) -> String {
    let statements: Vec<String> = serde_json::from_slice(body).unwrap();
    let describe =
        |it: &String| Description { read_only: it.starts_with("SELECT"), ..Description::default() };
    let results: Vec<_> = statements.iter().map(describe).collect();
    serde_json::json!({ "results": results }).to_string()
}

/// How long [`backup`] is when it is unpacked: six pages.
pub(crate) const BACKUP_LENGTH: u64 = 6 * 4096;

/// A small database, compressed.
pub(crate) fn backup() -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let database = rusqlite::Connection::open(file.path()).unwrap();
    database.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(20000))").unwrap();
    drop(database);
    zstd::encode_all(std::fs::File::open(file.path()).unwrap(), 3).unwrap()
}
