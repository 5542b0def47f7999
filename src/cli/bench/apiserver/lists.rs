//! Lists: how long each takes, and whether it holds what it has to.
//!
//! Nothing is written meanwhile. So a list is read in full once and held against the reports, and each that is timed afterwards has to be as long, to the
//! byte; a table has to have as many rows, since it shows ages.

use anyhow::{Context as _, ensure};
use memchr::memmem;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::http2::Http2;
use super::request;
use super::site::Site;
use super::workload::{self, PATH, SELECTOR, Turn};

const JSON: &str = "application/json";
/// What kubectl asks with.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
/// The reports of a page.
pub(super) const PAGE: u64 = 500;
/// One report in so many is compared in full.
const COMPARED: usize = 17;

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Which {
    All,
    Table,
    Labelled,
    Namespace,
    Page,
    Walk,
}

pub(super) const EVERY: [Which; 6] =
    [Which::All, Which::Table, Which::Labelled, Which::Namespace, Which::Page, Which::Walk];

/// One list that was timed.
#[derive(Clone, Copy)]
pub(super) struct Timed {
    pub(super) took: Duration,
    /// Bytes by which the server's resident memory grew beyond what it was before anything was listed.
    pub(super) growth: u64,
}

/// The lists of one site.
pub(super) struct Lists {
    connection: Http2,
    /// The one whose size is nearest to that of a page.
    namespace: String,
    /// Reports in each list.
    rows: BTreeMap<Which, u64>,
    /// Bytes of each list that was read in full.
    lengths: BTreeMap<Which, u64>,
    /// The server's resident memory before anything was listed.
    resident: u64,
    body: Vec<u8>,
}

#[derive(Deserialize)]
struct ListBody<'b> {
    kind: &'b str,
    #[serde(borrow)]
    items: Vec<&'b RawValue>,
}

#[derive(Deserialize)]
struct TableBody {
    kind: String,
    #[serde(rename = "columnDefinitions")]
    columns: Vec<Value>,
    rows: Vec<TableRow>,
}

#[derive(Deserialize)]
struct TableRow {
    cells: Vec<Value>,
    object: Value,
}

impl Lists {
    /// Reads every list, and looks at it.
    pub(super) async fn verify(site: &Site) -> anyhow::Result<Self> {
        let count = site.count();
        let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
        (0..count).for_each(|it| *sizes.entry(workload::namespace(it)).or_default() += 1);
        let (namespace, size) =
            sizes.into_iter().min_by_key(|(_, size)| size.abs_diff(PAGE)).context("no report at all")?;
        let labelled = (0..count).filter(|it| workload::is_selected(*it)).count() as u64;
        let rows = [
            (Which::All, count),
            (Which::Table, count),
            (Which::Labelled, labelled),
            (Which::Namespace, size),
            (Which::Page, count.min(PAGE)),
            (Which::Walk, count),
        ];
        let (connection, resident) = (site.connect().await?, site.server.resident()?);
        let (rows, lengths) = (BTreeMap::from(rows), BTreeMap::new());
        let mut lists = Self { connection, namespace, rows, lengths, resident, body: Vec::new() };
        let reports: HashMap<_, _> = (0..count).map(|it| (workload::name(it), it)).collect();
        for which in EVERY.into_iter().filter(|it| *it != Which::Walk) {
            lists.read(which).await?;
            lists.check(which, &reports).with_context(|| format!("{which:?}"))?;
            lists.lengths.insert(which, lists.body.len() as u64);
        }
        Ok(lists)
    }

    /// Reports in a list.
    pub(super) fn rows(&self, which: Which) -> u64 {
        self.rows[&which]
    }

    /// Bytes of a list.
    pub(super) fn length(&self, which: Which) -> u64 {
        self.lengths.get(&which).copied().unwrap_or_default()
    }

    /// Reads a list against the clock.
    pub(super) async fn time(&mut self, site: &Site, which: Which) -> anyhow::Result<Timed> {
        site.server.forget_peak()?;
        let begun = Instant::now();
        let (length, took) = match which {
            Which::Walk => {
                let walked = self.walk().await?;
                ensure!(walked == self.rows(which), "a walk over {walked} reports");
                (0, begun.elapsed())
            }
            Which::Table => {
                self.read(which).await?;
                let took = begun.elapsed();
                let rows = memmem::find_iter(&self.body, br#""cells":["#).count() as u64;
                ensure!(rows == self.rows(which), "a table of {rows} rows");
                (self.length(which), took)
            }
            _ => {
                let mut length = 0;
                let path = self.path(which);
                self.connection.fetch(&path, JSON, |piece| length += piece.len() as u64).await?;
                (length, begun.elapsed())
            }
        };
        let growth = site.server.peak()?.saturating_sub(self.resident);
        ensure!(length == self.length(which), "{which:?} has {length} bytes, and had {}", self.length(which));
        Ok(Timed { took, growth })
    }

    fn path(&self, which: Which) -> String {
        match which {
            Which::All | Which::Table => PATH.to_owned(),
            Which::Labelled => format!("{PATH}?labelSelector={SELECTOR}"),
            Which::Namespace => {
                format!("/apis/wgpolicyk8s.io/v1alpha2/namespaces/{}/policyreports", self.namespace)
            }
            Which::Page | Which::Walk => format!("{PATH}?limit={PAGE}"),
        }
    }

    async fn read(&mut self, which: Which) -> anyhow::Result<()> {
        let (path, accept) = (self.path(which), if which == Which::Table { TABLE } else { JSON });
        let body = &mut self.body;
        body.clear();
        self.connection.fetch(&path, accept, |piece| body.extend_from_slice(piece)).await
    }

    /// Turns every page. Says how many reports there were.
    async fn walk(&mut self) -> anyhow::Result<u64> {
        let (first, mut rows) = (self.path(Which::Walk), 0);
        let mut path = first.clone();
        loop {
            let body = &mut self.body;
            body.clear();
            self.connection.fetch(&path, JSON, |piece| body.extend_from_slice(piece)).await?;
            rows += memmem::find_iter(body, br#","kind":"PolicyReport","#).count() as u64;
            match token(body)? {
                Some(token) => path = format!("{first}&continue={token}"),
                None => return Ok(rows),
            }
        }
    }

    fn check(&self, which: Which, reports: &HashMap<String, u64>) -> anyhow::Result<()> {
        if which == Which::Table {
            return self.check_table(reports);
        }
        let list: ListBody<'_> = serde_json::from_slice(&self.body)?;
        ensure!(list.kind == "PolicyReportList", "not a list of reports but {}", list.kind);
        ensure!(list.items.len() as u64 == self.rows(which), "{} reports", list.items.len());
        let mut last = String::new();
        for (number, item) in list.items.iter().enumerate() {
            let key = self.check_item(which, item, reports, number % COMPARED == 0)?;
            ensure!(last < key, "{key} behind {last}");
            last = key;
        }
        Ok(())
    }

    fn check_item(
        &self,
        which: Which,
        item: &RawValue,
        reports: &HashMap<String, u64>,
        compares: bool,
    ) -> anyhow::Result<String> {
        #[derive(Deserialize)]
        struct Item {
            metadata: Named,
        }
        #[derive(Deserialize)]
        struct Named {
            namespace: String,
            name: String,
        }
        let Item { metadata: Named { namespace, name } } = serde_json::from_str(item.get())?;
        let report = *reports.get(&name).with_context(|| format!("{name} was never sent"))?;
        ensure!(namespace == workload::namespace(report), "{name} is in {namespace}");
        ensure!(which != Which::Labelled || workload::is_selected(report), "{name} was not selected");
        ensure!(which != Which::Namespace || namespace == self.namespace, "{name} is in {namespace}");
        if compares {
            request::check(&serde_json::from_str(item.get())?, Turn::first(report))?;
        }
        Ok(format!("{namespace}/{name}"))
    }

    fn check_table(&self, reports: &HashMap<String, u64>) -> anyhow::Result<()> {
        let table: TableBody = serde_json::from_slice(&self.body)?;
        ensure!(table.kind == "Table", "not a table but {}", table.kind);
        ensure!(table.rows.len() as u64 == self.rows(Which::Table), "{} rows", table.rows.len());
        ensure!(table.columns.len() > 2, "columns: {:?}", table.columns);
        for (number, TableRow { cells, object }) in table.rows.iter().enumerate() {
            ensure!(cells.len() == table.columns.len(), "cells: {cells:?}");
            let name = cells[0].as_str().context("a row without a name")?;
            let report = *reports.get(name).with_context(|| format!("{name} was never sent"))?;
            if number % COMPARED == 0 {
                request::check_metadata(&object["metadata"], report)?;
            }
        }
        Ok(())
    }
}

/// What to go on with behind a page.
fn token(page: &[u8]) -> anyhow::Result<Option<&str>> {
    const FIELD: &[u8] = br#""continue":""#;
    let Some(start) = memmem::find(page, FIELD).map(|it| it + FIELD.len()) else { return Ok(None) };
    let length = memchr::memchr(b'"', &page[start..]).context("a token without an end")?;
    let token = std::str::from_utf8(&page[start..start + length])?;
    Ok(Some(token).filter(|it| !it.is_empty()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_last_page_has_no_token() {
        assert_eq!(token(br#"{"metadata":{"continue":"abc","x":1}}"#).unwrap(), Some("abc"));
        assert_eq!(token(br#"{"metadata":{"continue":""}}"#).unwrap(), None);
        assert_eq!(token(br#"{"metadata":{}}"#).unwrap(), None);
        token(br#"{"metadata":{"continue":"abc"#).unwrap_err();
    }
}
