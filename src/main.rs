//! Parses the command line and runs one command.

use std::process::ExitCode;

use clap::Parser as _;

mod cli;
mod config;
mod http;
mod metrics;
mod tls;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}
