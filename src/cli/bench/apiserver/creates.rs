//! Creating against inserting: the same sixteen clients with the same JSON, once as objects of Kubernetes, once as rows of the sidecar.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::runtime::Runtime;

use super::super::load::{self, Tally, Timing};
use super::super::script::{Blobs, Form};
use super::super::session::Session;
use super::super::stage::Sample;
use super::request::Create;
use super::site::{CLIENTS, Site};
use super::workload::{self, Turn};

/// Rows of so many different bodies are inserted.
const BODIES: u64 = 50;

/// Both servers.
pub(super) struct Creates {
    site: Site,
    next: Arc<AtomicU64>,
    sidecar: Session,
}

impl Creates {
    pub(super) fn start(dir: &Path) -> anyhow::Result<Self> {
        let body = |report| {
            let mut body = Vec::new();
            workload::write(Turn::first(report), &mut body);
            body
        };
        let blobs = Arc::new(Blobs::of_bodies((0..BODIES).map(body).collect()));
        let sidecar = Session::start(&dir.join("sidecar"), &blobs)?;
        Ok(Self { site: Site::start(&dir.join("creates"))?, next: Arc::default(), sidecar })
    }

    /// Inserts, then creates.
    pub(super) fn run(&mut self, runtime: &Runtime, timing: Timing) -> anyhow::Result<(Sample, Sample)> {
        rustix::fs::sync();
        let scripts = (0..CLIENTS).map(|client| self.sidecar.scripts.insert(Form::Msgpack, client));
        let scripts = scripts.collect::<Result<Vec<_>, _>>()?;
        let inserted = sample(&self.sidecar.load(scripts, timing)?, timing);
        rustix::fs::sync();
        let clients = (0..CLIENTS).map(|_| Create::new(self.site.target.authority(), &self.next)).collect();
        let created = runtime.block_on(load::run(&self.site.target, clients, timing));
        Ok((inserted, sample(&self.site.explained(created)?, timing)))
    }

    /// Looks whether the sidecar kept its rows, and stops both.
    pub(super) fn leave(self) -> anyhow::Result<()> {
        self.sidecar.verify()?;
        self.sidecar.server.stop()?;
        self.site.server.stop()
    }
}

fn sample(tally: &Tally, timing: Timing) -> Sample {
    Sample {
        rate: tally.count() as f64 / timing.measure.as_secs_f64(),
        latency: Some((tally.latency(0.5), tally.latency(0.99))),
        growth: None,
    }
}
