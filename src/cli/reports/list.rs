//! `larder reports list`: what there is, without reading it.

use clap::Args;
use larder_client::fallback::Reports;
use larder_client::reports::{self, Asset, ReportKey, ReportStore};
use larder_wire::Value;
use serde::Serialize;

use super::place::{Fallback, Place};
use super::{sniff, time};
use crate::cli::Failure;
use crate::cli::connect::Connect;
use crate::cli::output::listing::{Listing, Record, Show};
use crate::cli::output::{Sink, say};

/// Lines that a table has, if nobody says how many.
const SHOWN: usize = 100;
/// Lines that are asked for at once.
const PAGE: usize = 1000;

/// Lists reports in the order of their keys.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Those whose keys begin with this [default: all].
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// How many [default: 100 in a table, otherwise all].
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Begin behind this key: the last one of the page before.
    #[arg(long, value_name = "KEY")]
    after: Option<ReportKey>,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    fallback: Fallback,
    #[command(flatten)]
    connect: Connect,
}

/// A report in the database.
#[derive(Debug, Serialize)]
struct Line {
    key: String,
    scanned_at: String,
    scanner_version: String,
    encoding: &'static str,
    bytes: usize,
    critical: u32,
    high: u32,
    medium: u32,
    low: u32,
    score: f64,
    score_v3: f64,
    asset: Asset,
}

/// A report in either of two stores.
#[derive(Debug, Serialize)]
struct Brief {
    key: String,
    scanned_at: String,
    sequence: i64,
}

/// Why a list may lack something.
const MISSED: &str =
    "a store is away, or cannot read all that it holds; reports that only it holds are missing above";

/// What is left of a list.
struct Left {
    after: Option<ReportKey>,
    count: usize,
}

/// What a list of two stores does not show.
struct Told {
    /// Behind which key there is more.
    next: Option<ReportKey>,
    /// Whether every store has answered.
    complete: bool,
    /// Reports that are left out.
    unreadable: usize,
}

impl List {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut sink = Sink::stdout();
        let all = if self.show.as_table(&sink) { SHOWN } else { usize::MAX };
        let left = Left { after: self.after.clone(), count: self.limit.unwrap_or(all) };
        match self.fallback.reading(&self.connect).await? {
            Place::Database(store) => {
                let mut list = self.show.list::<Line>(&mut sink);
                let next = lines(&store, &self.prefix, left, &mut list).await?;
                finish(list, next)
            }
            Place::Both(reports) => {
                let mut list = self.show.list::<Brief>(&mut sink);
                let told = briefs(&reports, &self.prefix, left, &mut list).await?;
                finish(list, told.next)?;
                match told.unreadable {
                    _ if !told.complete => Err(Failure::Away(MISSED.to_owned())),
                    0 => Ok(()),
                    count => {
                        Err(Failure::Other(anyhow::anyhow!("{count} of them cannot be read")).not_a_no())
                    }
                }
            }
        }
    }
}

fn finish(list: Listing<'_>, next: Option<ReportKey>) -> Result<(), Failure> {
    let note = next.map(|key| format!("more with --after {}, or with --limit", quoted(key.as_str())));
    list.finish_page("report", None, note.as_deref())
}

/// Adds pages until the list is long enough; says behind which key there is more.
async fn lines(
    store: &ReportStore,
    prefix: &str,
    mut left: Left,
    list: &mut Listing<'_>,
) -> Result<Option<ReportKey>, Failure> {
    while left.count > 0 && !list.is_full() {
        let limit = left.count.min(PAGE);
        let after = left.after.as_ref().map(ReportKey::as_str);
        let page = store.list(reports::List { prefix, after, limit, allowed: None }).await?;
        for listed in &page.reports {
            list.add(&Line::from(listed))?;
        }
        left.count -= page.reports.len().min(left.count);
        left.after = page.reports.into_iter().next_back().map(|it| it.key).or(left.after);
        if !page.more {
            return Ok(None);
        }
    }
    Ok(left.after)
}

async fn briefs(
    reports: &Reports,
    prefix: &str,
    mut left: Left,
    list: &mut Listing<'_>,
) -> Result<Told, Failure> {
    let (mut complete, mut unreadable) = (true, 0);
    while left.count > 0 && !list.is_full() {
        let page = reports.list(prefix, left.after.as_ref(), left.count.min(PAGE)).await?;
        complete &= page.complete;
        unreadable += page.unreadable.len();
        for (key, reason) in &page.unreadable {
            say(&format!("note: {key} is left out, since what stands there cannot be read: {reason}\n"));
        }
        for (key, version) in &page.items {
            let scanned_at = version.scanned_at.to_string();
            list.add(&Brief { key: key.to_string(), scanned_at, sequence: version.sequence })?;
        }
        left.count -= page.items.len().min(left.count);
        left.after = page.next;
        if left.after.is_none() {
            break;
        }
    }
    Ok(Told { next: left.after, complete, unreadable })
}

/// The text as one word of a shell.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "/-_.,:@%+=".contains(it);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

impl From<&reports::Listed> for Line {
    fn from(it: &reports::Listed) -> Self {
        Self {
            key: it.key.to_string(),
            scanned_at: it.version.scanned_at.to_string(),
            scanner_version: it.scanner_version.clone(),
            encoding: sniff::name(it.encoding),
            bytes: it.size,
            critical: it.summary.critical,
            high: it.summary.high,
            medium: it.summary.medium,
            low: it.summary.low,
            score: f64::from(it.summary.score) / 10.0,
            score_v3: f64::from(it.summary.score_v3) / 10.0,
            asset: it.asset.clone(),
        }
    }
}

impl Record for Line {
    const COLUMNS: &'static [&'static str] =
        &["key", "scanned at", "bytes", "critical", "high", "medium", "low", "score", "v3", "name"];

    fn cells(&self) -> Vec<Value> {
        vec![
            self.key.as_str().into(),
            time::of_text(&self.scanned_at).into(),
            i64::try_from(self.bytes).unwrap_or(i64::MAX).into(),
            self.critical.into(),
            self.high.into(),
            self.medium.into(),
            self.low.into(),
            self.score.into(),
            self.score_v3.into(),
            self.asset.name.as_str().into(),
        ]
    }
}

impl Record for Brief {
    const COLUMNS: &'static [&'static str] = &["key", "scanned at"];

    fn cells(&self) -> Vec<Value> {
        vec![self.key.as_str().into(), time::of_text(&self.scanned_at).into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::listing::tests::{looks, on_terminal};

    fn line(key: &str, name: &str) -> Line {
        Line {
            key: key.to_owned(),
            scanned_at: "2024-05-01T10:00:00.5Z".to_owned(),
            scanner_version: "3.422".to_owned(),
            encoding: "gzip-json",
            bytes: 33_875,
            critical: 1,
            high: 20,
            medium: 300,
            low: 0,
            score: 7.5,
            score_v3: 9.8,
            asset: Asset { name: name.to_owned(), ..Asset::default() },
        }
    }

    fn shown(width: u16) -> String {
        on_terminal(width, |show, sink| {
            let mut list = show.list::<Line>(sink);
            list.add(&line("host/k8s-worker2:564d66ca", "k8s-worker2")).expect("added");
            list.add(&line("image/quay/ä\u{202e}/4f5a", "")).expect("added");
            finish(list, Some("image/quay/ä/4f5a".parse().expect("a key"))).expect("finished");
        })
    }

    #[test]
    fn a_key_is_one_word_of_a_shell() {
        assert_eq!(quoted("host/a:b"), "host/a:b");
        assert_eq!(quoted("image/it's/$HOME"), r"'image/it'\''s/$HOME'");
    }

    #[test]
    fn a_list_on_terminals() {
        looks(&shown(140), "list");
        looks(&shown(50), "list-narrow");
    }
}
