//! Every finding, one row for each asset, vulnerability and package.
//!
//! Assets come in order of class, node, namespace, name and key, the findings of each in order of vulnerability, package and what else tells them
//! apart. Some assets at a time are read; one that changes while somebody pages through it is dumped as it is then.

use larder_wire::{Request, Statement};
use serde::{Deserialize, Serialize};

use super::Questions;
use super::Score;
use super::asset::{AssetFindings, AssetSummary, COLUMNS, findings};
use super::filter::{AssetFilter, Condition};
use crate::reports::index::IndexError;
use crate::reports::index::fields::Fields;
use crate::reports::{Finding, ReportKey, Severity, VulnerabilityId};

/// Assets that are read at once.
const ASSETS: i64 = 32;

/// A question for a page of findings.
#[derive(Clone, Debug)]
pub struct FindingQuery {
    /// Of which assets.
    pub assets: AssetFilter,
    /// Of one of these severities; empty: of any.
    pub severities: Vec<Severity>,
    /// With a score in this range.
    pub score: Option<ScoreRange>,
    /// Where the page begins: what the page before it says; `None` for the first.
    pub after: Option<FindingCursor>,
    /// How many rows the page has, at most.
    pub limit: usize,
}

impl Default for FindingQuery {
    fn default() -> Self {
        Self { assets: AssetFilter::default(), severities: Vec::new(), score: None, after: None, limit: 1000 }
    }
}

/// From which score to which, in tenths, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoreRange {
    /// Which score.
    pub score: Score,
    /// The least.
    pub low: u8,
    /// The greatest.
    pub high: u8,
}

/// Where a page of findings ends. It can be kept and sent as JSON.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FindingCursor {
    class: String,
    node: String,
    namespace: String,
    name: String,
    key: String,
    finding: (u64, Vec<String>),
}

/// A finding on an asset.
#[derive(Clone, Debug, PartialEq)]
pub struct FindingRow {
    /// The asset.
    pub asset: std::sync::Arc<AssetSummary>,
    /// What was found.
    pub finding: Finding,
}

/// A page of findings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FindingPage {
    /// The rows.
    pub rows: Vec<FindingRow>,
    /// Reports among these whose findings are damaged, and why: none of their rows are here. Where a page ends, one may come twice.
    pub unreadable: Vec<(ReportKey, String)>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<FindingCursor>,
}

impl Questions {
    /// A page of findings.
    ///
    /// # Errors
    /// Any [`IndexError`].
    pub async fn findings(&self, query: &FindingQuery) -> Result<FindingPage, IndexError> {
        let condition = query.condition();
        let mut page = FindingPage::default();
        let mut after = query.after.clone();
        loop {
            let mut stream =
                self.database.stream(&Request::new([assets(&condition, after.as_ref())])).await?;
            let mut seen = 0;
            while let Some(row) = stream.next().await? {
                seen += 1;
                let mut row = Fields::new(row);
                let (_, summary) = AssetSummary::read(&mut row)?;
                let end = cursor(&summary, (u64::MAX, Vec::new()));
                if condition.admits(summary.key.as_str()) {
                    match findings(&mut row)? {
                        Ok(findings) => {
                            let asset = AssetFindings { summary, findings };
                            if query.fill(&mut page, asset, after.as_ref()) {
                                return Ok(page);
                            }
                        }
                        Err(reason) => page.unreadable.push((summary.key, reason)),
                    }
                }
                after = Some(end);
            }
            if seen < ASSETS {
                return Ok(FindingPage { next: None, ..page });
            }
        }
    }
}

impl FindingQuery {
    /// Leaves out assets on which nothing can be found.
    fn condition(&self) -> Condition {
        let mut condition = self.assets.condition();
        let any: Vec<_> = self.severities.iter().map(|it| format!("{} > 0", column(*it))).collect();
        condition.and(
            if any.is_empty() {
                "findings IS NOT NULL".to_owned()
            } else {
                format!("({})", any.join(" OR "))
            }
            .as_str(),
            [],
        );
        if let Some(range) = self.score {
            condition.and(&format!("{} >= ?", range.score.column()), [i64::from(range.low).into()]);
        }
        condition
    }

    /// Adds the findings of an asset. True if the page is full and there is more.
    fn fill(&self, page: &mut FindingPage, asset: AssetFindings, after: Option<&FindingCursor>) -> bool {
        let AssetFindings { summary, findings } = asset;
        let summary = std::sync::Arc::new(summary);
        let mut wanted: Vec<_> = findings
            .into_iter()
            .filter(|it| self.admits(it))
            .map(|it| (cursor(&summary, position(&it)), it))
            .filter(|(place, _)| after.is_none_or(|after| place > after))
            .collect();
        wanted.sort_by(|one, two| one.0.cmp(&two.0));
        for (place, finding) in wanted {
            if page.rows.len() >= self.limit && page.next.as_ref() != Some(&place) {
                return true;
            }
            // Rows that are alike in everything stand on one page.
            page.next = Some(place);
            page.rows.push(FindingRow { asset: summary.clone(), finding });
        }
        false
    }

    fn admits(&self, finding: &Finding) -> bool {
        (self.severities.is_empty() || self.severities.contains(&finding.severity))
            && self.score.is_none_or(|range| {
                let score = match range.score {
                    Score::V2 => finding.score,
                    Score::V3 => finding.score_v3,
                };
                (range.low..=range.high).contains(&((score * 10.0).round() as u8))
            })
    }
}

fn cursor(asset: &AssetSummary, finding: (u64, Vec<String>)) -> FindingCursor {
    FindingCursor {
        class: asset.key.class().to_owned(),
        node: asset.asset.node.clone(),
        namespace: asset.asset.namespace.clone(),
        name: asset.asset.name.clone(),
        key: asset.key.to_string(),
        finding,
    }
}

/// Where a finding stands among those of its asset.
fn position(finding: &Finding) -> (u64, Vec<String>) {
    let id = VulnerabilityId::of(&finding.name).get();
    // Names that are no CVE's stand behind, by their text.
    let number = if id >> 63 == 0 { id } else { 1 << 63 };
    let parts = [&finding.name, &finding.package, &finding.version, &finding.fixed_version, &finding.file];
    (number, parts.map(Clone::clone).to_vec())
}

/// The next assets behind those that are done with; that in which the last page ended comes again.
fn assets(condition: &Condition, after: Option<&FindingCursor>) -> Statement {
    let order = "class, node, namespace, name, key";
    let mut condition = condition.clone();
    if let Some(FindingCursor { class, node, namespace, name, key, finding }) = after {
        let sign = if finding.0 == u64::MAX { ">" } else { ">=" };
        let values = [class, node, namespace, name, key].map(|it| it.as_str().into());
        condition.and(&format!("({order}) {sign} (?, ?, ?, ?, ?)"), values);
    }
    let mut values = condition.values;
    values.push(ASSETS.into());
    let sql = format!(
        "SELECT {COLUMNS}, findings FROM report WHERE id IN \
         (SELECT id FROM report WHERE {} ORDER BY {order} LIMIT ?) ORDER BY {order}",
        condition.sql
    );
    Statement::with(sql, values)
}

fn column(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}
