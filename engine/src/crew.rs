//! Threads for reads, as few of them awake as get the work done.
//!
//! Waking a thread costs more than a point read. So a job that comes while a thread is awake waits for it, some
//! microseconds, instead of waking another. A thread whose job turns out to be long, or that waits for its caller to
//! read, hands over: from then on it does not count as awake, and the next one is woken. Should a job be long without
//! passing by here (a C function of SQLite, a slow disk), [`Crew::rescue`] is called from outside.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::sync::lock;

/// A job that has run for this long is long.
const LONG: Duration = Duration::from_micros(200);
/// How often a thread lets others run and looks again before it goes to sleep: under load, a job comes meanwhile.
const YIELDS: usize = 8;
/// The read's own stack is small: SQLite's parser and machine are bounded.
const STACK_BYTES: usize = 1 << 20;

/// A set of threads that take jobs of type `J`.
pub(crate) struct Crew<J> {
    state: Mutex<State<J>>,
    /// Threads that may be awake with short jobs.
    quick: usize,
}

struct State<J> {
    jobs: VecDeque<J>,
    sleepers: Vec<Arc<Sleeper>>,
    /// Threads that are awake and have not handed over.
    awake: usize,
    /// Whether a job was taken since the last look from outside.
    moved: bool,
    ended: bool,
}

/// A thread's bed.
struct Sleeper {
    thread: Thread,
    called: AtomicBool,
}

/// What a crew's thread knows of the job that it runs.
struct Running {
    since: Instant,
    /// Calls the crew; taken when it was called.
    hand_over: Option<Box<dyn FnOnce()>>,
}

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

/// Called now and then by whoever runs a job: if it has become long, hands over.
pub(crate) fn still_running() {
    hand_over_if(|running| running.since.elapsed() >= LONG);
}

/// Called before waiting for somebody else: hands over.
pub(crate) fn about_to_wait() {
    hand_over_if(|_| true);
}

fn hand_over_if(condition: impl FnOnce(&Running) -> bool) {
    let hand_over = RUNNING.with_borrow_mut(|running| {
        let running = running.as_mut().filter(|it| it.hand_over.is_some())?;
        if condition(running) { running.hand_over.take() } else { None }
    });
    if let Some(hand_over) = hand_over {
        hand_over();
    }
}

impl<J: Send + 'static> Crew<J> {
    /// Starts `size` threads, which run each job with `work` until [`Crew::end`].
    pub(crate) fn start(size: usize, work: impl Fn(J) + Send + Sync + 'static) -> std::io::Result<Arc<Self>> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let state =
            State { jobs: VecDeque::new(), sleepers: Vec::new(), awake: size, moved: false, ended: false };
        let crew = Arc::new(Self { state: Mutex::new(state), quick: cores.clamp(1, size.max(1)) });
        let work = Arc::new(work);
        for number in 0..size {
            let (crew, work) = (Arc::clone(&crew), Arc::clone(&work));
            let named = thread::Builder::new().name(format!("larder-read-{number}")).stack_size(STACK_BYTES);
            named.spawn(move || crew.serve(&*work))?;
        }
        Ok(crew)
    }

    /// Gives a job to the crew. After [`Crew::end`] it comes back.
    pub(crate) fn give(&self, job: J) -> Result<(), J> {
        let mut state = lock(&self.state);
        if state.ended {
            return Err(job);
        }
        state.jobs.push_back(job);
        let called = if state.awake < self.quick { state.call() } else { None };
        drop(state);
        wake(called);
        Ok(())
    }

    /// Called at intervals: if jobs wait and none was taken since the last time, calls one more thread.
    pub(crate) fn rescue(&self) {
        let mut state = lock(&self.state);
        let stuck = !state.jobs.is_empty() && !state.moved;
        state.moved = false;
        let called = if stuck { state.call() } else { None };
        drop(state);
        wake(called);
    }

    /// Sends everybody home when the jobs that wait are done.
    pub(crate) fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        let all: Vec<_> = std::iter::from_fn(|| state.call()).collect();
        drop(state);
        all.into_iter().for_each(|sleeper| wake(Some(sleeper)));
    }

    fn serve(self: Arc<Self>, work: &impl Fn(J)) {
        let me = Arc::new(Sleeper { thread: thread::current(), called: AtomicBool::new(false) });
        let mut counts_as_awake = true;
        while let Some(job) = self.next(&me, counts_as_awake) {
            let crew = Arc::clone(&self);
            let hand_over = Box::new(move || crew.step_aside());
            RUNNING.set(Some(Running { since: Instant::now(), hand_over: Some(hand_over) }));
            // The caller of a job that panics learns it from what the job drops; the thread has others to serve.
            if panic::catch_unwind(AssertUnwindSafe(|| work(job))).is_err() {
                tracing::error!("a read ended by a panic");
            }
            counts_as_awake = RUNNING.take().is_some_and(|running| running.hand_over.is_some());
        }
    }

    fn next(&self, me: &Arc<Sleeper>, counts_as_awake: bool) -> Option<J> {
        let mut state = lock(&self.state);
        if !counts_as_awake {
            state.awake += 1;
        }
        let mut yields = 0;
        loop {
            // One that comes back from a long job leaves the queue to those that took over.
            let may_take = counts_as_awake || state.awake <= self.quick;
            if may_take || state.ended {
                if let Some(job) = state.jobs.pop_front() {
                    state.moved = true;
                    return Some(job);
                }
                if state.ended {
                    return None;
                }
                if yields < YIELDS {
                    yields += 1;
                    drop(state);
                    thread::yield_now();
                    state = lock(&self.state);
                    continue;
                }
            }
            yields = 0;
            state.awake -= 1;
            state.sleepers.push(Arc::clone(me));
            drop(state);
            me.sleep();
            state = lock(&self.state);
            if let Some(job) = state.jobs.pop_front() {
                state.moved = true;
                return Some(job);
            }
        }
    }

    /// The calling thread will be busy for long.
    fn step_aside(&self) {
        let mut state = lock(&self.state);
        state.awake -= 1;
        let called = if !state.jobs.is_empty() && state.awake < self.quick { state.call() } else { None };
        drop(state);
        wake(called);
    }
}

impl<J> State<J> {
    /// Takes the thread that fell asleep last, whose cache is warmest. It counts as awake from now on.
    fn call(&mut self) -> Option<Arc<Sleeper>> {
        let called = self.sleepers.pop()?;
        self.awake += 1;
        called.called.store(true, Ordering::Release);
        Some(called)
    }
}

impl Sleeper {
    fn sleep(&self) {
        while !self.called.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

fn wake(called: Option<Arc<Sleeper>>) {
    if let Some(sleeper) = called {
        sleeper.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    type Job = Box<dyn FnOnce() + Send>;

    fn crew(size: usize) -> Arc<Crew<Job>> {
        Crew::start(size, |job: Job| job()).expect("threads")
    }

    #[test]
    fn every_job_is_done_and_everybody_goes_home() {
        let crew = crew(4);
        let (sender, receiver) = mpsc::channel();
        for number in 0..10_000 {
            let sender = sender.clone();
            assert!(crew.give(Box::new(move || sender.send(number).expect("a receiver"))).is_ok());
        }
        let mut done: Vec<i32> = receiver.iter().take(10_000).collect();
        done.sort_unstable();
        assert_eq!(done, (0..10_000).collect::<Vec<_>>());
        crew.end();
        assert!(crew.give(Box::new(|| ())).is_err());
    }

    #[test]
    fn a_job_that_panics_takes_no_thread_with_it() {
        let crew = crew(2);
        for _ in 0..10 {
            assert!(crew.give(Box::new(|| std::panic::panic_any("on purpose"))).is_ok());
        }
        let (sender, receiver) = mpsc::channel();
        assert!(crew.give(Box::new(move || sender.send(()).expect("a receiver"))).is_ok());
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok(()));
    }

    #[test]
    fn a_job_that_waits_does_not_hold_the_others() {
        let crew = crew(8);
        let (open, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        // All but one thread wait, each as a read waits for a slow caller.
        for _ in 0..7 {
            let gate = Arc::clone(&gate);
            let job = Box::new(move || {
                about_to_wait();
                let _ = lock(&gate).recv();
            });
            assert!(crew.give(job).is_ok());
        }
        let (sender, receiver) = mpsc::channel();
        for number in 0..100 {
            let sender = sender.clone();
            assert!(crew.give(Box::new(move || sender.send(number).expect("a receiver"))).is_ok());
        }
        let done = receiver.iter().take(100).count();
        assert_eq!(done, 100);
        drop(open);
    }

    #[test]
    fn a_job_that_is_stuck_without_a_word_is_noticed_from_outside() {
        let crew = crew(64);
        let (open, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let (sender, receiver) = mpsc::channel();
        for _ in 0..crew.quick {
            let gate = Arc::clone(&gate);
            assert!(
                crew.give(Box::new(move || {
                    let _ = lock(&gate).recv();
                }))
                .is_ok()
            );
        }
        assert!(crew.give(Box::new(move || sender.send(()).expect("a receiver"))).is_ok());
        let rescued = (0..1000).any(|_| {
            crew.rescue();
            receiver.recv_timeout(Duration::from_millis(10)).is_ok()
        });
        assert!(rescued);
        drop(open);
    }
}
