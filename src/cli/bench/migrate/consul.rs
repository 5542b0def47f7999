//! Consul alone: filling it, and the floors of reading and deleting all that is to be moved.
//!
//! Each in the fastest way that was found: values one by one as raw bytes, deletions by transactions of 64, on a few connections. (Reading
//! by transactions costs both sides JSON and base64, for which fewer calls do not make up.)

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

use super::agent::Agent;
use super::workload::Workload;
use crate::cli::bench::exchange::Connection;

const CONNECTIONS: usize = 8;
/// What a transaction takes.
const ENTRIES: usize = 64;

/// Puts a workload there.
pub(super) async fn fill(agent: &Agent, workload: &Workload) -> anyhow::Result<()> {
    let bodies = workload.transactions();
    let requests = bodies.iter().map(|body| put(agent, body));
    exchange(agent, requests, |_| Ok(())).await.map(drop).context("filling Consul")
}

/// How long it takes to read every value.
pub(super) async fn read(agent: &Agent, workload: &Workload) -> anyhow::Result<Duration> {
    let host = agent.address();
    let requests = workload.items.iter().map(|it| {
        let key = it.value.replace(':', "%3A");
        format!("GET /v1/kv/{key}?raw&consistent HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
    });
    let bytes = Mutex::new(0);
    let took = exchange(agent, requests, |body| {
        *bytes.lock().expect("nobody panics with it") += body.len() as u64;
        Ok(())
    });
    let took = took.await.context("reading from Consul")?;
    ensure!(bytes.into_inner()? == workload.bytes(), "Consul has not given every byte");
    Ok(took)
}

/// How long it takes to delete every value.
pub(super) async fn delete(agent: &Agent, workload: &Workload) -> anyhow::Result<Duration> {
    let requests = workload.items.chunks(ENTRIES).map(|items| {
        let delete = |key: &str| serde_json::json!({ "KV": { "Verb": "delete", "Key": key } });
        let entries: Vec<_> = items.iter().map(|it| delete(&it.value)).collect();
        put(agent, serde_json::Value::from(entries).to_string().as_bytes())
    });
    exchange(agent, requests, |_| Ok(())).await.context("deleting from Consul")
}

fn put(agent: &Agent, body: &[u8]) -> Vec<u8> {
    let (host, length) = (agent.address(), body.len());
    let head = format!("PUT /v1/txn HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Sends all requests on a few connections, each taking the next as it is free.
async fn exchange(
    agent: &Agent,
    requests: impl Iterator<Item = Vec<u8>>,
    check: impl Fn(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<Duration> {
    let requests = Mutex::new(requests);
    let next = || requests.lock().expect("nobody panics with it").next();
    let connections = try_join_all((0..CONNECTIONS).map(|_| connect(agent))).await?;
    let begun = Instant::now();
    let drained = connections.into_iter().map(async |mut connection| {
        let mut body = Vec::new();
        while let Some(request) = next() {
            body.clear();
            let status = connection.exchange(&request, |piece| body.extend_from_slice(piece)).await?;
            ensure!(status == 200, "Consul answered {status}: {}", String::from_utf8_lossy(&body));
            check(&body)?;
        }
        Ok(())
    });
    try_join_all(drained).await?;
    Ok(begun.elapsed())
}

async fn connect(agent: &Agent) -> anyhow::Result<Connection<TcpStream>> {
    let stream = TcpStream::connect(agent.address()).await?;
    stream.set_nodelay(true)?;
    Ok(Connection::over(stream))
}
