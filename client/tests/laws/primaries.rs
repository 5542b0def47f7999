//! One suite for whatever is a primary: the double that the laws are played on does what reports in SQL do.

use std::sync::Arc;

use larder_client::fallback::shelf::{Layout, Placed, Shelf, Tombstone};
use larder_client::fallback::{
    Answered, KeyValue, Memory, Mode, Primary, PrimaryError, Put, Reports, ReportsOptions, Store,
};
use larder_client::migrate::{Depot, Found};
use larder_client::reports::{Clock, Encoding, Mark, Report, ReportKey, ReportStore};
use larder_client::wire::{Request, Statement, Value};
use larder_client::{database::Embedded, schema};

use crate::primary::MemoryPrimary;

fn report(key: &str, second: i64) -> Report {
    Report {
        key: ReportKey::new(key).expect("a key"),
        scanned_at: jiff::Timestamp::from_second(second).expect("in range"),
        scanner_version: "3".into(),
        encoding: Encoding::Opaque,
        payload: format!("{key} {second}").into(),
        asset: Default::default(),
        findings: None,
        checks: None,
    }
}

pub(crate) async fn in_sql(directory: &tempfile::TempDir) -> ReportStore {
    let database = Arc::new(Embedded::open(directory.path()).expect("a database"));
    schema::prepare(&*database).await.expect("a schema");
    ReportStore::new(database, Arc::new(Clock::new(1)))
}

/// Everything that the facade relies on.
async fn holds(primary: &impl Primary) -> Result<(), PrimaryError> {
    primary.probe().await?;
    let key = ReportKey::new("workload/1").expect("a key");
    let put = async |second, sequence| {
        Ok::<_, PrimaryError>(
            primary.put(&[(&report("workload/1", second), sequence)], None).await?.answer[0],
        )
    };
    let bury = async |sequence| {
        Ok::<_, PrimaryError>(
            primary.bury(&[Tombstone { key: key.clone(), sequence }], None).await?.answer[0],
        )
    };
    assert_eq!(put(10, 50).await?, Placed::Stored);
    assert_eq!(put(10, 50).await?, Placed::Stored, "the same once more");
    assert!(matches!(put(9, 60).await?, Placed::Superseded(it) if it.sequence == 50));
    assert!(matches!(put(10, 40).await?, Placed::Superseded(_)));
    assert_eq!(
        put(11, 30).await?,
        Placed::Crossed(50),
        "what was written later may have been written after a delete"
    );
    assert_eq!(put(11, 51).await?, Placed::Stored);

    assert_eq!(bury(51).await?.survivor, Some(51), "only what is below a tombstone goes");
    let burial = bury(52).await?;
    assert!(burial.removed && burial.survivor.is_none());
    assert!(!bury(20).await?.removed, "the later tombstone stays");
    assert_eq!(put(12, 30).await?, Placed::Buried(52), "nothing is raised above a tombstone");
    let found = primary.get(&key, None).await?.answer;
    assert!(found.copy.is_none() && found.tombstone == Some(52));
    assert_eq!(put(5, 52).await?, Placed::Stored, "an older scan after a delete is a report again");
    let found = primary.get(&key, None).await?.answer;
    assert_eq!(found.copy.map(|it| (it.report, it.version.sequence)), Some((report("workload/1", 5), 52)));
    let head = primary.head(&key, None).await?.answer;
    assert_eq!((head.copy.map(|it| it.sequence), head.tombstone), (Some(52), Some(52)));

    let many = ["image/a", "image/b", "image/c", "workload/0"].map(|it| report(it, 1));
    primary.put(&many.iter().map(|it| (it, 7)).collect::<Vec<_>>(), None).await?;
    let list = async |after: Option<&ReportKey>| {
        Ok::<_, PrimaryError>(primary.list("image/", after, 2, &[], None).await?.answer.page)
    };
    let page = list(None).await?;
    assert_eq!(page.items.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(), ["image/a", "image/b"]);
    let page = list(page.next.as_ref()).await?;
    assert_eq!((page.items.len(), page.items[0].0.as_str(), page.next), (1, "image/c", None));
    let mut stream = primary.stream(&[many[2].key.clone(), many[0].key.clone(), many[1].key.clone()]).await?;
    for wanted in &many[..3] {
        assert_eq!(stream.next().await?.map(|it| it.report).as_ref(), Some(wanted));
    }
    assert!(stream.next().await?.is_none());

    let tombstones: Vec<_> = many.iter().map(|it| Tombstone { key: it.key.clone(), sequence: 8 }).collect();
    assert!(primary.bury(&tombstones, None).await?.answer.iter().all(|it| it.removed));
    let beside = [many[1].key.clone(), key.clone(), ReportKey::new("workload/9").expect("a key")];
    let listing = primary.list("", None, 9, &beside, None).await?.answer;
    let told: Vec<_> =
        listing.beside.iter().map(|it| (it.copy.map(|it| it.sequence), it.tombstone)).collect();
    assert_eq!(told, [(None, Some(8)), (Some(52), Some(52)), (None, None)], "of any key, and its tombstone");
    assert_eq!(listing.page.items.len(), 1);
    assert_eq!(primary.stats().await?.reports, 1);
    Ok(())
}

#[tokio::test]
async fn every_primary_holds_the_same_promises() {
    holds(&MemoryPrimary::default()).await.expect("answers");
    let directory = tempfile::tempdir().expect("a directory");
    holds(&in_sql(&directory).await).await.expect("answers");
}

/// A primary that movers take reports and tombstones out of.
#[async_trait::async_trait]
trait Emptied: Primary {
    /// Takes out the report, as it was found and once more.
    async fn take_out(&self, key: &ReportKey) -> [bool; 2];
    /// Takes out the tombstone, as it was found and once more.
    async fn take_stone(&self, key: &ReportKey) -> [bool; 2];
}

#[async_trait::async_trait]
impl Emptied for MemoryPrimary {
    async fn take_out(&self, key: &ReportKey) -> [bool; 2] {
        let (_, stamp) = self.stamped(key).expect("is there");
        [(); 2].map(|()| self.remove(key, stamp))
    }

    async fn take_stone(&self, key: &ReportKey) -> [bool; 2] {
        let (_, _, seal) = self.sealed(None, 9).0.into_iter().find(|it| it.0 == *key).expect("is there");
        [(); 2].map(|()| self.unbury(key, seal))
    }
}

#[async_trait::async_trait]
impl Emptied for ReportStore {
    async fn take_out(&self, key: &ReportKey) -> [bool; 2] {
        let found = Depot::read(self, key, 1 << 20).await.expect("answers");
        let Found::Report { stamp, .. } = found else { panic!("is there: {found:?}") };
        let once = async || Depot::remove(self, key, &stamp).await.expect("answers");
        [once().await, once().await]
    }

    async fn take_stone(&self, key: &ReportKey) -> [bool; 2] {
        let graves = Depot::tombstones(self, None, 9).await.expect("answers").graves;
        let grave = graves.into_iter().find(|it| it.tombstone.key == *key).expect("is there");
        let once = async || Depot::unbury(self, key, &grave.seal).await.expect("answers");
        [once().await, once().await]
    }
}

/// What each call that tells of some keys says to have left since a mark: those of `wanted` that it is asked about.
async fn says(primary: &impl Primary, since: Mark, keys: &[ReportKey], wanted: &[&ReportKey]) -> Mark {
    let report = report("workload/other", 1);
    for key in keys {
        let left = wanted.contains(&key);
        let since = Some(since);
        assert_eq!(primary.get(key, since).await.expect("answers").departures.may_include(key), left);
        assert_eq!(primary.head(key, since).await.expect("answers").departures.may_include(key), left);
        let listing = primary.list(key.as_str(), None, 9, &[], since).await.expect("answers");
        assert_eq!(listing.departures.may_include(key), left);
        let report = Report { key: key.clone(), ..report.clone() };
        // Older than anything: it changes nothing.
        let put = primary.put(&[(&report, i64::MIN)], since).await.expect("answers");
        assert_eq!(put.departures.may_include(key), left);
        let tombstone = Tombstone { key: key.clone(), sequence: i64::MIN };
        let buried = primary.bury(&[tombstone], since).await.expect("answers");
        assert_eq!(buried.departures.may_include(key), left);
    }
    let all = primary.list("", None, 9, &[], Some(since)).await.expect("answers").departures;
    let mut wanted: Vec<_> = wanted.iter().copied().cloned().collect();
    wanted.sort();
    assert_eq!(all.since.map(|it| it.into_iter().collect::<Vec<_>>()), Some(wanted));
    all.until
}

/// What leaves is told, and nothing else.
async fn tells_what_leaves(primary: &impl Emptied) -> Result<(), PrimaryError> {
    let keys = ["image/a", "workload/1", "workload/2"].map(|it| ReportKey::new(it).expect("a key"));
    let [one, two, three] = &keys;
    for key in &keys {
        let report = report(key.as_str(), 10);
        primary.put(&[(&report, 10)], None).await?;
    }
    let begin = primary.head(one, None).await?.departures;
    assert_eq!(begin.since, None, "who names no mark is told nothing");
    let begin = begin.until;
    // What is replaced or deleted does not leave.
    primary.put(&[(&report(one.as_str(), 11), 11)], None).await?;
    primary.bury(&[Tombstone { key: two.clone(), sequence: 11 }], None).await?;
    assert_eq!(says(primary, begin, &keys, &[]).await, begin);

    assert_eq!(primary.take_out(one).await, [true, false]);
    let first = says(primary, begin, &keys, &[one]).await;
    assert_eq!(first.0, begin.0 + 1, "what is not removed does not leave");
    assert_eq!(primary.take_stone(two).await, [true, false]);
    assert_eq!(primary.take_out(three).await, [true, false]);
    let last = says(primary, begin, &keys, &[one, two, three]).await;
    assert_eq!(says(primary, first, &keys, &[two, three]).await, last);
    assert_eq!(says(primary, last, &keys, &[]).await, last);
    let ahead = primary.get(one, Some(Mark(last.0 + 1))).await?.departures;
    assert_eq!(ahead.since, None, "another primary stood here");
    Ok(())
}

#[tokio::test]
async fn every_primary_tells_what_leaves() {
    tells_what_leaves(&MemoryPrimary::default()).await.expect("answers");
    let directory = tempfile::tempdir().expect("a directory");
    tells_what_leaves(&in_sql(&directory).await).await.expect("answers");
}

#[tokio::test]
async fn what_left_long_ago_is_forgotten_and_said_to_be() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = in_sql(&directory).await;
    let key = ReportKey::new("workload/1").expect("a key");
    let others = "INSERT INTO departure (number, key) WITH RECURSIVE n (it) AS (SELECT 1 UNION ALL SELECT it + 1 FROM n \
                  WHERE it < 10000) SELECT it, 'workload/' || it FROM n";
    store.database().execute(&Request::new([Statement::new(others)])).await.expect("answers");
    let since = async |mark| store.head(&key, Some(Mark(mark))).await.expect("answers").departures.since;
    assert_eq!(since(0).await.map(|it| it.len()), Some(1), "only what was asked for");
    store.put_sequenced(&[(&report("workload/1", 1), 1)]).await.expect("answers");
    assert_eq!(store.take_out(&key).await, [true, false]);
    assert_eq!(since(0).await, None, "one has been forgotten");
    assert_eq!(since(1).await.map(|it| it.len()), Some(1));
    assert_eq!(since(10_001).await.map(|it| it.len()), Some(0));
    let rows = Statement::new("SELECT COUNT(*) FROM departure");
    let count = store.database().query(&Request::new([rows])).await.expect("answers").results.remove(0).rows;
    assert_eq!(count, [[Value::Integer(10_000)]]);
    // More than is told of at once is as good as forgotten.
    let all = Primary::list(&store, "", None, 9, &[], Some(Mark(5000))).await.expect("answers").departures;
    assert_eq!(all.since, None);
}

#[tokio::test]
async fn reports_are_one_whether_in_sql_or_on_the_shelf() {
    let directory = tempfile::tempdir().expect("a directory");
    let store: Arc<dyn KeyValue> = Arc::new(Memory::new());
    let options = ReportsOptions { mode: Mode::Off, ..ReportsOptions::default() };
    let reports = Reports::new(
        Some(Arc::new(in_sql(&directory).await)),
        Shelf::new(store, Layout::NeuVector),
        Arc::new(Clock::new(2)),
        || true,
        options,
    );
    let names: Vec<_> = (0..40).map(|it| format!("workload/{it:02}")).collect();
    for name in &names {
        let mode = if name.ends_with(['0', '3', '6']) { Mode::Off } else { Mode::Auto };
        reports.set_mode(mode).await;
        let answer = reports.put(&report(name, 5)).await.expect("answers");
        let wanted = if mode == Mode::Off { Store::Fallback } else { Store::Primary };
        assert!(answer.store == wanted && matches!(answer.put, Put::Stored(_)));
    }
    let mut found = Vec::new();
    let mut stream = reports.get_many("workload/");
    while let Some(Answered { report, complete, .. }) = stream.next().await.expect("answers") {
        assert!(complete);
        found.push(report);
    }
    assert!(stream.is_complete());
    assert_eq!(found, names.iter().map(|it| report(it, 5)).collect::<Vec<_>>());

    // A put into the primary takes the older copy off the shelf.
    reports.put(&report("workload/00", 6)).await.expect("answers");
    assert!(reports.shelf().head(&found[0].key).await.expect("answers").copy.is_none());
    assert_eq!(reports.counters().stale_removed, 1);

    assert!(reports.delete(&found[1].key).await.expect("answers").complete);
    assert!(reports.get(&found[1].key).await.expect("answers").is_none());
    let live = [found[3].key.clone(), found[4].key.clone()].into();
    let swept = reports.retain("workload/", &live).await.expect("answers");
    assert_eq!((swept.deleted, swept.complete), (37, true));
    let listed = reports.list("", None, 100).await.expect("answers");
    assert_eq!(
        listed.items.into_iter().map(|it| it.0).collect::<Vec<_>>(),
        [found[3].key.clone(), found[4].key.clone()]
    );
    let stats = reports.stats().await.expect("answers");
    assert_eq!(stats.primary.map(|it| it.reports), Some(1));
    assert_eq!(stats.fallback.map(|it| it.reports), Some(1));
}
