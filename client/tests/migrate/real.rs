//! Moves between real stores: what NeuVector left in Consul comes home to SQL and goes back, bit for bit; and several movers at once, in both
//! directions, between stores that are not slowed down for them.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use larder_client::fallback::{Condition, KeyValue, Layout, Memory, Operation, Shelf, shelf};
use larder_client::migrate::leadership::Always;
use larder_client::migrate::*;
use larder_client::reports::{Encoding, Report, ReportKey, ReportStore};
use larder_harness::need;

use crate::depots::{consul, in_sql};
use crate::world::{Dice, key, parcel};

/// A piece of a value, as NeuVector splits it.
const PIECE: usize = 512 * 1024 - 1;
const STATE: &str = r#"{"scanned_at":"2024-05-01T10:00:00Z","status":"finished"}"#;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

fn noise(bytes: usize) -> Vec<u8> {
    let dice = Dice::new(5);
    (0..bytes).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect()
}

async fn write(store: &dyn KeyValue, key: &str, value: &[u8]) {
    let value = Bytes::copy_from_slice(value);
    let put = Operation::Put { key: key.to_owned(), value, condition: Condition::Any };
    assert!(store.commit(vec![put]).await.unwrap());
}

async fn value(store: &dyn KeyValue, key: &str) -> Option<Bytes> {
    store.get(&[key.to_owned()]).await.unwrap().remove(0).map(|it| it.value)
}

fn name(text: &str) -> ReportKey {
    ReportKey::new(text).unwrap()
}

fn mover<F: Depot, T: Depot>(from: F, to: T) -> Mover<F, T> {
    Mover::new(Arc::new(from), Arc::new(to), Arc::new(Always::default()), GateState::always_open())
}

/// What NeuVector's controllers and enforcers write, sound and not; the sound ones are returned.
async fn neuvector(store: &dyn KeyValue) -> Vec<(&'static str, Vec<u8>)> {
    let (small, large) = (gzip(b"{\"Vuls\":[]}"), gzip(&noise(1_200_000)));
    write(store, "scan/data/report/workload/aa", &small).await;
    write(store, "scan/state/report/workload/aa", STATE.as_bytes()).await;
    for (number, piece) in large.chunks(PIECE).enumerate() {
        let piece_key = format!(
            "scan/data/report/host/k8s:1{}",
            if number == 0 { String::new() } else { format!("/{number}") }
        );
        write(store, &piece_key, piece).await;
    }
    write(store, "scan/state/report/host/k8s:1", STATE.as_bytes()).await;
    write(store, "scan/data/image/quay/bb", &small).await;
    for kind in ["docker_host", "kube_master", "kube_worker", "custom_host"] {
        write(store, &format!("bench/k8s:1/report/{kind}"), &gzip(kind.as_bytes())).await;
    }
    write(store, "scan/data/report/workload/cut", &small[..small.len() - 3]).await;
    write(store, "scan/data/report/workload/half", &large[..PIECE]).await;
    vec![
        ("workload/aa", small.clone()),
        ("host/k8s:1", large),
        ("image/quay/bb", small),
        ("bench/k8s:1/docker_host", gzip(b"docker_host")),
        ("bench/k8s:1/kube_master", gzip(b"kube_master")),
        ("bench/k8s:1/kube_worker", gzip(b"kube_worker")),
        ("bench/k8s:1/custom_host", gzip(b"custom_host")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_neuvector_left_in_consul_comes_home_and_goes_back() {
    let server = need!(larder_harness::Consul::start());
    let (store, (sql, _site)) = (consul(&server), in_sql("").await.unwrap());
    let sound = neuvector(&store).await;
    let shelf = Shelf::new(Arc::new(store.clone()), Layout::NeuVector);
    let own = parcel("own", 1_700_000_000, 7 << 50, 3000);
    shelf.put(&own.report, own.sequence).await.unwrap();
    let deleted = shelf::Tombstone { key: key("gone"), sequence: 9 };
    shelf.bury(&deleted).await.unwrap();

    let home = mover(shelf.clone(), sql.clone());
    let progress = home.progress();
    let outcome = home.pass().await.unwrap();
    assert_eq!(outcome, Outcome { gone: 8, skipped: 2, changed: 0 }, "{:?}", progress.borrow());
    let named: Vec<_> = progress.borrow().named.iter().map(|it| (it.key.clone(), it.skip)).collect();
    assert!(named.contains(&("workload/cut".to_owned(), Skip::Undecodable)), "{named:?}");
    assert!(named.contains(&("workload/half".to_owned(), Skip::Incomplete)), "{named:?}");
    for (key, payload) in &sound {
        let stored = sql.get(&name(key)).await.unwrap().unwrap();
        assert_eq!(&stored.report.payload[..], &payload[..], "{key}");
    }
    let stored = sql.get(&name("workload/aa")).await.unwrap().unwrap();
    assert_eq!(stored.version.scanned_at.to_string(), "2024-05-01T10:00:00Z");
    assert_ne!(stored.report.encoding, Encoding::Opaque);
    assert_eq!(sql.tombstone(&key("gone")).await.unwrap(), Some(9));
    let left = store.list("", None, 100).await.unwrap().into_iter().map(|it| it.key).collect::<Vec<_>>();
    let expected = [
        "scan/data/report/workload/cut",
        "scan/data/report/workload/half",
        "scan/state/report/host/k8s:1",
        "scan/state/report/workload/aa",
    ];
    assert_eq!(left, expected);

    let away = Evacuation::new(Migrator::new(mover(sql.clone(), shelf.clone())), GateState::always_open());
    let (outcome, departure) = away.run_once().await.unwrap();
    assert_eq!((outcome, departure), (Outcome { gone: 8, skipped: 0, changed: 0 }, Departure::MayBeRemoved));
    for (key, payload) in &sound {
        let held = shelf.get(&name(key)).await.unwrap().copy.unwrap();
        assert_eq!(&held.report.payload[..], &payload[..], "{key}");
    }
    // An older controller finds it where it always was.
    assert_eq!(value(&store, "scan/data/report/workload/aa").await.as_deref(), Some(&sound[0].1[..]));
    assert_eq!(value(&store, "bench/k8s:1/report/docker_host").await.as_deref(), Some(&sound[3].1[..]));
    let back = shelf.get(&key("own")).await.unwrap().copy.unwrap();
    assert_eq!((back.report, back.version.sequence), (own.report, own.sequence));
}

/// A pass that is halted by somebody who contends is only begun again.
async fn passes<F: Depot, T: Depot>(from: F, to: T, count: usize) {
    let mover = mover(from, to);
    for _ in 0..count {
        drop(mover.pass().await);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn movers_in_both_directions_lose_nothing_between_real_stores() {
    let (sql, _site) = in_sql("").await.unwrap();
    let shelf = Shelf::new(Arc::new(Memory::new()), Layout::NeuVector);
    let names: Vec<_> = (0..40).map(|number| format!("{number:02}")).collect();
    for name in &names {
        let report = parcel(name, 100, 10, 2000);
        shelf.put(&report.report, report.sequence).await.unwrap();
    }
    let (one, two, back) = (
        tokio::spawn(passes(shelf.clone(), sql.clone(), 12)),
        tokio::spawn(passes(shelf.clone(), sql.clone(), 12)),
        tokio::spawn(passes(sql.clone(), shelf.clone(), 12)),
    );
    let (one, two, back) = tokio::join!(one, two, back);
    one.and(two).and(back).unwrap();
    let outcome = Migrator::new(mover(shelf.clone(), sql.clone())).run_once().await.unwrap();
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_all_home(&sql, &names).await;
}

async fn assert_all_home(sql: &ReportStore, names: &[String]) {
    for name in names {
        let stored = sql.get(&key(name)).await.unwrap();
        let stored = stored.unwrap_or_else(|| panic!("{name} is lost"));
        assert_eq!(stored.report.payload, parcel(name, 100, 10, 2000).report.payload);
    }
}

#[tokio::test]
async fn a_tombstone_that_cannot_be_read_stops_nothing_in_either_direction() {
    let (sql, _site) = in_sql("").await.unwrap();
    let store = Arc::new(Memory::new());
    let shelf = Shelf::new(Arc::<Memory>::clone(&store), Layout::NeuVector);
    write(&*store, "larder/tombstone/workload/torn", b"{\"sequ").await;
    shelf.bury(&shelf::Tombstone { key: key("whole"), sequence: 9 }).await.unwrap();
    let home = mover(shelf.clone(), sql.clone());
    let progress = home.progress();
    assert_eq!(home.pass().await.unwrap(), Outcome { gone: 0, skipped: 1, changed: 0 });
    assert_eq!(progress.borrow().named[0].skip, Skip::Undecodable);
    assert_eq!(sql.tombstone(&key("whole")).await.unwrap(), Some(9));

    // The other direction meets it as one that takes nothing.
    let torn = parcel("torn", 100, 20, 50);
    Depot::bury(&sql, &[Tombstone { key: key("torn"), sequence: 10 }]).await.unwrap();
    sql.bring(vec![torn, parcel("other", 100, 20, 50)]).await.unwrap();
    let away = mover(sql.clone(), shelf.clone());
    assert_eq!(away.pass().await.unwrap(), Outcome { gone: 1, skipped: 1, changed: 0 });
    assert!(shelf.get(&key("other")).await.unwrap().copy.is_some());
    assert!(sql.get(&key("torn")).await.unwrap().is_some());
    assert_eq!(sql.tombstone(&key("whole")).await.unwrap(), None, "it is on the shelf again");
    assert!(sql.tombstone(&key("torn")).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_tails_go_with_their_report_and_what_nobody_knows_is_counted() {
    let store = Arc::new(Memory::new());
    let (sql, _site) = in_sql("").await.unwrap();
    // A shorter report stands where a longer one stood; another tail was left by a mover that was killed.
    write(&*store, "scan/data/report/workload/aa", &gzip(b"short")).await;
    for tail in ["workload/aa/1", "workload/aa/2", "workload/killed/3"] {
        write(&*store, &format!("scan/data/report/{tail}"), b"old tail").await;
    }
    write(&*store, "scan/data/report/workload/unknown/1", b"a tail of nothing").await;
    for number in 0..100 {
        write(&*store, &format!("scan/data/report/host/h{number:03}/odd"), b"?").await;
    }
    let killed = Report { key: name("workload/killed"), ..parcel("killed", 100, 10, 90).report };
    sql.put(&killed).await.unwrap();
    let shelf = Shelf::new(Arc::clone(&store) as Arc<dyn KeyValue>, Layout::NeuVector);
    let home = mover(shelf, sql.clone());
    let progress = home.progress();
    for gone in [1, 0] {
        let outcome = home.pass().await.unwrap();
        assert_eq!(outcome, Outcome { gone, skipped: 101, changed: 0 }, "{:?}", progress.borrow());
        assert_eq!(progress.borrow().named.len(), 32);
        let left = store.list("scan/data/report/workload/", None, 100).await.unwrap();
        let left: Vec<_> = left.into_iter().map(|it| it.key).collect();
        assert_eq!(left, ["scan/data/report/workload/unknown/1"]);
    }
}
