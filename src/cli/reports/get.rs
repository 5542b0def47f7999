//! `larder reports get`: a payload bit for bit, or what is known of it.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use larder_client::fallback::{Answered, Store};
use larder_client::reports::{Asset, Report, ReportKey, Version};
use larder_wire::Value;
use serde::Serialize;

use super::place::{self, Fallback, Place};
use super::{sniff, time};
use crate::cli::connect::Connect;
use crate::cli::output::listing::{Record, Show};
use crate::cli::output::{Sink, escape, say};
use crate::cli::{Failure, progress};

/// Fetches a report's payload exactly as it was stored.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Its name, as workload/4f5a.
    #[arg(id = "report", value_name = "KEY")]
    key: ReportKey,
    /// Write it to this file instead of standard output.
    #[arg(short, long, value_name = "FILE", conflicts_with = "meta")]
    output: Option<PathBuf>,
    /// Show what is known of it instead: when it was scanned, how long it is, where it was.
    #[arg(long)]
    meta: bool,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    fallback: Fallback,
    #[command(flatten)]
    connect: Connect,
}

/// What is known of a report.
#[derive(Debug, Serialize)]
struct Meta {
    key: String,
    scanned_at: String,
    sequence: i64,
    scanner_version: String,
    encoding: &'static str,
    bytes: usize,
    asset: Asset,
    store: &'static str,
    complete: bool,
}

/// A report, and how sure it is that there is no newer one.
struct Got {
    report: Report,
    version: Version,
    store: Store,
    complete: bool,
}

impl Get {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.fetch().await {
            Ok(Some(got)) => self.show(got).map_err(Failure::not_a_no),
            // Nothing was ever stored there.
            Err(failure) if failure.is_of_no_tables() => Err(failure),
            Ok(None) => Err(Failure::Other(anyhow::anyhow!("there is no report {}", self.key))),
            Err(failure) => Err(failure.not_a_no()),
        }
    }

    fn show(&self, got: Got) -> Result<(), Failure> {
        if !got.complete {
            say(
                "note: a store is away, or cannot read what it holds of this; if that is a newer report, this is not it\n",
            );
        }
        if self.meta {
            return self.show.one(&Meta::from(got), &mut Sink::stdout());
        }
        match &self.output {
            Some(file) => save(file, &got.report.payload),
            None => print(&got.report.payload, &mut Sink::stdout()),
        }
    }

    async fn fetch(&self) -> Result<Option<Got>, Failure> {
        Ok(match self.fallback.reading(&self.connect).await? {
            Place::Database(database) => database.get(&self.key).await?.map(|stored| Got {
                report: stored.report,
                version: stored.version,
                store: Store::Primary,
                complete: true,
            }),
            Place::Both(reports) => {
                let got =
                    |Answered { report, version, store, complete }| Got { report, version, store, complete };
                reports.get(&self.key).await?.map(got)
            }
        })
    }
}

impl From<Got> for Meta {
    fn from(Got { report, version, store, complete }: Got) -> Self {
        Self {
            key: report.key.to_string(),
            scanned_at: version.scanned_at.to_string(),
            sequence: version.sequence,
            scanner_version: report.scanner_version,
            encoding: sniff::name(report.encoding),
            bytes: report.payload.len(),
            asset: report.asset,
            store: place::name(store),
            complete,
        }
    }
}

impl Record for Meta {
    const COLUMNS: &'static [&'static str] = &[
        "key",
        "scanned at",
        "scanner",
        "encoding",
        "bytes",
        "name",
        "namespace",
        "service",
        "image",
        "os",
        "node",
        "repository",
        "tag",
        "store",
    ];

    fn cells(&self) -> Vec<Value> {
        let Asset { name, namespace, service, image, os, node, repository, tag } = &self.asset;
        let mut cells: Vec<Value> = vec![
            self.key.as_str().into(),
            time::of_text(&self.scanned_at).into(),
            self.scanner_version.as_str().into(),
            self.encoding.into(),
            i64::try_from(self.bytes).unwrap_or(i64::MAX).into(),
        ];
        let texts = [name, namespace, service, image, os, node, repository, tag];
        cells.extend(texts.into_iter().map(|it| Value::from(it.as_str())));
        cells.push(self.store.into());
        cells
    }
}

/// The payload as it is; on a terminal only if it is text.
fn print(payload: &[u8], sink: &mut Sink) -> Result<(), Failure> {
    if !sink.is_terminal() {
        return sink.write(payload);
    }
    match std::str::from_utf8(payload) {
        Ok(text) if !text.contains('\0') => sink.write(escape::text(text).as_bytes()),
        _ => Err(Failure::Usage(
            "it is binary, and this is a terminal: -o FILE or a pipe takes it, --meta tells of it".to_owned(),
        )),
    }
}

/// A file gets its name when it is whole. What is none, as a pipe or /dev/null, is written to and stays what it is.
fn save(file: &Path, payload: &[u8]) -> Result<(), Failure> {
    // Of a link, what it leads to is replaced.
    let target = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let written = match std::fs::metadata(&target) {
        Ok(it) if !it.is_file() => {
            OpenOptions::new().write(true).open(&target).and_then(|mut it| it.write_all(payload))
        }
        _ => replace(&target, payload),
    };
    written.map_err(Failure::io(format!("writing {}", file.display())))?;
    say(&format!("{}: {}\n", file.display(), progress::bytes(payload.len() as u64)));
    Ok(())
}

fn replace(file: &Path, payload: &[u8]) -> io::Result<()> {
    let directory = file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Readable as any file is that the user makes: the umask applies.
    let mode = Permissions::from_mode(0o666);
    let mut part = tempfile::Builder::new().permissions(mode).tempfile_in(directory)?;
    part.write_all(payload)?;
    part.persist(file)?;
    Ok(())
}
