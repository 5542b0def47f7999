//! `larder reports`: reports for people, by the crate that controllers link.
//!
//! One file per family of subcommands; here is what they share: which store is meant, and how its failures end.

mod asset;
mod cves;
mod delete;
mod dump;
mod filter;
mod find;
mod generate;
mod get;
mod list;
pub(crate) mod place;
mod put;
mod sniff;
mod stats;
mod time;

use clap::Subcommand;

use super::Failure;

/// What can be done with reports.
#[derive(Debug, Subcommand)]
pub(crate) enum ReportsCommand {
    /// Store a report.
    Put(put::Put),
    /// Fetch a report: its payload as it was stored, or what is known of it.
    Get(get::Get),
    /// List reports without reading them.
    List(list::List),
    /// Delete reports. No older copy of them comes back.
    Delete(delete::Delete),
    /// Find assets: those with a vulnerability, a high score, a name.
    Find(find::Find),
    /// Show the assets with the most findings.
    Top(find::Top),
    /// List vulnerabilities with how many assets have each.
    Cves(cves::Cves),
    /// Show one vulnerability and the assets that have it.
    Cve(cves::Cve),
    /// Print every finding as JSON or CSV.
    Dump(dump::Dump),
    /// Count reports and bytes by class.
    Stats(stats::Stats),
    /// Make up reports like real ones, for trials.
    Generate(generate::Generate),
}

impl ReportsCommand {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Put(command) => command.run().await,
            Self::Get(command) => command.run().await,
            Self::List(command) => command.run().await,
            Self::Delete(command) => command.run().await,
            Self::Find(command) => command.run().await,
            Self::Top(command) => command.run().await,
            Self::Cves(command) => command.run().await,
            Self::Cve(command) => command.run().await,
            Self::Dump(command) => command.run().await,
            Self::Stats(command) => command.run().await,
            Self::Generate(command) => command.run().await,
        }
    }
}
