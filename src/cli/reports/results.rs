//! `larder reports results`: what policies found, from the policy reports that the API server keeps in this database.

use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use larder_apiserver::results::{Count, Filter, Found, Group, Outcome, Questions, ResultsError, Severity};
use larder_apiserver::store::StoreError;
use larder_client::schema;
use larder_wire::Value;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::find::{PAGE, SHOWN};
use super::{place, time};
use crate::cli::Failure;
use crate::cli::connect::Connect;
use crate::cli::output::Sink;
use crate::cli::output::listing::{Record, Show};

/// Lists the results of policy reports, newest first, or counts them.
#[derive(Debug, Args)]
pub(crate) struct Results {
    #[command(flatten)]
    which: Which,
    /// Count those that have these in common, as policy,namespace; the most first.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FIELD")]
    count_by: Vec<GroupName>,
    /// How many [default: 100 in a table, otherwise all].
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Begin where the page before said.
    #[arg(long, value_name = "TEXT")]
    after: Option<String>,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    connect: Connect,
}

/// Which results are meant. Given again, or with commas, either value will do.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Which results")]
struct Which {
    /// Of this policy.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    policy: Vec<String>,
    /// Of this rule.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    rule: Vec<String>,
    /// About what is in this namespace; '' for what is in none.
    #[arg(long, short, value_delimiter = ',', value_name = "NAMESPACE")]
    namespace: Vec<String>,
    /// Of this severity.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SEVERITY")]
    severity: Vec<SeverityName>,
    /// Of this severity or a worse one.
    #[arg(long, value_enum, value_name = "SEVERITY")]
    min_severity: Option<SeverityName>,
    /// With this outcome.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "RESULT")]
    result: Vec<OutcomeName>,
    /// From this source, as kyverno.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    source: Vec<String>,
    /// Of this category. It may have commas in it.
    #[arg(long, value_name = "NAME")]
    category: Vec<String>,
    /// About this kind of thing, as Deployment.
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    kind: Vec<String>,
    /// About things of this name.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    name: Vec<String>,
    /// In reports of this resource, as policyreports.wgpolicyk8s.io.
    #[arg(long, value_delimiter = ',', value_name = "RESOURCE")]
    report: Vec<String>,
    /// Checked then or later: a time, a date, or an age as 7d.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    since: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SeverityName {
    Critical,
    High,
    Medium,
    Low,
    Info,
    /// Where none is given.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutcomeName {
    Pass,
    Fail,
    Warn,
    Error,
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GroupName {
    Policy,
    Rule,
    Namespace,
    Kind,
    Severity,
    Result,
    Source,
    Category,
}

/// A result.
#[derive(Debug, Serialize)]
struct Line {
    at: Option<String>,
    result: &'static str,
    severity: &'static str,
    policy: String,
    rule: String,
    kind: String,
    namespace: String,
    name: String,
    category: String,
    source: String,
    scored: bool,
    message: String,
    report_resource: String,
    report_namespace: String,
    report: String,
}

/// How many have something in common.
#[derive(Debug)]
struct Tally<'g> {
    groups: &'g [GroupName],
    count: Count,
}

impl Results {
    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        let mut seen = Vec::new();
        self.count_by.retain(|it| {
            !seen.contains(it) && {
                seen.push(*it);
                true
            }
        });
        let questions = questions(&self.connect).await?;
        let mut sink = Sink::stdout();
        let all = if self.show.as_table(&sink) { SHOWN } else { usize::MAX };
        let left = self.limit.unwrap_or(all);
        if self.count_by.is_empty() {
            self.list(&questions, left, &mut sink).await
        } else {
            self.count(&questions, left, &mut sink).await
        }
    }

    async fn list(&self, questions: &Questions, mut left: usize, sink: &mut Sink) -> Result<(), Failure> {
        let (filter, mut after) = (self.which.filter(), self.after.clone());
        let mut list = self.show.list::<Line>(sink);
        while left > 0 && !list.is_full() {
            let page = questions.list(&filter, after.as_deref(), left.min(PAGE)).await.map_err(failure)?;
            left -= page.rows.len().min(left);
            page.rows.into_iter().try_for_each(|it| list.add(&Line::from(it)))?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        list.finish_page("result", None, more(after).as_deref())
    }

    async fn count(&self, questions: &Questions, mut left: usize, sink: &mut Sink) -> Result<(), Failure> {
        let (filter, mut after) = (self.which.filter(), self.after.clone());
        let groups: Vec<Group> = self.count_by.iter().copied().map(Group::from).collect();
        let names = self.count_by.iter().map(|it| it.name());
        let columns: Vec<&str> = Tally::COLUMNS.iter().copied().chain(names).collect();
        let mut list = self.show.list_of(&columns, sink);
        while left > 0 && !list.is_full() {
            let page = questions.counts(&filter, &groups, after.as_deref(), left.min(PAGE)).await;
            let page = page.map_err(failure)?;
            left -= page.counts.len().min(left);
            let mut tallies = page.counts.into_iter().map(|count| Tally { groups: &self.count_by, count });
            tallies.try_for_each(|it| list.add(&it))?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        list.finish_page("count", None, more(after).as_deref())
    }
}

fn more(after: Option<String>) -> Option<String> {
    after.map(|it| format!("more with --after {it}, or with --limit"))
}

/// The first version of the tables that has results.
const RESULTS: i64 = 3;

async fn questions(connect: &Connect) -> Result<Questions, Failure> {
    let database = place::store(connect)?.database().clone();
    if schema::verify(&*database).await? < RESULTS {
        let missing = "there are no results in this database: no API server of this release has worked on it";
        return Err(Failure::Other(anyhow::anyhow!(missing)));
    }
    let questions = Questions::new(database);
    Ok(match connect.timeout_ms() {
        Some(patience) => questions.with_patience(Duration::from_millis(patience)),
        None => questions,
    })
}

fn failure(error: ResultsError) -> Failure {
    match error {
        ResultsError::Cursor => Failure::Usage("--after: that is the end of another page".to_owned()),
        ResultsError::TooMany(_) => Failure::Usage(error.to_string()),
        ResultsError::Store(StoreError::Database(error)) => error.into(),
        other => Failure::Other(other.into()),
    }
}

impl Which {
    fn filter(&self) -> Filter {
        Filter {
            policies: self.policy.clone(),
            rules: self.rule.clone(),
            namespaces: self.namespace.clone(),
            severities: self.severity.iter().copied().map(Severity::from).collect(),
            severity_at_least: self.min_severity.map(Severity::from),
            results: self.result.iter().copied().map(Outcome::from).collect(),
            sources: self.source.clone(),
            categories: self.category.clone(),
            kinds: self.kind.clone(),
            names: self.name.clone(),
            reports: self.report.clone(),
            since: self.since.map(Timestamp::as_second),
        }
    }
}

impl From<SeverityName> for Severity {
    fn from(name: SeverityName) -> Self {
        match name {
            SeverityName::Critical => Self::Critical,
            SeverityName::High => Self::High,
            SeverityName::Medium => Self::Medium,
            SeverityName::Low => Self::Low,
            SeverityName::Info => Self::Info,
            SeverityName::None => Self::None,
        }
    }
}

impl From<OutcomeName> for Outcome {
    fn from(name: OutcomeName) -> Self {
        match name {
            OutcomeName::Pass => Self::Pass,
            OutcomeName::Fail => Self::Fail,
            OutcomeName::Warn => Self::Warn,
            OutcomeName::Error => Self::Error,
            OutcomeName::Skip => Self::Skip,
        }
    }
}

impl GroupName {
    fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Rule => "rule",
            Self::Namespace => "namespace",
            Self::Kind => "kind",
            Self::Severity => "severity",
            Self::Result => "result",
            Self::Source => "source",
            Self::Category => "category",
        }
    }
}

impl From<GroupName> for Group {
    fn from(name: GroupName) -> Self {
        match name {
            GroupName::Policy => Self::Policy,
            GroupName::Rule => Self::Rule,
            GroupName::Namespace => Self::Namespace,
            GroupName::Kind => Self::Kind,
            GroupName::Severity => Self::Severity,
            GroupName::Result => Self::Result,
            GroupName::Source => Self::Source,
            GroupName::Category => Self::Category,
        }
    }
}

impl From<Found> for Line {
    fn from(it: Found) -> Self {
        let Found { report_resource, report, row } = it;
        Self {
            at: checked(row.at),
            result: row.result.name(),
            severity: row.severity.name(),
            policy: row.policy,
            rule: row.rule,
            kind: row.kind,
            namespace: row.namespace,
            name: row.name,
            category: row.category,
            source: row.source,
            scored: row.scored,
            message: row.message,
            report_resource,
            report_namespace: report.namespace,
            report: report.name,
        }
    }
}

/// When something was checked; `None` where nobody said so.
fn checked(second: i64) -> Option<String> {
    (second > 0).then(|| time::of_second(second)).flatten()
}

fn shown(time: Option<&str>) -> Value {
    time.map_or_else(|| "-".to_owned(), time::of_text).into()
}

impl Record for Line {
    const COLUMNS: &'static [&'static str] =
        &["checked at", "result", "severity", "policy", "rule", "namespace", "kind", "name", "message"];

    fn cells(&self) -> Vec<Value> {
        let texts = [self.result, self.severity, &self.policy, &self.rule, &self.namespace];
        let others = [self.kind.as_str(), &self.name, &self.message];
        let texts = texts.into_iter().chain(others).map(Value::from);
        [shown(self.at.as_deref())].into_iter().chain(texts).collect()
    }
}

/// One object, the groups by their names.
impl Serialize for Tally<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("count", &self.count.count)?;
        map.serialize_entry("since", &checked(self.count.since))?;
        map.serialize_entry("latest", &checked(self.count.latest))?;
        for (group, value) in self.groups.iter().zip(&self.count.values) {
            map.serialize_entry(group.name(), value)?;
        }
        map.end()
    }
}

/// The columns of the groups follow.
impl Record for Tally<'_> {
    const COLUMNS: &'static [&'static str] = &["count", "since", "latest"];

    fn cells(&self) -> Vec<Value> {
        let count = i64::try_from(self.count.count).unwrap_or(i64::MAX).into();
        let times = [self.count.since, self.count.latest].map(|it| shown(checked(it).as_deref()));
        let values = self.count.values.iter().map(|it| it.as_str().into());
        [count].into_iter().chain(times).chain(values).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::listing::tests::{looks, on_terminal};
    use larder_apiserver::results::ResultRow;
    use larder_apiserver::store::Key;

    fn found(policy: &str, at: i64) -> Found {
        let row = ResultRow {
            policy: policy.to_owned(),
            rule: "autogen".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: "team-a".to_owned(),
            name: "web".to_owned(),
            severity: Severity::High,
            result: Outcome::Fail,
            at,
            message: "must not\u{1b}[31m run as root".to_owned(),
            ..ResultRow::default()
        };
        let report = Key { namespace: "team-a".to_owned(), name: "r".to_owned() };
        Found { report_resource: "policyreports.wgpolicyk8s.io".to_owned(), report, row }
    }

    #[test]
    fn results_on_a_terminal() {
        let shown = on_terminal(160, |show, sink| {
            let mut list = show.list::<Line>(sink);
            list.add(&Line::from(found("require-nonroot", 1_760_000_000))).expect("added");
            list.add(&Line::from(found("p", 0))).expect("added");
            list.finish_page("result", None, more(Some("abc".to_owned())).as_deref()).expect("finished");
        });
        looks(&shown, "results");
    }

    #[test]
    fn counts_on_a_terminal_and_in_a_pipe() {
        let groups = [GroupName::Policy, GroupName::Severity];
        let values = vec!["require-nonroot".to_owned(), "high".to_owned()];
        let count = Count { values, count: 7, since: 1_760_000_000, latest: 1_760_000_060 };
        let tally = Tally { groups: &groups, count };
        let shown = on_terminal(120, |show, sink| {
            let mut list = show.list_of(&["count", "since", "latest", "policy", "severity"], sink);
            list.add(&tally).expect("added");
            list.finish("count", None).expect("finished");
        });
        looks(&shown, "results-counted");
        assert_eq!(
            serde_json::to_string(&tally).expect("JSON"),
            r#"{"count":7,"since":"2025-10-09T08:53:20Z","latest":"2025-10-09T08:54:20Z","policy":"require-nonroot","severity":"high"}"#
        );
    }
}
