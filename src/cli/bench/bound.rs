//! Processes that end when this one does.
//!
//! By a detour over this same binary: a process can ask the kernel for that only on its own behalf, between its own
//! start and its `exec`.

use anyhow::Context as _;
use rustix::process::{Signal, set_parent_process_death_signal};
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The hidden subcommand that is the detour.
pub(super) const NAME: &str = "bound";

/// Become a command that ends with the process that started this one
#[derive(Debug, clap::Args)]
pub(super) struct Bound {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

impl Bound {
    pub(super) fn become_it(&self) -> anyhow::Result<Infallible> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        let (program, args) = self.command.split_first().context("no command")?;
        Err(Command::new(program).args(args).exec().into())
    }
}

/// A command that runs `program` and is killed once this process is gone.
pub(super) fn command(program: impl AsRef<OsStr>) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", NAME, "--"]).arg(program);
    Ok(command)
}
