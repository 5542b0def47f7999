//! When passes are made: while we lead and the gate is open, at an interval, and again soon after one that was stopped.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::depot::Depot;
use super::gate::GateState;
use super::leadership::Leader;
use super::mover::{Halt, Mover, Outcome};
use super::progress::{Phase, Progress};

/// The first pause after a pass that was stopped; it doubles up to the interval.
const PAUSE: Duration = Duration::from_secs(1);

/// Passes that are made to settle what others change meanwhile, at most.
const ROUNDS: usize = 8;

/// Makes passes.
pub struct Migrator<F: Depot, T: Depot> {
    mover: Mover<F, T>,
}

/// How long to wait for the next pass.
pub(super) struct Pauses {
    interval: Duration,
    next: Duration,
}

impl Pauses {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, next: PAUSE.min(interval) }
    }

    pub(super) fn after(&mut self, went_to_its_end: bool) -> Duration {
        let pause = if went_to_its_end { self.interval } else { self.next };
        self.next = if went_to_its_end { PAUSE } else { self.next * 2 }.min(self.interval);
        pause
    }
}

impl<F: Depot, T: Depot> Migrator<F, T> {
    /// A migrator that works with `mover`.
    pub fn new(mover: Mover<F, T>) -> Self {
        Self { mover }
    }

    /// How far it is, and every change of it.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.mover.progress()
    }

    pub(super) fn from(&self) -> &F {
        self.mover.from()
    }

    /// Makes passes until one went to its end without others coming in between, a few at most, and says what the last one left.
    ///
    /// # Errors
    /// A pass was stopped, see [`Halt`].
    pub async fn run_once(&self) -> Result<Outcome, Halt> {
        let mut outcome = self.mover.pass().await?;
        for _ in 1..ROUNDS {
            if outcome.changed == 0 {
                break;
            }
            outcome = self.mover.pass().await?;
        }
        Ok(outcome)
    }

    /// Makes passes at an interval until `stop` is done. A pass that is under way then is dropped, which is safe.
    pub async fn run(&self, interval: Duration, stop: impl Future<Output = ()>) {
        let mut pauses = Pauses::new(interval);
        let passes = async {
            loop {
                let ended = self.round().await;
                sleep(pauses.after(ended.is_ok())).await;
            }
        };
        tokio::select! {
            biased;
            () = stop => self.mover.publish(|it| it.phase = Phase::Idle),
            () = passes => {}
        }
    }

    /// Waits until a pass may be made, and makes it.
    pub(super) async fn round(&self) -> Result<Outcome, Halt> {
        self.wait_until_permitted().await;
        self.mover.pass().await
    }

    /// Waits until we lead and the gate is open, both at a time.
    async fn wait_until_permitted(&self) {
        let (mut leader, mut gate) = (self.mover.leadership().leader(), self.mover.gate());
        loop {
            let leads = leader.borrow_and_update().clone();
            let state = gate.borrow_and_update().clone();
            let waits_for = match (leads, state) {
                (Leader::Me, GateState::Open) => return,
                (Leader::Me, closed) => closed.to_string(),
                (Leader::Other(who), _) => format!("{who} leads"),
                (Leader::Unknown, _) => "nobody leads".to_owned(),
            };
            self.mover.publish(|it| it.phase = Phase::Waiting(waits_for));
            let changed = async {
                tokio::select! {
                    biased;
                    Ok(()) = leader.changed() => {}
                    Ok(()) = gate.changed() => {}
                    // Neither of them changes any more.
                    else => std::future::pending().await,
                }
            };
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_while_passes_are_stopped_and_are_the_interval_after_one_was_not() {
        let second = Duration::from_secs(1);
        let mut pauses = Pauses::new(5 * second);
        let paused: Vec<_> = [false, false, false, false, true, false]
            .into_iter()
            .map(|ok| pauses.after(ok).as_secs())
            .collect();
        assert_eq!(paused, [1, 2, 4, 5, 5, 1]);
        assert_eq!(Pauses::new(second / 2).after(false), second / 2);
    }
}
