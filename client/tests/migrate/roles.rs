//! Who may move, and when: the lead, the gate, and live traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use larder_client::migrate::leadership::Always;
use larder_client::migrate::*;
use tokio::sync::watch;

use crate::world::*;

/// A lead that is lost at the n-th confirmation.
struct Deposed {
    left: AtomicU64,
    leader: watch::Sender<Leader>,
}

#[async_trait]
impl Leadership for Deposed {
    fn leader(&self) -> watch::Receiver<Leader> {
        self.leader.subscribe()
    }

    async fn confirm(&self) -> Result<(), NotLeading> {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| it.checked_sub(1));
        left.map(drop).map_err(|_| NotLeading::Deposed(Some("another".to_owned())))
    }

    async fn resign(&self) {}
}

fn shelf_of(count: usize) -> Arc<World> {
    let mut state = State::default();
    for number in 0..count {
        state.place(SHELF, parcel(&format!("{number:04}"), 100, 10, 90), None);
    }
    World::new(1, state)
}

fn both(world: &Arc<World>) -> (Arc<Side>, Arc<Side>) {
    let steps = Arc::default();
    (Side::new(world, SHELF, &steps), Side::new(world, PRIMARY, &steps))
}

#[test]
fn who_was_deposed_removes_nothing_more() {
    let world = shelf_of(12);
    let (shelf, primary) = both(&world);
    let leadership = Deposed { left: AtomicU64::new(1), leader: watch::Sender::new(Leader::Me) };
    let halt = alone(mover(&shelf, &primary, Arc::new(leadership)).pass()).unwrap_err();
    assert_eq!(halt, Halt::NotLeading(NotLeading::Deposed(Some("another".to_owned()))));
    let left = world.state().stores[SHELF].copies.len();
    assert!((9..12).contains(&left), "{left} are left: one batch of three was confirmed");
}

#[test]
fn a_gate_that_closes_stops_the_pass() {
    let world = shelf_of(30);
    let (shelf, primary) = both(&world);
    let (gate, state) = watch::channel(GateState::Open);
    let mover = Mover::new(shelf, primary, Arc::new(Always::default()), state).at(Pace {
        batches: 1,
        batch_reports: 3,
        ..Pace::default()
    });
    let mut progress = mover.progress();
    alone(async {
        let closing = async {
            progress.wait_for(|it| it.moved >= 3).await.unwrap();
            gate.send_replace(GateState::Closed(vec![Obstacle::Nobody]));
        };
        let (halt, ()) = tokio::join!(mover.pass(), closing);
        assert_eq!(halt.unwrap_err().to_string(), "the gate is closed: no member is alive");
    });
    assert!(world.state().stores[SHELF].copies.len() >= 24);
}

#[test]
fn a_migrator_waits_for_the_lead_and_the_gate_and_goes_on_after_a_failure() {
    let world = shelf_of(3);
    let shelf = Side::new(&world, SHELF, &Steps::failing(4, Fault::Before));
    let primary = Side::new(&world, PRIMARY, &Arc::default());
    let (gate, state) = watch::channel(GateState::Closed(vec![Obstacle::Unasked]));
    let leader = watch::Sender::new(Leader::Other("b".to_owned()));
    let leadership = Deposed { left: AtomicU64::new(u64::MAX), leader: leader.clone() };
    let migrator = Migrator::new(Mover::new(shelf, primary, Arc::new(leadership), state));
    let mut progress = migrator.progress();
    alone(async {
        let script = async {
            let waiting = |text: &str| Phase::Waiting(text.to_owned());
            progress.wait_for(|it| it.phase == waiting("b leads")).await.unwrap();
            leader.send_replace(Leader::Me);
            progress
                .wait_for(|it| it.phase == waiting("closed: the members are not known yet"))
                .await
                .unwrap();
            gate.send_replace(GateState::Open);
            let error = progress.wait_for(|it| it.error.is_some()).await.unwrap().error.clone();
            assert_eq!(error.as_deref(), Some("the shelf: a fault"));
            progress.wait_for(|it| it.clean.is_some()).await.unwrap();
            // The next pass comes by itself.
            world.state().put(SHELF, "later", 100);
            progress.wait_for(|it| it.moved == 1 && it.clean.is_some()).await.unwrap();
        };
        migrator.run(Duration::from_secs(60), script).await;
    });
    assert!(world.state().stores[SHELF].copies.is_empty());
    assert_eq!(world.state().stores[PRIMARY].copies.len(), 4);
}

#[test]
fn live_calls_come_first_but_do_not_stop_it() {
    let world = shelf_of(6);
    let (shelf, primary) = both(&world);
    let traffic = Traffic::default();
    let pace = Pace { batches: 1, batch_reports: 3, ..Pace::default() };
    let mover = mover(&shelf, &primary, Arc::new(Always::default())).at(pace).yielding_to(traffic.clone());
    let _call = traffic.enter();
    let outcome = alone(async {
        let begun = tokio::time::Instant::now();
        let outcome = mover.pass().await.unwrap();
        assert_eq!(begun.elapsed().as_millis(), 2 * pace.patience.as_millis());
        outcome
    });
    assert_eq!(outcome.gone, 6);
}
