//! Questions about results.
//!
//! Every answer is of one snapshot that has the rows of everything that was written before the question was asked. If they are missing, the question makes
//! them, or, where it may not write, waits for who does.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use larder_client::database::Database;
use larder_client::wire::{Kind, Request, Statement, Value};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout_at};

use super::extract::ResultRow;
use super::extractor::{Extractor, Step};
use super::filter::{Filter, Outcome, Severity, VALUES};
use super::table::{self, STATE, State};
use super::{ResultsError, select};
use crate::store::{Core, Key, Revision, Row, StoreError, StoreOptions, damaged};

/// Asks about results.
#[derive(Clone)]
pub struct Questions {
    extractor: Arc<Extractor>,
    patience: Duration,
}

/// A result, and the report that it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The resource of the report, as `policyreports.wgpolicyk8s.io`.
    pub report_resource: String,
    /// The report.
    pub report: Key,
    /// The result.
    pub row: ResultRow,
}

/// A page of results, newest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// The revision up to which everything is taken into account.
    pub revision: Revision,
    /// The results.
    pub rows: Vec<Found>,
    /// Where the next page begins, if there may be more.
    pub next: Option<String>,
}

/// What results are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// The policy.
    Policy,
    /// The rule.
    Rule,
    /// Where what was checked is.
    Namespace,
    /// The kind of what was checked.
    Kind,
    /// How bad it is.
    Severity,
    /// What came of it.
    Result,
    /// Who checked.
    Source,
    /// What the policy belongs to.
    Category,
}

/// How many results have something in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// What it is, in the order of the groups that were asked for.
    pub values: Vec<String>,
    /// How many there are.
    pub count: u64,
    /// When the oldest of them was checked, in seconds since 1970.
    pub since: i64,
    /// When the newest was.
    pub latest: i64,
}

/// A page of counts, the most first.
#[derive(Clone, Debug)]
pub struct CountPage {
    /// The revision up to which everything is taken into account.
    pub revision: Revision,
    /// The counts.
    pub counts: Vec<Count>,
    /// Where the next page begins, if there may be more.
    pub next: Option<String>,
}

/// Where a list is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) at: i64,
    pub(super) object: u64,
    pub(super) position: u64,
}

/// Where counts are.
#[derive(Debug, Serialize, Deserialize)]
struct CountPlace {
    count: u64,
    values: Vec<Common>,
}

/// What results have in common, as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Common {
    Rank(i64),
    Text(String),
}

/// Rows of a page at most.
const LIMIT: usize = 10_000;
/// How long a question waits for rows, if nobody says how long.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often who may not write looks whether somebody who may has.
const LOOK: Duration = Duration::from_millis(50);

impl Questions {
    /// Asks a database in which a [`Store`](crate::store::Store) was opened at some time.
    #[must_use]
    pub fn new(database: Arc<dyn Database>) -> Self {
        Self::sharing(Arc::new(Extractor::new(Arc::new(Core::new(database, StoreOptions::default())))))
    }

    pub(super) fn sharing(extractor: Arc<Extractor>) -> Self {
        Self { extractor, patience: PATIENCE }
    }

    /// Waits so long, and no longer, for rows that are missing.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The results that are meant, newest first: `limit` of them, and no more than 10,000, behind where a page before ended.
    ///
    /// # Errors
    /// [`ResultsError::Behind`] and [`ResultsError::Incomplete`] if the answer would be out of date; [`ResultsError::Cursor`].
    pub async fn list(
        &self,
        filter: &Filter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, ResultsError> {
        check(filter)?;
        let after: Option<Place> = after.map(place).transpose()?;
        let limit = limit.clamp(1, LIMIT);
        let (revision, rows) = self.answer(select::list(filter, after.as_ref(), limit)).await?;
        let read: Vec<(Place, Found)> = rows.into_iter().map(found).collect::<Result<_, StoreError>>()?;
        let next = read.last().filter(|_| read.len() == limit).map(|(place, _)| cursor(place));
        Ok(Page { revision, rows: read.into_iter().map(|(_, found)| found).collect(), next })
    }

    /// How many of the results that are meant have the same policy, or namespace, or both, and so on; the most first. Limits as for
    /// [`Questions::list`]. With [`Filter::failing`]: what fails, where, since when.
    ///
    /// # Errors
    /// As for [`Questions::list`].
    pub async fn counts(
        &self,
        filter: &Filter,
        groups: &[Group],
        after: Option<&str>,
        limit: usize,
    ) -> Result<CountPage, ResultsError> {
        check(filter)?;
        let groups = if groups.is_empty() { &[Group::Result] } else { groups };
        let after: Option<CountPlace> = after.map(place).transpose()?;
        let values = after.as_ref().map(|it| bound(groups, &it.values)).transpose()?;
        let behind = after.as_ref().zip(values.as_deref()).map(|(it, values)| (it.count, values));
        let limit = limit.clamp(1, LIMIT);
        let (revision, rows) = self.answer(select::counts(filter, groups, behind, limit)).await?;
        let is_full = rows.len() == limit;
        let read = rows.into_iter().map(|row| counted(row, groups));
        let read: Vec<(CountPlace, Count)> = read.collect::<Result<_, StoreError>>()?;
        let next = read.last().filter(|_| is_full).map(|(place, _)| cursor(place));
        Ok(CountPage { revision, counts: read.into_iter().map(|(_, count)| count).collect(), next })
    }

    /// Makes the rows that are missing, up to the present; says which revision that is.
    ///
    /// # Errors
    /// As for [`Questions::list`].
    pub async fn catch_up(&self) -> Result<Revision, ResultsError> {
        self.answer(Statement::new("SELECT 1")).await.map(|(revision, _)| revision)
    }

    /// The rows of a statement, of a snapshot that has everything that was written before.
    async fn answer(&self, statement: Statement) -> Result<(Revision, Vec<Row>), ResultsError> {
        let deadline = Instant::now() + self.patience;
        let asked = table::state(&self.extractor.core).await?.latest;
        let request = Request::new([Statement::new(STATE), statement]);
        loop {
            let response = self.extractor.core.database.query(&request).await?;
            let mut results = response.results.into_iter();
            let mut state = results.next().into_iter().flat_map(|it| it.rows).map(Row::from);
            let mut state = state.next().ok_or_else(|| damaged("table extraction is empty"))?;
            let state = State::read(&mut state)?;
            if state.reaches(asked) {
                let rows = results.next().into_iter().flat_map(|it| it.rows).map(Row::from);
                return Ok((state.revision, rows.collect()));
            }
            match timeout_at(deadline, self.advance(asked)).await {
                // The rows are of another snapshot now, so the question is asked again.
                Ok(advanced) if Instant::now() < deadline => advanced?,
                Ok(_) | Err(_) => return Err(self.how_far(asked).await?),
            }
        }
    }

    /// Makes rows until they reach what was asked; or waits for somebody who may.
    async fn advance(&self, asked: Revision) -> Result<(), StoreError> {
        loop {
            match self.extractor.step().await {
                Ok(Step::Current) => return Ok(()),
                Ok(Step::Further) => {}
                Err(StoreError::Database(error)) if error.kind() == Some(Kind::Denied) => sleep(LOOK).await,
                Err(error) => return Err(error),
            }
            let state = table::state(&self.extractor.core).await?;
            if state.reaches(asked) {
                return Ok(());
            }
        }
    }

    async fn how_far(&self, asked: Revision) -> Result<ResultsError, StoreError> {
        let core = &self.extractor.core;
        let state = table::state(core).await?;
        if state.walked < table::WHOLE || state.is_lost() {
            let (objects, walked) =
                table::walked(core, if state.is_lost() { 0 } else { state.walked }).await?;
            return Ok(ResultsError::Incomplete { walked, objects });
        }
        let behind = table::behind(core, state.revision).await?;
        Ok(ResultsError::Behind { asked, reached: state.revision, behind })
    }
}

impl Group {
    pub(super) fn column(self) -> &'static str {
        match self {
            Self::Policy => "r.policy",
            Self::Rule => "r.rule",
            Self::Namespace => "r.namespace",
            Self::Kind => "r.kind",
            Self::Severity => "r.severity",
            Self::Result => "r.result",
            Self::Source => "r.source",
            Self::Category => "r.category",
        }
    }
}

fn check(filter: &Filter) -> Result<(), ResultsError> {
    if filter.is_too_long() { Err(ResultsError::TooMany(VALUES)) } else { Ok(()) }
}

/// The values of a cursor for SQL, if they are such as these groups have.
fn bound(groups: &[Group], values: &[Common]) -> Result<Vec<Value>, ResultsError> {
    let value = |(group, value): (&Group, &Common)| match (group, value) {
        (Group::Severity, Common::Rank(rank)) => Ok((*rank).into()),
        (Group::Severity, _) | (_, Common::Rank(_)) => Err(ResultsError::Cursor),
        (_, Common::Text(text)) => Ok(text.as_str().into()),
    };
    if groups.len() != values.len() {
        return Err(ResultsError::Cursor);
    }
    groups.iter().zip(values).map(value).collect()
}

fn place<T: DeserializeOwned>(text: &str) -> Result<T, ResultsError> {
    let json = BASE64.decode(text).map_err(|_| ResultsError::Cursor)?;
    serde_json::from_slice(&json).map_err(|_| ResultsError::Cursor)
}

fn cursor(place: &impl Serialize) -> String {
    BASE64.encode(serde_json::to_vec(place).expect("numbers and texts are JSON"))
}

/// Reads the columns of [`select::list`].
fn found(mut row: Row) -> Result<(Place, Found), StoreError> {
    let place = Place { at: row.integer()?, object: row.revision()?, position: row.revision()? };
    let (report_resource, report) = (row.text()?, Key::from(row.text()?.as_str()));
    let [policy, rule, kind, namespace, name] =
        [row.text()?, row.text()?, row.text()?, row.text()?, row.text()?];
    let (severity, result) = (Severity::ranked(row.integer()?), Outcome::of(&row.text()?));
    let (category, source) = (row.text()?, row.text()?);
    let (scored, message, at) = (row.integer()? != 0, row.text()?, place.at);
    let row = ResultRow {
        policy,
        rule,
        kind,
        namespace,
        name,
        severity,
        result,
        category,
        source,
        at,
        scored,
        message,
    };
    Ok((place, Found { report_resource, report, row }))
}

/// Reads the columns of [`select::counts`].
fn counted(mut row: Row, groups: &[Group]) -> Result<(CountPlace, Count), StoreError> {
    let (count, since, latest) = (row.revision()?, row.integer()?, row.integer()?);
    let mut stored = Vec::new();
    for group in groups {
        stored.push(match group {
            Group::Severity => Common::Rank(row.integer()?),
            _ => Common::Text(row.text()?),
        });
    }
    let shown = |value: &Common| match value {
        Common::Rank(rank) => Severity::ranked(*rank).name().to_owned(),
        Common::Text(text) => text.clone(),
    };
    let values = stored.iter().map(shown).collect();
    Ok((CountPlace { count, values: stored }, Count { values, count, since, latest }))
}
