//! The laws of fallback, as properties of random schedules.
//!
//! `LARDER_LAWS_SCHEDULES` says how many there are (500), `LARDER_LAWS_SEED` repeats the one that a failure has printed.

mod history;
mod log;
mod mover;
mod outage;
mod primaries;
mod primary;
mod random;
mod schedule;
mod wire;

use std::panic::AssertUnwindSafe;

/// The seed of the first schedule; each has the next.
const SEED: u64 = 0x1a2d_e700;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|it| it.parse().unwrap_or_else(|_| panic!("{name} is no number: {it:?}")))
}

fn run(seed: u64) -> schedule::Judged {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime starts");
    let schedule = AssertUnwindSafe(|| runtime.block_on(schedule::run(seed)));
    std::panic::catch_unwind(schedule).unwrap_or_else(|_| {
        panic!("a law does not hold; LARDER_LAWS_SEED={seed} repeats the schedule\n{}", log::text())
    })
}

#[test]
fn the_laws_hold_whatever_happens() {
    if let Some(seed) = variable("LARDER_LAWS_SEED") {
        log::begin();
        run(seed);
        return;
    }
    let schedules = variable("LARDER_LAWS_SCHEDULES").unwrap_or(500);
    let (mut reads, mut complete, mut absences) = (0, 0, 0);
    for seed in SEED..SEED + schedules {
        let judged = run(seed);
        reads += judged.reads;
        complete += judged.complete;
        absences += judged.absences;
    }
    // The laws would hold of answers that say nothing: most are complete, and some say that there is nothing.
    assert!(complete * 2 > reads, "{complete} of {reads} answers are complete");
    assert!(absences > 0, "nothing was ever told to be absent");
}
