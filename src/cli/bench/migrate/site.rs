//! The server under test as a controller sees it: a database over mutual TLS, with reports in it.

use anyhow::{Context as _, ensure};
use larder_client::database::Database;
use larder_client::fallback::{Consul, KeyValue as _};
use larder_client::reports::{Clock, ReportStore, Selection};
use larder_client::{Credentials, Endpoint, Sidecar, schema};
use larder_engine::floor::Rows;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::agent::Agent;
use super::workload::Workload;
use crate::cli::bench::server::Server;

/// How long the server may take to come to rest.
const AT_REST: Duration = Duration::from_secs(30);
/// It rests when nothing has changed for so long.
const UNCHANGED: Duration = Duration::from_secs(2);
const GLANCE: Duration = Duration::from_millis(20);

/// A running server.
pub(super) struct Site {
    server: Server,
    data: PathBuf,
    pub(super) store: ReportStore,
}

impl Site {
    /// Starts a server on `data`, which is new.
    pub(super) fn start(data: &Path) -> anyhow::Result<Self> {
        let server = Server::start(data)?;
        let endpoint: Endpoint = server.url()?.trim().parse()?;
        let [ca, cert, key] = ["ca.crt", "client.crt", "client.key"].map(|name| server.certs().join(name));
        let sidecar = Sidecar::new(endpoint, Credentials::from_files(ca, cert, key)?)?;
        let store = ReportStore::new(Arc::new(sidecar), Arc::new(Clock::new(1)));
        Ok(Self { server, data: data.to_owned(), store })
    }

    /// The number of the server's process.
    pub(super) fn id(&self) -> u32 {
        self.server.id()
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    pub(super) fn database(&self) -> &Arc<dyn Database> {
        self.store.database()
    }

    /// Makes the tables.
    pub(super) async fn prepare(&self) -> anyhow::Result<()> {
        schema::prepare(&**self.database()).await?;
        Ok(())
    }

    /// Reads every report as a controller does that starts, and forgets it. Says how many there were.
    pub(super) async fn get_many(&self) -> anyhow::Result<u64> {
        let mut reports = self.store.get_many(Selection::prefix(""));
        let mut count = 0;
        while reports.next().await?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// Whether every report is here bit for bit and none is left in Consul.
    pub(super) async fn verify(&self, agent: &Agent, workload: &Workload) -> anyhow::Result<()> {
        let consul = Consul::new(agent.url().parse()?, None)?;
        let left = consul.list("scan/data/", None, 1).await?;
        ensure!(left.is_empty(), "{:?} was left in Consul", left[0].key);
        let mut payloads: HashMap<_, _> =
            workload.items.iter().map(|it| (&it.report.key, &it.report.payload)).collect();
        let mut reports = self.store.get_many(Selection::prefix(""));
        while let Some(stored) = reports.next().await? {
            let report = stored.report;
            let sent =
                payloads.remove(&report.key).with_context(|| format!("{} was never there", report.key))?;
            ensure!(report.payload == sent, "{} is another one than it was", report.key);
        }
        ensure!(payloads.is_empty(), "{} reports were lost", payloads.len());
        Ok(())
    }

    /// All rows that are kept: reports, and the index of their findings.
    pub(super) fn rows(&self) -> anyhow::Result<Rows> {
        Ok(Rows::of(&self.data.join("larder.db"), &["report", "vulnerability_name", "segment", "block"])?)
    }

    /// Database and log, once the server has moved one into the other and given back what is free.
    pub(super) fn bytes_on_disk(&self) -> anyhow::Result<u64> {
        let length = |name| Ok::<_, std::io::Error>(std::fs::metadata(self.data.join(name))?.len());
        let lengths = || Ok::<_, std::io::Error>([length("larder.db")?, length("larder.db-wal")?]);
        let (since, mut seen) = (Instant::now(), (Instant::now(), lengths()?));
        while since.elapsed() < AT_REST && (seen.1[1] > 0 || seen.0.elapsed() < UNCHANGED) {
            std::thread::sleep(GLANCE);
            let now = lengths()?;
            if now != seen.1 {
                seen = (Instant::now(), now);
            }
        }
        Ok(seen.1.iter().sum())
    }

    /// Ends the server from one moment to the next.
    pub(super) fn kill(self) -> ReportStore {
        self.store
    }

    /// Stops the server, and removes what it kept.
    pub(super) fn leave(self) -> anyhow::Result<()> {
        self.server.stop()?;
        Ok(std::fs::remove_dir_all(self.data)?)
    }
}
