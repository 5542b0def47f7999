//! The command line: one file per command, and what they share.
//!
//! A command is a clap `Args` struct whose `run` ends well or with a [`Failure`], which knows its exit code.
//! The commands that call a server know no HTTP and no TLS; that is the client's.

mod apiserver;
mod backup;
mod bench;
pub(crate) mod certs;
mod connect;
mod execute;
mod failure;
mod keyvalue;
mod migrate;
mod output;
mod params;
mod progress;
mod query;
mod reports;
mod restore;
pub(crate) mod serve;
mod shell;
mod split;
mod statements;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::ServeArgs;

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
    /// Serve a database.
    Serve(Box<ServeArgs>),
    /// Serve reports as a Kubernetes API.
    #[command(name = "apiserver")]
    ApiServer(Box<apiserver::ApiServerCommand>),
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
    /// Store, fetch, list and search reports.
    #[command(subcommand)]
    Reports(Box<reports::ReportsCommand>),
    /// Move reports from Consul, etcd or a directory into the database, or back.
    ///
    /// Each is written, read back and compared, and only then removed from where it was; what cannot be moved stays and is named. It can be stopped
    /// and run again at any time. Exit code 1 says that something had to stay where it was.
    Migrate(Box<migrate::Migrate>),
    /// Make, issue, rotate and show certificates.
    #[command(subcommand)]
    Certs(certs::CertsCommand),
    /// Measure this machine: the server against SQLite in process.
    Bench(bench::BenchArgs),
}

impl Cli {
    /// Runs the command and says how it went: 0, 1 (failed), 2 (usage), 3 (cannot reach the server).
    pub(crate) fn run(self) -> ExitCode {
        match self.command.run() {
            Ok(code) => code,
            Err(failure) => {
                failure.report();
                ExitCode::from(failure.exit_code())
            }
        }
    }
}

impl Command {
    fn run(self) -> Result<ExitCode, Failure> {
        let done = match self {
            Self::Serve(args) => serve::run(*args).map_err(Failure::from),
            Self::ApiServer(command) => command.run().map_err(Failure::from),
            Self::Certs(command) => command.run().map_err(Failure::from),
            Self::Bench(args) => return bench::run(&args).map_err(Failure::from),
            Self::Migrate(command) => return wait_for(command.run()),
            Self::Query(command) => wait_for(command.run()),
            Self::Execute(command) => wait_for(command.run()),
            Self::Shell(command) => wait_for(command.run()),
            Self::Backup(command) => wait_for(command.run()),
            Self::Restore(command) => wait_for(command.run()),
            Self::Status(command) => wait_for(command.run()),
            Self::Reports(command) => wait_for(command.run()),
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}

/// Runs a command that calls a server: two threads beside ours move the bytes, of which migrations have many.
fn wait_for<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(Failure::io("starting"))?.block_on(command)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
