//! `larder reports stats`: how many there are of each class, and how much.

use clap::Args;
use larder_client::reports::ClassStats;
use larder_wire::Value;
use serde::Serialize;

use super::{place, time};
use crate::cli::connect::Connect;
use crate::cli::output::Sink;
use crate::cli::output::listing::{Record, Show};
use crate::cli::{Failure, progress};

/// Counts reports and bytes by class.
#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, Serialize)]
struct Line {
    class: String,
    reports: u64,
    with_findings: u64,
    bytes: u64,
    oldest: String,
    newest: String,
}

impl Stats {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut sink = Sink::stdout();
        let mut list = self.show.list::<Line>(&mut sink);
        for stats in place::verified(&self.connect).await?.stats().await? {
            list.add(&Line::from(stats))?;
        }
        list.finish("class", None)
    }
}

impl From<ClassStats> for Line {
    fn from(it: ClassStats) -> Self {
        let ClassStats { class, reports, bytes, oldest, newest, with_findings } = it;
        Self { class, reports, with_findings, bytes, oldest: oldest.to_string(), newest: newest.to_string() }
    }
}

impl Record for Line {
    const COLUMNS: &'static [&'static str] =
        &["class", "reports", "with findings", "payloads", "oldest", "newest"];

    fn cells(&self) -> Vec<Value> {
        vec![
            self.class.as_str().into(),
            i64::try_from(self.reports).unwrap_or(i64::MAX).into(),
            i64::try_from(self.with_findings).unwrap_or(i64::MAX).into(),
            progress::bytes(self.bytes).into(),
            time::of_text(&self.oldest).into(),
            time::of_text(&self.newest).into(),
        ]
    }
}
