//! Parses the command line and runs one command.

mod cli;
#[expect(dead_code, unused_imports, reason = "the server that uses the rest is wired in elsewhere")]
mod tls;

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    cli::Cli::parse().run().await
}
