//! Result rows out of an object, by its shape: a list `results`, at the top or in `spec`, whose items have a `policy`.
//!
//! That is how the Policy Working Group's PolicyReport (`wgpolicyk8s.io`), OpenReports' Report and Kyverno's EphemeralReport look. Nothing is expected of the
//! rest: what is missing or of another type counts as not given, and an item without a policy is none. Everything is bounded, since anybody who
//! may write a report decides what stands in it.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::filter::{Outcome, Severity};

/// Bytes that a text of a row may have; the rest of it is cut off.
pub const TEXT: usize = 512;
/// Rows that one object may have,
const ROWS: usize = 10_000;
/// and bytes of text in them.
const BYTES: usize = 2 << 20;

/// One result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultRow {
    /// Which policy was applied. Never empty.
    pub policy: String,
    /// Which rule of it.
    pub rule: String,
    /// What kind of thing was checked.
    pub kind: String,
    /// Where that is; where the item does not say, where the report is.
    pub namespace: String,
    /// What it is called.
    pub name: String,
    /// How bad a failure is.
    pub severity: Severity,
    /// What came of it.
    pub result: Outcome,
    /// What the policy belongs to.
    pub category: String,
    /// Who checked.
    pub source: String,
    /// When, in seconds since 1970; otherwise when the object was created, otherwise 0.
    pub at: i64,
    /// Whether it counts.
    pub scored: bool,
    /// What is said about it.
    pub message: String,
}

/// The rows of an object, in the order of its items; and whether there would have been more than one object may have.
#[must_use]
pub fn extract(object: &Map<String, Value>) -> (Vec<ResultRow>, bool) {
    let spec = object.get("spec").and_then(Value::as_object);
    for part in [Some(object), spec].into_iter().flatten() {
        let items = part.get("results").and_then(Value::as_array);
        let (rows, is_cut) = items.map(|items| Report::new(object, part).rows(items)).unwrap_or_default();
        if !rows.is_empty() {
            return (rows, is_cut);
        }
    }
    (Vec::new(), false)
}

/// What a report says for all of its results.
struct Report<'o> {
    namespace: &'o str,
    source: &'o str,
    at: i64,
    /// What was checked, where an item does not say.
    scope: Option<&'o Map<String, Value>>,
}

impl<'o> Report<'o> {
    /// `part` is where the list of results was found.
    fn new(object: &'o Map<String, Value>, part: &'o Map<String, Value>) -> Self {
        let metadata = object.get("metadata").and_then(Value::as_object);
        let meta = |field: &str| metadata.map_or("", |it| text(it, field));
        let both = |field: &str| [part, object].into_iter().find_map(|it| it.get(field)?.as_object());
        // An ephemeral report has no scope; it is about its owner.
        let scope = both("scope").or_else(|| part.get("owner")?.as_object());
        let sources = [text(part, "source"), text(object, "source")];
        Self {
            namespace: meta("namespace"),
            source: sources.into_iter().find(|it| !it.is_empty()).unwrap_or(""),
            at: meta("creationTimestamp").parse().map_or(0, |it: Timestamp| it.as_second().max(0)),
            scope,
        }
    }

    fn rows(&self, items: &[Value]) -> (Vec<ResultRow>, bool) {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        for item in items.iter().filter_map(Value::as_object) {
            if text(item, "policy").is_empty() {
                continue;
            }
            let named = item.get("resources").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let mut about: Vec<_> =
                named.iter().filter_map(Value::as_object).take(ROWS + 1).map(Some).collect();
            if about.is_empty() {
                about.push(self.scope);
            }
            for resource in about {
                let row = self.row(item, resource);
                bytes += row.size();
                if rows.len() == ROWS || bytes > BYTES {
                    return (rows, true);
                }
                rows.push(row);
            }
        }
        (rows, false)
    }

    fn row(&self, item: &Map<String, Value>, resource: Option<&Map<String, Value>>) -> ResultRow {
        let given = |field: &str| cut(text(item, field));
        let of_resource = |field: &str| resource.map_or("", |it| text(it, field));
        let either = |own: &str, other: &str| cut(if own.is_empty() { other } else { own });
        ResultRow {
            policy: given("policy"),
            rule: given("rule"),
            kind: cut(of_resource("kind")),
            namespace: either(of_resource("namespace"), self.namespace),
            name: cut(of_resource("name")),
            severity: Severity::of(text(item, "severity")),
            result: Outcome::of(text(item, "result")),
            category: given("category"),
            source: either(text(item, "source"), self.source),
            at: checked_at(item).unwrap_or(self.at),
            scored: item.get("scored").and_then(Value::as_bool).unwrap_or(false),
            message: given("message"),
        }
    }
}

impl ResultRow {
    /// Bytes of its texts, and some for the rest.
    pub(super) fn size(&self) -> usize {
        let names = [&self.policy, &self.rule, &self.kind, &self.namespace, &self.name];
        let others = [&self.category, &self.source, &self.message];
        names.into_iter().chain(others).map(String::len).sum::<usize>() + 64
    }
}

/// The second behind which there are no years of four digits.
const LAST_SECOND: i64 = 253_402_300_799;

/// `{seconds, nanos}`. Writers in Go that have no time write zero.
fn checked_at(item: &Map<String, Value>) -> Option<i64> {
    let second = item.get("timestamp")?.get("seconds")?.as_i64()?;
    (1..=LAST_SECOND).contains(&second).then_some(second)
}

fn text<'o>(object: &'o Map<String, Value>, field: &str) -> &'o str {
    object.get(field).and_then(Value::as_str).unwrap_or("")
}

/// The text, or what fits of it.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT)].to_owned()
}

#[cfg(test)]
mod tests;
