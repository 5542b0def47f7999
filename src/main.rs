//! Parses the command line and runs one command.
#![expect(dead_code, unused_imports, reason = "the server that uses the rest is wired in elsewhere")]

use clap::Parser;

mod cli;
mod tls;

#[derive(Parser)]
#[command(name = "larder", version)]
enum Larder {
    /// Make, issue, rotate and show certificates.
    #[command(subcommand)]
    Certs(cli::certs::CertsCommand),
}

fn main() -> anyhow::Result<()> {
    match Larder::parse() {
        Larder::Certs(command) => command.run(),
    }
}
