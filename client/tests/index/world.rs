//! A database and the plainest model of it: a list of all reports.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use larder_client::database::Embedded;
use larder_client::reports::index::{Index, Kind, Pace};
use larder_client::reports::questions::{AssetFilter, Match, Questions, View};
use larder_client::reports::{Asset, Clock, Encoding, Finding, Report, ReportStore, Severity};
use larder_client::schema;
use proptest::prelude::*;

/// What happens to a database.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Put(usize, Box<Asset>, Vec<Finding>),
    Delete(usize),
    Fold,
    KeepUp,
    Compact,
    Rebuild,
}

pub(crate) const KEYS: [&str; 10] = [
    "workload/4f5a",
    "workload/%_",
    "workload/Ä b",
    "workload/z'",
    "host/k8s:1",
    "host/k8s:2",
    "platform/platform",
    "image/quay.io/a",
    "image/quay.io/b",
    "bench/x/y",
];
const NAMES: [&str; 16] = [
    "CVE-2014-1000",
    "CVE-2014-1001",
    "CVE-2014-9999",
    "CVE-2014-10000",
    "CVE-2015-1000",
    "CVE-2021-20530",
    "CVE-2021-20531",
    "CVE-2024-1234567",
    "CVE-1999-0001",
    "CVE-2024-0007",
    "GHSA-aaaa",
    "GHSA-bbbb",
    "RHSA-2024:1",
    "cve-2014-1000",
    "ALAS-1",
    "x",
];
const WORDS: [&str; 6] = ["", "default", "kube-system", "100%", "a_b", "Default"];

pub(crate) fn names() -> impl Strategy<Value = &'static str> {
    prop::sample::select(NAMES.to_vec())
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(WORDS.to_vec()).prop_map(str::to_owned)
}

pub(crate) fn severity() -> impl Strategy<Value = Severity> {
    prop::sample::select(vec![Severity::Low, Severity::Medium, Severity::High, Severity::Critical])
}

fn finding() -> impl Strategy<Value = Finding> {
    let tenths = || (0..=100_u8).prop_map(|it| f32::from(it) / 10.0);
    let date = || prop::option::of((1..5_i64).prop_map(|it| it * 400_000_000));
    let package = prop::sample::select(vec!["linux", "openssl", "zlib"]);
    let rating = prop::sample::select(vec!["", "Low", "Medium", "Moderate", "High", "Critical"]);
    let fixed = prop::sample::select(vec!["", "", "2.0"]);
    (names(), severity(), tenths(), tenths(), package, fixed, date(), date(), rating).prop_map(
        |(name, severity, score, score_v3, package, fixed, published, modified, rating)| Finding {
            name: name.to_owned(),
            severity,
            score,
            score_v3,
            package: package.to_owned(),
            version: "1.0".to_owned(),
            fixed_version: fixed.to_owned(),
            published,
            modified,
            feed_rating: rating.to_owned(),
            ..Finding::default()
        },
    )
}

fn asset() -> impl Strategy<Value = Asset> {
    (word(), word(), word(), word(), word(), word()).prop_map(
        |(name, namespace, service, image, os, node)| Asset {
            name,
            namespace,
            service,
            image: image.clone(),
            os,
            node,
            repository: image,
            tag: String::new(),
        },
    )
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = (0..KEYS.len(), asset(), prop::collection::vec(finding(), 0..8));
    let step = prop_oneof![
        8 => put.prop_map(|(key, asset, findings)| Step::Put(key, Box::new(asset), findings)),
        2 => (0..KEYS.len()).prop_map(Step::Delete),
        3 => Just(Step::Fold),
        2 => Just(Step::KeepUp),
        1 => Just(Step::Compact),
        1 => Just(Step::Rebuild),
    ];
    prop::collection::vec(step, 1..40)
}

pub(crate) fn filter() -> impl Strategy<Value = AssetFilter> {
    let view = prop::sample::select(vec![
        View::All,
        View::All,
        View::Containers,
        View::Infrastructure,
        View::Registry,
    ]);
    let texts = || prop::collection::vec(word(), 1..3);
    let part = || {
        let part = prop_oneof![texts().prop_map(Match::Equals), texts().prop_map(Match::Contains)];
        prop::option::weighted(0.15, part)
    };
    let allowed = prop::option::weighted(0.4, (prop::collection::vec(0..KEYS.len(), 0..8), any::<bool>()));
    (view, part(), part(), part(), part(), part(), part(), allowed).prop_map(
        |(view, namespace, service, image, os, node, name, allowed)| {
            let allowed = allowed.map(|(keys, long)| {
                let mut keys: HashSet<String> = keys.into_iter().map(|it| KEYS[it].to_owned()).collect();
                // A list that is too long to be sent along.
                keys.extend((0..if long { 1001 } else { 0 }).map(|it| format!("workload/other-{it}")));
                Arc::new(keys)
            });
            AssetFilter { view, namespace, service, image, os, node, name, allowed }
        },
    )
}

/// A report as the model has it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) report: Report,
    indexed: bool,
}

impl Known {
    pub(crate) fn findings(&self) -> &[Finding] {
        self.report.findings.as_deref().unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> Kind {
        Kind::of_class(self.report.key.class())
    }
}

pub(crate) struct World {
    _directory: tempfile::TempDir,
    pub(crate) database: Arc<Embedded>,
    pub(crate) store: ReportStore,
    pub(crate) index: Index,
    pub(crate) questions: Questions,
    pub(crate) live: BTreeMap<String, Known>,
    /// Findings of reports that are gone and that the index has not let go of: what they say of vulnerabilities still counts.
    pub(crate) ghosts: Vec<Finding>,
    second: i64,
}

impl World {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = Arc::new(Embedded::open(directory.path()).unwrap());
        schema::prepare(&*database).await.unwrap();
        Self {
            _directory: directory,
            store: ReportStore::new(Arc::clone(&database) as _, Arc::new(Clock::new(1))),
            index: Index::new(Arc::clone(&database) as _),
            questions: Questions::new(Arc::clone(&database) as _),
            database,
            live: BTreeMap::new(),
            ghosts: Vec::new(),
            second: 1_700_000_000,
        }
    }

    /// Many other reports, so that those of a filter are few among them.
    pub(crate) async fn crowd(&mut self) {
        let report = |number: usize| Report {
            key: format!("workload/other-{number}").parse().unwrap(),
            scanned_at: Timestamp::from_second(1_600_000_000).unwrap(),
            scanner_version: "3.4".to_owned(),
            encoding: Encoding::Opaque,
            payload: Vec::new().into(),
            asset: Asset {
                name: format!("other-{number}"),
                namespace: "others".to_owned(),
                ..Asset::default()
            },
            findings: Some(vec![Finding { name: NAMES[number % 5].to_owned(), ..Finding::default() }]),
            checks: None,
        };
        let reports: Vec<Report> = (0..200).map(report).collect();
        self.store.put_many(&reports).await.unwrap();
        reports.into_iter().for_each(|report| self.know(report));
    }

    pub(crate) async fn step(&mut self, step: Step) {
        match step {
            Step::Put(key, asset, findings) => self.put(KEYS[key], *asset, findings).await,
            Step::Delete(key) => {
                self.store.delete(&KEYS[key].parse().unwrap()).await.unwrap();
                self.remove(KEYS[key]);
            }
            Step::Fold => {
                let pending = self.live.values().any(|it| !it.indexed);
                assert_eq!(self.index.fold().await.unwrap(), pending);
                self.live.values_mut().for_each(|it| it.indexed = true);
            }
            Step::KeepUp => self.index.keep_up(Pace::Steady).await.unwrap(),
            Step::Compact => {
                self.index.compact().await.unwrap();
                self.live.values_mut().for_each(|it| it.indexed = true);
                self.ghosts.clear();
            }
            Step::Rebuild => {
                self.index.rebuild().await.unwrap();
                self.ghosts.clear();
            }
        }
    }

    pub(crate) async fn put(&mut self, key: &str, asset: Asset, findings: Vec<Finding>) {
        self.second += 1;
        let report = Report {
            key: key.parse().unwrap(),
            scanned_at: Timestamp::from_second(self.second).unwrap(),
            scanner_version: "3.4".to_owned(),
            encoding: Encoding::Opaque,
            payload: vec![7; (self.second % 3) as usize].into(),
            asset,
            findings: Some(findings),
            checks: None,
        };
        self.store.put(&report).await.unwrap();
        self.remove(key);
        self.know(report);
    }

    /// Takes note of a report that was put.
    pub(crate) fn know(&mut self, report: Report) {
        self.live.insert(report.key.to_string(), Known { report, indexed: false });
    }

    fn remove(&mut self, key: &str) {
        if let Some(known) = self.live.remove(key)
            && known.indexed
        {
            self.ghosts.extend(known.report.findings.unwrap_or_default());
        }
    }

    /// The reports that a filter admits.
    pub(crate) fn admitted(&self, filter: &AssetFilter) -> Vec<&Known> {
        self.live.values().filter(|it| filter.view.admits(it.kind()) && admits(filter, it)).collect()
    }
}

fn admits(filter: &AssetFilter, known: &Known) -> bool {
    let asset = &known.report.asset;
    let matches = |part: &Option<Match>, text: &str| match part {
        None => true,
        Some(Match::Equals(texts)) => texts.iter().any(|it| it == text),
        Some(Match::Contains(texts)) => texts.iter().any(|it| contains(text, it)),
    };
    matches(&filter.namespace, &asset.namespace)
        && matches(&filter.service, &asset.service)
        && matches(&filter.image, &asset.image)
        && matches(&filter.os, &asset.os)
        && matches(&filter.node, &asset.node)
        && matches(&filter.name, &asset.name)
        && filter.allowed.as_ref().is_none_or(|it| it.contains(known.report.key.as_str()))
}

pub(crate) fn contains(text: &str, part: &str) -> bool {
    text.to_ascii_lowercase().contains(&part.to_ascii_lowercase())
}
