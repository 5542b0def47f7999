//! Parses the command line and runs one command.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    cli::Cli::parse().run().await
}
