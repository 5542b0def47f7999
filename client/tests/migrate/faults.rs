//! A mover that is interrupted at any of its steps, in any way: the next one ends where it would have ended.

use std::sync::Arc;

use larder_client::migrate::leadership::Always;

use crate::rules::{assert_moved, one_of_each};
use crate::world::*;

/// One pass; `false` if the mover was killed in it.
async fn pass(world: &Arc<World>, steps: &Arc<Steps>) -> bool {
    let (shelf, primary) = (Side::new(world, SHELF, steps), Side::new(world, PRIMARY, steps));
    let mover = mover(&shelf, &primary, Arc::new(Always::default()));
    tokio::select! {
        biased;
        () = steps.killed.notified() => false,
        // A pass that fails is begun again by the caller; what counts is where that ends.
        _ = mover.pass() => true,
    }
}

#[test]
fn whatever_fails_at_whichever_step_the_end_is_the_same() {
    let seed = 7;
    let undisturbed = World::new(seed, one_of_each());
    let steps = Arc::default();
    alone(pass(&undisturbed, &steps));
    let count = steps.taken();
    assert!(count > 100, "{count} steps");
    for at in 0..count {
        for fault in Fault::ALL {
            let world = World::new(seed, one_of_each());
            let failing = Steps::failing(at, fault);
            alone(async {
                let lived = pass(&world, &failing).await;
                assert_eq!(lived, !matches!(fault, Fault::KilledBefore | Fault::KilledAfter));
                // Late effects fall into this pass, or after it.
                pass(&world, &Arc::default()).await;
                world.dice.give_way(200).await;
                pass(&world, &Arc::default()).await;
            });
            assert!(failing.taken() > at, "step {at} was not reached");
            assert_moved(&world.state());
        }
    }
}

#[test]
fn running_twice_changes_nothing() {
    let world = World::new(3, one_of_each());
    alone(pass(&world, &Arc::default()));
    let before = world.state().stores.clone().map(|it| (it.copies, it.stones));
    alone(pass(&world, &Arc::default()));
    let copies = world.state().stores.clone().map(|it| it.copies);
    assert_eq!(copies[PRIMARY].keys().collect::<Vec<_>>(), before[PRIMARY].0.keys().collect::<Vec<_>>());
    assert_moved(&world.state());
}
