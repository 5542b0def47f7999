//! `larder reports find` and `top`: assets, by what was found on them.

use clap::{Args, ValueEnum};
use larder_client::reports::questions::{
    Affected, AssetCursor, AssetFilter, AssetOrder, AssetQuery, AssetSummary, Direction, Page, Questions,
    Score,
};
use larder_client::reports::{Asset, Finding, ReportKey};
use larder_wire::Value;
use serde::Serialize;

use super::filter::{self, Assets, Cursor, score};
use super::list::quoted;
use super::{place, time};
use crate::cli::Failure;
use crate::cli::connect::Connect;
use crate::cli::output::Sink;
use crate::cli::output::listing::{Listing, Record, Show};

/// Lines that a table has, if nobody says how many.
pub(super) const SHOWN: usize = 100;
/// Lines that are asked for at once.
pub(super) const PAGE: usize = 1000;

/// Finds assets by what was found on them, without reading a single report.
#[derive(Debug, Args)]
pub(crate) struct Find {
    /// Those that have this vulnerability, and the packages that do. Not with --min-score, --search or --order.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["min_score", "search", "order"])]
    cve: Option<String>,
    /// Those with a finding of this score or a higher one, the worst first. Not with --search or --order.
    #[arg(long, value_name = "SCORE", value_parser = filter::tenths, conflicts_with_all = ["search", "order"])]
    min_score: Option<u8>,
    /// The score is that of CVSS 2.
    #[arg(long, requires = "min_score", conflicts_with = "v3")]
    v2: bool,
    /// The score is that of CVSS 3, as it is without this.
    #[arg(long, requires = "min_score")]
    v3: bool,
    /// Those of which some text contains this.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    search: String,
    /// Only those with findings (true), or only those without (false).
    #[arg(long, value_name = "BOOL")]
    found: Option<bool>,
    /// What they are sorted by.
    #[arg(long, value_enum, default_value = "key")]
    order: OrderName,
    /// The greatest first.
    #[arg(long)]
    descending: bool,
    /// How many [default: 100 in a table, otherwise all].
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Begin where the page before said; with --cve, behind this key.
    #[arg(long, value_name = "TEXT")]
    after: Option<String>,
    #[command(flatten)]
    assets: Assets,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    connect: Connect,
}

/// The assets with the most findings.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// How many.
    #[arg(long = "assets", value_name = "N", default_value_t = 5)]
    count: usize,
    #[command(flatten)]
    assets: Assets,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OrderName {
    /// The report's key.
    Key,
    /// The asset's name.
    Name,
    /// The repository of an image.
    Repository,
    /// The operating system.
    Os,
    /// When it was scanned.
    Scanned,
    /// The bytes of the report.
    Size,
    /// Critical findings, then high, medium and low ones.
    Severity,
    /// All findings.
    Findings,
}

impl From<OrderName> for AssetOrder {
    fn from(name: OrderName) -> Self {
        match name {
            OrderName::Key => Self::Key,
            OrderName::Name => Self::Name,
            OrderName::Repository => Self::Repository,
            OrderName::Os => Self::Os,
            OrderName::Scanned => Self::ScannedAt,
            OrderName::Size => Self::Size,
            OrderName::Severity => Self::Severity,
            OrderName::Findings => Self::Findings,
        }
    }
}

/// An asset.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    key: String,
    scanned_at: String,
    critical: u64,
    high: u64,
    medium: u64,
    low: u64,
    score: f64,
    score_v3: f64,
    asset: Asset,
}

/// An asset that has a vulnerability.
#[derive(Debug, Serialize)]
pub(super) struct Hit {
    key: String,
    scanned_at: String,
    severity: &'static str,
    score: f64,
    score_v3: f64,
    asset: Asset,
    packages: Vec<Package>,
}

#[derive(Debug, Serialize)]
struct Package {
    name: String,
    version: String,
    fixed_version: String,
}

impl Find {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let questions = questions(&self.connect).await?;
        let filter = self.assets.filter()?;
        let mut sink = Sink::stdout();
        let all = if self.show.as_table(&sink) { SHOWN } else { usize::MAX };
        let count = self.limit.unwrap_or(all);
        if let Some(cve) = &self.cve {
            let after = self.after.clone().map(ReportKey::new).transpose();
            let after = after.map_err(|error| Failure::Usage(format!("--after: {error}")))?;
            let mut list = self.show.list::<Hit>(&mut sink);
            let (total, next) = affected(&questions, cve, &filter, after, count, &mut list).await?;
            let note =
                next.map(|it| format!("{total} in all; more with --after {}, or with --limit", quoted(&it)));
            return list.finish_page("asset", None, note.as_deref());
        }
        let after = self.after.as_deref().map(str::parse::<Cursor<AssetCursor>>).transpose();
        let mut after = after.map_err(|error| Failure::Usage(format!("--after: {error}")))?.map(|it| it.0);
        let mut list = self.show.list::<Line>(&mut sink);
        let mut left = count;
        while left > 0 && !list.is_full() {
            let page = self.page(&questions, &filter, after.take(), left.min(PAGE)).await?;
            left -= page.rows.len().min(left);
            page.rows.into_iter().try_for_each(|it| list.add(&Line::from(it)))?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let next = after.as_ref().map(filter::cursor).transpose()?;
        let note = next.map(|it| format!("more with --after {it}, or with --limit"));
        list.finish_page("asset", None, note.as_deref())
    }

    async fn page(
        &self,
        questions: &Questions,
        filter: &AssetFilter,
        after: Option<AssetCursor>,
        limit: usize,
    ) -> Result<Page<AssetSummary>, Failure> {
        if let Some(minimum) = self.min_score {
            let score = if self.v2 { Score::V2 } else { Score::V3 };
            return Ok(questions.scored_at_least(score, minimum, filter, after.as_ref(), limit).await?);
        }
        let query = AssetQuery {
            filter: filter.clone(),
            search: self.search.clone(),
            found: self.found,
            order: self.order.into(),
            direction: if self.descending { Direction::Descending } else { Direction::Ascending },
            after,
            limit,
        };
        Ok(questions.assets(&query).await?)
    }
}

impl Top {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let rows = questions(&self.connect).await?.top_assets(self.assets.filter()?, self.count).await?;
        let mut sink = Sink::stdout();
        let mut list = self.show.list::<Line>(&mut sink);
        rows.into_iter().try_for_each(|it| list.add(&Line::from(it)))?;
        list.finish("asset", None)
    }
}

/// Who is asked. Says first how many reports no answer can speak of.
pub(super) async fn questions(connect: &Connect) -> Result<Questions, Failure> {
    let store = place::verified(connect).await?;
    place::tell_closed(&store).await?;
    Ok(Questions::new(store.database().clone()))
}

/// Adds the assets that have a vulnerability; says how many there are, and behind which key there are more than `count`.
pub(super) async fn affected(
    questions: &Questions,
    cve: &str,
    filter: &AssetFilter,
    after: Option<ReportKey>,
    count: usize,
    list: &mut Listing<'_>,
) -> Result<(u64, Option<String>), Failure> {
    let mut after = after.map(|it| it.to_string());
    let (mut left, mut total) = (count, 0);
    while left > 0 && !list.is_full() {
        let page = questions.affected(cve, filter, after.as_deref(), left.min(PAGE)).await?;
        (total, after) = (page.total, page.next);
        left -= page.rows.len().min(left);
        page.rows.into_iter().try_for_each(|it| list.add(&Hit::from(it)))?;
        if after.is_none() {
            break;
        }
    }
    Ok((total, after))
}

impl From<AssetSummary> for Line {
    fn from(it: AssetSummary) -> Self {
        Self {
            key: it.key.to_string(),
            scanned_at: it.scanned_at.to_string(),
            critical: it.findings.critical,
            high: it.findings.high,
            medium: it.findings.medium,
            low: it.findings.low,
            score: score(it.score),
            score_v3: score(it.score_v3),
            asset: it.asset,
        }
    }
}

impl Record for Line {
    const COLUMNS: &'static [&'static str] =
        &["key", "name", "scanned at", "critical", "high", "medium", "low", "score", "v3"];

    fn cells(&self) -> Vec<Value> {
        let number = |it: u64| Value::Integer(i64::try_from(it).unwrap_or(i64::MAX));
        vec![
            self.key.as_str().into(),
            self.asset.name.as_str().into(),
            time::of_text(&self.scanned_at).into(),
            number(self.critical),
            number(self.high),
            number(self.medium),
            number(self.low),
            self.score.into(),
            self.score_v3.into(),
        ]
    }
}

impl From<Affected> for Hit {
    fn from(Affected { summary, findings }: Affected) -> Self {
        let package =
            |it: Finding| Package { name: it.package, version: it.version, fixed_version: it.fixed_version };
        let worst = |of: fn(&Finding) -> f32| {
            findings.iter().map(|it| (f64::from(of(it)) * 10.0).round() / 10.0).fold(0.0, f64::max)
        };
        let severity = findings.iter().map(|it| it.severity).max().unwrap_or_default();
        Self {
            key: summary.key.to_string(),
            scanned_at: summary.scanned_at.to_string(),
            severity: filter::severity(severity),
            score: worst(|it| it.score),
            score_v3: worst(|it| it.score_v3),
            asset: summary.asset,
            packages: findings.into_iter().map(package).collect(),
        }
    }
}

impl Record for Hit {
    const COLUMNS: &'static [&'static str] =
        &["key", "name", "scanned at", "severity", "score", "v3", "package", "version", "fixed in"];

    fn cells(&self) -> Vec<Value> {
        let lines = |text: fn(&Package) -> &str| {
            Value::from(self.packages.iter().map(text).collect::<Vec<_>>().join("\n"))
        };
        vec![
            self.key.as_str().into(),
            self.asset.name.as_str().into(),
            time::of_text(&self.scanned_at).into(),
            self.severity.into(),
            self.score.into(),
            self.score_v3.into(),
            lines(|it| &it.name),
            lines(|it| &it.version),
            lines(|it| if it.fixed_version.is_empty() { "-" } else { &it.fixed_version }),
        ]
    }
}
