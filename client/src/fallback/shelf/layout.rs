//! Where a report stands in a store of keys and values, and which key names which report.
//!
//! Two layouts: NeuVector's own keys, so that controllers which know nothing of this crate read what it writes and the other way round, and
//! a plain one. What no key of NeuVector's can name without doubt (a class of somebody else's, an id with a slash where NeuVector would see
//! a piece of a longer value) stands under keys of our own in both. NeuVector's state keys are read, never written: they stay its own.

use crate::reports::ReportKey;

/// The root of our own keys beside NeuVector's.
const OWN: &str = "larder";
/// Classes whose keys are `scan/data/report/<class>/<id>` and whose values may be in pieces, `<id>/1`, `<id>/2` …
const PIECED: [&str; 3] = ["host", "platform", "workload"];
const REPORTS: &str = "scan/data/report/";
const IMAGES: &str = "scan/data/image/";
const BENCH: &str = "bench/";
const BENCH_MIDDLE: &str = "/report/";

/// How reports are laid out in a store of keys and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// NeuVector's keys, and our own under `larder/`.
    #[default]
    NeuVector,
    /// Everything under one prefix: `<prefix>/data/<key>` and so on.
    Plain {
        /// The prefix, without a slash at its end.
        prefix: String,
    },
}

/// What a key in one of the layout's ranges is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// The value of a report, or its first piece.
    Report(ReportKey),
    /// A further piece of the value at this key.
    Piece { of: String },
    /// Nothing that this layout knows.
    Stray,
}

impl Layout {
    /// The key of a report's value.
    pub(crate) fn data(&self, key: &ReportKey) -> String {
        let own = || format!("{}/data/{key}", self.root());
        if matches!(self, Self::Plain { .. }) {
            return own();
        }
        match (key.class(), key.id().split_once('/')) {
            (class, None) if PIECED.contains(&class) => format!("{REPORTS}{key}"),
            ("image", _) => format!("{IMAGES}{}", key.id()),
            ("bench", Some((id, kind))) if !id.is_empty() && !kind.is_empty() && !kind.contains('/') => {
                format!("{BENCH}{id}{BENCH_MIDDLE}{kind}")
            }
            _ => own(),
        }
    }

    /// Whether older controllers read a value of this report in pieces.
    pub(crate) fn in_pieces(&self, key: &ReportKey) -> bool {
        *self == Self::NeuVector && PIECED.contains(&key.class()) && !key.id().contains('/')
    }

    /// The keys of which one may say when the report was scanned.
    pub(crate) fn states(&self, key: &ReportKey) -> Vec<String> {
        if matches!(self, Self::Plain { .. }) {
            return Vec::new();
        }
        match key.class() {
            "image" => vec![format!("scan/state/image/{}", key.id())],
            "bench" => {
                let id = key.id().split('/').next().unwrap_or_default();
                vec![format!("scan/state/bench/host/{id}"), format!("scan/state/bench/workload/{id}")]
            }
            class if PIECED.contains(&class) => vec![format!("scan/state/report/{key}")],
            _ => Vec::new(),
        }
    }

    pub(crate) fn metadata(&self, key: &ReportKey) -> String {
        format!("{}/meta/{key}", self.root())
    }

    pub(crate) fn tombstone(&self, key: &ReportKey) -> String {
        format!("{}/tombstone/{key}", self.root())
    }

    /// The `number`-th chunk of a generation.
    pub(crate) fn chunk(&self, key: &ReportKey, generation: &str, number: usize) -> String {
        format!("{}{key}/{generation}/{number}", self.chunks())
    }

    pub(crate) fn chunks(&self) -> String {
        format!("{}/chunk/", self.root())
    }

    /// The report and the generation that a chunk belongs to.
    pub(crate) fn of_chunk(&self, raw: &str) -> Option<(ReportKey, String)> {
        let (rest, _number) = raw.strip_prefix(&self.chunks())?.rsplit_once('/')?;
        let (key, generation) = rest.rsplit_once('/')?;
        Some((ReportKey::new(key).ok()?, generation.to_owned()))
    }

    /// The ranges of keys that name reports, each in the order of the reports' keys.
    pub(crate) fn ranges(&self) -> Vec<Range> {
        let own = Range { raw: format!("{}/data/", self.root()), key: String::new(), kind: Kind::Own };
        let mut ranges = vec![own];
        if *self == Self::NeuVector {
            let report = |class| Range {
                raw: format!("{REPORTS}{class}/"),
                key: format!("{class}/"),
                kind: Kind::Pieced,
            };
            ranges.extend(PIECED.map(report));
            ranges.push(Range { raw: IMAGES.into(), key: "image/".into(), kind: Kind::Own });
            ranges.push(Range { raw: BENCH.into(), key: BENCH.into(), kind: Kind::Bench });
        }
        ranges
    }

    /// The range of tombstones.
    pub(crate) fn tombstones(&self) -> Range {
        Range { raw: format!("{}/tombstone/", self.root()), key: String::new(), kind: Kind::Own }
    }

    fn root(&self) -> &str {
        match self {
            Self::NeuVector => OWN,
            Self::Plain { prefix } => prefix,
        }
    }
}

/// How the keys of a range are made into those of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One prefix in place of another.
    Own,
    /// As `Own`, but an id has no slash: what follows on one is the number of a piece.
    Pieced,
    /// `bench/<id>/report/<kind>`.
    Bench,
}

/// A range of keys that name reports.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    raw: String,
    key: String,
    kind: Kind,
}

impl Range {
    /// The prefix to list for reports whose key begins with `prefix`; `None` if the range has none of them.
    pub(crate) fn prefix(&self, prefix: &str) -> Option<String> {
        if self.key.starts_with(prefix) {
            return Some(self.raw.clone());
        }
        let rest = prefix.strip_prefix(&self.key)?;
        Some(match rest.split_once('/') {
            Some((id, kind)) if self.kind == Kind::Bench => format!("{BENCH}{id}{BENCH_MIDDLE}{kind}"),
            _ => format!("{}{rest}", self.raw),
        })
    }

    /// Where to begin so that every report behind `after` comes; some before it may come too. `None`: all are before it.
    pub(crate) fn begin(&self, after: &str) -> Option<Option<String>> {
        match after.strip_prefix(&self.key) {
            Some(rest) if self.kind == Kind::Bench => {
                let id = rest.split('/').next().unwrap_or_default();
                Some(Some(format!("{BENCH}{id}")))
            }
            Some(rest) => Some(Some(format!("{}{rest}", self.raw))),
            None if after < self.key.as_str() => Some(None),
            None => None,
        }
    }

    /// What a key of this range is.
    pub(crate) fn name(&self, raw: &str) -> Named {
        let Some(rest) = raw.strip_prefix(&self.raw) else { return Named::Stray };
        let text = match self.kind {
            Kind::Own => format!("{}{rest}", self.key),
            Kind::Pieced => match rest.split_once('/') {
                None => format!("{}{rest}", self.key),
                Some((id, number)) if !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit()) => {
                    return Named::Piece { of: format!("{}{id}", self.raw) };
                }
                Some(_) => return Named::Stray,
            },
            Kind::Bench => match rest.split('/').collect::<Vec<_>>()[..] {
                [id, "report", kind] if !id.is_empty() && !kind.is_empty() => format!("{BENCH}{id}/{kind}"),
                _ => return Named::Stray,
            },
        };
        ReportKey::new(text).map_or(Named::Stray, Named::Report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> ReportKey {
        ReportKey::new(text).expect("a key")
    }

    fn name(layout: &Layout, raw: &str) -> Vec<Named> {
        let ranges = layout.ranges();
        ranges.iter().filter(|it| raw.starts_with(&it.raw)).map(|it| it.name(raw)).collect()
    }

    #[test]
    fn reports_stand_where_neuvector_looks_for_them() {
        for (report, data, states) in [
            ("workload/4f", "scan/data/report/workload/4f", vec!["scan/state/report/workload/4f"]),
            ("host/a:b", "scan/data/report/host/a:b", vec!["scan/state/report/host/a:b"]),
            (
                "platform/platform",
                "scan/data/report/platform/platform",
                vec!["scan/state/report/platform/platform"],
            ),
            ("image/quay.io/4f", "scan/data/image/quay.io/4f", vec!["scan/state/image/quay.io/4f"]),
            (
                "bench/a:b/kube_master",
                "bench/a:b/report/kube_master",
                vec!["scan/state/bench/host/a:b", "scan/state/bench/workload/a:b"],
            ),
        ] {
            let layout = Layout::NeuVector;
            assert_eq!(layout.data(&key(report)), data);
            assert_eq!(layout.states(&key(report)), states);
            assert_eq!(name(&layout, data), [Named::Report(key(report))]);
        }
    }

    #[test]
    fn what_neuvector_could_not_name_stands_under_keys_of_our_own() {
        let layout = Layout::NeuVector;
        for report in ["workload/4f/1", "function/x", "bench/only", "bench/a/b/c", "bench/a//"] {
            let data = layout.data(&key(report));
            assert_eq!(data, format!("larder/data/{report}"));
            assert_eq!(name(&layout, &data), [Named::Report(key(report))]);
        }
        let plain = Layout::Plain { prefix: "p/q".into() };
        assert_eq!(plain.data(&key("workload/1")), "p/q/data/workload/1");
        assert_eq!(name(&plain, "p/q/data/workload/1"), [Named::Report(key("workload/1"))]);
    }

    #[test]
    fn pieces_and_strays_are_no_reports() {
        let layout = Layout::NeuVector;
        let of = "scan/data/report/workload/4f".to_owned();
        assert_eq!(name(&layout, "scan/data/report/workload/4f/12"), [Named::Piece { of }]);
        for raw in ["scan/data/report/workload/4f/x", "bench/a/other/b", "bench/a", "scan/data/report/host/"]
        {
            assert_eq!(name(&layout, raw), [Named::Stray], "{raw}");
        }
    }

    #[test]
    fn a_listing_begins_before_the_report_that_it_follows() {
        let layout = Layout::NeuVector;
        let begin = |after: &str| -> Vec<Option<String>> {
            let bench_and_host =
                layout.ranges().into_iter().filter(|it| ["bench/", "host/"].contains(&&*it.key));
            bench_and_host.filter_map(|it| it.begin(after)).collect()
        };
        assert_eq!(begin("bench/a/x"), [None, Some("bench/a".to_owned())]);
        assert_eq!(begin("host/a"), [Some("scan/data/report/host/a".to_owned())]);
        assert!(begin("image/a").is_empty());
        assert_eq!(begin("a/a"), [None, None]);
    }

    #[test]
    fn chunks_name_their_report_whatever_slashes_it_has() {
        let layout = Layout::NeuVector;
        let raw = layout.chunk(&key("image/a/b/c"), "0f", 12);
        assert_eq!(layout.of_chunk(&raw), Some((key("image/a/b/c"), "0f".to_owned())));
    }
}
