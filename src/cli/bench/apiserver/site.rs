//! The server under test, with reports in it.

use anyhow::{Context as _, ensure};
use larder_engine::floor::Beside;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

use super::super::exchange::{Connection, Target};
use super::super::server::{Server, Service};
use super::http2::Http2;
use super::request::{self, Request};
use super::workload::{self, Turn};

/// Clients that create.
pub(super) const CLIENTS: u64 = 16;

/// How long it may take to make the result rows of all reports.
const SETTLING: Duration = Duration::from_secs(120);

/// One report in so many that is created is looked at in full.
const VERIFIED: u64 = 101;

/// A running server.
pub(super) struct Site {
    pub(super) server: Server,
    pub(super) target: Target,
    data: PathBuf,
    /// The revisions of the reports, by number.
    pub(super) revisions: Arc<Vec<AtomicU64>>,
}

impl Site {
    /// Starts a server on `data`, which is new.
    pub(super) fn start(data: &Path) -> anyhow::Result<Self> {
        let server = Server::start_service(Service::Kubernetes, data)?;
        let target = Target::new(&server.url()?, &server.certs())?;
        Ok(Self { server, target, data: data.to_owned(), revisions: Arc::default() })
    }

    /// The database that it keeps objects in.
    pub(super) fn database(&self) -> PathBuf {
        self.data.join("larder.db")
    }

    pub(super) async fn connect(&self) -> anyhow::Result<Http2> {
        Http2::connect(&self.target.over_http2()).await
    }

    /// How many reports there are.
    pub(super) fn count(&self) -> u64 {
        self.revisions.len() as u64
    }

    /// Creates reports until there are `count`, as fast as they are taken.
    pub(super) async fn fill(&mut self, count: u64) -> anyhow::Result<()> {
        let mut revisions: Vec<_> = self.revisions.iter().map(|it| it.load(Ordering::Relaxed)).collect();
        let next = Arc::new(AtomicU64::new(self.count()));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (connection, authority) = (self.target.connect().await?, self.target.authority().to_owned());
            clients.spawn(fill(connection, authority, Arc::clone(&next), count));
        }
        revisions.resize(count as usize, 0);
        while let Some(client) = clients.join_next().await {
            for (report, revision) in client?? {
                revisions[report as usize] = revision;
            }
        }
        self.revisions = Arc::new(revisions.into_iter().map(AtomicU64::new).collect());
        Ok(())
    }

    /// Waits until there are result rows of all reports: who makes them takes processor time that whatever is measured would have.
    pub(super) fn settle(&self) -> anyhow::Result<()> {
        let settled = "SELECT x'' FROM result_state WHERE behind = 0 AND complete = 1";
        let deadline = Instant::now() + SETTLING;
        loop {
            let mut is_settled = false;
            Beside::open(&self.database())?.blobs(settled, |_| {
                is_settled = true;
                anyhow::Ok(())
            })??;
            if is_settled {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "result rows are not made of all reports in {SETTLING:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The latest revision.
    pub(super) async fn revision(&self) -> anyhow::Result<u64> {
        let mut body = Vec::new();
        let path = format!("{}?limit=1", workload::PATH);
        let mut connection = self.connect().await?;
        connection.fetch(&path, "application/json", |piece| body.extend_from_slice(piece)).await?;
        let list: serde_json::Value = serde_json::from_slice(&body)?;
        let revision = list["metadata"]["resourceVersion"].as_str().context("a list without a revision")?;
        Ok(revision.parse()?)
    }

    /// An error together with what the server logged.
    pub(super) fn explained<T>(&self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        result.with_context(|| format!("the server's log ends with\n{}\n", self.server.last_words()))
    }
}

async fn fill(
    mut connection: Connection,
    authority: String,
    next: Arc<AtomicU64>,
    count: u64,
) -> anyhow::Result<Vec<(u64, u64)>> {
    let (mut request, mut body, mut created) = (Request::default(), Vec::new(), Vec::new());
    loop {
        let report = next.fetch_add(1, Ordering::Relaxed);
        if report >= count {
            return Ok(created);
        }
        let turn = Turn::first(report);
        body.clear();
        let sent = request.write(&authority, turn);
        let status = connection.exchange(sent, |piece| body.extend_from_slice(piece)).await?;
        ensure!(status == 201, "filling: {status} {}", String::from_utf8_lossy(&body));
        if report.is_multiple_of(VERIFIED) {
            request::check(&serde_json::from_slice(&body)?, turn)?;
        }
        created.push((report, request::revision(&body)?));
    }
}
