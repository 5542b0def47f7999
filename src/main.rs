//! Parses the command line and runs one command.

mod cli;

use clap::Parser;
use std::process::ExitCode;

#[derive(Parser)]
#[command(version)]
enum Command {
    Bench(cli::bench::BenchArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    let Command::Bench(args) = Command::parse();
    cli::bench::run(&args)
}
