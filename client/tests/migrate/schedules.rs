//! Random schedules: several movers at once, in both directions, none of which is stopped by the others' lead; controllers that put and
//! delete meanwhile; faults at random steps. The world checks each step; here it is checked where it ends. What controllers are told over bad wires
//! while the same movers run is judged by `tests/laws`.
//!
//! `LARDER_SCHEDULES` says how many (500; 10,000 if `LARDER_FAULTS` is `long`), `LARDER_SEED` runs one again.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use larder_client::migrate::leadership::Always;

use crate::world::*;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn any<'a>(world: &World, of: &[&'a str]) -> &'a str {
    of[usize::try_from(world.dice.roll(of.len() as u64)).unwrap()]
}

/// A controller: it scans, scans again, sometimes tells of an earlier scan, and deletes. It reaches both stores or one.
async fn controller(world: Arc<World>, operations: u64) {
    for _ in 0..operations {
        world.dice.give_way(30).await;
        let name = any(&world, &NAMES);
        let scanned_at = 100 + i64::try_from(world.dice.roll(4)).unwrap();
        let side = if world.dice.roll(3) == 0 { PRIMARY } else { SHELF };
        let choice = world.dice.roll(5);
        world.control(|state| match choice {
            0 => state.delete(&[side], name),
            1 => state.delete(&[SHELF, PRIMARY], name),
            _ => state.put(side, name, scanned_at),
        });
    }
}

/// A mover that leads in its own eyes, whatever the others think, and dies or fails at a random step.
async fn leader(world: Arc<World>, from: usize, to: usize) {
    for _ in 0..2 + world.dice.roll(2) {
        world.dice.give_way(20).await;
        let faults = Fault::ALL.len() as u64;
        let fault = Fault::ALL[usize::try_from(world.dice.roll(faults)).unwrap()];
        let steps = Steps::failing(world.dice.roll(100), fault);
        let (from, to) = (Side::new(&world, from, &steps), Side::new(&world, to, &steps));
        let mover = mover(&from, &to, Arc::new(Always::default()));
        tokio::select! {
            biased;
            () = steps.killed.notified() => {}
            // However it ended, another one follows.
            _ = mover.pass() => {}
        }
    }
}

/// Two movers home, one away in every other schedule, two controllers. Then it is quiet, and one mover ends it.
fn run(seed: u64) {
    let world = World::new(seed, State::default());
    for name in NAMES {
        world.state().put(SHELF, name, 100);
    }
    alone(async {
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(leader(Arc::clone(&world), SHELF, PRIMARY));
        tasks.spawn(leader(Arc::clone(&world), SHELF, PRIMARY));
        if seed.is_multiple_of(2) {
            tasks.spawn(leader(Arc::clone(&world), PRIMARY, SHELF));
        }
        tasks.spawn(controller(Arc::clone(&world), 8));
        tasks.spawn(controller(Arc::clone(&world), 8));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        // What is late comes before the last word, or never.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let view = world.state().view();
        let steps = Arc::default();
        let (shelf, primary) = (Side::new(&world, SHELF, &steps), Side::new(&world, PRIMARY, &steps));
        let outcome = mover(&shelf, &primary, Arc::new(Always::default())).pass().await.unwrap();
        assert!(outcome.is_clean(), "{outcome:?}");
        let state = world.state();
        assert_eq!(state.view(), view);
        assert!(state.stores[SHELF].copies.is_empty() && state.stores[SHELF].stones.is_empty());
        let home: Vec<_> = state.stores[PRIMARY].copies.keys().collect();
        assert_eq!(home, view.keys().collect::<Vec<_>>());
    });
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|it| it.parse().unwrap())
}

#[test]
fn no_schedule_loses_a_report_or_brings_one_back() {
    let is_long = env::var_os("LARDER_FAULTS").is_some_and(|it| it == "long");
    let first = number("LARDER_SEED");
    let count = if first.is_some() {
        1
    } else {
        number("LARDER_SCHEDULES").unwrap_or(if is_long { 10_000 } else { 500 })
    };
    let first = first.unwrap_or_else(|| u64::from(std::process::id()) << 20);
    for seed in first..first + count {
        if catch_unwind(AssertUnwindSafe(|| run(seed))).is_err() {
            panic!("the schedule of LARDER_SEED={seed} fails");
        }
    }
}
