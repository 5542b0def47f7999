//! Whether the primary is worth a call.
//!
//! Closed, every call goes there. It opens at the first call that reaches nobody, since the next would not either; and at the third in a row
//! that is not answered or refused for the primary's own reasons, since one of those may be a single slow statement. Open, no call goes
//! there: a probe in the background does, again and again with growing pauses, and closes it. Pauses only shrink back once a real call has
//! succeeded, so that a primary which answers probes and nothing else is not tried at full speed.
//!
//! Calls that began before it opened do not count once it is open, and a success of theirs does not close it: probes decide alone. Where probing
//! ends otherwise, by a panic or with the runtime that it ran on, the next call goes through and decides.

use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// When it opens and how it is probed.
#[derive(Clone, Copy, Debug)]
pub struct BreakerOptions {
    /// Failures in a row at which it opens, other than reaching nobody.
    pub failures: u32,
    /// The first pause before a probe.
    pub first_pause: Duration,
    /// The longest pause: at the latest after this and the time of a probe, a primary that is back is used.
    pub longest_pause: Duration,
    /// The part of a pause by which it is longer or shorter at random, so that controllers do not come all at once.
    pub jitter: f64,
    /// How long a probe may take.
    pub probe: Duration,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self {
            failures: 3,
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(5),
            jitter: 0.2,
            probe: Duration::from_secs(2),
        }
    }
}

/// What the breaker does with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// They go to the primary.
    Closed,
    /// They do not; the next probe waits for its time.
    Open,
    /// They do not; a probe is under way.
    HalfOpen,
}

/// How a call ended, as far as the breaker is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, if only with a refusal that the caller earned.
    Answered,
    /// It reached nobody.
    Unreachable,
    /// It was not answered, or refused for the primary's own reasons.
    Failed,
}

/// The breaker. It probes while it is open, in a task that ends with it.
#[derive(Debug)]
pub struct Breaker {
    options: BreakerOptions,
    status: Arc<Mutex<Status>>,
    probing: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Status {
    state: BreakerState,
    failures: u32,
    /// Probes since a call last succeeded: what pauses grow with.
    probes: u32,
    opened: u64,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(options: BreakerOptions) -> Self {
        let status = Status { state: BreakerState::Closed, failures: 0, probes: 0, opened: 0 };
        Self { options, status: Arc::new(Mutex::new(status)), probing: Mutex::default() }
    }

    /// What it does now.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        lock(&self.status).state
    }

    /// Whether a call may go to the primary.
    #[must_use]
    pub fn lets_through(&self) -> bool {
        self.state() == BreakerState::Closed
    }

    /// How often it has opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        lock(&self.status).opened
    }

    /// Takes note of a call that was let through; says whether that opened the breaker. From then on `probe` is called until it succeeds,
    /// on the Tokio runtime that this is called on.
    pub fn record<P, F>(&self, outcome: Outcome, probe: P) -> bool
    where
        P: Fn() -> F + Send + 'static,
        F: Future<Output = bool> + Send + 'static,
    {
        {
            let mut status = lock(&self.status);
            if status.state != BreakerState::Closed {
                return false;
            }
            match outcome {
                Outcome::Answered => {
                    (status.failures, status.probes) = (0, 0);
                    return false;
                }
                Outcome::Unreachable => status.failures = self.options.failures,
                Outcome::Failed => status.failures += 1,
            }
            if status.failures < self.options.failures {
                return false;
            }
            status.state = BreakerState::Open;
            status.opened += 1;
        }
        let task = tokio::spawn(watch(Probing(Arc::clone(&self.status)), self.options, probe));
        *self.probing.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        true
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        if let Some(task) = self.probing.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

/// Closes the breaker when nobody probes any more, whatever the reason. One more failure opens it.
struct Probing(Arc<Mutex<Status>>);

impl Drop for Probing {
    fn drop(&mut self) {
        lock(&self.0).state = BreakerState::Closed;
    }
}

/// Probes until one succeeds.
async fn watch<P, F>(probing: Probing, options: BreakerOptions, probe: P)
where
    P: Fn() -> F,
    F: Future<Output = bool>,
{
    let status = &probing.0;
    loop {
        let probes = lock(status).probes;
        sleep(pause(&options, probes)).await;
        {
            let mut status = lock(status);
            status.state = BreakerState::HalfOpen;
            status.probes = status.probes.saturating_add(1);
        }
        let answered = timeout(options.probe, probe()).await.unwrap_or(false);
        let mut status = lock(status);
        if answered {
            status.failures = 0;
            return;
        }
        status.state = BreakerState::Open;
    }
}

/// The pause before the next probe: twice the one before, up to the longest, give or take the jitter.
fn pause(options: &BreakerOptions, probes: u32) -> Duration {
    let pause = options.first_pause.saturating_mul(1 << probes.min(16)).min(options.longest_pause);
    let random = (RandomState::new().hash_one(probes) % 2001) as f64 / 1000.0 - 1.0;
    pause.mul_f64((1.0 + random * options.jitter).max(0.0))
}

fn lock(status: &Mutex<Status>) -> MutexGuard<'_, Status> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use tokio::time::Instant;

    /// A primary that is probed.
    #[derive(Clone, Default)]
    struct Probed {
        answers: Arc<AtomicBool>,
        probes: Arc<AtomicU32>,
    }

    impl Probed {
        fn probe(&self) -> impl Fn() -> std::future::Ready<bool> + Send + 'static {
            let it = self.clone();
            move || {
                it.probes.fetch_add(1, Ordering::Relaxed);
                std::future::ready(it.answers.load(Ordering::Relaxed))
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_at_once_where_nobody_is_and_at_the_third_failure_else() {
        let (breaker, primary) = (Breaker::new(BreakerOptions::default()), Probed::default());
        assert!(breaker.record(Outcome::Unreachable, primary.probe()));
        assert_eq!(breaker.state(), BreakerState::Open);

        let breaker = Breaker::new(BreakerOptions::default());
        for outcome in [Outcome::Failed, Outcome::Failed, Outcome::Answered, Outcome::Failed, Outcome::Failed]
        {
            assert!(!breaker.record(outcome, primary.probe()));
        }
        assert!(breaker.record(Outcome::Failed, primary.probe()));
        assert!(!breaker.record(Outcome::Failed, primary.probe()), "it is open already");
        assert_eq!(breaker.opened(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn it_returns_by_itself_and_probes_less_and_less() {
        let options = BreakerOptions::default();
        let (breaker, primary) = (Breaker::new(options), Probed::default());
        breaker.record(Outcome::Unreachable, primary.probe());
        sleep(Duration::from_secs(60)).await;
        let probes = primary.probes.load(Ordering::Relaxed);
        assert!((10..=25).contains(&probes), "{probes} probes in a minute");
        assert!(!breaker.lets_through());

        primary.answers.store(true, Ordering::Relaxed);
        let back = Instant::now();
        while !breaker.lets_through() {
            sleep(Duration::from_millis(10)).await;
        }
        assert!(back.elapsed() <= options.longest_pause.mul_f64(1.2) + Duration::from_millis(20));
    }

    #[tokio::test(start_paused = true)]
    async fn a_primary_that_only_answers_probes_is_tried_less_and_less() {
        let (breaker, primary) = (Breaker::new(BreakerOptions::default()), Probed::default());
        primary.answers.store(true, Ordering::Relaxed);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(60) {
            breaker.record(Outcome::Unreachable, primary.probe());
            sleep(Duration::from_millis(10)).await;
        }
        assert!(breaker.opened() < 30, "{} times in a minute", breaker.opened());
    }

    #[test]
    fn it_does_not_stay_open_when_nobody_probes_any_more() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().expect("starts");
        let breaker = Breaker::new(BreakerOptions::default());
        let first = runtime();
        first.block_on(async { breaker.record(Outcome::Unreachable, std::future::pending) });
        assert!(!breaker.lets_through());
        drop(first);
        assert!(breaker.lets_through(), "its probes ended with the runtime");

        let options = BreakerOptions { first_pause: Duration::ZERO, ..BreakerOptions::default() };
        let breaker = Breaker::new(options);
        runtime().block_on(async {
            breaker.record(Outcome::Unreachable, || async { panic!("a probe with a mistake in it") });
            while !breaker.lets_through() {
                tokio::task::yield_now().await;
            }
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_hangs_is_given_up() {
        let breaker = Breaker::new(BreakerOptions::default());
        let probes = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&probes);
        breaker.record(Outcome::Unreachable, move || {
            count.fetch_add(1, Ordering::Relaxed);
            std::future::pending()
        });
        sleep(Duration::from_secs(60)).await;
        assert!(probes.load(Ordering::Relaxed) > 5);
    }
}
