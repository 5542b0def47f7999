//! What one pass does with every kind of report, and what it tells of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use larder_client::migrate::leadership::Always;
use larder_client::migrate::*;

use crate::world::*;

/// One of each: what a shelf can hold next to what a primary can hold.
pub(crate) fn one_of_each() -> State {
    let mut state = State::default();
    for name in ["plain-a", "plain-b", "plain-c", "plain-d"] {
        state.place(SHELF, parcel(name, 100, 10, 90), None);
    }
    state.place(SHELF, parcel("large", 100, 10, 800), None);
    for side in [SHELF, PRIMARY] {
        state.place(side, parcel("there-already", 100, 10, 90), None);
    }
    state.place(SHELF, parcel("older", 100, 10, 90), None);
    state.place(PRIMARY, parcel("older", 200, 5, 90), None);
    state.place(SHELF, parcel("newer", 200, 20, 90), None);
    state.place(PRIMARY, parcel("newer", 100, 10, 90), None);
    let old = Timestamp::now() - SignedDuration::from_hours(1);
    let mut bury = |side, name: &str, sequence| {
        state.bury(side, &Tombstone { key: key(name), sequence }, old);
    };
    bury(PRIMARY, "deleted-there", 30);
    bury(SHELF, "deleted-here", 30);
    bury(SHELF, "scanned-earlier-after-a-delete", 30);
    bury(SHELF, "only-a-tombstone", 30);
    state.place(SHELF, parcel("deleted-there", 100, 10, 90), None);
    state.place(SHELF, parcel("deleted-here", 100, 10, 90), None);
    state.place(PRIMARY, parcel("deleted-here", 100, 9, 90), None);
    // The primary did not hear of the delete: what it has was scanned later, and is dead.
    state.place(SHELF, parcel("scanned-earlier-after-a-delete", 100, 40, 90), None);
    state.place(PRIMARY, parcel("scanned-earlier-after-a-delete", 200, 10, 90), None);
    let soon = Timestamp::now().as_second() + 7200;
    state.place(SHELF, parcel("future", soon, 10, 90), None);
    state.place(SHELF, parcel("oversize", 100, 10, 1001), None);
    state.place(SHELF, parcel("refused", 100, 10, 950), None);
    state.place(SHELF, parcel("undecodable", 100, 10, 90), Some(Skip::Undecodable));
    state.place(SHELF, parcel("incomplete", 100, 10, 90), Some(Skip::Incomplete));
    let mut other = parcel("different", 100, 10, 90);
    other.report.scanner_version = "another".to_owned();
    state.place(SHELF, other, None);
    state.place(PRIMARY, parcel("different", 100, 10, 90), None);
    state
}

/// Names of what stays on the shelf.
pub(crate) const STAYS: [&str; 6] =
    ["different", "future", "incomplete", "oversize", "refused", "undecodable"];

/// Where all of it ends, however it came there.
#[track_caller]
pub(crate) fn assert_moved(state: &State) {
    let left: Vec<_> = state.stores[SHELF].copies.keys().cloned().collect();
    assert_eq!(left, STAYS.map(key));
    assert_eq!(state.stores[SHELF].stones.len(), 0);
    let versions: BTreeMap<_, _> = state.stores[PRIMARY]
        .copies
        .iter()
        .map(|(key, it)| (key.id().to_owned(), it.parcel.version()))
        .collect();
    let expected = [
        ("different", version(100, 10)),
        ("large", version(100, 10)),
        ("newer", version(200, 20)),
        ("older", version(200, 5)),
        ("plain-a", version(100, 10)),
        ("plain-b", version(100, 10)),
        ("plain-c", version(100, 10)),
        ("plain-d", version(100, 10)),
        ("scanned-earlier-after-a-delete", version(100, 40)),
        ("there-already", version(100, 10)),
    ];
    assert_eq!(versions, expected.map(|(name, version)| (name.to_owned(), version)).into());
    let stones: Vec<_> = state.stores[PRIMARY].stones.keys().map(|it| it.id()).collect();
    assert_eq!(
        stones,
        ["deleted-here", "deleted-there", "only-a-tombstone", "scanned-earlier-after-a-delete"]
    );
}

#[test]
fn every_kind_of_report_is_moved_or_named() {
    let world = World::new(1, one_of_each());
    let steps = Arc::default();
    let (shelf, primary) = (Side::new(&world, SHELF, &steps), Side::new(&world, PRIMARY, &steps));
    let mover = mover(&shelf, &primary, Arc::new(Always::default()));
    let progress = mover.progress();
    let outcome = alone(mover.pass()).unwrap();
    assert_moved(&world.state());
    assert_eq!(outcome, Outcome { gone: 11, skipped: 6, changed: 0 });

    let progress = progress.borrow();
    let counts = (progress.total, progress.moved, progress.already_there, progress.older, progress.deleted);
    assert_eq!(counts, (17, 7, 1, 1, 2));
    assert_eq!((progress.remaining(), progress.tombstones, progress.listed), (0, 3, true));
    assert!(progress.clean.is_none() && progress.error.is_none() && progress.took.is_some());
    let mut named: Vec<_> = progress.named.iter().map(|it| (it.key.as_str(), it.skip)).collect();
    named.sort_unstable();
    let expected = [
        ("workload/different", Skip::Different),
        ("workload/future", Skip::Future),
        ("workload/incomplete", Skip::Incomplete),
        ("workload/oversize", Skip::Oversize),
        ("workload/refused", Skip::Refused),
        ("workload/undecodable", Skip::Undecodable),
    ];
    assert_eq!(named, expected);
}

#[test]
fn tombstones_are_forgotten_when_their_time_is_over_but_not_above_what_stays() {
    let mut state = State::default();
    let long_ago = Timestamp::now() - SignedDuration::from_hours(25);
    state.place(SHELF, parcel("stays", 100, 10, 90), Some(Skip::Incomplete));
    for name in ["old", "stays"] {
        state.bury(PRIMARY, &Tombstone { key: key(name), sequence: 30 }, long_ago);
    }
    state.bury(PRIMARY, &Tombstone { key: key("young"), sequence: 30 }, Timestamp::now());
    let world = World::new(1, state);
    let steps = Arc::default();
    let (shelf, primary) = (Side::new(&world, SHELF, &steps), Side::new(&world, PRIMARY, &steps));
    alone(mover(&shelf, &primary, Arc::new(Always::default())).pass()).unwrap();
    let left: Vec<_> = world.state().stores[PRIMARY].stones.keys().cloned().collect();
    assert_eq!(left, ["stays", "young"].map(key));
}

#[test]
fn what_was_moved_home_can_be_taken_away_again() {
    let world = World::new(1, one_of_each());
    for name in STAYS {
        world.state().stores[SHELF].copies.remove(&key(name));
    }
    world.state().stores[PRIMARY].copies.remove(&key("different"));
    let before = world.state().view();
    let steps = Arc::default();
    let (shelf, primary) = (Side::new(&world, SHELF, &steps), Side::new(&world, PRIMARY, &steps));
    let (open, closed) =
        (GateState::always_open(), tokio::sync::watch::channel(GateState::Closed(Vec::new())).1);
    alone(async {
        mover(&shelf, &primary, Arc::new(Always::default())).pass().await.unwrap();
        let back = || Migrator::new(mover(&primary, &shelf, Arc::new(Always::default())));
        let (outcome, departure) = Evacuation::new(back(), closed.clone()).run_once().await.unwrap();
        assert!(outcome.is_clean() && outcome.gone == 9);
        assert_eq!(departure, Departure::Used(closed.borrow().clone()));
        let (_, departure) = Evacuation::new(back(), open).run_once().await.unwrap();
        assert_eq!(departure, Departure::MayBeRemoved);
    });
    let state = world.state();
    assert_eq!(state.view(), before);
    assert!(state.stores[PRIMARY].copies.is_empty() && state.stores[PRIMARY].stones.is_empty());
}

#[test]
fn a_primary_that_still_holds_something_is_not_to_be_removed() {
    let mut state = State::default();
    state.place(PRIMARY, parcel("stays", 100, 10, 90), Some(Skip::Undecodable));
    let world = World::new(1, state);
    let steps = Arc::default();
    let (shelf, primary) = (Side::new(&world, SHELF, &steps), Side::new(&world, PRIMARY, &steps));
    let back = Migrator::new(mover(&primary, &shelf, Arc::new(Always::default())));
    let (outcome, departure) = alone(Evacuation::new(back, GateState::always_open()).run_once()).unwrap();
    assert_eq!((outcome.skipped, departure), (1, Departure::Holds));
}
