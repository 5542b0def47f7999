//! How fast objects are moved: so many a second, evenly, with a short burst after a pause.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use tokio::time::{Duration, Instant, sleep_until};

/// What may be caught up with at once after a pause.
const BURST: Duration = Duration::from_millis(100);

/// A token bucket.
pub(super) struct Pace {
    each: Duration,
    /// When the next may go.
    next: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(a_second: NonZeroU32) -> Self {
        Self { each: Duration::from_secs(1) / a_second.get(), next: Mutex::new(Instant::now()) }
    }

    /// Waits for the turn of one object.
    pub(super) async fn turn(&self) {
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*next).max(Instant::now().checked_sub(BURST).unwrap_or(*next));
            *next = turn + self.each;
            turn
        };
        sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_a_second_and_no_more_after_a_pause() {
        let pace = Pace::new(NonZeroU32::new(50).expect("positive"));
        tokio::time::advance(Duration::from_secs(60)).await;
        let before = Instant::now();
        for _ in 0..100 {
            pace.turn().await;
        }
        let took = before.elapsed();
        assert!(took >= Duration::from_millis(1850) && took <= Duration::from_secs(2), "{took:?}");
    }
}
