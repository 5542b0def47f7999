//! The things that are measured in turns: the server under each load, and the floor below it.
//!
//! Each [`Probe`] is run once a round, so that a machine that becomes slower slows both sides of a ratio.

use anyhow::ensure;
use larder_engine::floor::Floor;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::load::{Tally, Timing};
use super::script::{BODY, Blobs, FIRST_INSERTED, Form, ROWS, Script};
use super::session::{Session, WRITERS_OF_MANY};

/// Clients of the loads that go by number of clients.
pub(super) const CLIENTS: u64 = 64;

/// One thing to measure. In the order of a round: what is compared stands close together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Probe {
    /// In process, a commit for each insert.
    CommitEach,
    /// One client, one insert a request.
    InsertAlone,
    /// 64 clients, one insert a request, MessagePack.
    InsertMsgpack,
    /// In process, a commit for a thousand inserts.
    CommitThousand,
    /// Four clients, a thousand inserts a request.
    InsertMany,
    /// 64 clients, one insert a request, JSON.
    InsertJson,
    /// 64 clients, no database.
    Version,
    /// 64 clients, one row by primary key.
    PointRead,
    /// In process, stepping and encoding.
    Encode,
    /// One client, the same rows over the wire.
    Stream,
}

/// What one run of a probe gave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Rows or, where there are none, answers a second.
    pub(super) rate: f64,
    /// Median and 99th percentile, where it consists of many repetitions.
    pub(super) latency: Option<(Duration, Duration)>,
    /// Bytes by which the server's resident memory grew beyond what it was before, where that is asked.
    pub(super) growth: Option<u64>,
}

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) timing: Timing,
    /// Rows of 5.5 KB for the point reads.
    pub(super) points: u64,
    /// Rows of the streamed result.
    pub(super) streamed: u64,
}

/// A floor and a server with everything that the probes need.
pub(super) struct Stage {
    floor: Floor,
    floor_next: i64,
    blobs: Arc<Blobs>,
    session: Session,
    extent: Extent,
}

const SELECT_WIDE: &str = "SELECT id, name, score, seen FROM wide";

impl Stage {
    /// Sets up what `probes` need, in `dir`.
    pub(super) fn set(dir: &Path, probes: &BTreeSet<Probe>, extent: Extent) -> anyhow::Result<Self> {
        let blobs = Arc::new(Blobs::random());
        let floor = Floor::open(&dir.join("floor.db"))?;
        floor.prepare("CREATE TABLE bench (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")?;
        let mut session = Session::start(&dir.join("server"), &blobs)?;
        if probes.contains(&Probe::PointRead) {
            session.fill(extent.points)?;
        }
        if probes.contains(&Probe::Stream) {
            for sql in wide(extent.streamed) {
                floor.prepare(&sql)?;
                session.execute(&sql)?;
            }
        }
        Ok(Self { floor, floor_next: FIRST_INSERTED.cast_signed(), blobs, session, extent })
    }

    /// Measures once. What was measured before leaves nothing to be written on the disk's queue.
    pub(super) fn run(&mut self, probe: Probe) -> anyhow::Result<Sample> {
        rustix::fs::sync();
        match probe {
            Probe::CommitEach => self.commit_each(),
            Probe::CommitThousand => self.commit_thousand(),
            Probe::InsertAlone => self.load(1, 1, |it, client| it.scripts.insert(Form::Msgpack, client)),
            Probe::InsertMsgpack => {
                self.load(CLIENTS, 1, |it, client| it.scripts.insert(Form::Msgpack, client))
            }
            Probe::InsertJson => self.load(CLIENTS, 1, |it, client| it.scripts.insert(Form::Json, client)),
            Probe::InsertMany => self.insert_many(),
            Probe::Version => self.load(CLIENTS, 1, |it, _| Ok(it.scripts.version())),
            Probe::PointRead => self.load(CLIENTS, 1, |it, client| it.scripts.point_read(client, it.filled)),
            Probe::Encode => self.encode(),
            Probe::Stream => self.stream(),
        }
    }

    /// Looks whether the server kept what it acknowledged, and stops it.
    pub(super) fn leave(self) -> anyhow::Result<()> {
        self.session.verify()?;
        let inserted = self.floor_next - FIRST_INSERTED.cast_signed();
        ensure!(self.floor.count()? == inserted, "the floor lost rows");
        self.session.server.stop()
    }

    fn load(
        &mut self,
        clients: u64,
        rows: u64,
        script: impl Fn(&Session, u64) -> anyhow::Result<Script>,
    ) -> anyhow::Result<Sample> {
        let scripts: Result<Vec<_>, _> = (0..clients).map(|it| script(&self.session, it)).collect();
        let tally = self.session.load(scripts?, self.extent.timing)?;
        Ok(self.sample(&tally, rows))
    }

    fn insert_many(&mut self) -> anyhow::Result<Sample> {
        let template = self.session.scripts.insert_many(&self.session.scripts.next_id)?;
        self.load(WRITERS_OF_MANY, ROWS, |_, _| Ok(template.clone()))
    }

    fn commit_each(&mut self) -> anyhow::Result<Sample> {
        self.repeat_floor(1, |floor, blobs, first| Ok(floor.insert(first, blobs.of(first.cast_unsigned()))?))
    }

    fn commit_thousand(&mut self) -> anyhow::Result<Sample> {
        self.repeat_floor(ROWS, |floor, blobs, first| {
            Ok(floor.insert_group(first, (0..ROWS).map(|it| blobs.of(it)))?)
        })
    }

    fn repeat_floor(
        &mut self,
        rows: u64,
        mut insert: impl FnMut(&mut Floor, &Blobs, i64) -> anyhow::Result<()>,
    ) -> anyhow::Result<Sample> {
        let window = self.extent.timing.starting_now();
        let mut tally = Tally::new()?;
        let mut begun = Instant::now();
        while !window.is_over(begun) {
            insert(&mut self.floor, &self.blobs, self.floor_next)?;
            self.floor_next += rows.cast_signed();
            let done = Instant::now();
            tally.record(&window, begun, done)?;
            begun = done;
        }
        Ok(self.sample(&tally, rows))
    }

    fn encode(&self) -> anyhow::Result<Sample> {
        let begun = Instant::now();
        let encoded = self.floor.encode(SELECT_WIDE)?;
        let elapsed = begun.elapsed();
        ensure!(encoded.rows == self.extent.streamed, "the floor lost rows");
        Ok(Sample { rate: encoded.rows as f64 / elapsed.as_secs_f64(), latency: None, growth: None })
    }

    fn stream(&self) -> anyhow::Result<Sample> {
        let before = self.session.server.resident()?;
        self.session.server.forget_peak()?;
        let drained = self.session.drain(SELECT_WIDE)?;
        let growth = self.session.server.peak()?.saturating_sub(before);
        ensure!(drained.lines == self.extent.streamed + 2, "{} lines in the stream", drained.lines);
        let rate = self.extent.streamed as f64 / drained.elapsed.as_secs_f64();
        Ok(Sample { rate, latency: None, growth: Some(growth) })
    }

    fn sample(&self, tally: &Tally, rows: u64) -> Sample {
        Sample {
            rate: (tally.count() * rows) as f64 / self.extent.timing.measure.as_secs_f64(),
            latency: Some((tally.latency(0.5), tally.latency(0.99))),
            growth: None,
        }
    }
}

/// Statements that make a table of `rows` narrow rows, the same on both sides.
fn wide(rows: u64) -> Vec<String> {
    const AT_ONCE: u64 = 100_000;
    let create = "CREATE TABLE wide (id INTEGER PRIMARY KEY, name TEXT NOT NULL, score REAL NOT NULL, seen INTEGER NOT NULL)";
    let fill = |first: u64| {
        let last = rows.min(first + AT_ONCE - 1);
        format!(
            "WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last}) \
             INSERT INTO wide SELECT i, 'finding-' || i, i * 0.37, i * 7919 FROM n"
        )
    };
    let firsts = (1..=rows).step_by(AT_ONCE as usize);
    std::iter::once(create.to_owned()).chain(firsts.map(fill)).collect()
}

/// How many rows of the `bench` table hold `bytes` of values.
pub(super) fn rows_of(bytes: u64) -> u64 {
    bytes.div_ceil(BODY as u64)
}
