//! What was measured, as lines of the report.

use std::time::Duration;

use super::child::Findings;
use super::outage::Put;
use super::questions::Asked;
use super::workload::Workload;
use crate::cli::bench::report::{Figure, Side, Target, Unit, mebibytes};

/// What the machine does without us.
#[derive(Clone, Copy)]
pub(super) struct Floors {
    /// All values out of Consul.
    pub(super) read: Duration,
    /// All rows that the migration left in the server, into SQLite in process.
    pub(super) insert: Duration,
    /// All keys out of Consul.
    pub(super) delete: Duration,
}

/// A migration.
#[derive(Clone, Copy)]
pub(super) struct Moved {
    pub(super) took: Duration,
    /// From when a report is asked for until Consul has said that it is gone.
    pub(super) each: Each,
    /// Bytes of memory above those of a migration that has nothing to do.
    pub(super) grown: u64,
    /// What it took of the processors: the mover, the server, Consul.
    pub(super) worked: [Duration; 3],
}

/// How long single reports were under way.
#[derive(Clone, Copy)]
pub(super) struct Each {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

/// The figures of one migration; those of the largest workload have more targets.
pub(super) fn migrations(
    workload: &Workload,
    findings: Findings,
    moved: Moved,
    floors: Floors,
) -> Vec<Figure> {
    let (most, seconds, words, with) = match findings {
        Findings::Off => (1.5, 30.0, "without findings", ""),
        Findings::On => (2.5, 60.0, "with findings", "-findings"),
    };
    let name = |figure: &str| named(workload, &format!("{figure}{with}"));
    let size = size(workload);
    let (floor, allowed) = floors.under(findings);
    let over = moved.took.saturating_sub(allowed).as_secs_f64() / floor.as_secs_f64();
    let [mover, server, consul] = moved.worked.map(in_ms);
    let what = format!(
        "{size}: migrate {words}\n{}\nprocessor time: mover {mover}, server {server}, Consul {consul}",
        floors.formula(findings, moved.took)
    );
    let count = workload.items.len() as f64;
    let rate = |time: Duration| count / time.as_secs_f64();
    let migrated = Side::with_latency(rate(moved.took), moved.each.p50, moved.each.p99);
    let mut figures = vec![
        Figure::new(name("migrate"), what, Unit::Ratio, &[over], Target::AtMost(most))
            .between(migrated, Side::rate(rate(floor + allowed))),
    ];
    let absolute = |figure, what: String, unit, value, most| {
        Figure::new(name(figure), what, unit, &[value], Target::AtMost(most))
    };
    if workload.is_largest() {
        let took = moved.took.as_secs_f64();
        figures.push(absolute("seconds", format!("{size}: the same, in all"), Unit::Seconds, took, seconds));
    }
    let grown = mebibytes(moved.grown);
    let what = format!("{size}: growth of memory meanwhile");
    figures.push(absolute("memory", what, Unit::Mebibytes, grown, 64.0));
    figures
}

impl Floors {
    /// The slower of the two floors, and what may come on top of any multiple of it: the time of the deletions, where no findings are
    /// stored; where they are, nothing.
    fn under(self, findings: Findings) -> (Duration, Duration) {
        let allowed = match findings {
            Findings::Off => self.delete,
            Findings::On => Duration::ZERO,
        };
        (self.read.max(self.insert), allowed)
    }

    /// How the ratio is reckoned, with all that goes into it.
    fn formula(self, findings: Findings, took: Duration) -> String {
        let [took, read, insert, delete] = [took, self.read, self.insert, self.delete].map(in_ms);
        match findings {
            Findings::Off => format!("({took} − delete {delete}) / max(read {read}, insert {insert})"),
            Findings::On => format!("{took} / max(read {read}, insert {insert}); delete {delete}"),
        }
    }
}

/// `over_the_wire` against `in_process`.
pub(super) fn cold_start(workload: &Workload, (over_the_wire, in_process): (Duration, Duration)) -> Figure {
    let what = format!("{}: cold start, `get_many` of all\n/ the same rows in process", size(workload));
    let ratio = in_process.as_secs_f64() / over_the_wire.as_secs_f64();
    let rate = |time: Duration| Side::rate(workload.items.len() as f64 / time.as_secs_f64());
    Figure::new(named(workload, "cold-start"), what, Unit::Ratio, &[ratio], Target::AtLeast(0.6))
        .between(rate(over_the_wire), rate(in_process))
}

pub(super) fn questions(workload: &Workload, asked: &Asked) -> Vec<Figure> {
    let (size, unpacking) = (size(workload), in_ms(asked.unpacking));
    let figures = asked.questions.iter().flat_map(|(name, words, took)| {
        let ratio = took.as_secs_f64() / asked.unpacking.as_secs_f64();
        let time = Figure::new(
            named(workload, name),
            format!("{size}: first page of {words}"),
            Unit::Milliseconds,
            &[took.as_secs_f64() * 1000.0],
            Target::AtMost(50.0),
        );
        let ratio = Figure::new(
            named(workload, &format!("{name}-ratio")),
            format!("{size}: the same\n/ unpacking every report ({unpacking})"),
            Unit::Ratio,
            &[ratio],
            Target::AtMost(0.01),
        );
        [time, ratio]
    });
    figures.collect()
}

pub(super) fn disk(workload: &Workload, bytes: u64) -> Figure {
    let payloads = workload.bytes();
    let what = format!(
        "{}: database and log ({:.0} MiB)\n/ compressed payloads ({:.0} MiB)",
        size(workload),
        mebibytes(bytes),
        mebibytes(payloads)
    );
    let ratio = bytes as f64 / payloads as f64;
    Figure::new(named(workload, "disk"), what, Unit::Ratio, &[ratio], Target::AtMost(1.4))
}

pub(super) fn outage(workload: &Workload, put: Put) -> Figure {
    let what = format!(
        "{}: put while the primary is dead, p50 ({})\n/ put into the fallback itself ({})",
        size(workload),
        in_ms(put.instead),
        in_ms(put.directly)
    );
    let ratio = put.instead.as_secs_f64() / put.directly.as_secs_f64();
    Figure::new(named(workload, "outage"), what, Unit::Ratio, &[ratio], Target::AtMost(2.0))
}

fn size(workload: &Workload) -> String {
    format!("{} {}×{}", workload.name.letter(), workload.items.len(), workload.findings)
}

fn named(workload: &Workload, figure: &str) -> String {
    format!("{}-{figure}", workload.name.letter().to_ascii_lowercase())
}

fn in_ms(time: Duration) -> String {
    match time.as_secs_f64() {
        short if short < 1.0 => format!("{:.1} ms", short * 1000.0),
        long => format!("{long:.2} s"),
    }
}
