//! Parses the command line and runs one command.

use clap::Parser as _;
use std::process::ExitCode;

mod cli;
mod config;
mod http;
mod metrics;
mod tls;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}
