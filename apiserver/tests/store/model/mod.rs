//! Random histories against a model.
//!
//! In each round several writers write through two stores on one database, watchers with selections follow, and lists are read page by page, all at once.
//! Between rounds the stores are opened anew, the database is opened anew, its process dies, or it is replaced by an old copy. Every watcher has to be
//! told exactly what the model says, in order; every list has to show what the model had at its revision; no revision is given twice.
//!
//! `LARDER_MODEL_HISTORIES` says how many there are (3; 150 if `LARDER_FAULTS` is `long`), `LARDER_MODEL_SEED` repeats the choices of the one that a
//! failure has printed; how its tasks follow each other is the scheduler's.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod oracle;
mod random;
mod watcher;
mod world;

use std::panic::AssertUnwindSafe;

use random::Random;
use world::World;

/// The seed of the first history; each has the next.
const SEED: u64 = 0x0b5e_55ed;
const ROUNDS: usize = 12;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|it| it.parse().unwrap_or_else(|_| panic!("{name} is no number: {it:?}")))
}

fn run(seed: u64) -> world::Happened {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let history = AssertUnwindSafe(|| {
        runtime.block_on(async {
            let mut world = World::new(Random::new(seed)).await;
            for _ in 0..ROUNDS {
                world.round().await;
                world.interlude().await;
            }
            world.happened
        })
    });
    std::panic::catch_unwind(history)
        .unwrap_or_else(|_| panic!("the model does not hold; LARDER_MODEL_SEED={seed} repeats the choices"))
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order() {
    if let Some(seed) = variable("LARDER_MODEL_SEED") {
        run(seed);
        return;
    }
    let is_long = std::env::var_os("LARDER_FAULTS").is_some_and(|it| it == "long");
    let histories = variable("LARDER_MODEL_HISTORIES").unwrap_or(if is_long { 150 } else { 3 });
    let mut happened = world::Happened::default();
    for seed in SEED..SEED + histories {
        happened.add(run(seed));
    }
    // All of it would hold of a world in which nothing happens.
    assert!(happened.everything() || histories < 3, "{happened:?}");
}
