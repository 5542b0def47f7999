//! How many live calls are under way: what the mover steps aside for.

use std::time::Duration;

use tokio::sync::watch;

/// A gauge of live calls, shared by those who serve them and those who wait until it is quiet.
#[derive(Clone, Debug)]
pub struct Traffic(watch::Sender<usize>);

/// A live call, until it is dropped.
#[derive(Debug)]
pub struct Call(watch::Sender<usize>);

impl Default for Traffic {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Traffic {
    /// Counts a call.
    #[must_use]
    pub fn enter(&self) -> Call {
        self.0.send_modify(|calls| *calls += 1);
        Call(self.0.clone())
    }

    /// Calls under way.
    #[must_use]
    pub fn calls(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until there are none, but no longer than `limit`: traffic that never ends must not hold up a move for ever.
    pub async fn quiet(&self, limit: Duration) {
        let mut calls = self.0.subscribe();
        drop(tokio::time::timeout(limit, calls.wait_for(|calls| *calls == 0)).await);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.send_modify(|calls| *calls -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_last_call_but_not_for_ever() {
        let (traffic, limit) = (Traffic::default(), Duration::from_secs(1));
        traffic.quiet(Duration::MAX).await;
        let (one, two) = (traffic.enter(), traffic.enter());
        assert_eq!(traffic.calls(), 2);
        let before = tokio::time::Instant::now();
        traffic.quiet(limit).await;
        assert_eq!(before.elapsed(), limit);
        drop(one);
        let waiting = tokio::spawn({
            let traffic = traffic.clone();
            async move { traffic.quiet(Duration::from_hours(1)).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(two);
        waiting.await.expect("quiet");
        assert_eq!(before.elapsed(), limit);
    }
}
