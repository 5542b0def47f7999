//! How often something is sent again. Whether it may be, is for the caller to know.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use super::Error;

/// How often, and for how long, something is sent again.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// How often it is sent at most, the first time included.
    pub attempts: u32,
    /// After this time it is not sent again.
    pub patience: Duration,
    /// The pause before the second attempt, which doubles with each; by half as much longer or shorter, so that those who failed
    /// together do not come back together.
    pub pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 4, patience: Duration::from_secs(2), pause: Duration::from_millis(25) }
    }
}

impl Retry {
    /// Makes a call until it succeeds, fails for good, or was made often enough.
    pub(super) async fn run<T, F>(self, mut call: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let started = Instant::now();
        let mut attempt = 1;
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let pause = self.pause(attempt);
            let spent = started.elapsed() + pause;
            if !error.may_pass() || attempt >= self.attempts || spent > self.patience {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    fn pause(self, attempt: u32) -> Duration {
        let doubled = self.pause.saturating_mul(1 << (attempt - 1).min(16));
        doubled / 2 + doubled.mul_f64(fraction())
    }
}

/// A number from 0 to 1 that differs from time to time and from process to process: hashers are seeded by the system, each otherwise.
fn fraction() -> f64 {
    let number = RandomState::new().hash_one(0);
    f64::from((number >> 32) as u32) / f64::from(u32::MAX)
}

/// A name that nobody else gives to anything.
pub(super) fn fresh_key() -> String {
    let seed = RandomState::new();
    format!("{:016x}{:016x}", seed.hash_one(1), seed.hash_one(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Error {
        Error::Broken("it broke off".to_owned())
    }

    #[tokio::test]
    async fn it_ends_after_so_many_attempts_and_at_success() {
        let retry = Retry { pause: Duration::from_micros(10), ..Retry::default() };
        let mut calls = 0;
        let answer: Result<(), _> = retry
            .run(|| {
                calls += 1;
                async { Err(lost()) }
            })
            .await;
        assert!(answer.is_err());
        assert_eq!(calls, 4);
        let mut calls = 0;
        let answer = retry
            .run(|| {
                calls += 1;
                let done = calls == 2;
                async move { done.then_some(7).ok_or_else(lost) }
            })
            .await;
        assert_eq!((answer.ok(), calls), (Some(7), 2));
    }

    #[tokio::test]
    async fn what_is_wrong_for_good_is_not_sent_again() {
        let mut calls = 0;
        let failure = || Error::Body(std::io::Error::other("x"));
        let answer: Result<(), _> = Retry::default()
            .run(|| {
                calls += 1;
                async move { Err(failure()) }
            })
            .await;
        assert!(answer.is_err());
        assert_eq!(calls, 1);
    }

    #[test]
    fn pauses_grow_and_keys_differ() {
        let retry = Retry::default();
        let (first, third) = (retry.pause(1), retry.pause(3));
        assert!(first >= retry.pause / 2 && first <= retry.pause * 3 / 2, "{first:?}");
        assert!(third >= retry.pause * 2 && third <= retry.pause * 6, "{third:?}");
        assert_ne!(fresh_key(), fresh_key());
    }
}
