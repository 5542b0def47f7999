//! Against hyper's server, which answers as the one that is measured does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame as BodyFrame;
use hyper::{Request, Response, StatusCode, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use tokio::io::DuplexStream;

/// A server that answers `/N` with N bytes in pieces of 10,000, and anything else with 404.
fn connect() -> Http2<DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
        assert_eq!(request.headers()["accept"], "application/json");
        assert_eq!(request.uri().authority().unwrap(), "bench:1");
        let length = request.uri().path()[1..].parse::<usize>();
        let status = if length.is_ok() { StatusCode::OK } else { StatusCode::NOT_FOUND };
        let body = length.map_or(b"no number".to_vec(), body);
        let pieces: Vec<_> = body.chunks(10_000).map(Bytes::copy_from_slice).collect();
        let pieces = stream::iter(pieces.into_iter().map(|it| Ok::<_, Infallible>(BodyFrame::data(it))));
        Ok::<_, Infallible>(Response::builder().status(status).body(StreamBody::new(pieces)).unwrap())
    });
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    tokio::spawn(server.serve_connection(TokioIo::new(theirs), service));
    Http2::over(ours, "bench:1")
}

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|it| (it % 251) as u8).collect()
}

#[tokio::test]
async fn answers_longer_than_any_window_are_read_whole() {
    let mut connection = connect();
    for length in [0, 1, 100_000, 3 * STREAM_WINDOW as usize] {
        let mut read = Vec::new();
        let path = format!("/{length}");
        connection.fetch(&path, "application/json", |piece| read.extend_from_slice(piece)).await.unwrap();
        assert!(read == body(length), "{length}");
    }
}

#[tokio::test]
async fn one_that_is_not_read_holds_up_no_other() {
    let mut connection = connect();
    let stuck = connection.ask("/9000000", "application/json", Reading::Stuck);
    let others: Vec<_> =
        (0..8).map(|_| connection.ask("/9000000", "application/json", Reading::On)).collect();
    let mut lengths = vec![0; others.len() + 1];
    while others.iter().any(|it| !connection.has_ended(*it)) {
        connection.fill().await.unwrap();
        connection.take(|answer, piece| lengths[answer] += piece.len()).unwrap();
    }
    assert!(connection.all_have_begun() && !connection.has_ended(stuck));
    assert_eq!(lengths[stuck], USUAL_WINDOW as usize);
    assert!(others.iter().all(|it| lengths[*it] == 9_000_000), "{lengths:?}");
}

#[tokio::test]
async fn a_refusal_says_why() {
    let error = connect().fetch("/seven", "application/json", |_| panic!("no body")).await.unwrap_err();
    assert!(format!("{error:#}").contains("no number"), "{error:#}");
}

#[tokio::test]
async fn what_is_told_to_all_arrives_at_all() {
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    let mut wire = Vec::new();
    told::heads(3, &mut wire);
    told::pieces(3, &body(20_000), &mut wire);
    theirs.write_all(&wire).await.unwrap();
    let mut connection = Http2::over(ours, "bench:1");
    let mut read = vec![Vec::new(); 3];
    for _ in 0..read.len() {
        connection.ask("/", "application/json", Reading::On);
    }
    while read.iter().any(|it| it.len() < 20_000) {
        connection.fill().await.unwrap();
        connection.take(|answer, piece| read[answer].extend_from_slice(piece)).unwrap();
    }
    assert!(read.iter().all(|it| *it == body(20_000)));
}
