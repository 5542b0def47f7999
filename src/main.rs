//! Parses the command line and runs one command.

use clap::Parser as _;
use std::process::ExitCode;

mod cli;
mod config;
mod http;
mod line_limit;
mod memory;
mod metrics;
mod tls;

fn main() -> ExitCode {
    memory::set_up();
    cli::Cli::parse().run()
}
