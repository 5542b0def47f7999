//! Law 9: what an outage of the primary costs in time, and what is told while it lasts. Time is tokio's, so the figures are exact.

use std::sync::Arc;
use std::time::Duration;

use larder_client::fallback::{
    BreakerOptions, BreakerState, KeyValue, Layout, Memory, Mode, Primary, Put, Reports, ReportsError,
    ReportsOptions, Shelf, Store,
};
use larder_client::reports::{Clock, Encoding, Report, ReportKey};
use tokio::time::{Instant, sleep, timeout};

use crate::primary::MemoryPrimary;
use crate::wire::{Weather, Wire, WiredKeyValue, WiredPrimary};

/// What one call to the fallback takes, there and back.
const FALLBACK: Duration = Duration::from_millis(4);

struct Room {
    reports: Reports,
    primary: Arc<WiredPrimary<MemoryPrimary>>,
    shelf: Shelf,
    to_primary: Wire,
    to_shelf: Wire,
}

impl Room {
    fn new(mode: Mode) -> Self {
        let (to_primary, to_shelf) = (Wire::slow(FALLBACK), Wire::slow(FALLBACK / 2));
        let store: Arc<dyn KeyValue> = Arc::new(Memory::new());
        let store = WiredKeyValue { store, wire: to_shelf.clone(), torn: false };
        let primary = WiredPrimary { primary: Arc::new(MemoryPrimary::default()), wire: to_primary.clone() };
        let (primary, shelf) = (Arc::new(primary), Shelf::new(Arc::new(store), Layout::NeuVector));
        let reports = reports(mode, &primary, &shelf);
        Self { reports, primary, shelf, to_primary, to_shelf }
    }

    /// A controller that has not called anybody yet.
    fn newcomer(&self) -> Reports {
        reports(Mode::Auto, &self.primary, &self.shelf)
    }

    async fn put(&self, second: i64) -> (Result<Store, ReportsError>, Duration) {
        let begin = Instant::now();
        let answer = self.reports.put(&report("workload/1", second)).await;
        (answer.map(|it| it.store), begin.elapsed())
    }
}

fn reports(mode: Mode, primary: &Arc<WiredPrimary<MemoryPrimary>>, shelf: &Shelf) -> Reports {
    let options = ReportsOptions { mode, ..ReportsOptions::default() };
    let primary = Arc::clone(primary) as Arc<dyn Primary>;
    Reports::new(Some(primary), shelf.clone(), Arc::new(Clock::new(1)), || true, options)
}

fn report(key: &str, second: i64) -> Report {
    Report {
        key: ReportKey::new(key).expect("a key"),
        scanned_at: jiff::Timestamp::from_second(second).expect("in range"),
        scanner_version: String::new(),
        encoding: Encoding::Opaque,
        payload: format!("{second}").into(),
        asset: Default::default(),
        findings: None,
        checks: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_put_while_the_primary_is_silent_takes_a_bounded_time_and_soon_none_of_it() {
    let room = Room::new(Mode::Auto);
    assert_eq!(room.put(1).await.0.expect("is there"), Store::Primary);
    // What the fallback takes by itself: one read, one write.
    let own = 2 * FALLBACK;
    room.to_primary.set(Weather::Silent);
    let deadline = ReportsOptions::default().deadline;
    for number in 0..BreakerOptions::default().failures {
        assert_eq!(room.reports.breaker(), BreakerState::Closed);
        let (store, took) = room.put(2 + i64::from(number)).await;
        assert_eq!(store.expect("the fallback takes it"), Store::Fallback);
        // The shelf was looked at before.
        assert!(took <= deadline + FALLBACK + own, "{took:?}");
    }
    for second in 10..200 {
        let (store, took) = room.put(second).await;
        assert_eq!(store.expect("the fallback takes it"), Store::Fallback);
        assert!(took <= 2 * own, "{took:?} while the breaker is open, {own:?} without a primary");
    }
    let begin = Instant::now();
    let answered = room.reports.get(&report("workload/1", 0).key).await.expect("is there").expect("is there");
    assert!(begin.elapsed() <= 2 * own && !answered.complete && answered.store == Store::Fallback);
    let unknown = room.reports.get(&report("workload/2", 0).key).await;
    assert!(
        matches!(unknown, Err(ReportsError::Unavailable { .. })),
        "an outage is not absence: {unknown:?}"
    );

    room.to_primary.set(Weather::Fair);
    sleep(BreakerOptions::default().longest_pause * 2).await;
    assert_eq!(room.put(300).await.0.expect("is there"), Store::Primary, "traffic returns by itself");
    let answered = room.reports.get(&report("workload/1", 0).key).await.expect("is there").expect("is there");
    assert!(answered.complete && answered.store == Store::Primary);
    assert!(room.reports.get(&report("workload/2", 0).key).await.expect("all answer").is_none());
    let counters = room.reports.counters();
    assert_eq!((counters.breaker_opened, counters.stale_removed, counters.failovers), (1, 1, 193));
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_nobody_reaches_is_given_up_at_once() {
    let room = Room::new(Mode::Auto);
    room.to_primary.set(Weather::Cut);
    assert_eq!(room.put(1).await.0.expect("the fallback takes it"), Store::Fallback);
    assert_ne!(room.reports.breaker(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn each_mode_writes_where_it_says() {
    let room = Room::new(Mode::Off);
    let stores = async |mode| {
        room.reports.set_mode(mode).await;
        room.to_primary.set(Weather::Fair);
        sleep(Duration::from_secs(20)).await;
        let with = room.put(1_000 + room.reports.counters().primary as i64).await.0.ok();
        room.to_primary.set(Weather::Cut);
        (with, room.put(2_000).await.0.ok())
    };
    use Store::{Fallback, Primary};
    assert_eq!(stores(Mode::Off).await, (Some(Fallback), Some(Fallback)));
    assert_eq!(stores(Mode::Auto).await, (Some(Primary), Some(Fallback)));
    assert_eq!(stores(Mode::Required).await, (Some(Primary), None));
    assert_eq!(stores(Mode::Leaving).await, (Some(Fallback), Some(Fallback)));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_mode_waits_for_puts_that_were_begun_before() {
    let room = Room::new(Mode::Auto);
    let (reports, begin) = (room.reports.clone(), Instant::now());
    let put = tokio::spawn(async move { reports.put(&report("workload/1", 1)).await });
    tokio::task::yield_now().await;
    room.reports.set_mode(Mode::Leaving).await;
    assert!(begin.elapsed() >= FALLBACK, "the put had not ended");
    let answer = put.await.expect("ends").expect("is there");
    assert!(answer.store == Store::Primary && matches!(answer.put, Put::Stored(_)));
}

#[tokio::test(start_paused = true)]
async fn a_put_does_not_wait_for_a_fallback_that_is_silent() {
    let room = Room::new(Mode::Auto);
    room.to_shelf.set(Weather::Silent);
    let (store, took) = room.put(1).await;
    assert_eq!(store.expect("is there"), Store::Primary);
    // The first put asks the primary twice.
    assert!(took <= ReportsOptions::default().tidying + 4 * FALLBACK, "{took:?}");
    let (store, took) = room.put(2).await;
    assert_eq!(store.expect("is there"), Store::Primary);
    assert!(took <= ReportsOptions::default().tidying + 2 * FALLBACK, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_no_store_may_take_is_the_callers_error() {
    let room = Room::new(Mode::Auto);
    let ahead = jiff::Timestamp::now().as_second() + 3700;
    assert!(matches!(room.put(ahead).await.0, Err(ReportsError::ClockAhead { .. })));
    let large = Report { payload: vec![0; (64 << 20) + 1].into(), ..report("workload/1", 1) };
    assert!(matches!(room.reports.put(&large).await, Err(ReportsError::TooLarge { .. })));
    let many = [report("workload/1", 1), large, report("workload/2", ahead), report("workload/3", 1)];
    let answers: Vec<_> = room.reports.put_many(&many).await.into_iter().map(|it| it.is_ok()).collect();
    assert_eq!(answers, [true, false, false, true]);
    assert_eq!(room.reports.counters().primary_failures, 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_primary_has_does_not_wait_for_a_fallback_that_is_silent() {
    let room = Room::new(Mode::Auto);
    assert_eq!(room.put(1).await.0.expect("is there"), Store::Primary);
    let (known, unknown) = (report("workload/1", 0).key, report("workload/2", 0).key);
    room.to_shelf.set(Weather::Silent);
    let (options, mut begin) = (ReportsOptions::default(), Instant::now());
    let answered = room.reports.get(&known).await.expect("is there").expect("is there");
    assert!(answered.store == Store::Primary && !answered.complete, "a newer one may be in the fallback");
    assert!(begin.elapsed() <= options.hurry + 2 * FALLBACK, "{:?}", begin.elapsed());

    begin = Instant::now();
    let absent = room.reports.get(&unknown).await;
    assert!(matches!(absent, Err(ReportsError::Unavailable { .. })), "an outage is not absence: {absent:?}");
    assert!(begin.elapsed() <= options.patience + 2 * FALLBACK, "{:?}", begin.elapsed());

    for _ in 0..BreakerOptions::default().failures {
        drop(room.reports.get(&unknown).await);
    }
    for key in [&known, &unknown] {
        begin = Instant::now();
        let answer = room.reports.get(key).await;
        assert!(matches!(&answer, Ok(Some(it)) if !it.complete) || answer.is_err(), "{answer:?}");
        assert!(begin.elapsed() <= 2 * FALLBACK, "it is known to be silent: {:?}", begin.elapsed());
    }
    begin = Instant::now();
    let deleted = room.reports.delete(&known).await.expect("the primary takes part");
    assert!(deleted.existed && !deleted.complete);
    assert!(begin.elapsed() <= 4 * FALLBACK, "{:?}", begin.elapsed());

    room.to_shelf.set(Weather::Fair);
    sleep(Duration::from_secs(4)).await;
    assert!(room.reports.get(&unknown).await.expect("all answer").is_none());
}

#[tokio::test(start_paused = true)]
async fn what_only_a_slow_fallback_has_is_waited_for() {
    let room = Room::new(Mode::Off);
    assert_eq!(room.put(1).await.0.expect("is there"), Store::Fallback);
    let slow = ReportsOptions::default().hurry;
    room.to_shelf.take(slow);
    let answered = room.reports.get(&report("workload/1", 0).key).await.expect("is there").expect("is there");
    assert!(answered.store == Store::Fallback && answered.complete);
}

#[tokio::test(start_paused = true)]
async fn a_page_of_the_primary_does_not_wait_for_a_fallback_that_is_silent() {
    let room = Room::new(Mode::Auto);
    assert_eq!(room.put(1).await.0.expect("is there"), Store::Primary);
    room.to_shelf.set(Weather::Silent);
    let options = ReportsOptions::default();
    let list = || timeout(Duration::from_mins(1), room.reports.list("workload/", None, 10));
    for _ in 0..BreakerOptions::default().failures {
        let begin = Instant::now();
        let page = list().await.expect("the fallback is not waited for").expect("the primary answers");
        assert!(page.items.len() == 1 && !page.complete, "others may be in the fallback: {page:?}");
        assert!(begin.elapsed() <= options.patience + 2 * FALLBACK, "{:?}", begin.elapsed());
    }
    let begin = Instant::now();
    let page = list().await.expect("ends").expect("the primary answers");
    assert!(page.items.len() == 1 && !page.complete && begin.elapsed() <= 2 * FALLBACK);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_only_a_slow_fallback_has_is_waited_for() {
    let room = Room::new(Mode::Off);
    assert_eq!(room.put(1).await.0.expect("is there"), Store::Fallback);
    room.to_primary.set(Weather::Cut);
    // A page is several calls.
    room.to_shelf.take(ReportsOptions::default().patience / 3);
    let page = room.reports.list("workload/", None, 10).await.expect("the fallback answers");
    assert!(page.items.len() == 1 && !page.complete, "{page:?}");
}

#[tokio::test]
async fn a_page_without_a_limit_has_as_many_lines_as_a_page_may_have() {
    let room = Room::new(Mode::Auto);
    let all: Vec<_> = (0..3).map(|it| report(&format!("workload/{it}"), 1)).collect();
    assert!(room.reports.put_many(&all).await.iter().all(Result::is_ok));
    let page = room.reports.list("", None, 0).await.expect("both answer");
    assert_eq!((page.items.len(), page.next), (3, None));
}

#[tokio::test(start_paused = true)]
async fn whoever_begins_while_the_fallback_is_away_is_told_what_the_primary_has() {
    for weather in [Weather::Cut, Weather::Silent] {
        let room = Room::new(Mode::Auto);
        assert_eq!(room.put(1).await.0.expect("is there"), Store::Primary);
        room.to_shelf.set(weather);
        let newcomer = room.newcomer();
        let page = newcomer.list("", None, 10).await.expect("the primary answers");
        assert!(page.items.len() == 1 && !page.complete, "{page:?}");
        let newcomer = room.newcomer();
        let answered = newcomer.get(&report("workload/1", 0).key).await.expect("the primary answers");
        assert!(answered.is_some_and(|it| !it.complete));
    }
}
