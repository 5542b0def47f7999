//! What a mover relies on, of every depot: the same suite for reports in SQL and for shelves on each store.

use std::any::Any;
use std::sync::Arc;

use larder_client::database::Embedded;
use larder_client::fallback::{Consul, Directory, Etcd, KeyValue, Layout, Login, Memory, Shelf};
use larder_client::migrate::*;
use larder_client::reports::{Check, Clock, Finding, ReportKey, ReportStore, Severity};
use larder_client::schema;
use larder_harness::Skip;

use crate::world::{key, parcel, version};

/// Keeps a depot's server or directory.
pub(crate) type Site = Box<dyn Any + Send + Sync>;

pub(crate) async fn in_sql(_: &str) -> Result<(ReportStore, Site), Skip> {
    let home = tempfile::tempdir().unwrap();
    let database = Arc::new(Embedded::open(home.path()).unwrap());
    schema::prepare(&*database).await.unwrap();
    Ok((ReportStore::new(database, Arc::new(Clock::new(1))), Box::new(home)))
}

fn shelf_on(store: impl KeyValue, test: &str) -> Shelf {
    Shelf::new(Arc::new(store), Layout::Plain { prefix: format!("depots-{test}") })
}

async fn in_memory(test: &str) -> Result<(Shelf, Site), Skip> {
    Ok((shelf_on(Memory::new(), test), Box::new(())))
}

async fn in_a_directory(test: &str) -> Result<(Shelf, Site), Skip> {
    let home = tempfile::tempdir().unwrap();
    Ok((shelf_on(Directory::open(home.path()).unwrap(), test), Box::new(home)))
}

pub(crate) fn consul(server: &larder_harness::Consul) -> Consul {
    Consul::new(server.url().parse().unwrap(), None).unwrap().with_token(server.token()).unwrap()
}

async fn in_consul(test: &str) -> Result<(Shelf, Site), Skip> {
    let server = larder_harness::Consul::shared()?;
    Ok((shelf_on(consul(&server), test), Box::new(server)))
}

async fn in_etcd(test: &str) -> Result<(Shelf, Site), Skip> {
    let server = larder_harness::Etcd::shared()?;
    let login = Login { user: "root".into(), password: server.password().into() };
    let etcd = Etcd::new(server.url().parse().unwrap(), None).unwrap().with_login(login);
    Ok((shelf_on(etcd, test), Box::new(server)))
}

macro_rules! suite {
    ($($place:ident: $($test:ident)*;)*) => {
        $(mod $place {
            $(#[tokio::test]
            async fn $test() {
                let (depot, _site) = larder_harness::need!(super::$place(stringify!($test)).await);
                super::$test(depot).await;
            })*
        })*
    };
}

suite! {
    in_sql: what_was_brought_is_read_back_and_removed what_is_brought_again_has_a_new_stamp
        newer_ones_and_tombstones_win tombstones_are_renewed something_else_under_the_version_stays
        what_was_written_later_yields_only_to_who_has_seen_it pages_follow_each_other large_reports_are_told_by_their_size;
    in_memory: what_was_brought_is_read_back_and_removed what_is_brought_again_has_a_new_stamp
        newer_ones_and_tombstones_win tombstones_are_renewed something_else_under_the_version_stays
        what_was_written_later_yields_only_to_who_has_seen_it pages_follow_each_other large_reports_are_told_by_their_size;
    in_a_directory: what_was_brought_is_read_back_and_removed what_is_brought_again_has_a_new_stamp
        newer_ones_and_tombstones_win tombstones_are_renewed something_else_under_the_version_stays
        what_was_written_later_yields_only_to_who_has_seen_it pages_follow_each_other large_reports_are_told_by_their_size;
    in_consul: what_was_brought_is_read_back_and_removed what_is_brought_again_has_a_new_stamp
        newer_ones_and_tombstones_win tombstones_are_renewed something_else_under_the_version_stays
        what_was_written_later_yields_only_to_who_has_seen_it pages_follow_each_other large_reports_are_told_by_their_size;
    in_etcd: what_was_brought_is_read_back_and_removed what_is_brought_again_has_a_new_stamp
        newer_ones_and_tombstones_win tombstones_are_renewed something_else_under_the_version_stays
        what_was_written_later_yields_only_to_who_has_seen_it pages_follow_each_other large_reports_are_told_by_their_size;
}

const ALL: usize = 64 << 20;

async fn bring(depot: &impl Depot, parcel: &Parcel) -> Arrival {
    depot.bring(vec![parcel.clone()]).await.unwrap().remove(0)
}

async fn read<D: Depot>(depot: &D, key: &ReportKey) -> (Parcel, Option<i64>, D::Stamp) {
    match depot.read(key, ALL).await.unwrap() {
        Found::Report { parcel, tombstone, stamp } => (*parcel, tombstone, stamp),
        _ => panic!("{key} is not there"),
    }
}

async fn graves<D: Depot>(depot: &D) -> Vec<(ReportKey, i64, D::Seal)> {
    let graves = depot.tombstones(None, 100).await.unwrap().graves;
    graves.into_iter().map(|it| (it.tombstone.key, it.tombstone.sequence, it.seal)).collect()
}

/// With everything that a report can have.
fn rich(name: &str) -> Parcel {
    let mut parcel = parcel(name, 100, 10, 5000);
    parcel.report.asset.namespace = "ä/ö".to_owned();
    parcel.report.findings = Some(vec![Finding {
        name: "CVE-2021-20530".to_owned(),
        severity: Severity::High,
        score: 7.5,
        package: "linux-libc-dev".to_owned(),
        published: Some(1_554_768_900),
        ..Finding::default()
    }]);
    parcel.report.checks = Some(vec![Check { test_number: "1.2".to_owned(), ..Check::default() }]);
    parcel
}

async fn what_was_brought_is_read_back_and_removed(depot: impl Depot) {
    let parcel = rich("a");
    let there = There { version: Some(version(100, 10)), tombstone: None, same: true, undated: false };
    assert_eq!(bring(&depot, &parcel).await, Arrival { written: Written::Stored, there });
    let (back, tombstone, stamp) = read(&depot, &key("a")).await;
    assert_eq!((&back, tombstone), (&parcel, None));
    assert!(depot.remove(&key("a"), &stamp).await.unwrap());
    assert!(!depot.remove(&key("a"), &stamp).await.unwrap());
    assert!(matches!(depot.read(&key("a"), ALL).await.unwrap(), Found::Absent));
    assert_eq!(graves(&depot).await.len(), 0);
}

async fn what_is_brought_again_has_a_new_stamp(depot: impl Depot) {
    let parcel = rich("a");
    bring(&depot, &parcel).await;
    let (.., first) = read(&depot, &key("a")).await;
    assert!(bring(&depot, &parcel).await.there.same);
    let (.., second) = read(&depot, &key("a")).await;
    assert!(bring(&depot, &parcel).await.there.same);
    assert!(!depot.remove(&key("a"), &first).await.unwrap());
    assert!(!depot.remove(&key("a"), &second).await.unwrap());
    let (back, _, third) = read(&depot, &key("a")).await;
    assert_eq!(back, parcel);
    assert!(depot.remove(&key("a"), &third).await.unwrap());
}

async fn newer_ones_and_tombstones_win(depot: impl Depot) {
    let (older, newer) = (parcel("a", 100, 90, 40), parcel("a", 200, 10, 40));
    bring(&depot, &newer).await;
    let arrival = bring(&depot, &older).await;
    assert_eq!((arrival.written, arrival.there.version), (Written::Outdated, Some(newer.version())));
    depot.bury(&[Tombstone { key: key("a"), sequence: 50 }]).await.unwrap();
    assert!(matches!(depot.read(&key("a"), ALL).await.unwrap(), Found::Absent));
    let arrival = bring(&depot, &newer).await;
    let there = There { version: None, tombstone: Some(50), same: false, undated: false };
    assert_eq!(arrival, Arrival { written: Written::Outdated, there });
    // What was written after the deletion is what is seen, though it was scanned earlier.
    let arrival = bring(&depot, &older).await;
    assert!(arrival.there.same, "{arrival:?}");
    let (_, tombstone, _) = read(&depot, &key("a")).await;
    assert_eq!(tombstone, Some(50));
    let standing = depot.look(&[key("b"), key("a")]).await.unwrap();
    assert_eq!(standing[0], Standing { holding: Holding::Nothing, tombstone: None });
    assert_eq!(standing[1], Standing { holding: Holding::Report(older.version()), tombstone: Some(50) });
}

async fn tombstones_are_renewed(depot: impl Depot) {
    let bury = async |sequence| drop(depot.bury(&[Tombstone { key: key("a"), sequence }]).await.unwrap());
    bury(50).await;
    let (name, sequence, first) = graves(&depot).await.remove(0);
    assert_eq!((name, sequence), (key("a"), 50));
    bury(40).await;
    assert!(!depot.unbury(&key("a"), &first).await.unwrap());
    let (_, sequence, second) = graves(&depot).await.remove(0);
    assert_eq!(sequence, 50);
    assert!(depot.unbury(&key("a"), &second).await.unwrap());
    assert!(!depot.unbury(&key("a"), &second).await.unwrap());
    assert_eq!(graves(&depot).await.len(), 0);
}

async fn something_else_under_the_version_stays(depot: impl Depot) {
    let first = parcel("a", 100, 10, 40);
    bring(&depot, &first).await;
    let mut other = first.clone();
    other.report.payload = "another".into();
    let arrival = bring(&depot, &other).await;
    let there = There { version: Some(version(100, 10)), tombstone: None, same: false, undated: false };
    assert_eq!(arrival.there, there);
    assert_eq!(read(&depot, &key("a")).await.0, first);
}

async fn what_was_written_later_yields_only_to_who_has_seen_it(depot: impl Depot) {
    let (later_scan, later_write) = (parcel("a", 200, 10, 40), parcel("a", 100, 20, 40));
    bring(&depot, &later_write).await;
    let arrival = bring(&depot, &later_scan).await;
    assert_eq!((arrival.there.version, arrival.there.same), (Some(later_write.version()), false));
    let blind = Parcel { over: Some(version(100, 19)), ..later_scan.clone() };
    assert!(!bring(&depot, &blind).await.there.same);
    let knowing = Parcel { over: Some(later_write.version()), ..later_scan.clone() };
    assert!(bring(&depot, &knowing).await.there.same);
    assert_eq!(read(&depot, &key("a")).await.0, later_scan);
}

async fn pages_follow_each_other(depot: impl Depot) {
    let names: Vec<_> = (0..7).map(|number| format!("{number}")).collect();
    let parcels = names.iter().map(|name| parcel(name, 100, 10, 40)).collect();
    depot.bring(parcels).await.unwrap();
    let buried = |name: &String| Tombstone { key: key(&format!("gone-{name}")), sequence: 5 };
    depot.bury(&names.iter().map(buried).collect::<Vec<_>>()).await.unwrap();
    let (mut keys, mut next) = (Vec::new(), None);
    loop {
        let page = depot.list(next.as_deref(), 3).await.unwrap();
        assert!(page.keys.len() <= 3 && page.strange.is_empty());
        keys.extend(page.keys);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(keys, names.iter().map(|name| key(name)).collect::<Vec<_>>());
    let (mut gone, mut next) = (Vec::new(), None);
    loop {
        let page = depot.tombstones(next.as_deref(), 3).await.unwrap();
        gone.extend(page.graves.into_iter().map(|it| it.tombstone));
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(gone, names.iter().map(buried).collect::<Vec<_>>());
}

async fn large_reports_are_told_by_their_size(depot: impl Depot) {
    let large = parcel("a", 100, 10, 5 << 20);
    bring(&depot, &large).await;
    let found = depot.read(&key("a"), 1 << 20).await.unwrap();
    assert!(matches!(found, Found::Large(size) if size == 5 << 20));
    assert_eq!(read(&depot, &key("a")).await.0, large);
}
