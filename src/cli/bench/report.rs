//! Figures beside their targets: as a table for people, as JSON for whoever compares runs.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use std::time::Duration;

use super::machine::Machine;
use super::stage::Sample;

/// What has to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// What a figure and its target are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    /// Times the floor.
    Ratio,
    #[serde(rename = "MiB")]
    Mebibytes,
    Seconds,
    Milliseconds,
}

/// One line of the report.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    name: String,
    what: String,
    server: Option<Side>,
    floor: Option<Side>,
    unit: Unit,
    /// The median of all rounds.
    reached: f64,
    lowest: f64,
    highest: f64,
    target: Target,
    met: bool,
}

/// The medians of one side of a ratio.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Side {
    per_second: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl Side {
    /// A rate, and nothing else.
    pub(super) fn rate(per_second: f64) -> Self {
        Self { per_second, p50_ms: None, p99_ms: None }
    }

    /// A rate, and how long each took.
    pub(super) fn with_latency(per_second: f64, p50: Duration, p99: Duration) -> Self {
        Self { per_second, p50_ms: Some(ms(p50)), p99_ms: Some(ms(p99)) }
    }

    pub(super) fn of(samples: &[Sample]) -> Self {
        let latency = |choose: fn((Duration, Duration)) -> Duration| {
            let found: Vec<_> = samples.iter().filter_map(|it| it.latency).map(choose).map(ms).collect();
            (!found.is_empty()).then(|| median(found))
        };
        Self {
            per_second: median(samples.iter().map(|it| it.rate).collect()),
            p50_ms: latency(|it| it.0),
            p99_ms: latency(|it| it.1),
        }
    }
}

impl Figure {
    /// A figure with one value for each round.
    ///
    /// # Panics
    /// There was no round.
    pub(super) fn new(
        name: impl Into<String>,
        what: impl Into<String>,
        unit: Unit,
        rounds: &[f64],
        target: Target,
    ) -> Self {
        let reached = median(rounds.to_vec());
        let met = match target {
            Target::AtLeast(least) => reached >= least,
            Target::AtMost(most) => reached <= most,
        };
        let lowest = rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = rounds.iter().copied().fold(0.0, f64::max);
        let (name, what) = (name.into(), what.into());
        Self { name, what, server: None, floor: None, unit, reached, lowest, highest, target, met }
    }

    pub(super) fn between(self, server: Side, floor: Side) -> Self {
        Self { server: Some(server), floor: Some(floor), ..self }
    }

    pub(super) fn is_met(&self) -> bool {
        self.met
    }

    fn row(&self) -> [Cell; 5] {
        let (sign, target) = match self.target {
            Target::AtLeast(least) => ('≥', least),
            Target::AtMost(most) => ('≤', most),
        };
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        [
            Cell::new(&self.what),
            Cell::new(
                [self.server, self.floor].map(|it| it.map_or_else(String::new, side)).join("\n").trim_end(),
            ),
            right(format!(
                "{} ({}–{})",
                self.unit.show(self.reached),
                self.unit.number(self.lowest),
                self.unit.number(self.highest)
            )),
            right(format!("{sign} {}", self.unit.show(target))),
            Cell::new(if self.met { "reached" } else { "MISSED" }),
        ]
    }
}

impl Unit {
    fn number(self, value: f64) -> String {
        match self {
            Self::Ratio if value < 0.1 => format!("{value:.4}"),
            Self::Ratio => format!("{value:.2}"),
            Self::Mebibytes | Self::Milliseconds => format!("{value:.1}"),
            Self::Seconds => format!("{value:.3}"),
        }
    }

    fn show(self, value: f64) -> String {
        let unit = match self {
            Self::Ratio => "×",
            Self::Mebibytes => " MiB",
            Self::Seconds => " s",
            Self::Milliseconds => " ms",
        };
        self.number(value) + unit
    }
}

/// Everything that one run found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    /// Everything was small.
    pub(super) quick: bool,
    pub(super) rounds: usize,
    pub(super) seconds: f64,
    pub(super) figures: Vec<Figure>,
}

impl Report {
    /// What a person reads.
    pub(super) fn text(&self) -> String {
        let quick = if self.quick { "Everything was small: the figures say nothing.\n" } else { "" };
        format!("{}{quick}{}\n", self.machine, self.table())
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["server\n/ floor", "median of the rounds", "reached (all rounds)", "target", ""]);
        table.add_rows(self.figures.iter().map(Figure::row));
        table.to_string()
    }
}

fn side(side: Side) -> String {
    let rate = match side.per_second {
        many if many >= 10_000.0 => format!("{:.1}k/s", many / 1000.0),
        few => format!("{few:.0}/s"),
    };
    match (side.p50_ms, side.p99_ms) {
        (Some(p50), Some(p99)) => format!("{rate:>9}, p50 {p50:.2} ms, p99 {p99:.2} ms"),
        _ => format!("{rate:>9}"),
    }
}

/// The middle value; of an even number of values the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_decides() {
        assert!(Figure::new("", "", Unit::Ratio, &[3.0, 9.9, 3.3], Target::AtLeast(3.3)).is_met());
        assert!(!Figure::new("", "", Unit::Ratio, &[3.0, 3.5], Target::AtLeast(3.3)).is_met());
        assert!(!Figure::new("", "", Unit::Seconds, &[0.1, 1.1, 1.2], Target::AtMost(1.0)).is_met());
        assert!(Figure::new("", "", Unit::Seconds, &[1.0], Target::AtMost(1.0)).is_met());
    }

    #[test]
    fn the_table_says_what_was_missed() {
        let sample = Sample {
            rate: 14_000.0,
            latency: Some((Duration::from_micros(3100), Duration::from_micros(13_500))),
            growth: None,
        };
        let side = Side::of(&[sample]);
        let figures = vec![
            Figure::new("", "inserts", Unit::Ratio, &[2.9, 2.8, 3.4], Target::AtLeast(3.3))
                .between(side, side),
            Figure::new("", "idle", Unit::Mebibytes, &[9.0], Target::AtMost(12.0)),
        ];
        let machine = Machine::observe(std::path::Path::new("."));
        let table = Report { machine, quick: false, rounds: 3, seconds: 3.0, figures }.table();
        assert!(table.contains("14.0k/s"), "{table}");
        assert!(table.contains("p50 3.10 ms, p99 13.50 ms"), "{table}");
        let line = |name: &str| table.lines().find(|it| it.contains(name)).unwrap_or_default().to_owned();
        assert!(
            line("inserts").contains("2.90× (2.80–3.40)") && line("inserts").contains("MISSED"),
            "{table}"
        );
        assert!(line("idle").contains("≤ 12.0 MiB") && line("idle").contains("reached"), "{table}");
    }
}
