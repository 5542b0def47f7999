//! The example of a controller, as it is shipped, against a real Consul and a real sidecar: two at once, a sidecar that goes away and comes
//! back, a leader that leaves, a third that starts cold, and assets that are gone. No report is ever missing.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use larder_client::fallback::{BreakerState, Consul, KeyValue as _, Mode, Put, Store};
use larder_client::migrate::Leader;
use larder_client::reports::generate::Generator;
use larder_client::reports::{Report, ReportKey};
use larder_harness::{Proxy, Server, need};
use tokio::time::timeout;

use crate::controller::{Assets, Controller, Settings};

const PATIENCE: Duration = Duration::from_secs(120);

/// Where controllers live: one Consul, and one sidecar behind a wire that stays where it is.
struct Site {
    consul: larder_harness::Consul,
    server: Server,
    wire: Proxy,
}

impl Site {
    fn new(consul: larder_harness::Consul) -> Self {
        let server = larder_harness::setup!().start();
        let wire = Proxy::start(address(&server));
        Self { consul, server, wire }
    }

    fn restart(&mut self) {
        self.server.start_again();
        self.wire.lead_to(address(&self.server));
    }

    async fn controller(&self, name: &str) -> Controller {
        let pair = self.server.pair("owner");
        let path = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
        let settings = Settings {
            name: name.to_owned(),
            version: "v6.0.0".to_owned(),
            mode: Mode::Auto,
            sidecar: format!("https://{}", self.wire.address()),
            ca: path(self.server.home().join("ca.crt")),
            cert: path(pair.cert),
            key: path(pair.key),
            consul: self.consul.url(),
            token: Some(self.consul.token().to_owned()),
        };
        Controller::start(settings).await.unwrap()
    }

    fn keys_and_values(&self) -> Consul {
        let consul = Consul::new(self.consul.url().parse().unwrap(), None).unwrap();
        consul.with_token(self.consul.token()).unwrap()
    }

    /// Waits until no report is left in Consul.
    async fn all_home(&self) {
        let mut changes = self.keys_and_values().follow("scan/data/");
        let mut left = BTreeSet::new();
        let gone = async {
            loop {
                for change in changes.next().await.unwrap() {
                    match change.entry {
                        Some(_) => left.insert(change.key),
                        None => left.remove(&change.key),
                    };
                }
                if left.is_empty() {
                    return;
                }
            }
        };
        timeout(PATIENCE, gone).await.unwrap_or_else(|_| panic!("never came home"));
    }
}

fn address(server: &Server) -> String {
    server.url().strip_prefix("https://").unwrap().to_owned()
}

/// The scan of a container, a minute after that of the round before.
fn scan(number: usize, round: i64) -> Report {
    let report = Generator::new(7).report(number as u64, 20);
    let key = ReportKey::new(format!("workload/{number:064x}")).unwrap();
    let scanned_at = Timestamp::from_second(1_700_000_000).unwrap() + SignedDuration::from_mins(round);
    // Other bits in each round.
    let scanner_version = format!("3.{round}");
    let payload = [&report.payload[..], &round.to_be_bytes()].concat().into();
    Report { key, scanned_at, scanner_version, payload, ..report }
}

/// Every report that was acknowledged.
#[derive(Default)]
struct Promised(BTreeMap<ReportKey, Report>);

impl Promised {
    /// Scans, by both in turn, and says who took the reports.
    async fn scan(
        &mut self,
        controllers: [&Controller; 2],
        numbers: std::ops::Range<usize>,
        round: i64,
    ) -> Vec<Store> {
        let mut stores = Vec::new();
        for number in numbers {
            let report = scan(number, round);
            let answer = controllers[number % 2].scan(&report).await.unwrap();
            assert!(matches!(answer.put, Put::Stored(_)), "{answer:?}");
            stores.push(answer.store);
            self.0.insert(report.key.clone(), report);
        }
        stores
    }

    /// Waits until a controller has seen all of it.
    async fn seen_by(&self, controller: &Controller) {
        let all = |assets: &Assets| {
            let known = |(key, report): (&ReportKey, &Report)| {
                assets.get(key).map(|it| it.scanned_at) == Some(report.scanned_at)
            };
            assets.len() == self.0.len() && self.0.iter().all(known)
        };
        let mut assets = controller.assets.clone();
        let seen = timeout(PATIENCE, assets.wait_for(all)).await;
        assert!(seen.is_ok(), "{} of {} are known", controller.assets.borrow().len(), self.0.len());
    }

    /// Reads all of it, bit for bit.
    async fn kept_by(&self, controller: &Controller, store: Store) {
        reaches(controller).await;
        for (key, report) in &self.0 {
            let found = controller.reports.get(key).await.unwrap();
            let found = found.unwrap_or_else(|| panic!("{key} is lost"));
            assert_eq!((found.store, found.complete), (store, true), "{key}");
            assert_eq!(
                (&found.report.payload, found.report.scanned_at),
                (&report.payload, report.scanned_at)
            );
        }
    }
}

/// Waits until a controller has found out that the primary answers. Another one may have brought everything home before.
async fn reaches(controller: &Controller) {
    const GLANCE: Duration = Duration::from_millis(20);
    let closed = async {
        while controller.reports.breaker() != BreakerState::Closed {
            tokio::time::sleep(GLANCE).await;
        }
    };
    timeout(PATIENCE, closed).await.unwrap();
}

async fn leads(controller: &Controller) {
    timeout(PATIENCE, controller.leader().wait_for(|it| *it == Leader::Me)).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_the_sidecar_the_leader_and_assets_come_and_go() {
    let mut site = Site::new(need!(larder_harness::Consul::start()));
    let (mut one, two) = (site.controller("one").await, site.controller("two").await);
    let mut promised = Promised::default();

    // Wherever they are put at first, all come home, and everybody hears of them.
    promised.scan([&one, &two], 0..12, 0).await;
    promised.seen_by(&one).await;
    promised.seen_by(&two).await;
    site.all_home().await;
    promised.kept_by(&two, Store::Primary).await;

    // The sidecar dies. Consul takes over, what it does not have is not taken for absent, and newer scans of old reports count.
    site.server.kill();
    let stores = promised.scan([&one, &two], 8..20, 1).await;
    assert!(stores.iter().all(|store| *store == Store::Fallback), "{stores:?}");
    promised.seen_by(&one).await;
    promised.seen_by(&two).await;
    one.reports.get(&scan(0, 0).key).await.unwrap_err();

    // It comes back, and so does everything else.
    site.restart();
    site.all_home().await;
    promised.kept_by(&one, Store::Primary).await;
    promised.kept_by(&two, Store::Primary).await;

    // One leaves, another starts cold.
    two.stop().await;
    leads(&one).await;
    let three = site.controller("three").await;
    promised.seen_by(&three).await;
    promised.scan([&one, &three], 20..24, 2).await;
    promised.seen_by(&one).await;
    promised.seen_by(&three).await;

    // What is gone twice is deleted, once.
    let gone = [scan(3, 0).key, scan(11, 1).key];
    let live: HashSet<_> = promised.0.keys().filter(|key| !gone.contains(key)).cloned().collect();
    assert_eq!(one.prune(&live).await.unwrap(), 0);
    promised.seen_by(&three).await;
    assert_eq!(one.prune(&live).await.unwrap(), 2);
    promised.0.retain(|key, _| live.contains(key));
    promised.seen_by(&three).await;
    for key in &gone {
        assert_eq!(three.reports.get(key).await.unwrap(), None);
    }
    site.all_home().await;
    promised.kept_by(&three, Store::Primary).await;

    // They leave nothing of themselves behind.
    one.stop().await;
    three.stop().await;
    let members = site.keys_and_values().list("larder/member/", None, 10).await.unwrap();
    assert_eq!(members, []);
}
