//! What is asked, what it is held against, and what has to be reached.

use clap::ValueEnum;
use std::collections::BTreeMap;

use super::report::{Figure, Side, Target, Unit, mebibytes};
use super::stage::{Probe, Sample};

/// What can be asked for alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Question {
    /// 64 clients, one insert a request, against one commit per insert
    Insert,
    /// The same against a commit for a thousand inserts
    InsertGrouped,
    /// The same with JSON bodies, against one commit per insert
    InsertJson,
    /// One client, against one commit
    Latency,
    /// A thousand rows a request, against a commit for a thousand inserts
    Many,
    /// Point reads, against the same clients on /version
    Reads,
    /// A long result, against stepping and encoding in process
    Stream,
    /// Resident memory, idle and under load
    Memory,
    /// The time of a restart
    Ready,
}

/// A figure that is a ratio.
pub(super) struct Comparison {
    pub(super) question: Question,
    name: &'static str,
    what: &'static str,
    pub(super) server: Probe,
    pub(super) floor: Probe,
    ratio: fn(&Sample, &Sample) -> f64,
    target: Target,
}

pub(super) const COMPARISONS: [Comparison; 7] = [
    Comparison {
        question: Question::Insert,
        name: "insert",
        what: "64 clients, one insert a request, MessagePack\n/ in process, one commit per insert",
        server: Probe::InsertMsgpack,
        floor: Probe::CommitEach,
        ratio: by_rate,
        target: Target::AtLeast(3.3),
    },
    Comparison {
        question: Question::InsertGrouped,
        name: "insert-grouped",
        what: "the same\n/ in process, 1000 inserts per commit",
        server: Probe::InsertMsgpack,
        floor: Probe::CommitThousand,
        ratio: by_rate,
        target: Target::AtLeast(0.5),
    },
    Comparison {
        question: Question::InsertJson,
        name: "insert-json",
        what: "the same with JSON bodies\n/ in process, one commit per insert",
        server: Probe::InsertJson,
        floor: Probe::CommitEach,
        ratio: by_rate,
        target: Target::AtLeast(2.0),
    },
    Comparison {
        question: Question::Latency,
        name: "latency",
        what: "1 client, p50 latency of an insert\n/ in process, one commit",
        server: Probe::InsertAlone,
        floor: Probe::CommitEach,
        ratio: by_median_latency,
        target: Target::AtMost(1.6),
    },
    Comparison {
        question: Question::Many,
        name: "many",
        what: "4 clients, 1000 rows a request (`many`)\n/ in process, 1000 inserts per commit",
        server: Probe::InsertMany,
        floor: Probe::CommitThousand,
        ratio: by_rate,
        target: Target::AtLeast(0.8),
    },
    Comparison {
        question: Question::Reads,
        name: "reads",
        what: "64 clients, point reads\n/ the same clients on GET /version",
        server: Probe::PointRead,
        floor: Probe::Version,
        ratio: by_rate,
        target: Target::AtLeast(0.75),
    },
    Comparison {
        question: Question::Stream,
        name: "stream",
        what: "1,000,000 rows as NDJSON\n/ in process, stepped and encoded",
        server: Probe::Stream,
        floor: Probe::Encode,
        ratio: by_rate,
        target: Target::AtLeast(0.6),
    },
];

fn by_rate(server: &Sample, floor: &Sample) -> f64 {
    server.rate / floor.rate
}

fn by_median_latency(server: &Sample, floor: &Sample) -> f64 {
    let median = |it: &Sample| it.latency.map_or(f64::NAN, |(p50, _)| p50.as_secs_f64());
    median(server) / median(floor)
}

impl Comparison {
    pub(super) fn figures(&self, samples: &BTreeMap<Probe, Vec<Sample>>) -> Vec<Figure> {
        let (server, floor) = (&samples[&self.server], &samples[&self.floor]);
        let rounds: Vec<_> =
            server.iter().zip(floor).map(|(server, floor)| (self.ratio)(server, floor)).collect();
        let ratio = Figure::new(self.name, self.what, Unit::Ratio, &rounds, self.target);
        let growth: Vec<_> = server.iter().filter_map(|it| it.growth).map(mebibytes).collect();
        let growth = (!growth.is_empty()).then(|| {
            Figure::new(
                "stream-memory",
                "growth of memory meanwhile",
                Unit::Mebibytes,
                &growth,
                Target::AtMost(8.0),
            )
        });
        std::iter::once(ratio.between(Side::of(server), Side::of(floor))).chain(growth).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_about_a_ratio_is_asked_once() {
        let questions = Question::value_variants().iter();
        for question in questions.filter(|it| !matches!(it, Question::Memory | Question::Ready)) {
            assert_eq!(COMPARISONS.iter().filter(|it| it.question == *question).count(), 1, "{question:?}");
        }
    }
}
