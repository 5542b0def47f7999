//! The shelf beside controllers that know nothing of it: what they wrote is read, and what is written is read by them.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use larder_client::fallback::shelf::{Layout, Origin, Placed, Shelf, ShelfError, Tombstone};
use larder_client::fallback::{Condition, Entry, KeyValue, Limits, Listed, Memory, Operation, StoreError};
use larder_client::reports::{Asset, Check, Encoding, Finding, Report, ReportKey};

const PIECE: usize = 512 * 1024 - 1;
/// As Consul has them.
const CONSUL: Limits = Limits { value: 512 * 1024, operations: 64, transaction: 512 * 1024 - 2 };

struct Room {
    store: Arc<Memory>,
    shelf: Shelf,
}

impl Room {
    fn new(limits: Limits) -> Self {
        let store = Arc::new(Memory::with_limits(limits));
        let shelf = Shelf::new(Arc::clone(&store) as Arc<dyn KeyValue>, Layout::NeuVector);
        Self { store, shelf }
    }

    /// Writes as an older controller does.
    async fn write(&self, key: &str, value: impl Into<Bytes>) {
        let put = Operation::Put { key: key.into(), value: value.into(), condition: Condition::Any };
        assert!(self.store.commit(vec![put]).await.expect("is there"));
    }

    /// Reads as an older controller does.
    async fn value(&self, key: &str) -> Option<Bytes> {
        self.store.get(&[key.into()]).await.expect("is there").remove(0).map(|it| it.value)
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        let listed = self.store.list(prefix, None, 10_000).await.expect("is there");
        listed.into_iter().map(|it| it.key).collect()
    }

    /// What an older controller reads of a value that may be in pieces: it goes on until it can unpack.
    async fn pieced(&self, key: &str) -> Option<Vec<u8>> {
        let mut value = self.value(key).await?.to_vec();
        for number in 1.. {
            if let Some(whole) = unpacked(&value) {
                return Some(whole);
            }
            value.extend_from_slice(&self.value(&format!("{key}/{number}")).await?);
        }
        None
    }
}

fn key(text: &str) -> ReportKey {
    ReportKey::new(text).expect("a key")
}

fn report(name: &str, second: i64, payload: impl Into<Bytes>) -> Report {
    Report {
        key: key(name),
        scanned_at: jiff::Timestamp::from_second(second).expect("in range"),
        scanner_version: "3.422".into(),
        encoding: Encoding::GzipGob,
        payload: payload.into(),
        asset: Asset { name: "a".into(), ..Asset::default() },
        findings: None,
        checks: None,
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).expect("packs");
    encoder.finish().expect("packs")
}

fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes), &mut whole).ok()?;
    Some(whole)
}

/// Bytes that do not get smaller when they are packed.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn a_report_comes_back_with_all_that_it_had() {
    let room = Room::new(CONSUL);
    for (name, size, findings) in [
        ("workload/1", 33_000, 3),
        ("image/r/1", 450_000, 3000),
        ("host/a:b", 2_200_000, 0),
        ("odd/x/y", 0, 1),
    ] {
        // Texts that are not alike, so that 3000 of them are more than stands in an entry.
        let package = |it: usize| noise(8, it as u64 + 1).iter().map(|byte| format!("{byte:02x}")).collect();
        let finding = |it: usize| Finding {
            name: format!("CVE-2024-{it}"),
            score: 7.5,
            package: package(it),
            ..Finding::default()
        };
        let mut all: Vec<_> = (0..findings).map(finding).collect();
        all.sort_by_key(|it| it.package.clone());
        let report = Report {
            findings: Some(all),
            checks: Some(vec![Check { test_number: "1.2".into(), ..Check::default() }]),
            ..report(name, 5, noise(size, 1))
        };
        assert_eq!(room.shelf.put(&report, 7).await.expect("is there"), Placed::Stored);
        let held = room.shelf.get(&report.key).await.expect("is there").copy.expect("is there");
        let mut held_report = held.report;
        // Packed findings have an order of their own.
        held_report.findings.iter_mut().for_each(|it| it.sort_by_key(|it| it.package.clone()));
        assert!(held_report == report, "{name}");
        assert_eq!((held.version.sequence, held.origin), (7, Origin::Larder));
        assert!(room.shelf.remove(&held.holding).await.expect("is there"));
        assert_eq!(room.keys("").await, Vec::<String>::new(), "{name} leaves nothing");
    }
}

#[tokio::test]
async fn older_controllers_read_what_is_put_here() {
    let room = Room::new(CONSUL);
    for size in [100, 400_000, PIECE, 600_000, 1_600_000] {
        let content = noise(size, 3);
        let report = report("workload/1", size as i64, gzip(&content));
        room.shelf.put(&report, 1).await.expect("is there");
        assert_eq!(room.pieced("scan/data/report/workload/1").await.as_ref(), Some(&content), "{size}");
        let held = room.shelf.get(&report.key).await.expect("is there").copy.expect("is there");
        assert_eq!(held.origin, Origin::Larder, "{size}: the copy for others is no foreign value");
    }
    let small = report("workload/1", 2_000_000, gzip(b"small"));
    room.shelf.put(&small, 2).await.expect("is there");
    assert_eq!(room.keys("scan/").await, ["scan/data/report/workload/1"], "pieces of a longer one are gone");
    assert_eq!(room.keys("larder/chunk/").await, Vec::<String>::new());
}

#[tokio::test]
async fn what_older_controllers_wrote_is_as_new_as_their_state_says() {
    let room = Room::new(CONSUL);
    let content = gzip(b"{}");
    for (name, data, state, json) in [
        (
            "workload/1",
            "scan/data/report/workload/1",
            "scan/state/report/workload/1",
            r#"{"scanned_at":"2024-05-01T10:00:00Z","status":"finished"}"#,
        ),
        (
            "image/r/1",
            "scan/data/image/r/1",
            "scan/state/image/r/1",
            r#"{"image_id":"1","scanned_at":"2024-05-01T10:00:00Z"}"#,
        ),
        (
            "bench/h:1/kube_master",
            "bench/h:1/report/kube_master",
            "scan/state/bench/host/h:1",
            r#"{"run_at":"2024-05-01T10:00:00Z"}"#,
        ),
    ] {
        room.write(data, content.clone()).await;
        let unknown = room.shelf.get(&key(name)).await.expect("is there").copy.expect("is there");
        assert_eq!(unknown.version.scanned_at, jiff::Timestamp::UNIX_EPOCH);
        room.write(state, json).await;
        let held = room.shelf.get(&key(name)).await.expect("is there").copy.expect("is there");
        assert_eq!(held.version.scanned_at.to_string(), "2024-05-01T10:00:00Z");
        assert_eq!((held.report.encoding, held.origin), (Encoding::GzipJson, Origin::Foreign));
        assert_eq!(held.report.payload, content);
    }
    let listed = room.shelf.keys("", None, 100).await.expect("is there");
    assert_eq!(listed.items, [key("bench/h:1/kube_master"), key("image/r/1"), key("workload/1")]);
}

#[tokio::test]
async fn a_value_that_an_older_controller_put_over_ours_is_its_own_and_newer_than_a_tombstone() {
    let room = Room::new(CONSUL);
    let ours = report("host/a", 1_000, gzip(b"ours"));
    for large in [false, true] {
        let ours =
            if large { Report { payload: noise(700_000, 2).into(), ..ours.clone() } } else { ours.clone() };
        room.shelf.put(&ours, 9).await.expect("is there");
        room.write("scan/data/report/host/a", gzip(b"theirs")).await;
        let held = room.shelf.get(&ours.key).await.expect("is there").copy.expect("is there");
        assert_eq!((held.origin, &held.report.payload[..]), (Origin::Foreign, &gzip(b"theirs")[..]));
        assert!(held.version.sequence > 9);

        let tombstone = Tombstone { key: ours.key.clone(), sequence: held.version.sequence + 1 };
        assert!(room.shelf.bury(&tombstone).await.expect("is there").removed);
        assert!(room.shelf.get(&ours.key).await.expect("is there").copy.is_none());
        room.write("scan/data/report/host/a", gzip(b"again")).await;
        let found = room.shelf.get(&ours.key).await.expect("is there");
        let held = found.copy.expect("is there");
        assert!(Some(held.version.sequence) > found.tombstone);
        room.shelf.remove(&held.holding).await.expect("is there");
        for listed in room.shelf.tombstones("", None, 10).await.expect("is there").items {
            assert!(room.shelf.remove_tombstone(&listed).await.expect("is there"));
        }
    }
}

#[tokio::test]
async fn pieces_are_put_together_up_to_where_the_stream_ends() {
    let room = Room::new(CONSUL);
    let data = "scan/data/report/workload/1";
    let long = gzip(&noise(1_500_000, 1));
    for (number, piece) in long.chunks(PIECE).enumerate() {
        let key = if number == 0 { data.to_owned() } else { format!("{data}/{number}") };
        room.write(&key, piece.to_vec()).await;
    }
    let held = room.shelf.get(&key("workload/1")).await.expect("is there").copy.expect("is there");
    assert_eq!(held.report.payload, long);
    assert_eq!(held.fault(), None);

    // A shorter one over it, as they do it: the last piece of the longer one stays.
    let shorter = gzip(&noise(900_000, 2));
    for (number, piece) in shorter.chunks(PIECE).enumerate() {
        let key = if number == 0 { data.to_owned() } else { format!("{data}/{number}") };
        room.write(&key, piece.to_vec()).await;
    }
    let held = room.shelf.get(&key("workload/1")).await.expect("is there").copy.expect("is there");
    assert_eq!(held.report.payload, shorter);
    assert!(room.shelf.remove(&held.holding).await.expect("is there"));
    assert_eq!(room.keys("").await, Vec::<String>::new(), "pieces go with the report");
}

#[tokio::test]
async fn half_a_set_of_pieces_is_incomplete_and_stays() {
    let room = Room::new(CONSUL);
    let long = gzip(&noise(1_500_000, 1));
    room.write("scan/data/report/workload/1", long[..PIECE].to_vec()).await;
    let error = room.shelf.get(&key("workload/1")).await.expect_err("half is missing");
    assert!(matches!(error, ShelfError::Incomplete { .. }), "{error}");
    room.write("scan/data/report/workload/1/2", long[2 * PIECE..].to_vec()).await;
    assert!(matches!(room.shelf.get(&key("workload/1")).await, Err(ShelfError::Incomplete { .. })));
    assert_eq!(room.keys("scan/data").await.len(), 2);
    // A new scan takes its place.
    let new = report("workload/1", 3_000_000_000, gzip(b"new"));
    assert_eq!(room.shelf.put(&new, 1 << 62).await.expect("is there"), Placed::Stored);
    assert_eq!(room.shelf.get(&new.key).await.expect("is there").copy.expect("is there").report, new);
}

#[tokio::test]
async fn broken_streams_come_as_they_are_and_say_so() {
    let room = Room::new(CONSUL);
    let mut broken = gzip(&noise(1000, 1));
    room.write("scan/data/report/workload/cut", broken[..500].to_vec()).await;
    broken[600] ^= 1;
    room.write("scan/data/report/workload/bad", broken.clone()).await;
    let cut = room.shelf.get(&key("workload/cut")).await.expect("is there").copy.expect("is there");
    assert_eq!((&cut.report.payload[..], cut.fault().is_some()), (&gzip(&noise(1000, 1))[..500], true));
    let bad = room.shelf.get(&key("workload/bad")).await.expect("is there").copy.expect("is there");
    assert!(bad.report.payload == broken && bad.fault().is_some());
}

#[tokio::test]
async fn strays_are_named_and_only_lost_pieces_are_removed() {
    let room = Room::new(CONSUL);
    for raw in
        ["bench/h/other", "scan/data/report/workload/1/7", "scan/data/report/host/a/b", "scan/data/image/"]
    {
        room.write(raw, "x").await;
    }
    let strays = room.shelf.strays(100).await.expect("is there");
    assert_eq!(strays.named, ["scan/data/report/host/a/b", "scan/data/image/", "bench/h/other"]);
    assert_eq!(strays.unnamed, 0);
    let few = room.shelf.strays(1).await.expect("is there");
    assert_eq!((few.named.len(), few.unnamed), (1, 2));
    assert!(room.shelf.keys("", None, 100).await.expect("is there").items.is_empty());
    let pieces = room.shelf.loose_pieces().await.expect("is there");
    let names: Vec<_> = pieces.iter().map(|it| (it.key.as_str(), it.raw.as_str())).collect();
    assert_eq!(names, [("workload/1", "scan/data/report/workload/1/7")]);
    room.write("scan/data/report/workload/1", "it came back").await;
    assert!(room.shelf.loose_pieces().await.expect("is there").is_empty());
    assert!(!room.shelf.remove_piece(&pieces[0]).await.expect("is there"));
    let delete = Operation::Delete { key: "scan/data/report/workload/1".into(), condition: Condition::Any };
    assert!(room.store.commit(vec![delete]).await.expect("is there"));
    assert!(room.shelf.remove_piece(&pieces[0]).await.expect("is there"));
    assert!(room.shelf.loose_pieces().await.expect("is there").is_empty());
}

#[tokio::test]
async fn a_listing_goes_through_all_ranges_in_the_order_of_keys() {
    let room = Room::new(CONSUL);
    let mut names = vec!["platform/platform".to_owned(), "zoo/1".to_owned(), "alpha/1".to_owned()];
    for number in 0..40 {
        names.push(format!("workload/{number}"));
        names.push(format!("image/r{}/{number}", number % 3));
        names.push(format!("bench/h:{number}/kube_master"));
        names.push(format!("bench/h:{number}/docker_host"));
    }
    for (number, name) in names.iter().enumerate() {
        let report = report(name, 5, "{}");
        if number % 2 == 0 {
            room.shelf.put(&report, 3).await.expect("is there");
        } else {
            // Foreign: what stands at the value alone.
            room.shelf.put(&report, 3).await.expect("is there");
            let delete = Operation::Delete { key: format!("larder/meta/{name}"), condition: Condition::Any };
            assert!(room.store.commit(vec![delete]).await.expect("is there"));
        }
    }
    for piece in 0..70 {
        room.write(&format!("scan/data/report/workload/7/{piece}"), "x").await;
    }
    let mut wanted: Vec<_> = names.iter().map(|it| key(it)).collect();
    wanted.sort();
    for limit in [1, 3, 50, 1000] {
        for prefix in
            ["", "bench/", "bench/h:1", "bench/h:1/", "bench/h:1/kube", "image/r1/", "w", "zoo/", "none/"]
        {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = room.shelf.list(prefix, after.as_ref(), limit).await.expect("is there");
                assert!(page.items.len() <= limit);
                found.extend(page.items.into_iter().map(|it| it.key));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let wanted: Vec<_> =
                wanted.iter().filter(|it| it.as_str().starts_with(prefix)).cloned().collect();
            assert_eq!(found, wanted, "{prefix:?} by {limit}");
        }
    }
    let stats = room.shelf.stats().await.expect("is there");
    assert_eq!((stats.reports, stats.bytes), (names.len() as u64, names.len().div_ceil(2) as u64 * 2));
}

#[tokio::test]
async fn a_copy_is_removed_only_as_it_was_read() {
    let room = Room::new(CONSUL);
    for size in [100, 700_000] {
        let first = report("workload/1", 1, noise(size, 1));
        room.shelf.put(&first, 1).await.expect("is there");
        let held = room.shelf.get(&first.key).await.expect("is there").copy.expect("is there");
        room.shelf.put(&first, 1).await.expect("is there");
        assert!(!room.shelf.remove(&held.holding).await.expect("is there"), "written again since");
        let second = report("workload/1", 2, noise(size, 2));
        room.shelf.put(&second, 2).await.expect("is there");
        assert!(!room.shelf.remove(&held.holding).await.expect("is there"), "replaced since");
        let held = room.shelf.get(&first.key).await.expect("is there").copy.expect("is there");
        assert_eq!(held.report, second);
        assert!(room.shelf.remove(&held.holding).await.expect("is there"));
    }
}

#[tokio::test]
async fn newer_reports_and_tombstones_keep_older_ones_out() {
    let room = Room::new(CONSUL);
    let put = async |second, sequence| {
        room.shelf.put(&report("workload/1", second, "{}"), sequence).await.expect("is there")
    };
    assert_eq!(put(10, 5).await, Placed::Stored);
    assert!(matches!(put(9, 6).await, Placed::Superseded(it) if it.sequence == 5));
    assert!(matches!(put(10, 4).await, Placed::Superseded(_)));
    let bury = async |sequence| {
        room.shelf.bury(&Tombstone { key: key("workload/1"), sequence }).await.expect("is there")
    };
    assert_eq!(bury(5).await.survivor, Some(5), "only what is below it goes");
    assert!(bury(6).await.removed);
    assert_eq!(put(11, 5).await, Placed::Buried(6));
    assert_eq!(put(1, 6).await, Placed::Stored, "an older scan after a delete is a report again");
    assert_eq!(bury(3).await.survivor, Some(6));
    assert_eq!(room.shelf.get(&key("workload/1")).await.expect("is there").tombstone, Some(6));
}

#[tokio::test]
async fn an_entry_of_a_later_form_is_refused_and_left_alone() {
    let room = Room::new(CONSUL);
    room.shelf.put(&report("workload/1", 1, "{}"), 1).await.expect("is there");
    let entry = room.value("larder/meta/workload/1").await.expect("is there");
    let later = String::from_utf8(entry.to_vec()).expect("JSON").replace(r#""form":1"#, r#""form":2"#);
    room.write("larder/meta/workload/1", later.clone()).await;
    assert!(matches!(room.shelf.get(&key("workload/1")).await, Err(ShelfError::Damaged { .. })));
    assert!(room.shelf.put(&report("workload/1", 2, "{}"), 2).await.is_err());
    assert_eq!(room.value("larder/meta/workload/1").await.expect("is there"), later);
}

/// A store on which something happens: before its `at`-th read an older controller writes, after `changes` changes it is gone, and before `taken` is
/// written a mover takes out the report, which it read before that had pieces.
struct Eventful {
    store: Arc<Memory>,
    snapshot: usize,
    reads: AtomicUsize,
    at: usize,
    changes: AtomicUsize,
    taken: Option<&'static str>,
    sweeps: bool,
    /// What stands at an entry from the `at`-th read on.
    healed: Mutex<Option<Bytes>>,
}

impl Eventful {
    fn new(snapshot: usize, at: usize, changes: usize) -> Self {
        let store = Arc::new(Memory::with_limits(CONSUL));
        let (reads, changes) = (AtomicUsize::new(0), AtomicUsize::new(changes));
        Self { store, snapshot, reads, at, changes, taken: None, sweeps: false, healed: Mutex::default() }
    }

    async fn write(&self, key: &str, value: Bytes) {
        let put = Operation::Put { key: key.into(), value, condition: Condition::Any };
        assert!(self.store.commit(vec![put]).await.expect("is there"));
    }

    /// A value and its state, as an older controller writes them.
    async fn foreign(&self, second: i64) {
        let state = format!(r#"{{"scanned_at":"{}"}}"#, report("host/a", second, "").scanned_at);
        for (key, value) in
            [("scan/data/report/host/a", second.to_string()), ("scan/state/report/host/a", state)]
        {
            self.write(key, value.into()).await;
        }
    }
}

#[async_trait::async_trait]
impl KeyValue for Eventful {
    fn name(&self) -> &str {
        "an eventful store"
    }

    fn limits(&self) -> Limits {
        CONSUL
    }

    fn weight(&self, operation: &Operation) -> usize {
        self.store.weight(operation)
    }

    fn snapshot(&self) -> usize {
        self.snapshot
    }

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, StoreError> {
        let mut entries = Vec::new();
        for keys in keys.chunks(self.snapshot) {
            if self.reads.fetch_add(1, Ordering::Relaxed) == self.at {
                let healed = self.healed.lock().expect("nobody panics with it").take();
                match healed {
                    Some(entry) => self.write("larder/meta/host/a", entry).await,
                    None => self.foreign(2).await,
                }
            }
            entries.extend(self.store.get(keys).await?);
        }
        Ok(entries)
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        self.store.list(prefix, after, limit).await
    }

    async fn commit(&self, operations: Vec<Operation>) -> Result<bool, StoreError> {
        let left = self.changes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| it.checked_sub(1));
        if left.is_err() {
            let (store, reason) = (self.name().to_owned(), "it is gone".to_owned());
            return Err(StoreError::Unreachable { store, reason });
        }
        if operations.iter().any(|it| Some(it.key()) == self.taken) {
            let delete = |key: &str| Operation::Delete { key: key.into(), condition: Condition::Any };
            let removal = ["scan/data/report/host/a", "larder/meta/host/a"].map(delete);
            assert!(self.store.commit(removal.into()).await.expect("is there"));
        }
        if self.sweeps {
            let shelf = Shelf::new(Arc::clone(&self.store) as Arc<dyn KeyValue>, Layout::NeuVector);
            let an_hour_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
            shelf.sweep(an_hour_ago).await.expect("is there");
        }
        self.store.commit(operations).await
    }
}

#[tokio::test]
async fn what_is_being_written_is_not_swept_however_old_the_report_is() {
    let store = Eventful { sweeps: true, ..Eventful::new(usize::MAX, usize::MAX, usize::MAX) };
    let shelf = Shelf::new(Arc::new(store), Layout::NeuVector);
    let large = report("image/r/1", 1_000, noise(1_500_000, 1));
    let placed = shelf.put_moved(&large, 1, None).await.expect("nobody else writes it");
    assert_eq!(placed, Placed::Stored);
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_keeps_no_other_draft() {
    let room = Room::new(CONSUL);
    room.write("larder/meta/image/r/1", "rubbish").await;
    let drafts = ["image/r/1", "image/r/2"].map(|it| format!("larder/chunk/{it}/{:016x}-1/0", 0));
    for draft in &drafts {
        room.write(draft, "x").await;
    }
    assert_eq!(room.shelf.sweep(jiff::Timestamp::now()).await.expect("is there"), 1);
    assert_eq!(room.keys("larder/chunk/").await, drafts[..1], "an entry may refer to the first");
}

#[tokio::test]
async fn a_draft_is_swept_from_its_first_chunk_on_or_not_at_all() {
    let draft = [0, 1].map(|it| format!("larder/chunk/host/a/{:016x}-1/{it}", 0));
    // While the sweep looks at the first part of the draft, the report is taken out. The second is on another page.
    let taken = Some(&*draft[0].clone().leak());
    let store = Arc::new(Eventful { taken, ..Eventful::new(usize::MAX, usize::MAX, usize::MAX) });
    let shelf = Shelf::new(Arc::clone(&store) as Arc<dyn KeyValue>, Layout::NeuVector);
    shelf.put(&report("host/a", 1, "x"), 1).await.expect("is there");
    let page = (0..999).map(|it| format!("larder/chunk/a/{it:03}/{:016x}-1/0", i64::MAX));
    for key in page.chain(draft) {
        let put = Operation::Put { key, value: Bytes::new(), condition: Condition::Any };
        assert!(store.store.commit(vec![put]).await.expect("is there"));
    }
    shelf.sweep(jiff::Timestamp::now()).await.expect("is there");
    // Whoever still writes it finds out by the first chunk.
    assert_eq!(store.store.list("larder/chunk/host/", None, 10).await.expect("is there"), []);
}

#[tokio::test]
async fn an_entry_that_can_be_read_again_is_not_taken_for_damaged() {
    let store = Arc::new(Eventful::new(usize::MAX, 1, usize::MAX));
    let inner = Shelf::new(Arc::clone(&store.store) as Arc<dyn KeyValue>, Layout::NeuVector);
    let now = jiff::Timestamp::now().as_second();
    let newest = report("host/a", now, "newest");
    inner.put(&newest, 20).await.expect("is there");
    let entry = store.store.get(&["larder/meta/host/a".into()]).await.expect("is there").remove(0);
    *store.healed.lock().expect("nobody panics with it") = entry.map(|it| it.value);
    store.write("larder/meta/host/a", "rubbish".into()).await;
    let shelf = Shelf::new(Arc::clone(&store) as Arc<dyn KeyValue>, Layout::NeuVector);
    let placed = shelf.put(&report("host/a", now - 60, "older"), 10).await.expect("is there");
    assert!(matches!(placed, Placed::Superseded(it) if it.sequence == 20), "{placed:?}");
    assert_eq!(inner.get(&newest.key).await.expect("is there").copy.expect("is there").report, newest);
}

#[tokio::test]
async fn pieces_for_older_controllers_go_if_their_report_went_meanwhile() {
    for taken in ["scan/data/report/host/a/1", "scan/data/report/host/a/2"] {
        let store = Eventful { taken: Some(taken), ..Eventful::new(usize::MAX, usize::MAX, usize::MAX) };
        let shelf = Shelf::new(Arc::new(store), Layout::NeuVector);
        let large = report("host/a", 1_000, gzip(&noise(1_500_000, 1)));
        assert_eq!(shelf.put(&large, 1).await.expect("is there"), Placed::Stored);
        assert!(shelf.get(&large.key).await.expect("is there").copy.is_none(), "it was taken out");
        assert!(shelf.loose_pieces().await.expect("is there").is_empty());
    }
}

#[tokio::test]
async fn a_value_of_an_older_controller_has_its_own_time_whenever_the_next_comes() {
    for snapshot in [1, 3, usize::MAX] {
        for at in 0..12 {
            let store = Arc::new(Eventful::new(snapshot, at, usize::MAX));
            store.foreign(1).await;
            let shelf = Shelf::new(Arc::clone(&store) as Arc<dyn KeyValue>, Layout::NeuVector);
            let held = shelf.get(&key("host/a")).await.expect("is there").copy.expect("is there");
            let scanned_at = held.report.scanned_at.as_second();
            assert_eq!(held.report.payload, scanned_at.to_string(), "{snapshot} at once, at {at}");
            let head = shelf.head(&key("host/a")).await.expect("is there").copy.expect("is there");
            assert!(head.version >= held.version);
        }
    }
}

#[tokio::test]
async fn no_piece_stays_behind_when_a_writer_ends_after_the_change_that_counts() {
    let small = report("host/a", 2_000, gzip(b"short"));
    for small in [Some(small), None] {
        let store = Arc::new(Eventful::new(usize::MAX, usize::MAX, usize::MAX));
        let shelf = Shelf::new(Arc::clone(&store) as Arc<dyn KeyValue>, Layout::NeuVector);
        let large = report("host/a", 1_000, gzip(&noise(1_500_000, 1)));
        shelf.put(&large, 1).await.expect("is there");
        let pieces = async || {
            let listed = store.store.list("scan/data/report/host/a/", None, 100).await.expect("is there");
            listed.len()
        };
        assert_eq!(pieces().await, 2);
        store.changes.store(1, Ordering::Relaxed);
        match &small {
            Some(small) => assert_eq!(shelf.put(small, 2).await.expect("is there"), Placed::Stored),
            None => {
                let tombstone = Tombstone { key: large.key.clone(), sequence: 2 };
                assert!(shelf.bury(&tombstone).await.expect("is there").removed);
            }
        }
        assert_eq!(pieces().await, 0);
        assert!(shelf.loose_pieces().await.expect("is there").is_empty());
    }
}
