//! Parses the command line and runs one command.

use clap::Parser;
use std::process::ExitCode;

mod cli;
mod config;
mod http;
mod metrics;
mod tls;

#[derive(Parser)]
#[command(name = "larder", version, about)]
enum Larder {
    /// Serve a database.
    Serve(Box<config::ServeArgs>),
    /// Make, issue, rotate and show certificates.
    #[command(subcommand)]
    Certs(cli::certs::CertsCommand),
    /// Measure this machine: the server against SQLite in process.
    Bench(cli::bench::BenchArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    match Larder::parse() {
        Larder::Serve(args) => cli::serve::run(*args).map(|()| ExitCode::SUCCESS),
        Larder::Certs(command) => command.run().map(|()| ExitCode::SUCCESS),
        Larder::Bench(args) => cli::bench::run(&args),
    }
}
