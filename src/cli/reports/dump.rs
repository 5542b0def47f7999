//! `larder reports dump`: every finding, a line each, as they come.

use std::collections::BTreeSet;

use clap::Args;
use larder_client::reports::Asset;
use larder_client::reports::questions::{FindingQuery, FindingRow, Score, ScoreRange};
use larder_wire::Value;
use serde::Serialize;

use super::filter::{self, Assets, Range, SeverityName};
use super::find::{PAGE, questions};
use super::time;
use crate::cli::Failure;
use crate::cli::connect::Connect;
use crate::cli::output::listing::{self, Listing, Record};
use crate::cli::output::{Sink, say};

/// Prints every finding: a line for each asset, vulnerability and package, as JSON or CSV.
#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// CSV with a header line, instead of a JSON object a line.
    #[arg(long)]
    csv: bool,
    /// Of these severities, as critical,high.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SEVERITY")]
    severity: Vec<SeverityName>,
    /// With a CVSS 2 score in this range: 7..10, 7.5.. or ..3.
    #[arg(long, value_name = "LOW..HIGH", conflicts_with = "score_v3")]
    score: Option<Range>,
    /// With a CVSS 3 score in this range.
    #[arg(long, value_name = "LOW..HIGH")]
    score_v3: Option<Range>,
    /// How many [default: all].
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    assets: Assets,
    #[command(flatten)]
    connect: Connect,
}

/// A finding on an asset.
#[derive(Debug, Serialize)]
struct Line<'r> {
    key: &'r str,
    scanned_at: String,
    #[serde(flatten)]
    asset: &'r Asset,
    vulnerability: &'r str,
    severity: &'static str,
    score: f64,
    score_v3: f64,
    package: &'r str,
    version: &'r str,
    fixed_version: &'r str,
    published: Option<String>,
    modified: Option<String>,
    feed_rating: &'r str,
    in_base: bool,
    file: &'r str,
}

impl Dump {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let questions = questions(&self.connect).await?;
        let mut query = self.query()?;
        let mut sink = Sink::stdout();
        let mut list = if self.csv { listing::csv::<Line<'_>>(&mut sink) } else { listing::json(&mut sink) };
        let mut left = self.limit.unwrap_or(usize::MAX);
        let mut unreadable = BTreeSet::new();
        while left > 0 {
            query.limit = left.min(PAGE);
            let page = questions.findings(&query).await?;
            left -= page.rows.len().min(left);
            page.rows.iter().try_for_each(|it| add(&mut list, it))?;
            for (key, reason) in page.unreadable {
                if unreadable.insert(key.clone()) {
                    say(&format!("note: {key} is left out, since its findings cannot be read: {reason}\n"));
                }
            }
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        list.finish("finding", None)?;
        match unreadable.len() {
            0 => Ok(()),
            count => Err(Failure::Other(anyhow::anyhow!("findings of {count} reports cannot be read"))),
        }
    }

    fn query(&self) -> Result<FindingQuery, Failure> {
        let of =
            |score, range: Option<Range>| range.map(|Range { low, high }| ScoreRange { score, low, high });
        Ok(FindingQuery {
            assets: self.assets.filter()?,
            severities: filter::severities(&self.severity),
            score: of(Score::V2, self.score).or(of(Score::V3, self.score_v3)),
            ..FindingQuery::default()
        })
    }
}

fn add(list: &mut Listing<'_>, FindingRow { asset, finding }: &FindingRow) -> Result<(), Failure> {
    // A score has one decimal; a float of 32 bits would show more of them as one of 64.
    let score = |it: f32| (f64::from(it) * 10.0).round() / 10.0;
    list.add(&Line {
        key: asset.key.as_str(),
        scanned_at: asset.scanned_at.to_string(),
        asset: &asset.asset,
        vulnerability: &finding.name,
        severity: filter::severity(finding.severity),
        score: score(finding.score),
        score_v3: score(finding.score_v3),
        package: &finding.package,
        version: &finding.version,
        fixed_version: &finding.fixed_version,
        published: finding.published.and_then(time::of_second),
        modified: finding.modified.and_then(time::of_second),
        feed_rating: &finding.feed_rating,
        in_base: finding.in_base,
        file: &finding.file,
    })
}

impl Record for Line<'_> {
    const COLUMNS: &'static [&'static str] = &[
        "key",
        "scanned_at",
        "name",
        "namespace",
        "service",
        "image",
        "os",
        "node",
        "repository",
        "tag",
        "vulnerability",
        "severity",
        "score",
        "score_v3",
        "package",
        "version",
        "fixed_version",
        "published",
        "modified",
        "feed_rating",
        "in_base",
        "file",
    ];

    fn cells(&self) -> Vec<Value> {
        let Asset { name, namespace, service, image, os, node, repository, tag } = self.asset;
        let time = |it: &Option<String>| it.as_deref().map_or(Value::Null, Value::from);
        vec![
            self.key.into(),
            self.scanned_at.as_str().into(),
            name.as_str().into(),
            namespace.as_str().into(),
            service.as_str().into(),
            image.as_str().into(),
            os.as_str().into(),
            node.as_str().into(),
            repository.as_str().into(),
            tag.as_str().into(),
            self.vulnerability.into(),
            self.severity.into(),
            self.score.into(),
            self.score_v3.into(),
            self.package.into(),
            self.version.into(),
            self.fixed_version.into(),
            time(&self.published),
            time(&self.modified),
            self.feed_rating.into(),
            i64::from(self.in_base).into(),
            self.file.into(),
        ]
    }
}
