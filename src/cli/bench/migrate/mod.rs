//! `larder bench migrate`: what it costs to move reports out of Consul, and what is gained by it.
//!
//! Every figure is set against what the same machine does in the same run without us: reading all values from Consul, deleting them there,
//! and inserting the very rows that the server ended up with into SQLite in process: with findings, those that hold them and those of
//! their index. The agent, the server and the migration are processes of their own with loopback between them, and mutual TLS to the server.
//!
//! What is counted for a migration is everything from its start to its end as a process, less what it takes when there is nothing to move.

mod agent;
mod child;
mod consul;
mod figures;
mod outage;
mod questions;
mod site;
mod workload;

use anyhow::ensure;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

use larder_engine::floor::{Floor, Rows};

use super::machine::Machine;
use super::report::{Figure, Report, mebibytes};
use super::{Common, progress};
use agent::Agent;
use child::{Findings, Ran};
use figures::{Floors, Moved};
use site::Site;
use workload::{Name, Workload};

/// Rows in a commit of the floor: what a migration brings over at once.
const IN_A_COMMIT: usize = 64;
/// What [`larder_client::reports::ReportStore::get_many`] reads, and in which order.
const COLD_START: &str = "SELECT id, key, scanned_at, sequence, scanner_version, encoding, name, namespace, service, image, os, node, \
                          repository, tag, size, upload, payload FROM report ORDER BY key";

/// Measure moving reports out of Consul
#[derive(Debug, clap::Args)]
pub(super) struct MigrateArgs {
    /// Only these workloads: A 1000 reports of 142 findings, B 1000 of 1371, C 10,000 of 1371
    #[arg(long, value_enum, ignore_case = true, num_args = 1.., value_name = "NAME")]
    workload: Vec<Name>,
    /// The Consul program [default: that of the PATH, or of target/servers]
    #[arg(long, value_name = "PATH")]
    consul: Option<PathBuf>,
    #[command(flatten)]
    pub(super) bench: Common,
}

impl MigrateArgs {
    pub(super) fn measure(&self, dir: &Path) -> anyhow::Result<Report> {
        let consul = agent::program(self.consul.as_deref())?;
        let machine = Machine::observe(dir);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let begun = Instant::now();
        let mut figures = Vec::new();
        for name in [Name::A, Name::B, Name::C] {
            if self.workload.is_empty() || self.workload.contains(&name) {
                let dir = dir.join(name.letter().to_string());
                std::fs::create_dir(&dir)?;
                let bench = Bench { consul: &consul, dir: &dir, runtime: &runtime, quick: self.bench.quick };
                figures.extend(bench.run(name)?);
                std::fs::remove_dir_all(dir)?;
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Report { machine, quick: self.bench.quick, rounds: 1, seconds, figures })
    }
}

/// The bench of one workload.
struct Bench<'b> {
    consul: &'b Path,
    dir: &'b Path,
    runtime: &'b Runtime,
    quick: bool,
}

impl Bench<'_> {
    fn run(&self, name: Name) -> anyhow::Result<Vec<Figure>> {
        self.say(name, "making reports");
        let workload = Workload::make(name, self.quick)?;
        self.say(name, "the floors of Consul");
        let agent = self.agent(&workload)?;
        let read = self.runtime.block_on(consul::read(&agent, &workload))?;
        let delete = self.runtime.block_on(consul::delete(&agent, &workload))?;
        drop(agent);
        self.say(name, &format!("read in {read:.2?}, deleted in {delete:.2?}"));
        let floors = |insert| Floors { read, insert, delete };

        self.say(name, "moving, without findings");
        let (site, moved) = self.migrate(&workload, Findings::Off)?;
        let rows = site.rows()?;
        site.leave()?;
        let (floor, insert) = self.insert(&rows)?;
        drop(floor);
        let mut figures = figures::migrations(&workload, Findings::Off, moved, floors(insert));

        self.say(name, "moving, with findings");
        let (site, moved) = self.migrate(&workload, Findings::On)?;
        let rows = site.rows()?;
        let (floor, insert) = self.insert(&rows)?;
        drop(rows);
        figures.extend(figures::migrations(&workload, Findings::On, moved, floors(insert)));

        if workload.is_largest() {
            self.say(name, "reading, asking, and doing without");
            figures.extend(self.afterwards(&workload, site, &floor)?);
        }
        Ok(figures)
    }

    /// What reports are moved for.
    fn afterwards(&self, workload: &Workload, site: Site, floor: &Floor) -> anyhow::Result<Vec<Figure>> {
        let reading = self.read(floor, &site, workload)?;
        let asked = self.runtime.block_on(questions::ask(&site, workload))?;
        let disk = figures::disk(workload, site.bytes_on_disk()?);
        let agent = self.agent_without_reports("outage")?;
        let put = self.runtime.block_on(outage::put(site, &agent, workload, self.quick))?;
        let mut figures = vec![figures::cold_start(workload, reading)];
        figures.extend(figures::questions(workload, &asked));
        figures.extend([disk, figures::outage(workload, put)]);
        Ok(figures)
    }

    fn say(&self, name: Name, what: &str) {
        progress(&format!("{}: {what}", name.letter()));
    }

    /// Moves the workload to a new server.
    fn migrate(&self, workload: &Workload, findings: Findings) -> anyhow::Result<(Site, Moved)> {
        let site = Site::start(&self.dir.join(format!("findings-{findings:?}").to_lowercase()))?;
        self.runtime.block_on(site.prepare())?;
        let agent = self.agent_without_reports("migrate")?;
        let idle = child::migrate(&agent, site.data(), findings)?;
        self.runtime.block_on(consul::fill(&agent, workload))?;
        rustix::fs::sync();
        let before = [site.id(), agent.id()].map(child::worked);
        let Ran { took, peak, each, worked } = child::migrate(&agent, site.data(), findings)?;
        let others = [site.id(), agent.id()].map(child::worked);
        let [server, consul] = std::array::from_fn(|it| Some(others[it]?.saturating_sub(before[it]?)));
        let worked =
            [Some(worked.saturating_sub(idle.worked)), server, consul].map(Option::unwrap_or_default);
        self.runtime.block_on(site.verify(&agent, workload))?;
        self.say(
            workload.name,
            &format!("moved in {took:.2?}, of which {:.2?} with nothing to move", idle.took),
        );
        let grown = peak.saturating_sub(idle.peak);
        let moved = Moved { took: took.saturating_sub(idle.took), each, grown, worked };
        Ok((site, moved))
    }

    /// The floor of inserting.
    fn insert(&self, rows: &Rows) -> anyhow::Result<(Floor, Duration)> {
        let path = self.dir.join("floor.db");
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(self.dir.join(format!("floor.db{end}")));
        }
        let mut floor = Floor::open(&path)?;
        floor.make_room_for(rows)?;
        progress(&format!("inserting {} rows of {:.0} MiB", rows.count(), mebibytes(rows.bytes())));
        rustix::fs::sync();
        let begun = Instant::now();
        floor.insert_rows(rows, IN_A_COMMIT)?;
        let took = begun.elapsed();
        progress(&format!("inserted in {took:.2?}"));
        Ok((floor, took))
    }

    /// How long all rows take to be read over the wire, and in process.
    fn read(&self, floor: &Floor, site: &Site, workload: &Workload) -> anyhow::Result<(Duration, Duration)> {
        let begun = Instant::now();
        let rows = floor.read(COLD_START)?;
        let in_process = begun.elapsed();
        let begun = Instant::now();
        let count = self.runtime.block_on(site.get_many())?;
        let over_the_wire = begun.elapsed();
        ensure!(rows == count && count == workload.items.len() as u64, "{rows} and {count} rows are not all");
        Ok((over_the_wire, in_process))
    }

    fn agent(&self, workload: &Workload) -> anyhow::Result<Agent> {
        let agent = self.agent_without_reports("floors")?;
        self.runtime.block_on(consul::fill(&agent, workload))?;
        Ok(agent)
    }

    fn agent_without_reports(&self, log: &str) -> anyhow::Result<Agent> {
        Agent::start(self.consul, &self.dir.join(format!("consul-{log}.log")))
    }
}
