//! The command line: one file per command, and what they share.
//!
//! A command is a clap `Args` struct whose `run` ends well or with a [`Failure`], which knows its exit code.
//! Nothing here speaks HTTP or TLS; that is the client's.

mod backup;
pub(crate) mod certs;
mod connect;
mod execute;
mod failure;
mod output;
mod params;
mod progress;
mod query;
mod restore;
mod shell;
mod split;
mod statements;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use failure::Failure;

/// A small SQL server for bulky reports: embedded SQLite over HTTP with mutual TLS.
#[derive(Debug, Parser)]
#[command(name = "larder", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read: run SQL that changes nothing, in one snapshot.
    Query(query::Query),
    /// Write: run SQL that may change something, all or nothing.
    Execute(execute::Execute),
    /// Type SQL and see what comes.
    Shell(shell::Shell),
    /// Fetch a copy of the whole database while it is in use.
    Backup(backup::Backup),
    /// Replace the whole database by a backup.
    Restore(restore::Restore),
    /// Show how the server is.
    Status(status::Status),
    /// Make, issue, rotate and show certificates.
    #[command(subcommand)]
    Certs(certs::CertsCommand),
}

impl Cli {
    /// Runs the command and says how it went: 0, 1 (failed), 2 (usage), 3 (cannot reach the server).
    pub(crate) async fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Query(command) => command.run().await,
            Command::Execute(command) => command.run().await,
            Command::Shell(command) => command.run().await,
            Command::Backup(command) => command.run().await,
            Command::Restore(command) => command.run().await,
            Command::Status(command) => command.run().await,
            Command::Certs(command) => command.run().map_err(Failure::from),
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                failure.report();
                ExitCode::from(failure.exit_code())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
