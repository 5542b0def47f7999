//! A server with a `bench` table, and the one way of speaking with it while no clock runs.

use anyhow::{Context as _, ensure};
use larder_wire::{Request, Response, Statement, Value};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::exchange::{Connection, Target};
use super::load::{self, Repeated as _, Tally, Timing};
use super::script::{Blobs, FIRST_FILLED, FIRST_INSERTED, Form, Script, Scripts};
use super::server::Server;

/// Clients that write with `many`, here and while the clock runs.
pub(super) const WRITERS_OF_MANY: u64 = 4;

/// Setting the stage may take longer than a server lets a request take by default.
const TIMEOUT_MS: u64 = 60_000;

const CREATE: &str = "CREATE TABLE bench (id INTEGER PRIMARY KEY, body BLOB NOT NULL)";

/// A running server and everything that is needed for talking to it.
pub(super) struct Session {
    pub(super) server: Server,
    pub(super) scripts: Scripts,
    target: Target,
    runtime: Runtime,
    /// Rows that [`Session::fill`] wrote.
    pub(super) filled: u64,
    inserted: u64,
}

/// What a drained stream held.
pub(super) struct Drained {
    pub(super) lines: u64,
    pub(super) elapsed: Duration,
}

impl Session {
    /// Starts a server in `data`, which is new, and makes the table.
    pub(super) fn start(data: &Path, blobs: &Arc<Blobs>) -> anyhow::Result<Self> {
        let session = Self::connect(Server::start(data)?, blobs.clone())?;
        session.explained(session.execute(CREATE))?;
        Ok(session)
    }

    /// Stops the server and starts it on the same data.
    pub(super) fn restart(self, data: &Path) -> anyhow::Result<Self> {
        self.server.stop()?;
        let mut again = Self::connect(Server::start(data)?, self.scripts.blobs)?;
        again.scripts.next_id = self.scripts.next_id;
        Ok(Self { filled: self.filled, inserted: self.inserted, ..again })
    }

    fn connect(server: Server, blobs: Arc<Blobs>) -> anyhow::Result<Self> {
        let target = Target::new(&server.url()?, &server.certs())?;
        let next_id = Arc::new(AtomicU64::new(FIRST_INSERTED));
        let scripts = Scripts { authority: target.authority().to_owned(), blobs, next_id };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { server, scripts, target, runtime, filled: 0, inserted: 0 })
    }

    /// Lets the scripts run against the clock.
    pub(super) fn load(&mut self, scripts: Vec<Script>, timing: Timing) -> anyhow::Result<Tally> {
        let tally = self.runtime.block_on(load::run(&self.target, scripts, timing));
        let tally = self.explained(tally)?;
        self.inserted += tally.inserted;
        Ok(tally)
    }

    /// Runs one statement of a writer.
    pub(super) fn execute(&self, sql: &str) -> anyhow::Result<Response> {
        self.ask("/execute", sql)
    }

    /// Writes at least `rows` rows as fast as they are taken.
    pub(super) fn fill(&mut self, rows: u64) -> anyhow::Result<()> {
        let next_id = Arc::new(AtomicU64::new(FIRST_FILLED));
        let template = self.scripts.insert_many(&next_id)?;
        let filled = self.runtime.block_on(async {
            let mut clients = JoinSet::new();
            for _ in 0..WRITERS_OF_MANY {
                let (next_id, script) = (next_id.clone(), template.clone());
                clients.spawn(fill(self.target.connect().await?, script, next_id, FIRST_FILLED + rows));
            }
            while let Some(client) = clients.join_next().await {
                client??;
            }
            Ok(next_id.load(Ordering::Relaxed) - FIRST_FILLED)
        });
        self.filled = self.explained(filled)?;
        Ok(())
    }

    /// Reads a result as NDJSON to its end, keeping nothing.
    pub(super) fn drain(&self, sql: &str) -> anyhow::Result<Drained> {
        let body = self.body(sql)?;
        let request = self.scripts.post("/query", Form::Json, larder_wire::NDJSON, &body);
        let drained = self.runtime.block_on(drain(&self.target, &request));
        self.explained(drained)
    }

    /// Whether every acknowledged row, and no other, is there.
    pub(super) fn verify(&self) -> anyhow::Result<()> {
        let response = self.explained(self.ask("/query", "SELECT count(*) FROM bench"))?;
        let count = response.results.first().and_then(|it| it.rows.first()).and_then(|it| it.first());
        let acknowledged = Value::Integer((self.filled + self.inserted).cast_signed());
        ensure!(count == Some(&acknowledged), "acknowledged {acknowledged:?}, but there are {count:?} rows");
        Ok(())
    }

    fn ask(&self, path: &str, sql: &str) -> anyhow::Result<Response> {
        let request = self.scripts.post(path, Form::Json, larder_wire::JSON, &self.body(sql)?);
        let mut body = Vec::new();
        let status = self.runtime.block_on(async {
            let mut connection = self.target.connect().await?;
            connection.exchange(&request, |piece| body.extend_from_slice(piece)).await
        })?;
        ensure!(status == 200, "{sql}: {status} {}", String::from_utf8_lossy(&body));
        Ok(serde_json::from_slice(&body)?)
    }

    fn body(&self, sql: &str) -> anyhow::Result<Vec<u8>> {
        let request = Request { timeout_ms: Some(TIMEOUT_MS), ..Request::new([Statement::new(sql)]) };
        Ok(serde_json::to_vec(&request)?)
    }

    /// An error together with what the server logged.
    fn explained<T>(&self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        result.with_context(|| format!("the server's log ends with\n{}\n", self.server.last_words()))
    }
}

async fn fill(
    mut connection: Connection,
    mut script: Script,
    next_id: Arc<AtomicU64>,
    end: u64,
) -> anyhow::Result<()> {
    let mut body = Vec::new();
    while next_id.load(Ordering::Relaxed) < end {
        body.clear();
        let status = connection.exchange(script.next(), |piece| body.extend_from_slice(piece)).await?;
        ensure!(status == 200, "filling: {status} {}", String::from_utf8_lossy(&body));
        script.verify(&body)?;
    }
    Ok(())
}

async fn drain(target: &Target, request: &[u8]) -> anyhow::Result<Drained> {
    let mut connection = target.connect().await?;
    let (mut lines, mut last) = (0, Vec::new());
    let sent = Instant::now();
    let status = connection.exchange(request, |piece| {
        lines += memchr::memchr_iter(b'\n', piece).count() as u64;
        keep_last(&mut last, piece);
    });
    let status = status.await?;
    let elapsed = sent.elapsed();
    let last = String::from_utf8_lossy(&last);
    ensure!(status == 200 && last.contains("{\"end\":{"), "the stream did not end well: {status} …{last}");
    Ok(Drained { lines, elapsed })
}

/// Enough of the end of a stream for its last line.
fn keep_last(last: &mut Vec<u8>, piece: &[u8]) {
    const LINE: usize = 256;
    last.extend_from_slice(&piece[piece.len().saturating_sub(LINE)..]);
    last.drain(..last.len().saturating_sub(LINE));
}
