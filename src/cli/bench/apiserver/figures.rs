//! What was measured, as lines of the report.

use std::time::Duration;

use super::lists::{Lists, Timed, Which};
use super::watchers::{Form, Plan, Seen};
use crate::cli::bench::report::{Figure, Side, Target, Unit, mebibytes, median};
use crate::cli::bench::stage::Sample;

/// What all lists of one round took.
pub(super) struct Round {
    pub(super) floor: Duration,
    pub(super) lists: Vec<(Which, Timed)>,
}

impl Round {
    fn took(&self, which: Which) -> f64 {
        self.timed(which).map_or(f64::NAN, |it| it.took.as_secs_f64())
    }

    fn timed(&self, which: Which) -> Option<&Timed> {
        self.lists.iter().find(|(it, _)| *it == which).map(|(_, it)| it)
    }
}

pub(super) fn lists(lists: &Lists, rounds: &[Round]) -> Vec<Figure> {
    let each = |figure: &dyn Fn(&Round) -> f64| rounds.iter().map(figure).collect::<Vec<_>>();
    let rate =
        |which, took: &dyn Fn(&Round) -> f64| Side::rate(lists.rows(which) as f64 / median(each(took)));
    let of = |which| rate(which, &|it| it.took(which));
    let all = lists.rows(Which::All);
    let size = mebibytes(lists.length(Which::All));
    let floor = |it: &Round| it.floor.as_secs_f64();
    let growth: Vec<_> =
        rounds.iter().filter_map(|it| it.timed(Which::All)).map(|it| mebibytes(it.growth)).collect();
    let mut figures = vec![
        Figure::new(
            "list",
            format!(
                "list of {all} reports as JSON ({size:.0} MiB)\n/ in process, read, unpacked and through TLS"
            ),
            Unit::Ratio,
            &each(&|it| it.took(Which::All) / floor(it)),
            Target::AtMost(2.0),
        )
        .between(of(Which::All), rate(Which::All, &floor)),
        Figure::new(
            "list-memory",
            "growth of memory since before the first list",
            Unit::Mebibytes,
            &growth,
            Target::AtMost(32.0),
        ),
        Figure::new(
            "table",
            "the same as a table\n/ as JSON",
            Unit::Ratio,
            &each(&|it| it.took(Which::Table) / it.took(Which::All)),
            Target::AtMost(1.2),
        )
        .between(of(Which::Table), of(Which::All)),
    ];
    let parts = [
        (Which::Labelled, "label", "by label"),
        (Which::Namespace, "namespace", "of a namespace"),
        (Which::Page, "page", "of the first page"),
        (Which::Walk, "walk", "page by page"),
    ];
    figures.extend(parts.map(|(which, name, words)| {
        let share = lists.rows(which) as f64 / all as f64;
        let what =
            format!("list {words} ({} reports), time for a report\n/ in the whole list", lists.rows(which));
        let rounds = each(&|it| it.took(which) / it.took(Which::All) / share);
        Figure::new(format!("list-{name}"), what, Unit::Ratio, &rounds, Target::AtMost(3.0))
            .between(of(which), of(Which::All))
    }));
    figures
}

/// Pairs of inserts and creates.
pub(super) fn creates(rounds: &[(Sample, Sample)]) -> Figure {
    let (inserted, created): (Vec<_>, Vec<_>) = rounds.iter().copied().unzip();
    let ratios: Vec<_> = rounds.iter().map(|(inserted, created)| created.rate / inserted.rate).collect();
    let what = "16 clients, create a report\n/ 16 clients, insert the same bytes into the sidecar";
    Figure::new("create", what, Unit::Ratio, &ratios, Target::AtLeast(0.5))
        .between(Side::of(&created), Side::of(&inserted))
}

/// The 99th percentile from when a write is due to the last byte of its event.
pub(super) fn watchers(name: &str, plan: &Plan, seen: &[Seen], floor: &[Sample]) -> Figure {
    let p99: Vec<_> = seen.iter().filter_map(|it| it.sample.latency).map(|(_, p99)| in_ms(p99)).collect();
    let samples: Vec<_> = seen.iter().map(|it| it.sample).collect();
    let form = match plan.form {
        Form::Metadata => "metadata",
        Form::Object => "whole reports",
    };
    let event = seen.first().map_or(0, |it| it.event.len());
    let writes = median(seen.iter().map(|it| it.writes).collect());
    let stuck = if plan.stuck { ", two more that do not read" } else { "" };
    let what = format!(
        "{} watchers of {form} ({event} B) on {} connections, {writes:.0} writes/s{stuck}: p99\n/ the same bytes, pushed through TLS",
        plan.watchers, plan.connections
    );
    let figure = Figure::new(name, what, Unit::Milliseconds, &p99, Target::AtMost(100.0));
    figure.between(Side::of(&samples), Side::of(floor))
}

pub(super) fn memory(reports: u64, watchers: usize, resident: u64) -> Figure {
    let what = format!("resident memory with {reports} reports and {watchers} watchers, at its peak");
    Figure::new("memory", what, Unit::Mebibytes, &[mebibytes(resident)], Target::AtMost(96.0))
}

fn in_ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
