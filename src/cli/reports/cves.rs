//! `larder reports cves` and `cve`: vulnerabilities over all assets, and one of them.

use clap::{Args, ValueEnum};
use larder_client::reports::index::Kind;
use larder_client::reports::questions::{
    AssetFilter, Counted, Direction, Fix, Questions, QuickFilter, Score, Severities, Vulnerability,
    VulnerabilityCursor, VulnerabilityOrder, VulnerabilityQuery,
};
use larder_wire::Value;
use serde::Serialize;

use super::filter::{self, Assets, Cursor, Vulnerabilities, score};
use super::find::{self, Hit, SHOWN, questions};
use super::list::quoted;
use super::time;
use crate::cli::Failure;
use crate::cli::connect::Connect;
use crate::cli::output::Sink;
use crate::cli::output::listing::{Record, Show};

/// Vulnerabilities that are asked for at once: each page goes through all of them.
const PAGE: usize = 10_000;

/// Lists vulnerabilities with how many assets have each.
#[derive(Debug, Args)]
pub(crate) struct Cves {
    /// What they are sorted by.
    #[arg(long, value_enum, default_value = "impact")]
    order: OrderName,
    /// The least first.
    #[arg(long)]
    ascending: bool,
    /// Whose name, score or rating contains this.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    search: String,
    /// The score that --search looks at is that of CVSS 2, not 3.
    #[arg(long, requires = "search")]
    v2: bool,
    /// How many [default: 100 in a table, otherwise all].
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Begin where the page before said.
    #[arg(long, value_name = "TEXT")]
    after: Option<Cursor<VulnerabilityCursor>>,
    /// Only count them: all, those that --search finds, and by severity.
    #[arg(long)]
    count: bool,
    #[command(flatten)]
    vulnerabilities: Vulnerabilities,
    #[command(flatten)]
    assets: Assets,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    connect: Connect,
}

/// Shows one vulnerability and the assets that have it.
#[derive(Debug, Args)]
pub(crate) struct Cve {
    /// Its name, as CVE-2021-20530.
    name: String,
    /// How many assets are shown.
    #[arg(long, value_name = "N", default_value_t = SHOWN)]
    limit: usize,
    #[command(flatten)]
    assets: Assets,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OrderName {
    /// How many assets have it.
    Impact,
    /// The name.
    Name,
    /// The CVSS 2 score.
    Score,
    /// The CVSS 3 score.
    ScoreV3,
    /// When it was published.
    Published,
    /// How bad the distribution's feed rates it.
    FeedRating,
}

impl From<OrderName> for VulnerabilityOrder {
    fn from(name: OrderName) -> Self {
        match name {
            OrderName::Impact => Self::Impact,
            OrderName::Name => Self::Name,
            OrderName::Score => Self::Score,
            OrderName::ScoreV3 => Self::ScoreV3,
            OrderName::Published => Self::Published,
            OrderName::FeedRating => Self::FeedRating,
        }
    }
}

/// A vulnerability.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    severity: &'static str,
    score: f64,
    score_v3: f64,
    published: Option<String>,
    modified: Option<String>,
    feed_rating: String,
    fix: &'static str,
    assets: u64,
    workloads: u64,
    hosts: u64,
    platforms: u64,
    images: u64,
    others: u64,
}

#[derive(Debug, Serialize)]
struct Count {
    vulnerabilities: u64,
    matched: u64,
    critical: u64,
    high: u64,
    medium: u64,
    low: u64,
}

impl Cves {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let questions = questions(&self.connect).await?;
        let mut sink = Sink::stdout();
        let mut query = self.query()?;
        if self.count {
            let page = questions.vulnerabilities(&VulnerabilityQuery { limit: 1, ..query }).await?;
            return self.show.one(&Count::from(page.counted), &mut sink);
        }
        let all = if self.show.as_table(&sink) { SHOWN } else { usize::MAX };
        let mut left = self.limit.unwrap_or(all);
        let mut counted = Counted::default();
        let mut list = self.show.list::<Line>(&mut sink);
        while left > 0 && !list.is_full() {
            query.limit = left.min(PAGE);
            let page = questions.vulnerabilities(&query).await?;
            left -= page.rows.len().min(left);
            counted = page.counted;
            page.rows.into_iter().try_for_each(|it| list.add(&Line::from(it)))?;
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        let next = query.after.as_ref().map(filter::cursor).transpose()?;
        let more = next.map(|it| format!("more with --after {it}, or with --limit"));
        list.finish_page("vulnerability", Some(&note(&counted)), more.as_deref())
    }

    fn query(&self) -> Result<VulnerabilityQuery, Failure> {
        let score = if self.v2 { Score::V2 } else { Score::V3 };
        Ok(VulnerabilityQuery {
            assets: self.assets.filter()?,
            filter: self.vulnerabilities.filter(),
            quick: (!self.search.is_empty()).then(|| QuickFilter { text: self.search.clone(), score }),
            order: self.order.into(),
            direction: if self.ascending { Direction::Ascending } else { Direction::Descending },
            after: self.after.clone().map(|it| it.0),
            limit: PAGE,
        })
    }
}

/// How many there are. The severities are those of all, whatever is searched for.
fn note(counted: &Counted) -> String {
    let Severities { critical, high, medium, low } = counted.severities;
    let (total, matched) = (counted.total, counted.matched);
    let found = if matched == total { String::new() } else { format!("{matched} found, ") };
    format!(
        "{found}{total} in all; by severity: {critical} critical, {high} high, {medium} medium, {low} low"
    )
}

impl Cve {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let questions = questions(&self.connect).await?;
        let filter = self.assets.filter()?;
        let Some(line) = one(&questions, &self.name, &filter).await? else {
            return Err(Failure::Other(anyhow::anyhow!("no asset has {}", self.name)));
        };
        let mut sink = Sink::stdout();
        self.show.one(&line, &mut sink)?;
        let mut list = self.show.list::<Hit>(&mut sink);
        let (total, next) =
            find::affected(&questions, &self.name, &filter, None, self.limit, &mut list).await?;
        let note = next.map(|it| {
            format!("{total} in all; more with: find --cve {} --after {}", quoted(&self.name), quoted(&it))
        });
        list.finish("asset", note.as_deref())
    }
}

/// What is said of one vulnerability.
async fn one(questions: &Questions, name: &str, filter: &AssetFilter) -> Result<Option<Line>, Failure> {
    let quick = Some(QuickFilter { text: name.to_owned(), score: Score::V3 });
    let mut query =
        VulnerabilityQuery { assets: filter.clone(), quick, limit: PAGE, ..VulnerabilityQuery::default() };
    loop {
        let page = questions.vulnerabilities(&query).await?;
        if let Some(found) = page.rows.into_iter().find(|it| it.name == name) {
            return Ok(Some(found.into()));
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(None);
        }
    }
}

impl From<Vulnerability> for Line {
    fn from(it: Vulnerability) -> Self {
        let of = |kind: Kind| {
            let at = Kind::ALL.iter().position(|other| *other == kind);
            at.and_then(|at| it.assets.get(at)).copied().unwrap_or(0)
        };
        Self {
            severity: filter::severity(it.severity),
            score: score(it.score),
            score_v3: score(it.score_v3),
            published: it.published.and_then(time::of_second),
            modified: it.modified.and_then(time::of_second),
            feed_rating: it.feed_rating.clone(),
            fix: match it.fix {
                Fix::None => "none",
                Fix::Some => "some",
                Fix::All => "all",
            },
            assets: it.impact(),
            workloads: of(Kind::Workload),
            hosts: of(Kind::Host),
            platforms: of(Kind::Platform),
            images: of(Kind::Image),
            others: of(Kind::Other),
            name: it.name,
        }
    }
}

impl Record for Line {
    const COLUMNS: &'static [&'static str] =
        &["name", "severity", "score", "v3", "published", "rating", "fix", "assets"];

    fn cells(&self) -> Vec<Value> {
        vec![
            self.name.as_str().into(),
            self.severity.into(),
            self.score.into(),
            self.score_v3.into(),
            self.published.as_deref().and_then(|it| it.get(..10)).unwrap_or("-").into(),
            self.feed_rating.as_str().into(),
            self.fix.into(),
            i64::try_from(self.assets).unwrap_or(i64::MAX).into(),
        ]
    }
}

impl From<Counted> for Count {
    fn from(it: Counted) -> Self {
        let Severities { critical, high, medium, low } = it.severities;
        Self { vulnerabilities: it.total, matched: it.matched, critical, high, medium, low }
    }
}

impl Record for Count {
    const COLUMNS: &'static [&'static str] =
        &["vulnerabilities", "matched", "critical", "high", "medium", "low"];

    fn cells(&self) -> Vec<Value> {
        let counts = [self.vulnerabilities, self.matched, self.critical, self.high, self.medium, self.low];
        counts.into_iter().map(|it| i64::try_from(it).unwrap_or(i64::MAX).into()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_told_of_all_and_not_of_what_was_found() {
        let severities = Severities { critical: 1, high: 2, medium: 0, low: 0 };
        let counted = |matched| Counted { total: 3, matched, severities, ..Counted::default() };
        let all = "3 in all; by severity: 1 critical, 2 high, 0 medium, 0 low";
        assert_eq!(note(&counted(3)), all);
        assert_eq!(note(&counted(1)), format!("1 found, {all}"));
    }
}
