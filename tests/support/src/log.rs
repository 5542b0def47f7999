//! What the server says on standard error, kept while it runs.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The lines of a process, and whether it has ended.
#[derive(Clone, Default)]
pub struct Log {
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Collects `output` to its end and then calls `at_end`.
    pub fn of(output: impl Read + Send + 'static, at_end: impl FnOnce() + Send + 'static) -> Self {
        let log = Self::default();
        let collected = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                collected.change(|it| it.lines.push(line));
            }
            collected.change(|it| it.ended = true);
            at_end();
        });
        log
    }

    /// Everything so far.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines().lines.join("\n")
    }

    /// Waits for a line that contains `part`, which may have been written already, and returns it.
    ///
    /// # Panics
    /// There is none within `patience`, or the process ends without it.
    #[must_use]
    pub fn wait_for(&self, part: &str, patience: Duration) -> String {
        let found = |it: &Lines| it.lines.iter().find(|line| line.contains(part)).cloned();
        let (lines, changed) = &*self.shared;
        let waiting = |it: &mut Lines| found(it).is_none() && !it.ended;
        let (lines, _) = changed.wait_timeout_while(lines.lock().unwrap(), patience, waiting).unwrap();
        let (found, text) = (found(&lines), lines.lines.join("\n"));
        // Whoever fails below still wants to read the log.
        drop(lines);
        found.unwrap_or_else(|| panic!("{part:?} is not in the log:\n{text}"))
    }

    /// Waits for a line that contains `part`; says whether it came within `patience` and before the end of the process.
    pub(crate) fn shows(&self, part: &str, patience: Duration) -> bool {
        let found = |it: &Lines| it.lines.iter().any(|line| line.contains(part));
        let (lines, changed) = &*self.shared;
        let waiting = |it: &mut Lines| !found(it) && !it.ended;
        let (lines, _) = changed.wait_timeout_while(lines.lock().unwrap(), patience, waiting).unwrap();
        found(&lines)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lines().ended
    }

    /// Waits for the end of the process; says whether it came within `patience`.
    pub(crate) fn wait_for_end(&self, patience: Duration) -> bool {
        let (lines, changed) = &*self.shared;
        let (lines, _) = changed.wait_timeout_while(lines.lock().unwrap(), patience, |it| !it.ended).unwrap();
        lines.ended
    }

    /// The lines, those too that a test was waiting for in vain when it ended: they are what is printed then.
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.lines());
        self.shared.1.notify_all();
    }
}
