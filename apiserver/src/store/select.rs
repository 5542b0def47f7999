//! A selection, a page and a moment as SQL that uses an index.
//!
//! Rows come in the order of their keys, and none is sorted: keys are read off the index of keys, or off the index of terms, in which the objects
//! that have a term stand in the order of their keys too. Of the past there are two branches, which SQLite merges: what has not changed since, and
//! what was replaced since. The terms of the latter are in no index; they come with the row, and the caller decides.

use larder_client::wire::{Statement, Value};

use super::core::STANDING;
use super::key::namespace_bounds;
use super::row::number;
use super::sql::Sql;
use super::{ListQuery, Revision, Selection, Test, terms};

/// A term that all selected objects have, with one of these values: they can be found by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Driver {
    name: String,
    values: Vec<String>,
}

/// More values than that are tested and not searched for.
const BRANCHES: usize = 8;
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
pub(super) fn drivers(selection: &Selection) -> Vec<Driver> {
    if selection.namespace.is_some() && selection.name.is_some() {
        return Vec::new();
    }
    let labels = selection.labels.iter().filter_map(|it| match &it.test {
        Test::In(values) => Some((it.key.clone(), distinct(values))),
        _ => None,
    });
    let fields = selection.fields.iter().filter(|(_, equal, value)| *equal && !value.is_empty());
    let fields = fields.filter(|(path, ..)| !path.starts_with("metadata."));
    let fields = fields.map(|(path, _, value)| (terms::field(path), vec![value.clone()]));
    let found = labels.chain(fields).map(|(name, values)| Driver { name, values });
    found.filter(|it| (1..=BRANCHES).contains(&it.values.len())).take(TESTED).collect()
}

fn distinct(values: &[String]) -> Vec<String> {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.dedup();
    values
}

/// Asks how many objects each driver finds, up to a number from which on it does not matter.
pub(super) fn probe(resource: &str, drivers: &[Driver]) -> Vec<Statement> {
    let count = |driver: &Driver| {
        let mut sql = Sql::new(
            "SELECT count(*) FROM (SELECT 1 FROM term WHERE resource = ? AND name = ?",
            [resource.into(), driver.name.as_str().into()],
        );
        sql.append(one_of(" AND value", &driver.values));
        sql.push(" LIMIT 1000) found", []);
        sql.statement()
    };
    drivers.iter().map(count).collect()
}

fn one_of(what: &str, values: &[String]) -> Sql {
    let places = vec!["?"; values.len()].join(", ");
    Sql::new(&format!("{what} IN ({places})"), values.iter().map(|it| it.as_str().into()))
}

impl Select<'_> {
    /// Whether the caller has to decide for each row of the present, since SQL does not.
    fn leaves_to_caller(&self) -> bool {
        let selection = &self.query.selection;
        let by_label = selection.labels.iter().any(|it| match &it.test {
            Test::In(values) | Test::NotIn(values) => values.len() > BOUND,
            Test::Exists | Test::Absent => !self.reads_all(),
            Test::Greater(_) | Test::Less(_) => true,
        });
        let by_field = |(path, equal, value): &(String, bool, String)| {
            !equal || value.is_empty() || path.starts_with("metadata.")
        };
        let is_long = selection.labels.len() > TESTED || selection.fields.len() > TESTED;
        is_long || by_label || selection.fields.iter().any(by_field)
    }

    /// Whether nothing narrows the range of keys.
    fn reads_all(&self) -> bool {
        self.driver.is_none() && self.query.selection.namespace.is_none()
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
        let mut sql = Sql::default();
        match self.driver {
            None => sql.append(self.by_key()),
            Some(driver) => {
                for (index, value) in driver.values.iter().enumerate() {
                    sql.push(if index > 0 { " UNION ALL " } else { "" }, []);
                    sql.append(self.by_term(driver, value));
                }
            }
        }
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
        let mut sql = self.columns("o.key");
        sql.push(" FROM object o WHERE o.resource = ?", [self.resource.into()]);
        self.narrow(&mut sql, "o.key");
        sql
    }

    fn by_term(&self, driver: &Driver, value: &str) -> Sql {
        let mut sql = self.columns("t.key");
        // The order of a CROSS JOIN is kept: first the index, then the objects.
        sql.push(
            " FROM term t CROSS JOIN object o WHERE o.id = t.object AND t.resource = ? AND t.name = ? AND t.value = ?",
            [self.resource.into(), driver.name.as_str().into(), value.into()],
        );
        self.narrow(&mut sql, "t.key");
        sql
    }

    fn columns(&self, key: &str) -> Sql {
        let terms = if self.leaves_to_caller() { "o.terms" } else { "NULL" };
        Sql::new(&format!("SELECT {key}, o.revision, o.version, o.body, {terms}"), [])
    }

    /// What is required of an object of the present, as far as it is not left to the caller.
    fn narrow(&self, sql: &mut Sql, key: &str) {
        sql.append(self.keys(key));
        for requirement in self.query.selection.labels.iter().take(TESTED) {
            match &requirement.test {
                Test::In(values) if values.len() <= BOUND => {
                    self.having(sql, &requirement.key, values, key);
                }
                Test::NotIn(values) if values.len() <= BOUND => {
                    self.in_index(sql, "NOT EXISTS", &requirement.key, values, key);
                }
                Test::Exists if self.reads_all() => self.found(sql, "IN", &requirement.key),
                Test::Absent if self.reads_all() => self.found(sql, "NOT IN", &requirement.key),
                _ => {}
            }
        }
        for (path, equal, value) in self.query.selection.fields.iter().take(TESTED) {
            if *equal && !value.is_empty() && !path.starts_with("metadata.") {
                self.having(sql, &terms::field(path), std::slice::from_ref(value), key);
            }
        }
        if let Some(at) = self.at {
            sql.push(" AND o.revision <= ?", [number(at)]);
        }
    }

    /// What the driver finds has what it is found by; of others it is looked up.
    fn having(&self, sql: &mut Sql, name: &str, values: &[String], key: &str) {
        if self.driver.is_none_or(|it| it.name != name || it.values != distinct(values)) {
            self.in_index(sql, "EXISTS", name, values, key);
        }
    }

    /// One look into the index of terms for each value and object.
    fn in_index(&self, sql: &mut Sql, exists: &str, name: &str, values: &[String], key: &str) {
        sql.push(
            &format!(" AND {exists} (SELECT 1 FROM term x WHERE x.resource = ? AND x.name = ?"),
            [self.resource.into(), name.into()],
        );
        sql.append(one_of(" AND x.value", values));
        sql.push(&format!(" AND x.key = {key})"), []);
    }

    /// The plus keeps SQLite from beginning with the set, which is not in the order of keys.
    fn found(&self, sql: &mut Sql, is_in: &str, name: &str) {
        let set = format!(" AND +o.id {is_in} (SELECT object FROM term WHERE resource = ? AND name = ?)");
        sql.push(&set, [self.resource.into(), name.into()]);
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
            (Some(namespace), None) => {
                let (first, end) = namespace_bounds(namespace);
                sql.push(&format!(" AND {key} >= ? AND {key} < ?"), [first.into(), end.into()]);
            }
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

#[cfg(test)]
mod tests;
