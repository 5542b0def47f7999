//! Clients that misbehave, beside others that do not: slow readers, bodies and headers without an end, resets, silent
//! connections, and streams by the hundred.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use larder_harness::setup;
use rustls::pki_types::ServerName;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::drain::many_rows;
use crate::lab::{self, Site, eventually, long_or_short, must_execute, number, process_mib, report, status};
use crate::load::create_tables;

/// A connection to say anything on.
pub(crate) async fn open_tls(site: &Site, role: &str) -> TlsStream<TcpStream> {
    open_alpn(site, role, &[]).await
}

async fn open_alpn(site: &Site, role: &str, protocols: &[&str]) -> TlsStream<TcpStream> {
    let mut config = site.tls(role);
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    let tcp = TcpStream::connect(site.url.trim_start_matches("https://")).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
}

const LONG_READ: &str =
    "GET /query?q=SELECT%20*%20FROM%20event HTTP/1.1\r\nhost: larder\r\naccept: application/x-ndjson\r\n\r\n";

/// Reads a byte a second until the server has had enough.
async fn read_slowly(site: Site) {
    let mut stream = open_tls(&site, "reader").await;
    stream.write_all(LONG_READ.as_bytes()).await.unwrap();
    while stream.read_u8().await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Begins a body and never ends it.
async fn never_finish(site: Site) {
    let mut stream = open_tls(&site, "writer").await;
    let head = "POST /execute HTTP/1.1\r\nhost: larder\r\ncontent-length: 1000000\r\n\r\n[";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
}

/// Goes away in the middle of an answer, with a reset.
async fn vanish(site: Site) {
    loop {
        let mut stream = open_tls(&site, "reader").await;
        stream.write_all(LONG_READ.as_bytes()).await.unwrap();
        stream.read_exact(&mut [0; 1000]).await.unwrap();
        // What was not read makes the system send a reset.
        drop(stream);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Sends a byte of a header now and then, without an end.
async fn drip_headers(site: Site) {
    let mut stream = open_tls(&site, "reader").await;
    for byte in b"GET /query HTTP/1.1\r\nx-drip: ".iter().chain(std::iter::repeat(&b'x')) {
        if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Starts reads by the hundred on one connection and reads none of them.
async fn open_streams(site: Site) {
    let stream = TokioIo::new(open_alpn(&site, "reader", &["h2"]).await);
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let mut answers = JoinSet::new();
    for _ in 0..200 {
        let uri = format!("{}/query?q=SELECT%20*%20FROM%20event", site.url);
        let request = http::Request::get(uri).header("accept", "application/x-ndjson");
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let mut sender = sender.clone();
        answers.spawn(async move {
            sender.ready().await?;
            let mut answer = sender.send_request(request).await?;
            let first = answer.body_mut().frame().await;
            // Holds the answer without reading on.
            tokio::time::sleep(Duration::from_secs(600)).await;
            drop(first);
            Ok::<_, hyper::Error>(())
        });
    }
    answers.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_misbehave_hurt_nobody_else() {
    let _turn = lab::turn().await;
    let server = setup!()
        .args([
            "--stall-timeout",
            "3s",
            "--body-timeout",
            "3s",
            "--idle-timeout",
            "3s",
            "--read-timeout",
            "20s",
        ])
        .start();
    create_tables(&server).await;
    must_execute(&server, json!([many_rows(5000)])).await;
    let site = Site::of(&server);
    let before = process_mib(&server, "VmRSS");
    let mut bad = JoinSet::new();
    for _ in 0..6 {
        bad.spawn(read_slowly(site.clone()));
        bad.spawn(never_finish(site.clone()));
        bad.spawn(vanish(site.clone()));
        bad.spawn(drip_headers(site.clone()));
    }
    bad.spawn(open_streams(site.clone()));

    let total = long_or_short(100_000_u64, 10_000);
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        writers.spawn(write_rows(site.clone(), writer, total / 4));
    }
    let (mut log, mut worst, mut reads) = (0, Duration::ZERO, 0_u64);
    let mut reader = server.connect("reader").await;
    let started = Instant::now();
    let mut written = Vec::new();
    while written.len() < 4 {
        let asked = Instant::now();
        let answer = reader.post("/query", r#"["SELECT count(*) FROM tally"]"#).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        (worst, reads) = (worst.max(asked.elapsed()), reads + 1);
        log = log.max(status(&server, "database.wal_bytes").await.as_u64().unwrap());
        while let Some(done) = writers.try_join_next() {
            written.push(done.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = started.elapsed();
    let slowest = written.into_iter().max().unwrap();
    let memory = process_mib(&server, "VmHWM");
    bad.shutdown().await;
    eventually("reader slots are freed", async || {
        (status(&server, "readers.in_use").await == 0).then_some(())
    })
    .await;
    assert_eq!(number(&server, "SELECT count(*) FROM event WHERE request <> 'bulk'").await, total);
    assert!(log < 100 << 20, "a log of {log} bytes");
    assert!(memory < 300, "{memory} MiB of memory");
    assert!(slowest < Duration::from_secs(10), "a write took {slowest:?}");
    assert!(worst < Duration::from_secs(10), "a read took {worst:?}");
    report(
        "bad clients",
        &format!(
            "24 of them (a byte a second, bodies and headers without end, resets) and 200 HTTP/2 streams that nobody reads, while {total} rows of 5.5 KB were written in {:.0} s: log at most {} MiB, slowest write {:.2} s, slowest of {reads} reads {:.2} s, memory {before} MiB before and {memory} MiB at most; all reader slots free afterwards",
            took.as_secs_f64(),
            log >> 20,
            slowest.as_secs_f64(),
            worst.as_secs_f64(),
        ),
    );
}

/// Writes rows of 5.5 KB, fifty in a request. The longest that one took.
async fn write_rows(site: Site, writer: u64, count: u64) -> Duration {
    const AT_ONCE: u64 = 50;
    let mut connection = site.connect("writer").await.unwrap();
    let (body, mut slowest) = ("report! ".repeat(688), Duration::ZERO);
    for request in 0..count / AT_ONCE {
        let rows: Vec<_> =
            (0..AT_ONCE).map(|row| json!([format!("w{writer}"), request * AT_ONCE + row, body])).collect();
        let statements = json!([{ "sql": "INSERT INTO event VALUES (?, ?, ?)", "many": rows }]);
        let started = Instant::now();
        let answer = connection.post("/execute", statements.to_string()).await;
        slowest = slowest.max(started.elapsed());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    slowest
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_do_not_read_give_way_to_those_that_wait() {
    let _turn = lab::turn().await;
    let server = setup!().args(["--readers", "2", "--stall-timeout", "60s"]).start();
    create_tables(&server).await;
    must_execute(&server, json!([many_rows(5000)])).await;
    let site = Site::of(&server);
    let mut stuck = Vec::new();
    for _ in 0..2 {
        let mut stream = open_tls(&site, "reader").await;
        stream.write_all(LONG_READ.as_bytes()).await.unwrap();
        stuck.push(stream);
    }
    eventually("every connection is held", async || {
        (status(&server, "readers.in_use").await == 2).then_some(())
    })
    .await;
    let started = Instant::now();
    let answer = server.connect("reader").await.post("/query", r#"["SELECT 1"]"#).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(started.elapsed() < Duration::from_secs(20), "waited {:?}", started.elapsed());
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_make_room() {
    let _turn = lab::turn().await;
    let server = setup!().args(["--idle-timeout", "2s"]).start();
    let site = Site::of(&server);
    let mut silent = Vec::new();
    // Some do not even shake hands, some do and then say nothing.
    for number in 0..600 {
        let connecting = async {
            if number % 2 == 0 {
                Silent::Tcp(TcpStream::connect(site.url.trim_start_matches("https://")).await.unwrap())
            } else {
                Silent::Tls(Box::new(
                    open_alpn(&site, "reader", [&["http/1.1"][..], &["h2"], &[]][number % 3]).await,
                ))
            }
        };
        match tokio::time::timeout(Duration::from_secs(1), connecting).await {
            Ok(stream) => silent.push(stream),
            Err(_) => break,
        }
    }
    let started = Instant::now();
    let served = tokio::time::timeout(lab::PATIENCE, async {
        server.connect("reader").await.get("/version").await.status
    });
    assert_eq!(served.await.expect("nobody else is let in"), 200);
    let waited = started.elapsed();
    eventually("silent connections are closed", async || {
        let metrics = server.probe("/metrics").await;
        let line =
            metrics.text().lines().find(|line| line.starts_with("larder_connections ")).unwrap().to_owned();
        let open: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        (open <= 1).then_some(())
    })
    .await;
    report(
        "bad clients",
        &format!(
            "{} silent connections, half of them after their handshake: the next client was served after {:.1} s, all were closed",
            silent.len(),
            waited.as_secs_f64()
        ),
    );
    drop(silent);
}

/// Held, so that it stays open on this side.
enum Silent {
    Tcp(#[expect(dead_code, reason = "held open")] TcpStream),
    Tls(#[expect(dead_code, reason = "held open")] Box<TlsStream<TcpStream>>),
}
