//! Parses the command line and runs one command.

use clap::Parser;

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
}

fn main() -> anyhow::Result<()> {
    match Larder::parse() {
        Larder::Serve(args) => cli::serve::run(*args),
        Larder::Certs(command) => command.run(),
    }
}
