//! Which assets, vulnerabilities and scores are meant, as flags.

use std::collections::HashSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use larder_client::reports::Severity;
use larder_client::reports::questions::{
    AssetFilter, FixFilter, Match, Published, View, VulnerabilityFilter,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::time;
use crate::cli::Failure;

/// Which assets a question is about.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Which assets")]
pub(super) struct Assets {
    /// FIELD=TEXT: is TEXT; FIELD~TEXT: contains it. Fields: namespace, service, image, os, node, name. Given again for the same field,
    /// either will do; for another, both have to hold.
    #[arg(long = "where", value_name = "FIELD=TEXT")]
    conditions: Vec<Condition>,
    /// Which kinds of them.
    #[arg(long, value_enum, default_value_t)]
    view: ViewName,
    /// Only reports whose keys stand in this file, one a line: what somebody may see.
    #[arg(long, value_name = "FILE")]
    allowed: Option<PathBuf>,
}

/// `namespace=default`, `image~nginx`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    field: Field,
    contains: bool,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Field {
    Namespace,
    Service,
    Image,
    Os,
    Node,
    Name,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ViewName {
    /// Every kind.
    #[default]
    All,
    /// Containers: workload/…
    Containers,
    /// Nodes and the orchestrator: host/…, platform/…
    Infrastructure,
    /// Images of registries: image/…
    Registry,
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = text.find(['=', '~']).ok_or("expected FIELD=TEXT or FIELD~TEXT")?;
        let field = Field::from_str(&text[..at], true)
            .map_err(|_| "the fields are namespace, service, image, os, node and name".to_owned())?;
        Ok(Self { field, contains: text[at..].starts_with('~'), text: text[at + 1..].to_owned() })
    }
}

impl Assets {
    pub(super) fn filter(&self) -> Result<AssetFilter, Failure> {
        let view = match self.view {
            ViewName::All => View::All,
            ViewName::Containers => View::Containers,
            ViewName::Infrastructure => View::Infrastructure,
            ViewName::Registry => View::Registry,
        };
        Ok(AssetFilter {
            view,
            namespace: self.matching(Field::Namespace)?,
            service: self.matching(Field::Service)?,
            image: self.matching(Field::Image)?,
            os: self.matching(Field::Os)?,
            node: self.matching(Field::Node)?,
            name: self.matching(Field::Name)?,
            allowed: self.allowed()?,
        })
    }

    fn matching(&self, field: Field) -> Result<Option<Match>, Failure> {
        let of_field = || self.conditions.iter().filter(move |it| it.field == field);
        let texts: Vec<String> = of_field().map(|it| it.text.clone()).collect();
        match (of_field().any(|it| it.contains), of_field().any(|it| !it.contains)) {
            (false, false) => Ok(None),
            (true, false) => Ok(Some(Match::Contains(texts))),
            (false, true) => Ok(Some(Match::Equals(texts))),
            (true, true) => Err(Failure::Usage("one field takes either = or ~, not both".to_owned())),
        }
    }

    fn allowed(&self) -> Result<Option<Arc<HashSet<String>>>, Failure> {
        let Some(file) = &self.allowed else { return Ok(None) };
        let text =
            std::fs::read_to_string(file).map_err(Failure::io(format!("reading {}", file.display())))?;
        // Some editors begin a file with a mark of its byte order.
        let keys = text
            .trim_start_matches('\u{feff}')
            .lines()
            .map(str::trim)
            .filter(|it| !it.is_empty())
            .map(str::to_owned);
        Ok(Some(Arc::new(keys.collect())))
    }
}

/// Which vulnerabilities a question is about.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Which vulnerabilities")]
pub(super) struct Vulnerabilities {
    /// Of these severities, as critical,high.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SEVERITY")]
    severity: Vec<SeverityName>,
    /// By whether the packages that have it can be mended.
    #[arg(long, value_enum, default_value_t)]
    fix: Fix,
    /// With a CVSS 2 score in this range: 7..10, 7.5.. or ..3.
    #[arg(long, value_name = "LOW..HIGH")]
    score: Option<Range>,
    /// With a CVSS 3 score in this range.
    #[arg(long, value_name = "LOW..HIGH")]
    score_v3: Option<Range>,
    /// Published before: a time, a date, or an age as 90d.
    #[arg(long, value_name = "TIME", value_parser = time::parse, conflicts_with = "published_after")]
    published_before: Option<Timestamp>,
    /// Published then or after.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    published_after: Option<Timestamp>,
    /// Changed after.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    modified_after: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SeverityName {
    Critical,
    High,
    Medium,
    Low,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Fix {
    /// Whether or not.
    #[default]
    Any,
    /// Some can.
    Some,
    /// None can.
    None,
    /// All can.
    All,
}

/// Scores from one to another, both included, in tenths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) low: u8,
    pub(super) high: u8,
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (low, high) = text.split_once("..").ok_or("expected LOW..HIGH")?;
        let end = |text: &str, open: u8| if text.is_empty() { Ok(open) } else { tenths(text) };
        let range = Self { low: end(low, 0)?, high: end(high, 100)? };
        if range.low <= range.high { Ok(range) } else { Err("the range is empty".to_owned()) }
    }
}

/// A score from 0 to 10, in tenths.
pub(super) fn tenths(text: &str) -> Result<u8, String> {
    let score: f64 = text.parse().map_err(|_| "expected a score from 0 to 10".to_owned())?;
    if (0.0..=10.0).contains(&score) {
        Ok((score * 10.0).round() as u8)
    } else {
        Err("a score goes from 0 to 10".to_owned())
    }
}

/// A score as people write it.
pub(super) fn score(tenths: u8) -> f64 {
    f64::from(tenths) / 10.0
}

impl Vulnerabilities {
    pub(super) fn filter(&self) -> VulnerabilityFilter {
        let range = |it: Option<Range>| it.map(|Range { low, high }| (low, high));
        let before = self.published_before.map(|it| Published::Before(it.as_second()));
        let after = self.published_after.map(|it| Published::After(it.as_second()));
        VulnerabilityFilter {
            fix: match self.fix {
                Fix::Any => FixFilter::All,
                Fix::Some => FixFilter::WithFix,
                Fix::None => FixFilter::WithoutFix,
                Fix::All => FixFilter::WithFixAll,
            },
            severities: severities(&self.severity),
            score: range(self.score),
            score_v3: range(self.score_v3),
            published: before.or(after),
            modified_after: self.modified_after.map(Timestamp::as_second),
        }
    }
}

pub(super) fn severities(names: &[SeverityName]) -> Vec<Severity> {
    let severity = |name: &SeverityName| match name {
        SeverityName::Critical => Severity::Critical,
        SeverityName::High => Severity::High,
        SeverityName::Medium => Severity::Medium,
        SeverityName::Low => Severity::Low,
    };
    names.iter().map(severity).collect()
}

/// A severity, as it is printed.
pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::High => "high",
        Severity::Medium => "medium",
        Severity::Low => "low",
    }
}

/// Where a page begins, as the page before it said: text that means nothing to anybody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor<T>(pub(super) T);

impl<T: DeserializeOwned> FromStr for Cursor<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let json = BASE64.decode(text).ok();
        let cursor = json.and_then(|it| serde_json::from_slice(&it).ok());
        cursor.map(Self).ok_or_else(|| "expected what the page before said".to_owned())
    }
}

/// The text of a cursor.
pub(super) fn cursor(cursor: &impl Serialize) -> Result<String, Failure> {
    let json = serde_json::to_vec(cursor).map_err(|error| Failure::Other(error.into()))?;
    Ok(BASE64.encode(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_as_they_are_typed() {
        let reads = |text: &str| text.parse::<Condition>().map(|it| (it.field, it.contains, it.text));
        assert_eq!(reads("namespace=a=b"), Ok((Field::Namespace, false, "a=b".to_owned())));
        assert_eq!(reads("Image~x=y~z"), Ok((Field::Image, true, "x=y~z".to_owned())));
        assert_eq!(reads("os="), Ok((Field::Os, false, String::new())));
        assert!(reads("namespace").is_err() && reads("color=red").is_err());
    }

    #[test]
    fn scores_and_ranges() {
        let range = |low, high| Ok(Range { low, high });
        assert_eq!("7..9.5".parse(), range(70, 95));
        assert_eq!("7.5..".parse(), range(75, 100));
        assert_eq!("..3".parse(), range(0, 30));
        for text in ["7", "9..7", "..11", "-1..", "a..b", "NaN..", "..inf"] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
        assert_eq!((tenths("8"), tenths("0.1"), tenths("10")), (Ok(80), Ok(1), Ok(100)));
    }

    #[test]
    fn a_cursor_comes_back() {
        let text = cursor(&("a", 7)).expect("text");
        assert_eq!(text.parse(), Ok(Cursor(("a".to_owned(), 7))));
        assert!("nonsense!".parse::<Cursor<u8>>().is_err() && "".parse::<Cursor<u8>>().is_err());
    }
}
