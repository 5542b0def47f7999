//! Lists of assets: by name, by how bad they are, by when they were scanned. All of it is SQL on the columns of reports.

use jiff::Timestamp;
use larder_wire::{Request, Statement, Value};
use serde::{Deserialize, Serialize};

use super::asset::{AssetFindings, AssetSummary, COLUMNS, Severities};
use super::filter::{AssetFilter, Condition, Match};
use super::{Direction, Questions, Score};
use crate::reports::index::IndexError;
use crate::reports::index::fields::Fields;

/// A question for a page of assets.
#[derive(Clone, Debug)]
pub struct AssetQuery {
    /// Which assets.
    pub filter: AssetFilter,
    /// Only those of which some text contains this, whatever the case of ASCII letters. Empty: all.
    pub search: String,
    /// Only those with findings, or only those without.
    pub found: Option<bool>,
    /// By what they are sorted.
    pub order: AssetOrder,
    /// Which way.
    pub direction: Direction,
    /// Where the page begins: what the page before it says; `None` for the first.
    pub after: Option<AssetCursor>,
    /// How many rows the page has, at most.
    pub limit: usize,
}

impl Default for AssetQuery {
    fn default() -> Self {
        Self {
            filter: AssetFilter::default(),
            search: String::new(),
            found: None,
            order: AssetOrder::Key,
            direction: Direction::Ascending,
            after: None,
            limit: 100,
        }
    }
}

/// What assets are sorted by. Assets that are alike in it follow by their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AssetOrder {
    /// The report's key.
    Key,
    /// The name.
    Name,
    /// The repository.
    Repository,
    /// The operating system.
    Os,
    /// When it was scanned.
    ScannedAt,
    /// The bytes of the report.
    Size,
    /// Critical findings, then high, medium and low ones.
    Severity,
    /// All findings.
    Findings,
}

impl AssetOrder {
    /// The columns that it compares before the key; whether they are texts.
    fn columns(self) -> (&'static [&'static str], bool) {
        match self {
            Self::Key => (&[], true),
            Self::Name => (&["name"], true),
            Self::Repository => (&["repository"], true),
            Self::Os => (&["os"], true),
            Self::ScannedAt => (&["scanned_at"], false),
            Self::Size => (&["size"], false),
            Self::Severity => (&["critical", "high", "medium", "low"], false),
            Self::Findings => (&["critical + high + medium + low"], false),
        }
    }

    fn cursor(self, row: &AssetSummary) -> AssetCursor {
        let Severities { critical, high, medium, low } = row.findings;
        let (numbers, text): (Vec<u64>, &str) = match self {
            Self::Key => (vec![], ""),
            Self::Name => (vec![], &row.asset.name),
            Self::Repository => (vec![], &row.asset.repository),
            Self::Os => (vec![], &row.asset.os),
            Self::ScannedAt => {
                let time = i64::try_from(row.scanned_at.as_nanosecond()).unwrap_or(i64::MAX);
                return AssetCursor { numbers: vec![time], text: String::new(), key: row.key.to_string() };
            }
            Self::Size => (vec![row.size], ""),
            Self::Severity => (vec![critical, high, medium, low], ""),
            Self::Findings => (vec![row.findings.total()], ""),
        };
        let numbers = numbers.into_iter().map(u64::cast_signed).collect();
        AssetCursor { numbers, text: text.to_owned(), key: row.key.to_string() }
    }
}

/// Where a page of assets ends. It can be kept and sent as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetCursor {
    numbers: Vec<i64>,
    text: String,
    key: String,
}

/// A page of assets.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<AssetCursor>,
}

/// All assets of a filter together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// How many they are.
    pub assets: u64,
    /// How many of them have findings.
    pub found: u64,
    /// Their findings.
    pub findings: Severities,
    /// When the last of them was scanned.
    pub newest: Option<Timestamp>,
}

/// Columns that a search looks through.
const SEARCHED: &[&str] =
    &["key", "name", "namespace", "service", "image", "os", "node", "repository", "tag", "scanner_version"];

impl Questions {
    /// A page of assets.
    ///
    /// # Errors
    /// Any [`IndexError`].
    pub async fn assets(&self, query: &AssetQuery) -> Result<Page<AssetSummary>, IndexError> {
        self.page(query, "", |row| Ok(AssetSummary::read(row)?.1), |it| it).await
    }

    /// A page of assets with everything that was found on each.
    ///
    /// # Errors
    /// Any [`IndexError`].
    pub async fn asset_findings(&self, query: &AssetQuery) -> Result<Page<AssetFindings>, IndexError> {
        self.page(query, ", findings", |row| Ok(AssetFindings::read(row)?.1), |it| &it.summary).await
    }

    /// The assets with the most findings.
    ///
    /// # Errors
    /// Any [`IndexError`].
    pub async fn top_assets(
        &self,
        filter: AssetFilter,
        limit: usize,
    ) -> Result<Vec<AssetSummary>, IndexError> {
        let (order, direction) = (AssetOrder::Findings, Direction::Descending);
        let query = AssetQuery { filter, order, direction, limit, ..AssetQuery::default() };
        Ok(self.assets(&query).await?.rows)
    }

    /// A page of the assets that have a finding with this score or a higher one, the worst first. `minimum` is in tenths.
    ///
    /// # Errors
    /// Any [`IndexError`].
    pub async fn scored_at_least(
        &self,
        score: Score,
        minimum: u8,
        filter: &AssetFilter,
        after: Option<&AssetCursor>,
        limit: usize,
    ) -> Result<Page<AssetSummary>, IndexError> {
        let column = score.column();
        let mut condition = filter.condition();
        condition.and(&format!("{column} >= ?"), [i64::from(minimum).into()]);
        if minimum == 0 {
            // Assets without findings have this score too.
            condition.and("critical + high + medium + low > 0", []);
        }
        let direction = Direction::Descending;
        begin_after(&mut condition, &[column], false, direction, after)?;
        let listing = Listing { condition, columns: vec![column], direction, limit };
        let cursor = |row: &AssetSummary| AssetCursor {
            numbers: vec![i64::from(score.of(row))],
            text: String::new(),
            key: row.key.to_string(),
        };
        self.list(listing, "", |row| Ok(AssetSummary::read(row)?.1), |it| it, cursor).await
    }

    /// All assets of a filter together.
    ///
    /// # Errors
    /// Any [`IndexError`].
    pub async fn overview(&self, filter: &AssetFilter) -> Result<Overview, IndexError> {
        let condition = filter.condition();
        let mut overview = Overview::default();
        let sql = if condition.is_complete() {
            "SELECT COUNT(*), COUNT(CASE WHEN critical + high + medium + low > 0 THEN 1 END), COALESCE(MAX(scanned_at), 0), \
             COALESCE(SUM(critical), 0), COALESCE(SUM(high), 0), COALESCE(SUM(medium), 0), COALESCE(SUM(low), 0), '' \
             FROM report"
        } else {
            "SELECT 1, CASE WHEN critical + high + medium + low > 0 THEN 1 ELSE 0 END, scanned_at, critical, high, medium, low, key FROM report"
        };
        let statement = Statement::with(format!("{sql} WHERE {}", condition.sql), condition.values.clone());
        let mut stream = self.database.stream(&Request::new([statement])).await?;
        while let Some(row) = stream.next().await? {
            let mut row = Fields::new(row);
            let (assets, found, newest) = (row.integer()?, row.integer()?, row.integer()?);
            let more = Severities::read(&mut row)?;
            if condition.admits(&row.text()?) || condition.is_complete() {
                overview.add(assets, found, newest, more)?;
            }
        }
        Ok(overview)
    }

    async fn page<T>(
        &self,
        query: &AssetQuery,
        more: &str,
        read: impl Fn(&mut Fields) -> Result<T, IndexError>,
        summary: impl Fn(&T) -> &AssetSummary,
    ) -> Result<Page<T>, IndexError> {
        let mut condition = query.filter.condition();
        if !query.search.is_empty() {
            condition.matches(SEARCHED, &Match::Contains(vec![query.search.clone()]));
        }
        if let Some(found) = query.found {
            let sql = if found {
                "critical + high + medium + low > 0"
            } else {
                "critical + high + medium + low = 0"
            };
            condition.and(sql, []);
        }
        let (columns, text) = query.order.columns();
        begin_after(&mut condition, columns, text, query.direction, query.after.as_ref())?;
        let listing =
            Listing { condition, columns: columns.to_vec(), direction: query.direction, limit: query.limit };
        self.list(listing, more, read, summary, |row| query.order.cursor(row)).await
    }

    async fn list<T>(
        &self,
        listing: Listing,
        more: &str,
        read: impl Fn(&mut Fields) -> Result<T, IndexError>,
        summary: impl Fn(&T) -> &AssetSummary,
        cursor: impl Fn(&AssetSummary) -> AssetCursor,
    ) -> Result<Page<T>, IndexError> {
        let mut stream = self.database.stream(&Request::new([listing.statement(more)])).await?;
        let mut page = Page { rows: Vec::new(), next: None };
        while let Some(row) = stream.next().await? {
            let row = read(&mut Fields::new(row))?;
            if !listing.condition.admits(summary(&row).key.as_str()) {
                continue;
            }
            if page.rows.len() == listing.limit {
                page.next = page.rows.last().map(|it| cursor(summary(it)));
                break;
            }
            page.rows.push(row);
        }
        Ok(page)
    }
}

impl Overview {
    fn add(&mut self, assets: i64, found: i64, newest: i64, more: Severities) -> Result<(), IndexError> {
        self.assets += assets.unsigned_abs();
        self.found += found.unsigned_abs();
        self.findings.critical += more.critical;
        self.findings.high += more.high;
        self.findings.medium += more.medium;
        self.findings.low += more.low;
        if assets > 0 {
            let time = Timestamp::from_nanosecond(i128::from(newest));
            self.newest = self.newest.max(Some(time.map_err(|_| IndexError::Shape("a time is none"))?));
        }
        Ok(())
    }
}

/// A page in SQL.
struct Listing {
    condition: Condition,
    columns: Vec<&'static str>,
    direction: Direction,
    limit: usize,
}

impl Listing {
    /// Rows are picked and sorted by their small columns alone; what is large is read for those of the page.
    fn statement(&self, more: &str) -> Statement {
        let way = self.direction.sql();
        let order: Vec<_> = self.columns.iter().chain([&"key"]).map(|it| format!("{it} {way}")).collect();
        let order = order.join(", ");
        let mut values = self.condition.values.clone();
        let mut rest = format!("FROM report WHERE {} ORDER BY {order}", self.condition.sql);
        if self.condition.is_complete() {
            rest.push_str(" LIMIT ?");
            values.push(i64::try_from(self.limit).unwrap_or(i64::MAX).saturating_add(1).into());
        }
        let sql = if more.is_empty() {
            format!("SELECT {COLUMNS} {rest}")
        } else {
            format!("SELECT {COLUMNS}{more} FROM report WHERE id IN (SELECT id {rest}) ORDER BY {order}")
        };
        Statement::with(sql, values)
    }
}

/// Leaves out what stands before a cursor.
fn begin_after(
    condition: &mut Condition,
    columns: &[&str],
    text: bool,
    direction: Direction,
    after: Option<&AssetCursor>,
) -> Result<(), IndexError> {
    let Some(AssetCursor { numbers, text: word, key }) = after else { return Ok(()) };
    let values: Vec<Value> = match (columns.len(), text) {
        (0, _) => vec![],
        (_, true) => vec![word.as_str().into()],
        (count, false) if count == numbers.len() => numbers.iter().map(|&it| it.into()).collect(),
        _ => return Err(IndexError::Cursor),
    };
    let marks = vec!["?"; columns.len() + 1].join(", ");
    let columns: Vec<&str> = columns.iter().copied().chain(["key"]).collect();
    let sign = if direction == Direction::Ascending { ">" } else { "<" };
    let values = values.into_iter().chain([key.as_str().into()]);
    condition.and(&format!("({}) {sign} ({marks})", columns.join(", ")), values);
    Ok(())
}
