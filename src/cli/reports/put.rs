//! `larder reports put`: one report, from a file or a pipe.

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use larder_client::fallback;
use larder_client::reports::extract::{Extracted, Extractor};
use larder_client::reports::index::{Index, Pace};
use larder_client::reports::kept::Kept;
use larder_client::reports::{
    Encoding, PAYLOAD_LIMIT, Put as Stored, Report, ReportKey, ReportStore, Version,
};
use larder_wire::Value;
use serde::Serialize;

use super::asset::AssetFlags;
use super::place::{self, Fallback, Place};
use super::sniff::{self, EncodingName};
use super::time;
use crate::cli::Failure;
use crate::cli::connect::Connect;
use crate::cli::output::listing::{Record, Show};
use crate::cli::output::{Sink, say};

/// Stores a report.
#[derive(Debug, Args)]
pub(crate) struct Put {
    /// Its name: CLASS/ID, as workload/4f5a, host/NODE, image/REGISTRY/ID or bench/ID/TYPE.
    #[arg(id = "report", value_name = "KEY")]
    key: ReportKey,
    /// The file that holds it; `-`, or none: standard input.
    file: Option<PathBuf>,
    /// When the scan was made: a time, a date, or an age as 2h [default: what the payload says, else now].
    #[arg(long, value_name = "TIME", value_parser = time::parse_scan)]
    scanned_at: Option<Timestamp>,
    /// The version of the scanner or of its database.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    scanner_version: String,
    /// What it is; findings are read out of JSON [default: by its first bytes].
    #[arg(long, value_enum)]
    encoding: Option<EncodingName>,
    #[command(flatten)]
    asset: AssetFlags,
    #[command(flatten)]
    fallback: Fallback,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    connect: Connect,
}

/// What became of it.
#[derive(Debug, Serialize)]
struct Done {
    key: String,
    stored: bool,
    scanned_at: String,
    sequence: i64,
    bytes: usize,
    encoding: &'static str,
    store: &'static str,
}

/// What is said if only the fallback has it.
const NOT_TAKEN: &str =
    "note: the database did not take it; it stands in the fallback until `larder migrate` brings it over\n";

impl Record for Done {
    const COLUMNS: &'static [&'static str] = &["key", "done", "scanned at", "bytes", "encoding", "store"];

    fn cells(&self) -> Vec<Value> {
        let done = if self.stored { "stored" } else { "nothing: a newer one is there" };
        vec![
            self.key.as_str().into(),
            done.into(),
            self.scanned_at.as_str().into(),
            i64::try_from(self.bytes).unwrap_or(i64::MAX).into(),
            self.encoding.into(),
            self.store.into(),
        ]
    }
}

impl Put {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let payload = self.read()?;
        let encoding = self.encoding.map_or_else(|| sniff::encoding(&payload), Into::into);
        let scanned_at = self.scanned_at.or_else(|| said(encoding, &payload)).unwrap_or_else(Timestamp::now);
        let report = Report {
            key: self.key,
            scanned_at,
            scanner_version: self.scanner_version,
            encoding,
            payload: payload.into(),
            asset: self.asset.into(),
            findings: None,
            checks: None,
        };
        let (stored, version, store) = match self.fallback.writing(&self.connect).await? {
            Place::Database(database) => match put(&database, &report).await? {
                Stored::Stored(version) => (true, version, fallback::Store::Primary),
                Stored::Superseded(version) => (false, version, fallback::Store::Primary),
                Stored::Suppressed(_) => return Err(deleted(&report)),
            },
            Place::Both(reports) => {
                let answer = reports.put(&report).await?;
                match answer.put {
                    fallback::Put::Stored(version) => (true, version, answer.store),
                    fallback::Put::Superseded(version) => (false, version, answer.store),
                }
            }
        };
        if stored && store == fallback::Store::Fallback {
            say(NOT_TAKEN);
        }
        if stored && let Some(reason) = closed(&report) {
            say(&format!("note: it is stored without findings: {reason}\n"));
        }
        let done = Done::new(&report, stored, version, store);
        self.show.one(&done, &mut Sink::stdout())
    }

    fn read(&self) -> Result<Vec<u8>, Failure> {
        let mut payload = Vec::new();
        let limit = PAYLOAD_LIMIT as u64 + 1;
        match self.file.as_deref().filter(|it| it.as_os_str() != "-") {
            Some(path) => {
                let doing = || Failure::io(format!("reading {}", path.display()));
                let file = std::fs::File::open(path).map_err(doing())?;
                file.take(limit).read_to_end(&mut payload).map_err(doing())?;
            }
            None if self.file.is_none() && std::io::stdin().is_terminal() => {
                return Err(Failure::Usage("which FILE? `-` reads what is typed here".to_owned()));
            }
            None => {
                let read = std::io::stdin().lock().take(limit).read_to_end(&mut payload);
                read.map_err(Failure::io("reading standard input"))?;
            }
        }
        // It was not read to its end, so nobody knows how long it is.
        let is_too_long = payload.len() > PAYLOAD_LIMIT;
        let refused = || {
            Failure::Other(anyhow::anyhow!(
                "it has more than {PAYLOAD_LIMIT} bytes, which no report may have"
            ))
        };
        if is_too_long { Err(refused()) } else { Ok(payload) }
    }
}

/// When a payload says that it was made, if it can be looked into.
fn said(encoding: Encoding, payload: &[u8]) -> Option<Timestamp> {
    match Extractor::new().extract(encoding, payload).ok()? {
        Extracted::Scan(scan) => scan.scanned_at,
        Extracted::Bench(bench) => bench.run_at,
        Extracted::Nothing => None,
    }
}

/// Why nothing is known of what a report says, where its payload is JSON or unreadable.
fn closed(report: &Report) -> Option<String> {
    let kept = Kept::of(report);
    let is_json = matches!(report.encoding, Encoding::Json | Encoding::GzipJson | Encoding::ZstdJson);
    let is_unknown = is_json && kept.packed.is_none() && kept.checks.is_none();
    let unknown = || "this JSON is no report of a kind that is known".to_owned();
    kept.unread.map(|it| it.to_string()).or_else(|| is_unknown.then(unknown))
}

impl Done {
    fn new(report: &Report, stored: bool, version: Version, store: fallback::Store) -> Self {
        Self {
            key: report.key.to_string(),
            stored,
            scanned_at: version.scanned_at.to_string(),
            sequence: version.sequence,
            bytes: report.payload.len(),
            encoding: sniff::name(report.encoding),
            store: place::name(store),
        }
    }
}

/// Puts it and sees to the index, which is as right without that, only slower to ask.
async fn put(store: &ReportStore, report: &Report) -> Result<Stored, Failure> {
    let stored = store.put(report).await?;
    if let Err(error) = Index::new(store.database().clone()).keep_up(Pace::Steady).await {
        say(&format!("note: the report is stored, and the index was not kept up: {error}\n"));
    }
    Ok(stored)
}

fn deleted(report: &Report) -> Failure {
    Failure::Other(anyhow::anyhow!("{} was deleted at the same moment; nothing was stored", report.key))
}
