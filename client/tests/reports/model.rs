//! Random histories of one store, compared after each step with a model of a dozen lines: what stands there, under which version, what is
//! told, and which tombstones there are.

use std::collections::BTreeMap;

use jiff::Timestamp;
use larder_client::reports::{List, Moving, Put, ReportKey, ReportStore, Selection, Tombstone, Version};
use proptest::prelude::*;

use crate::{report, store};

const KEYS: [&str; 4] = ["a/1", "a/%", "a/_", "b/1"];

#[derive(Clone, Debug)]
enum Step {
    Put { key: usize, second: i64, sequence: i64 },
    PutMany(Vec<(usize, i64)>),
    Move { key: usize, second: i64, sequence: i64 },
    Delete(usize),
    Bury { key: usize, sequence: i64 },
    DeletePrefix(usize),
    Retain(Vec<usize>),
    Expire(i64),
    Purge,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (key, second, sequence) = (0..KEYS.len(), 0..4_i64, 1..9_i64);
    let of = (key.clone(), second.clone(), sequence.clone());
    let step = prop_oneof![
        6 => of.clone().prop_map(|(key, second, sequence)| Step::Put { key, second, sequence }),
        2 => prop::collection::vec((key.clone(), second.clone()), 0..5).prop_map(Step::PutMany),
        5 => of.prop_map(|(key, second, sequence)| Step::Move { key, second, sequence }),
        3 => key.clone().prop_map(Step::Delete),
        3 => (key.clone(), sequence).prop_map(|(key, sequence)| Step::Bury { key, sequence }),
        1 => key.clone().prop_map(Step::DeletePrefix),
        1 => prop::collection::vec(key, 0..3).prop_map(Step::Retain),
        1 => second.prop_map(Step::Expire),
        1 => Just(Step::Purge),
    ];
    prop::collection::vec(step, 1..25)
}

/// A version as two numbers, and what was written under it.
type Standing = (i64, i64, String);

#[derive(Default)]
struct Model {
    reports: BTreeMap<&'static str, Standing>,
    tombstones: BTreeMap<&'static str, i64>,
    writes: usize,
}

impl Model {
    fn payload(&mut self) -> String {
        self.writes += 1;
        self.writes.to_string()
    }

    fn put(&mut self, key: &'static str, second: i64, sequence: i64, payload: String) -> Put {
        let newer = self.reports.get(key).filter(|it| (it.0, it.1) >= (second, sequence)).is_some();
        match self.tombstones.get(key) {
            Some(&tombstone) if tombstone > sequence && !newer => Put::Suppressed(tombstone),
            // What was written later stays, though it was scanned earlier.
            _ if !newer && self.reports.get(key).is_some_and(|it| it.1 > sequence) => {
                Put::Superseded(version(&self.reports[key]))
            }
            _ => self.place(key, second, sequence, payload),
        }
    }

    fn place(&mut self, key: &'static str, second: i64, sequence: i64, payload: String) -> Put {
        match self.reports.get(key) {
            Some(it) if (it.0, it.1) == (second, sequence) => Put::Stored(version(it)),
            Some(it) if (it.0, it.1) > (second, sequence) => Put::Superseded(version(it)),
            _ => {
                let standing = (second, sequence, payload);
                let put = Put::Stored(version(&standing));
                self.reports.insert(key, standing);
                put
            }
        }
    }

    fn bury(&mut self, key: &'static str, sequence: i64) {
        self.entomb(key, sequence);
        if self.reports.get(key).is_some_and(|it| it.1 < sequence) {
            self.reports.remove(key);
        }
    }

    fn entomb(&mut self, key: &'static str, sequence: i64) {
        let tombstone = self.tombstones.entry(key).or_insert(sequence);
        *tombstone = (*tombstone).max(sequence);
    }

    /// Removes some; the store chose sequences of its own for their tombstones.
    async fn remove(&mut self, store: &ReportStore, goes: impl Fn(&str, &Standing) -> bool) -> u64 {
        let gone: Vec<&str> = self.reports.iter().filter(|it| goes(it.0, it.1)).map(|it| *it.0).collect();
        for key in &gone {
            let sequence = self.reports.remove(key).map(|it| it.1);
            let tombstone = store.tombstone(&key.parse().unwrap()).await.unwrap();
            assert!(tombstone > sequence && tombstone >= self.tombstones.get(key).copied());
            self.tombstones.insert(key, tombstone.unwrap());
        }
        gone.len() as u64
    }
}

fn version(standing: &Standing) -> Version {
    Version { scanned_at: Timestamp::from_second(standing.0).unwrap(), sequence: standing.1 }
}

async fn take(model: &mut Model, store: &ReportStore, step: Step) {
    match step {
        Step::Put { key, second, sequence } => {
            let payload = model.payload();
            let report = report(KEYS[key], second, &payload);
            let put = store.put_sequenced(&[(&report, sequence)]).await.unwrap();
            assert_eq!(put, [model.put(KEYS[key], second, sequence, payload)]);
        }
        Step::PutMany(puts) => {
            let reports: Vec<_> =
                puts.iter().map(|&(key, second)| report(KEYS[key], second, &model.payload())).collect();
            let told = store.put_many(&reports).await.unwrap();
            for ((put, report), (key, second)) in told.into_iter().zip(reports).zip(puts) {
                let Put::Stored(version) = put else {
                    let standing = version(&model.reports[KEYS[key]]);
                    assert_eq!(put, Put::Superseded(standing));
                    assert!(standing.scanned_at > report.scanned_at);
                    continue;
                };
                let payload = String::from_utf8(report.payload.to_vec()).unwrap();
                assert_eq!(model.put(KEYS[key], second, version.sequence, payload), put);
            }
        }
        Step::Move { key, second, sequence } => {
            let payload = model.payload();
            let moving = Moving::new(report(KEYS[key], second, &payload), sequence).unwrap();
            let put = store.put_moved(&[moving]).await.unwrap();
            assert_eq!(put, [model.put(KEYS[key], second, sequence, payload)]);
        }
        Step::Delete(key) => {
            let deleted = store.delete(&KEYS[key].parse().unwrap()).await.unwrap();
            let tombstone = store.tombstone(&KEYS[key].parse().unwrap()).await.unwrap();
            let gone = model.reports.remove(KEYS[key]);
            assert_eq!(deleted, gone.is_some());
            assert!(tombstone > gone.map(|it| it.1) && tombstone >= model.tombstones.get(KEYS[key]).copied());
            model.tombstones.insert(KEYS[key], tombstone.unwrap());
        }
        Step::Bury { key, sequence } => {
            store.bury(&[Tombstone { key: KEYS[key].parse().unwrap(), sequence }]).await.unwrap();
            model.bury(KEYS[key], sequence);
        }
        Step::DeletePrefix(key) => {
            let count = store.delete_prefix(KEYS[key]).await.unwrap();
            assert_eq!(count, model.remove(store, |it, _| it.starts_with(KEYS[key])).await);
        }
        Step::Retain(live) => {
            let keys: Vec<ReportKey> = live.iter().map(|&key| KEYS[key].parse().unwrap()).collect();
            let as_of = Timestamp::now() + jiff::SignedDuration::from_hours(1);
            let count = store.retain("a/", &keys, as_of).await.unwrap();
            let dead = |it: &str| it.starts_with("a/") && !live.iter().any(|&key| KEYS[key] == it);
            assert_eq!(count, model.remove(store, |it, _| dead(it)).await);
        }
        Step::Expire(second) => {
            let count = store.expire("", Timestamp::from_second(second).unwrap()).await.unwrap();
            assert_eq!(count, model.remove(store, |_, standing| (1..second).contains(&standing.0)).await);
        }
        Step::Purge => {
            store.purge_tombstones(Timestamp::now() + jiff::SignedDuration::from_secs(1)).await.unwrap();
            model.tombstones.clear();
        }
    }
}

async fn compare(model: &Model, store: &ReportStore) {
    let mut stream = store.get_many(Selection::prefix(""));
    for (key, standing) in &model.reports {
        let stored = stream.next().await.unwrap().unwrap();
        assert_eq!((stored.report.key.as_str(), stored.version), (*key, version(standing)));
        assert_eq!(stored.report.payload, standing.2.as_bytes());
    }
    assert_eq!(stream.next().await.unwrap(), None);
    let page = store.list(List::default()).await.unwrap();
    let listed: Vec<_> = page.reports.iter().map(|it| (it.key.as_str(), it.version)).collect();
    assert_eq!(listed, model.reports.iter().map(|it| (*it.0, version(it.1))).collect::<Vec<_>>());
    let tombstones = store.tombstones(None, 100).await.unwrap();
    let told: Vec<_> = tombstones.iter().map(|it| (it.key.as_str(), it.sequence)).collect();
    assert_eq!(told, model.tombstones.iter().map(|it| (*it.0, *it.1)).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn a_store_does_what_the_model_does(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let (_, store) = store(directory.path()).await;
            let mut model = Model::default();
            for step in steps {
                take(&mut model, &store, step).await;
                compare(&model, &store).await;
            }
        });
    }
}
