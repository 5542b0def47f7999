//! Parses the command line and runs one command.

use clap::Parser as _;
use std::process::ExitCode;

mod allocator;
mod cli;
mod config;
mod http;
mod metrics;
mod tls;

fn main() -> ExitCode {
    allocator::set_up();
    cli::Cli::parse().run()
}
