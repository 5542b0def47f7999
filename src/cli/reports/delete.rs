//! `larder reports delete`: one, some, or all of a kind.

use clap::Args;
use jiff::Timestamp;
use larder_client::reports::ReportKey;
use larder_wire::Value;
use serde::Serialize;

use super::place::{Fallback, Place};
use super::time;
use crate::cli::Failure;
use crate::cli::connect::Connect;
use crate::cli::output::listing::{Record, Show};
use crate::cli::output::{Sink, say};

/// Deletes reports. What is deleted does not come back from another store that was away.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Their names.
    #[arg(value_name = "KEY", required_unless_present = "prefix")]
    keys: Vec<ReportKey>,
    /// All whose keys begin with this.
    #[arg(long, value_name = "TEXT", conflicts_with = "keys", requires = "yes")]
    prefix: Option<String>,
    /// Of these, only those that were scanned before: a time, a date, or an age as 90d.
    #[arg(long, value_name = "TIME", requires = "prefix", value_parser = time::parse)]
    before: Option<Timestamp>,
    /// Yes, all of them.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    fallback: Fallback,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, Serialize)]
struct Done {
    deleted: u64,
    /// Whether every store took part.
    complete: bool,
}

/// Why it is not complete.
const MISSED: &str = "a store took no part: it is away, or cannot read what it holds";

impl Record for Done {
    const COLUMNS: &'static [&'static str] = &["deleted"];

    fn cells(&self) -> Vec<Value> {
        vec![i64::try_from(self.deleted).unwrap_or(i64::MAX).into()]
    }
}

impl Delete {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let place = self.fallback.writing(&self.connect).await?;
        let done = match &self.prefix {
            Some(prefix) => sweep(&place, prefix, self.before).await?,
            None => each(&place, &self.keys).await?,
        };
        self.show.one(&done, &mut Sink::stdout())?;
        match &self.prefix {
            _ if done.complete => Ok(()),
            // What a store that took no part holds has no tombstone: nobody knows the names.
            Some(_) => Err(Failure::Away(format!("{MISSED}; what only it holds was not deleted"))),
            None => {
                say(&format!("note: {MISSED}; a copy there is hidden, and goes when the store is back\n"));
                Ok(())
            }
        }
    }
}

async fn each(place: &Place, keys: &[ReportKey]) -> Result<Done, Failure> {
    let mut done = Done { deleted: 0, complete: true };
    for key in keys {
        let (existed, complete) = match place {
            Place::Database(store) => (store.delete(key).await?, true),
            Place::Both(reports) => reports.delete(key).await.map(|it| (it.existed, it.complete))?,
        };
        done.deleted += u64::from(existed);
        done.complete &= complete;
    }
    Ok(done)
}

async fn sweep(place: &Place, prefix: &str, before: Option<Timestamp>) -> Result<Done, Failure> {
    let (deleted, complete) = match (place, before) {
        (Place::Database(store), None) => (store.delete_prefix(prefix).await?, true),
        (Place::Database(store), Some(before)) => (store.expire(prefix, before).await?, true),
        (Place::Both(reports), None) => {
            reports.delete_prefix(prefix).await.map(|it| (it.deleted, it.complete))?
        }
        (Place::Both(reports), Some(before)) => {
            reports.expire(prefix, before).await.map(|it| (it.deleted, it.complete))?
        }
    };
    Ok(Done { deleted, complete })
}
