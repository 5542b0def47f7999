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
mod results;
mod sniff;
mod stats;
mod time;

use clap::Subcommand;

use super::Failure;

/// What can be done with reports.
#[derive(Debug, Subcommand)]
pub(crate) enum ReportsCommand {
    /// Store a report.
    ///
    /// An older one than the one that is there changes nothing. The tables are made on first use, which takes the role owner; from then on, writer
    /// will do. Findings are read out of payloads in JSON, plain or compressed.
    Put(Box<put::Put>),
    /// Fetch a report: its payload as it was stored, or what is known of it.
    ///
    /// The payload comes bit for bit. Exit code 1 says that there is no such report; that a store did not answer is another thing, and exit code 3; and whatever else
    /// went wrong, as a store that cannot read what it holds, is 4.
    Get(get::Get),
    /// List reports without reading them.
    ///
    /// In the order of their keys. A page follows another by its last key, so that none is missed for what others write meanwhile.
    List(list::List),
    /// Delete reports. No older copy of them comes back.
    Delete(delete::Delete),
    /// Find assets: those with a vulnerability, a high score, a name.
    ///
    /// An index answers; no report is read for it.
    Find(find::Find),
    /// Show the assets with the most findings.
    Top(find::Top),
    /// List vulnerabilities with how many assets have each.
    Cves(cves::Cves),
    /// Show one vulnerability and the assets that have it.
    Cve(cves::Cve),
    /// List or count the results of policy reports.
    ///
    /// Of the reports that the Kubernetes API server keeps in this database: what fails, where, since when. No report is read for it. The answer takes
    /// in everything that was written before; where rows are missing for that, the role writer lets this command make them, and reader waits for
    /// the API server to.
    Results(Box<results::Results>),
    /// Print every finding as JSON or CSV.
    Dump(dump::Dump),
    /// Count reports and bytes by class.
    Stats(stats::Stats),
    /// Make up reports like real ones, for trials.
    ///
    /// In size and shape they are like those of a scanner, and no two are alike; the same seed gives the same reports. Under NeuVector's keys they
    /// are written as its controllers do it: value and state, and nothing beside them.
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
            Self::Results(command) => command.run().await,
            Self::Dump(command) => command.run().await,
            Self::Stats(command) => command.run().await,
            Self::Generate(command) => command.run().await,
        }
    }
}
