//! A process that a test starts as it likes, with its log: where [`Setup`](crate::Setup) decides too much.

use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::log::Log;

const PATIENCE: Duration = Duration::from_secs(60);

/// A running process; killed when it is dropped.
pub struct Daemon {
    child: Child,
    log: Log,
}

impl Daemon {
    /// Starts the command. What it says, on whichever stream, is its log.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let (reader, writer) = io::pipe().unwrap();
        command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.spawn().unwrap();
        // The command holds the writing ends, and the log would never end.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self { child, log: Log::of(reader, || ()) }
    }

    /// What it has said.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It does not end within a minute.
    pub fn wait(&mut self) -> ExitStatus {
        assert!(self.log.wait_for_end(PATIENCE), "does not end:\n{}", self.log.text());
        self.child.wait().unwrap()
    }
}

impl Drop for Daemon {
    #[expect(clippy::print_stderr, reason = "the log of a failed test is what is looked for first")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the log of process {}:\n{}", self.child.id(), self.log.text());
        }
    }
}
