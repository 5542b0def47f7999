//! A selection, a page and a moment as SQL that uses an index.
//!
//! Rows come in the order of their keys, read off the index of keys. Where few objects have a term, their keys are collected first, off the index of
//! terms, which is by hash: so whatever it finds is tested like everything else, by the terms in the row. Of the past there are two branches, which
//! SQLite merges: what has not changed since, and what was replaced since. The terms of the latter come with the row, and the caller decides.

use larder_client::wire::{Statement, Value};

use super::core::STANDING;
use super::key::namespace_bounds;
use super::row::number;
use super::sql::Sql;
use super::{ListQuery, Requirement, Revision, Selection, Test, terms};

/// A term that all selected objects have, with one of these values: they can be found by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Driver {
    hashes: Vec<i64>,
}

/// Of more objects the keys are not collected, which takes memory: all objects are gone through, in the order of their keys.
const COLLECTED: u64 = 10_000;
/// More values than that are not even bound.
const BOUND: usize = 100;
/// More labels or fields than that are not tested in SQL: each makes the expression deeper, and SQLite takes no more than so many levels.
const TESTED: usize = 20;

/// The statements of one list.
pub(super) struct Select<'q> {
    pub(super) resource: &'q str,
    pub(super) query: &'q ListQuery,
    /// At this revision; otherwise at the latest.
    pub(super) at: Option<Revision>,
    pub(super) driver: Option<&'q Driver>,
    /// Whether all objects behind `after` are to be counted.
    pub(super) counts: bool,
}

/// Terms that the selected objects can be found by.
pub(super) fn drivers(resource: &str, selection: &Selection) -> Vec<Driver> {
    if selection.namespace.is_some() && selection.name.is_some() {
        return Vec::new();
    }
    let labels = selection.labels.iter().filter_map(|it| match &it.test {
        Test::In(values) => Some((it.key.clone(), values.as_slice())),
        _ => None,
    });
    let fields = selection
        .fields
        .iter()
        .filter(|(path, equal, value)| *equal && !value.is_empty() && !path.starts_with("metadata."));
    let fields = fields.map(|(path, _, value)| (terms::field(path), std::slice::from_ref(value)));
    let found = labels.chain(fields).filter(|(_, values)| (1..=BOUND).contains(&values.len()));
    let hashes =
        |name: &str, values: &[String]| values.iter().map(|it| terms::hash(resource, name, it)).collect();
    found.map(|(name, values)| Driver { hashes: hashes(&name, values) }).take(TESTED).collect()
}

/// Asks how many objects each driver finds, and last how many there are to go through without one: up to one more than is collected.
pub(super) fn probe(resource: &str, selection: &Selection, drivers: &[Driver]) -> Vec<Statement> {
    let counted = |found: Sql| {
        let mut sql = Sql::new("SELECT count(*) FROM (SELECT 1 FROM ", []);
        sql.append(found);
        sql.push(" LIMIT ?)", [number(COLLECTED + 1)]);
        sql.statement()
    };
    let by_term = drivers.iter().map(|it| it.found("term t"));
    let mut by_key = Sql::new("object o WHERE o.resource = ?", [resource.into()]);
    if let Some(namespace) = &selection.namespace {
        by_key.append(within(namespace, "o.key"));
    }
    by_term.chain([by_key]).map(counted).collect()
}

/// Which driver to use, if any, after the counts of [`probe`]: one that finds less than there is to go through, and so no more than is collected.
pub(super) fn choose(drivers: Vec<Driver>, counts: &[u64]) -> Option<Driver> {
    let all = counts.last()?;
    let (driver, found) = drivers.into_iter().zip(counts).min_by_key(|(_, found)| **found)?;
    (found < all).then_some(driver)
}

impl Driver {
    fn found(&self, term: &str) -> Sql {
        one_of(&format!("{term} WHERE t.hash"), self.hashes.iter().map(|it| Value::Integer(*it)))
    }
}

fn one_of(what: &str, values: impl ExactSizeIterator<Item = Value>) -> Sql {
    let places = vec!["?"; values.len()].join(", ");
    Sql::new(&format!("{what} IN ({places})"), values)
}

fn within(namespace: &str, key: &str) -> Sql {
    let (first, end) = namespace_bounds(namespace);
    Sql::new(&format!(" AND {key} >= ? AND {key} < ?"), [first.into(), end.into()])
}

/// Where in its terms an object has one; `None` if SQLite has no way to say it.
fn place(name: &str) -> Option<Value> {
    (!name.contains(['"', '\\'])).then(|| format!("$.\"{name}\"").into())
}

impl Select<'_> {
    /// Whether the caller has to decide for each row of the present, since SQL does not.
    fn leaves_to_caller(&self) -> bool {
        let Selection { labels, fields, .. } = &self.query.selection;
        labels.len() > TESTED
            || fields.len() > TESTED
            || labels.iter().any(|it| tested_label(it).is_none())
            || fields.iter().any(|it| tested_field(it).is_none())
    }

    /// One row: how `at` stands to the history, and how many objects there are, or NULL.
    pub(super) fn standing(&self) -> Statement {
        let at = number(self.at.unwrap_or(0));
        let mut sql = Sql::new(&format!("SELECT {STANDING}, "), [at.clone(), at]);
        if self.counts {
            sql.append(self.count());
        } else {
            sql.push("NULL", []);
        }
        sql.push(" FROM revision", []);
        sql.statement()
    }

    /// What is there now, less what was made since, and what was deleted since: all from indexes.
    fn count(&self) -> Sql {
        let mut sql = Sql::new("(SELECT count(*) FROM object o WHERE o.resource = ?", [self.resource.into()]);
        sql.append(self.keys("o.key"));
        let Some(at) = self.at.map(number) else {
            sql.push(")", []);
            return sql;
        };
        sql.push(
            " AND o.id <= ?) + (SELECT count(*) FROM change c WHERE c.resource = ?",
            [at.clone(), self.resource.into()],
        );
        sql.append(self.keys("c.key"));
        sql.push(
            " AND c.prev_revision IS NOT NULL AND +c.revision > ? AND c.object <= ? AND c.deleted = 1)",
            [at.clone(), at],
        );
        sql
    }

    /// The rows: key, revision, version, body, and the terms where the caller has to decide.
    pub(super) fn rows(&self, limit: Option<usize>) -> Statement {
        let mut sql = self.by_key();
        if let Some(at) = self.at {
            sql.push(" UNION ALL ", []);
            sql.append(self.replaced(at));
        }
        sql.push(" ORDER BY 1", []);
        let undecided = self.leaves_to_caller() || (self.at.is_some() && self.query.selection.needs_terms());
        if let (Some(limit), false) = (limit, undecided) {
            sql.push(" LIMIT ?", [Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX))]);
        }
        sql.statement()
    }

    fn by_key(&self) -> Sql {
        let terms = if self.leaves_to_caller() { "o.terms" } else { "NULL" };
        let columns = format!(
            "SELECT o.key, o.revision, o.version, o.body, {terms} FROM object o WHERE o.resource = ?"
        );
        let mut sql = Sql::new(&columns, [self.resource.into()]);
        match self.driver {
            None => sql.append(self.keys("o.key")),
            Some(driver) => {
                // The order of a CROSS JOIN is kept: first the index, then the objects. The set of keys is in their order.
                sql.append(driver.found(" AND o.key IN (SELECT i.key FROM term t CROSS JOIN object i"));
                sql.push(" AND i.id = t.object AND i.resource = ?", [self.resource.into()]);
                sql.append(self.keys("i.key"));
                sql.push(")", []);
            }
        }
        let Selection { labels, fields, .. } = &self.query.selection;
        let labels = labels.iter().take(TESTED).filter_map(tested_label);
        labels.chain(fields.iter().take(TESTED).filter_map(tested_field)).for_each(|it| sql.append(it));
        if let Some(at) = self.at {
            sql.push(" AND o.revision <= ?", [number(at)]);
        }
        sql
    }

    /// What was replaced since, and had been there at `at`. Where nothing was written since, it is not even looked for.
    fn replaced(&self, at: Revision) -> Sql {
        let terms = if self.query.selection.needs_terms() { "c.prev_terms" } else { "NULL" };
        let columns = format!("SELECT c.key, c.prev_revision, c.prev_version, c.prev_body, {terms}");
        let mut sql = Sql::new(&columns, []);
        sql.push(" FROM change c WHERE c.resource = ?", [self.resource.into()]);
        sql.append(self.keys("c.key"));
        sql.push(
            " AND c.prev_revision <= ? AND +c.revision > ? AND (SELECT latest FROM revision) > ?",
            [number(at), number(at), number(at)],
        );
        sql
    }

    /// The range of keys.
    fn keys(&self, key: &str) -> Sql {
        let mut sql = Sql::default();
        let Selection { namespace, name, .. } = &self.query.selection;
        if let Some(after) = &self.query.after {
            sql.push(&format!(" AND {key} > ?"), [after.to_string().into()]);
        }
        match (namespace, name) {
            (Some(namespace), Some(name)) => {
                let exact = super::Key { namespace: namespace.clone(), name: name.clone() };
                sql.push(&format!(" AND {key} = ?"), [exact.to_string().into()]);
            }
            (Some(namespace), None) => sql.append(within(namespace, key)),
            (None, Some(name)) => {
                let length = i64::try_from(name.chars().count()).unwrap_or(i64::MAX);
                sql.push(
                    &format!(" AND ({key} = ? OR substr({key}, length({key}) - ?) = ?)"),
                    [name.as_str().into(), length.into(), format!("/{name}").into()],
                );
            }
            (None, None) => {}
        }
        sql
    }
}

/// What is required of a label of an object of the present, if SQL can say it.
fn tested_label(requirement: &Requirement) -> Option<Sql> {
    let sql = |before: &str, after: &str, values: &[String]| {
        let mut sql = Sql::new(&format!(" AND {before}json_extract(o.terms, ?)"), [place(&requirement.key)?]);
        if values.is_empty() {
            sql.push(after, []);
        } else {
            sql.append(one_of(after, values.iter().map(|it| it.as_str().into())));
        }
        Some(sql)
    };
    match &requirement.test {
        Test::In(values) if (1..=BOUND).contains(&values.len()) => sql("", "", values),
        Test::NotIn(values) if (1..=BOUND).contains(&values.len()) => {
            let mut sql = sql("coalesce(", " NOT", values)?;
            sql.push(", 1)", []);
            Some(sql)
        }
        Test::Exists => sql("", " IS NOT NULL", &[]),
        Test::Absent => sql("", " IS NULL", &[]),
        _ => None,
    }
}

/// As [`tested_label`], of a field: one that is missing is empty.
fn tested_field((path, equal, value): &(String, bool, String)) -> Option<Sql> {
    let place = place(&terms::field(path)).filter(|_| !path.starts_with("metadata."))?;
    let comparison = if *equal { "=" } else { "<>" };
    let text = format!(" AND coalesce(json_extract(o.terms, ?), '') {comparison} ?");
    Some(Sql::new(&text, [place, value.as_str().into()]))
}

#[cfg(test)]
mod tests;
