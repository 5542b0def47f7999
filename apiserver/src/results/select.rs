//! A question as SQL that uses an index.
//!
//! A list comes newest first and sorts nothing: it is put together from the branches of one index, each of which has its rows in that order, and which
//! SQLite merges. What the index does not decide is tested row by row. Unary plus keeps SQLite from choosing another one.

use larder_client::wire::{Statement, Value};

use super::filter::Filter;
use super::questions::{Group, Place};
use crate::store::{Sql, number};

/// More values than that are tested and not searched for: each is a branch, for each outcome.
const BRANCHES: usize = 8;

/// Columns of a found row, in the order of [`super::questions`].
const COLUMNS: &str = "r.at, r.object, r.position, o.resource, o.key, r.policy, r.rule, r.kind, r.namespace, r.name, \
    r.severity, r.result, r.category, r.source, r.scored, r.message";

/// What one index is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driver {
    Name,
    Policy,
    Namespace,
    Severity,
}

impl Driver {
    fn of(filter: &Filter) -> Self {
        let is_few = |values: &[String]| (1..=BRANCHES).contains(&values.len());
        if is_few(&filter.names) {
            Self::Name
        } else if is_few(&filter.policies) {
            Self::Policy
        } else if is_few(&filter.namespaces) {
            Self::Namespace
        } else {
            Self::Severity
        }
    }

    /// What the branches of a list begin with.
    fn branches(self, filter: &Filter) -> Vec<Sql> {
        let texts = |values: &[String]| -> Vec<Value> {
            let mut values = values.to_vec();
            values.sort_unstable();
            values.dedup();
            values.into_iter().map(Value::Text).collect()
        };
        let (column, values) = match self {
            Self::Name => ("name", texts(&filter.names)),
            Self::Policy => ("policy", texts(&filter.policies)),
            Self::Namespace => ("namespace", texts(&filter.namespaces)),
            Self::Severity => {
                ("severity", filter.severities().into_iter().map(|it| it.rank().into()).collect())
            }
        };
        let branch = |value: &Value| Sql::new(&format!("r.{column} = ?"), [value.clone()]);
        if self == Self::Name {
            return values.iter().map(branch).collect();
        }
        let with = |value: &Value, outcome: &'static str| {
            let mut sql = branch(value);
            sql.push(" AND r.result = ?", [outcome.into()]);
            sql
        };
        let outcomes = filter.outcomes();
        values.iter().flat_map(|value| outcomes.iter().map(|it| with(value, it.name()))).collect()
    }
}

/// The rows behind a place, newest first.
pub(super) fn list(filter: &Filter, after: Option<&Place>, limit: usize) -> Statement {
    let driver = Driver::of(filter);
    let mut sql = Sql::default();
    for (index, branch) in driver.branches(filter).into_iter().enumerate() {
        sql.push(if index > 0 { " UNION ALL " } else { "" }, []);
        // The order of a CROSS JOIN is kept: first the index, then the reports.
        sql.push(
            &format!("SELECT {COLUMNS} FROM result r CROSS JOIN object o WHERE o.id = r.object AND "),
            [],
        );
        sql.append(branch);
        if let Some(after) = after {
            let place = [after.at.into(), number(after.object), number(after.position)];
            sql.push(" AND (r.at, r.object, r.position) < (?, ?, ?)", place);
        }
        sql.append(required(filter, Some(driver)));
        if !filter.reports.is_empty() {
            sql.append(one_of("o.resource", &filter.reports));
        }
    }
    if sql.is_empty() {
        return Statement::new("SELECT 1 WHERE 0");
    }
    sql.push(" ORDER BY 1 DESC, 2 DESC, 3 DESC LIMIT ?", [count(limit)]);
    sql.statement()
}

/// How many there are of each, the most first: the values of the groups, the count, the oldest and the newest.
pub(super) fn counts(
    filter: &Filter,
    groups: &[Group],
    after: Option<(u64, &[Value])>,
    limit: usize,
) -> Statement {
    let columns: Vec<&str> = groups.iter().map(|it| it.column()).collect();
    let columns = columns.join(", ");
    let mut sql = Sql::new(
        &format!("SELECT count(*) AS n, min(r.at), max(r.at), {columns} FROM result r WHERE 1 = 1"),
        [],
    );
    sql.append(required(filter, None));
    if !filter.reports.is_empty() {
        sql.push(" AND r.object IN (SELECT o.id FROM object o WHERE 1 = 1", []);
        sql.append(one_of("o.resource", &filter.reports));
        sql.push(")", []);
    }
    sql.push(&format!(" GROUP BY {columns}"), []);
    if let Some((least, values)) = after {
        let places = vec!["?"; values.len()].join(", ");
        sql.push(" HAVING n < ? OR n = ? AND ", [number(least), number(least)]);
        sql.push(&format!("({columns}) > ({places})"), values.iter().cloned());
    }
    sql.push(&format!(" ORDER BY n DESC, {columns} LIMIT ?"), [count(limit)]);
    sql.statement()
}

/// What is required of a row besides what the branch begins with. Without a driver SQLite may choose an index by it.
fn required(filter: &Filter, driver: Option<Driver>) -> Sql {
    let mut sql = Sql::default();
    let plus = if driver.is_some() { "+" } else { "" };
    let sets = [
        ("policy", &filter.policies, Driver::Policy),
        ("namespace", &filter.namespaces, Driver::Namespace),
        ("name", &filter.names, Driver::Name),
    ];
    for (column, values, of) in sets {
        if !values.is_empty() && driver != Some(of) {
            sql.append(one_of(&format!("{plus}r.{column}"), values));
        }
    }
    let others = [("rule", &filter.rules), ("kind", &filter.kinds)];
    let others = others.into_iter().chain([("source", &filter.sources), ("category", &filter.categories)]);
    for (column, values) in others.filter(|(_, values)| !values.is_empty()) {
        sql.append(one_of(&format!("r.{column}"), values));
    }
    if driver != Some(Driver::Severity) && filter.has_severity() {
        let ranks = filter.severities().into_iter().map(|it| it.rank().into()).collect();
        sql.append(either(&format!("{plus}r.severity"), ranks));
    }
    if matches!(driver, None | Some(Driver::Name)) && !filter.results.is_empty() {
        let names = filter.outcomes().into_iter().map(|it| it.name().into()).collect();
        sql.append(either(&format!("{plus}r.result"), names));
    }
    if let Some(since) = filter.since {
        sql.push(" AND r.at >= ?", [since.into()]);
    }
    sql
}

fn one_of(what: &str, values: &[String]) -> Sql {
    if let [value] = values {
        return Sql::new(&format!(" AND {what} = ?"), [value.as_str().into()]);
    }
    let values = serde_json::to_string(values).expect("texts are JSON");
    Sql::new(&format!(" AND {what} IN (SELECT value FROM json_each(?))"), [values.into()])
}

/// As [`one_of`], of the few values that a column may have.
fn either(what: &str, values: Vec<Value>) -> Sql {
    let places = vec!["?"; values.len()].join(", ");
    Sql::new(&format!(" AND {what} IN ({places})"), values)
}

fn count(limit: usize) -> Value {
    Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
