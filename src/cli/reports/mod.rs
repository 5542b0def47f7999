//! `larder reports`: reports for people, by the crate that controllers link.
//!
//! One file per family of subcommands; here is what they share: which store is meant, and how its failures end.

mod asset;
mod delete;
mod get;
mod list;
mod place;
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
    /// Count reports and bytes by class.
    Stats(stats::Stats),
}

impl ReportsCommand {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Put(command) => command.run().await,
            Self::Get(command) => command.run().await,
            Self::List(command) => command.run().await,
            Self::Delete(command) => command.run().await,
            Self::Stats(command) => command.run().await,
        }
    }
}
