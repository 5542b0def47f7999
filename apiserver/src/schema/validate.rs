//! Validation, with the texts that kube-apiserver has for custom resources (`k8s.io/kube-openapi`, `validation`).
//!
//! A value is looked at once, except below `anyOf` and the like. Depth is bounded by the depth of the value, which whoever parses it bounds.
//! Once [`MOST`] errors were found nothing more is looked at: a body of a million wrong items is answered by a Status of bounded size.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

use super::{Additional, Bound, Kind, ListType, Node, Schema};
use crate::field::{FieldError, quote};

/// How many errors are told.
const MOST: usize = 256;

impl Schema {
    /// What is wrong with an object: types, bounds, patterns and formats; lists that have to be sets or maps; objects within the object.
    #[must_use]
    pub fn validate(&self, object: &Map<String, Value>) -> Vec<FieldError> {
        self.judge(object, None)
    }

    /// As [`Schema::validate`], but what was wrong in `old` and did not change is let pass.
    #[must_use]
    pub fn validate_update(&self, object: &Map<String, Value>, old: &Map<String, Value>) -> Vec<FieldError> {
        self.judge(object, Some(old))
    }

    /// As [`Schema::validate_update`], for the status alone.
    #[must_use]
    pub fn validate_status(&self, object: &Map<String, Value>, old: &Map<String, Value>) -> Vec<FieldError> {
        let mut found = Found::default();
        if let (Some(status), Some(node)) = (object.get("status"), self.root.field("status")) {
            node.check(status, old.get("status"), &mut String::new(), &mut found);
        }
        // Texts of errors speak of what is below the status, their fields of the object.
        for error in &mut found.errors {
            error.field = match error.field.as_str() {
                "<nil>" => "status".to_owned(),
                field => format!("status.{field}"),
            };
        }
        found.errors.extend(self.repeated(object, Some(old)));
        found.errors.truncate(MOST);
        found.errors
    }

    fn judge(&self, object: &Map<String, Value>, old: Option<&Map<String, Value>>) -> Vec<FieldError> {
        let mut found = Found::default();
        let path = &mut String::new();
        self.root.check_alternatives(Subject::Top(object), old.map(Subject::Top), path, &mut found);
        self.root.check_object(object, old, path, &mut found);
        if self.contains.embedded {
            found.errors.extend(super::metadata::embedded(object, &self.root));
        }
        found.errors.extend(self.repeated(object, old));
        found.errors.truncate(MOST);
        found.errors
    }

    /// Items that are there twice, unless some were before.
    fn repeated(&self, object: &Map<String, Value>, old: Option<&Map<String, Value>>) -> Vec<FieldError> {
        if !self.contains.sets_or_maps {
            return Vec::new();
        }
        let errors = super::lists::unique(object, &self.root);
        if !errors.is_empty() && old.is_some_and(|it| !super::lists::unique(it, &self.root).is_empty()) {
            return Vec::new();
        }
        errors
    }
}

/// What is looked at: the top of an object, or a value of it.
#[derive(Clone, Copy, PartialEq)]
enum Subject<'v> {
    Top(&'v Map<String, Value>),
    Value(&'v Value),
}

/// What was found, and how much of it was right: of several alternatives the one is told of which most was right.
#[derive(Default)]
struct Found {
    errors: Vec<FieldError>,
    right: usize,
}

impl Found {
    fn push(&mut self, error: FieldError) {
        if self.errors.len() < MOST {
            self.errors.push(error);
        }
    }

    fn merge(&mut self, other: Self) {
        self.right += other.right;
        let room = MOST - self.errors.len();
        self.errors.extend(other.errors.into_iter().take(room));
    }

    fn is_full(&self) -> bool {
        self.errors.len() == MOST
    }
}

/// Writes a step behind a path, lets something be done there, and takes the step back.
pub(super) fn at<T>(
    path: &mut String,
    step: std::fmt::Arguments<'_>,
    run: impl FnOnce(&mut String) -> T,
) -> T {
    let length = path.len();
    path.write_fmt(step).expect("a String takes everything");
    let result = run(path);
    path.truncate(length);
    result
}

/// As [`at`], for a field of an object.
pub(super) fn at_field<T>(path: &mut String, name: &str, run: impl FnOnce(&mut String) -> T) -> T {
    let length = path.len();
    if length > 0 {
        path.push('.');
    }
    // There are more fields than anything, and formatting takes longer than looking at most of them.
    path.push_str(name);
    let result = run(path);
    path.truncate(length);
    result
}

/// Visits each value of an object that the schema says something of, with the path that leads to it.
pub(super) fn each_field(
    object: &Map<String, Value>,
    node: &Node,
    path: &mut String,
    mut visit: impl FnMut(&Value, &Node, &mut String),
) {
    for (name, value) in object {
        match (node.properties.get(name), &node.additional) {
            (Some(node), _) => at_field(path, name, |path| visit(value, node, path)),
            (None, Additional::Like(node)) => {
                at(path, format_args!("[{name}]"), |path| visit(value, node, path));
            }
            _ => {}
        }
    }
}

impl Node {
    /// `old` is what stood there before an update: if it is the same, nothing is wrong that was not wrong before.
    fn check(&self, value: &Value, old: Option<&Value>, path: &mut String, found: &mut Found) {
        if found.is_full() || old == Some(value) {
            return;
        }
        self.check_type(value, path, found);
        if !value.is_null() {
            self.check_alternatives(Subject::Value(value), old.map(Subject::Value), path, found);
        }
        match value {
            Value::String(text) => self.check_text(text, path, found),
            Value::Number(number) => self.check_number(number, path, found),
            Value::Array(items) => self.check_items(items, old.and_then(Value::as_array), path, found),
            _ => {}
        }
        self.check_enum(value, path, found);
        if let Value::Object(object) = value {
            self.check_object(object, old.and_then(Value::as_object), path, found);
        }
        found.right += 1;
    }

    /// The types that are right, as errors name them.
    fn expected(&self) -> Option<&'static str> {
        if self.int_or_string {
            return Some("integer,string");
        }
        self.kind.map(|it| match it {
            Kind::Object => "object",
            Kind::Array => "array",
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
        })
    }

    fn is_of_type(&self, value: &Value) -> bool {
        if self.int_or_string {
            return value.is_string() || is_integer(value);
        }
        match (self.kind, value) {
            (None, _)
            | (Some(Kind::Object), Value::Object(_))
            | (Some(Kind::Array), Value::Array(_))
            | (Some(Kind::String), Value::String(_))
            | (Some(Kind::Number), Value::Number(_))
            | (Some(Kind::Boolean), Value::Bool(_)) => true,
            (Some(Kind::Integer), value) => is_integer(value),
            _ => false,
        }
    }

    fn check_type(&self, value: &Value, path: &str, found: &mut Found) {
        let format = self.checks.format.as_ref();
        let Some(expected) = self.expected().or(format.map(|_| "")) else { return };
        let is_number = matches!(self.kind, Some(Kind::Integer | Kind::Number)) || self.int_or_string;
        let is_right = match value {
            Value::Null => self.nullable || expected.is_empty(),
            // Kubernetes leaves texts and lists of a format to the check of the format.
            Value::String(_) | Value::Array(_) if format.is_some() && !is_number => true,
            _ => self.is_of_type(value),
        };
        if is_right {
            found.right += 1;
            return;
        }
        let (expected, actual) = match format {
            Some(format) if !value.is_null() && !is_number => (format.name.as_str(), format_of(value)),
            _ => (expected, type_of(value)),
        };
        let detail = format!("{path} in body must be of type {expected}: {}", quote(actual));
        found.push(FieldError::type_invalid(path, &Value::from(actual), &detail));
    }

    fn check_text(&self, text: &str, path: &str, found: &mut Found) {
        let checks = &self.checks;
        // The first thing that is wrong with a text is told, not all of it.
        let length = || text.chars().count() as u64;
        if let Some(most) = checks.max_length.filter(|it| length() > *it) {
            found.push(FieldError::too_long(path, most));
        } else if let Some(least) = checks.min_length.filter(|it| length() < *it) {
            let detail = format!("{path} in body should be at least {least} chars long");
            found.push(FieldError::invalid_text(path, text, &detail));
        } else if let Some(pattern) = checks.pattern.as_ref().filter(|it| !it.is_match(text)) {
            let detail = format!("{path} in body should match '{}'", pattern.text);
            found.push(FieldError::invalid_text(path, text, &detail));
        }
        if let Some(format) = checks.format.as_ref().filter(|it| !it.matches(text)) {
            let detail = format!("{path} in body must be of type {}: {}", format.name, quote(text));
            found.push(FieldError::type_invalid(path, &Value::from(text), &detail));
        }
    }

    fn check_number(&self, number: &Number, path: &str, found: &mut Found) {
        let checks = &self.checks;
        let mut wrong = |detail: String| {
            let detail = format!("{path} in body should be {detail}");
            found.push(FieldError::invalid(path, &Value::Number(number.clone()), &detail));
        };
        if let Some(factor) = checks.multiple_of.filter(|it| !is_multiple(number, *it)) {
            wrong(format!("a multiple of {factor}"));
        }
        if let Some(bound) = checks.minimum.filter(|it| !is_above(number, *it)) {
            let or_equal = if bound.exclusive { "" } else { " or equal to" };
            wrong(format!("greater than{or_equal} {}", bound.value));
        }
        if let Some(bound) = checks.maximum.filter(|it| !is_below(number, *it)) {
            let or_equal = if bound.exclusive { "" } else { " or equal to" };
            wrong(format!("less than{or_equal} {}", bound.value));
        }
        found.right += 1;
    }

    fn check_items(&self, items: &[Value], old: Option<&Vec<Value>>, path: &mut String, found: &mut Found) {
        if let Some(node) = &self.items {
            let before = self.by_key(old.map_or(&[], Vec::as_slice));
            for (index, item) in items.iter().enumerate() {
                if found.is_full() {
                    return;
                }
                let old = self.key_of(item).and_then(|it| before.get(&it).copied());
                at(path, format_args!("[{index}]"), |path| node.check(item, old, path, found));
            }
        }
        let size = items.len() as u64;
        if let Some(least) = self.checks.min_items.filter(|it| size < *it) {
            let detail = format!("{path} in body should have at least {least} items");
            found.push(FieldError::invalid(path, &size.into(), &detail));
        }
        if let Some(most) = self.checks.max_items.filter(|it| size > *it) {
            found.push(FieldError::too_many(path, size, most));
        }
        found.right += 1;
    }

    /// The key of an item, if the list is a map.
    fn key_of(&self, item: &Value) -> Option<String> {
        let ListType::Map(keys) = &self.list else { return None };
        let key: Vec<&Value> = keys.iter().map(|it| item.get(it).unwrap_or(&Value::Null)).collect();
        serde_json::to_string(&key).ok()
    }

    fn by_key<'v>(&self, items: &'v [Value]) -> HashMap<String, &'v Value> {
        items.iter().filter_map(|it| Some((self.key_of(it)?, it))).collect()
    }

    fn check_enum(&self, value: &Value, path: &str, found: &mut Found) {
        let known = &self.checks.enumeration;
        if known.is_empty() || known.iter().any(|it| is_same(it, value)) {
            return;
        }
        let known: Vec<String> = known.iter().map(plain).collect();
        found.push(FieldError::not_supported(path, value, known.iter().map(String::as_str)));
    }

    fn check_object(
        &self,
        object: &Map<String, Value>,
        old: Option<&Map<String, Value>>,
        path: &mut String,
        found: &mut Found,
    ) {
        self.check_size(object.len() as u64, path, found);
        for (name, value) in object {
            if found.is_full() {
                return;
            }
            let old = old.and_then(|it| it.get(name));
            match (self.properties.get(name), &self.additional) {
                (Some(node), _) => at_field(path, name, |path| node.check(value, old, path, found)),
                (None, Additional::Like(node)) => {
                    at(path, format_args!(".{name}"), |path| node.check(value, old, path, found));
                }
                (None, Additional::Allowed(false)) => {
                    let detail = format!("{path}.{name} in body is a forbidden property");
                    found.push(FieldError::invalid_text(path, name, &detail));
                }
                (None, _) => {}
            }
        }
        for name in self.checks.required.iter().filter(|it| !object.contains_key(*it)) {
            at_field(path, name, |path| found.push(FieldError::required(path, "")));
        }
    }

    fn check_size(&self, size: u64, path: &str, found: &mut Found) {
        if let Some(least) = self.checks.min_properties.filter(|it| size < *it) {
            let detail = format!("{path} in body should have at least {least} properties");
            found.push(FieldError::invalid(path, &size.into(), &detail));
        }
        if let Some(most) = self.checks.max_properties.filter(|it| size > *it) {
            found.push(FieldError::too_many(path, size, most));
        }
    }

    /// `anyOf`, `oneOf`, `allOf` and `not`.
    fn check_alternatives(
        &self,
        value: Subject<'_>,
        old: Option<Subject<'_>>,
        path: &mut String,
        found: &mut Found,
    ) {
        if old == Some(value) {
            return;
        }
        let checks = &self.checks;
        let mut judge = |node: &Self| {
            let mut inner = Found::default();
            match value {
                Subject::Top(object) => {
                    node.check_alternatives(value, None, path, &mut inner);
                    node.check_object(object, None, path, &mut inner);
                }
                Subject::Value(value) => node.check(value, None, path, &mut inner),
            }
            inner
        };
        let any: Vec<Found> = checks.any_of.iter().map(&mut judge).collect();
        let one: Vec<Found> = checks.one_of.iter().map(&mut judge).collect();
        let all: Vec<Found> = checks.all_of.iter().map(&mut judge).collect();
        let not = checks.not.as_deref().map(judge);
        found.any_of(any, path);
        found.one_of(one, path);
        found.all_of(all, path);
        if not.is_some_and(|it| it.errors.is_empty()) {
            found.composite(path, "must not validate the schema (not)");
        }
    }
}

impl Found {
    fn composite(&mut self, path: &str, what: &str) {
        self.push(FieldError::invalid_text("", "", &format!("{} {what}", quote(path))));
    }

    fn any_of(&mut self, results: Vec<Self>, path: &str) {
        if results.is_empty() || results.iter().any(|it| it.errors.is_empty()) {
            return;
        }
        self.composite(path, "must validate at least one schema (anyOf)");
        self.merge(best(results));
    }

    fn one_of(&mut self, results: Vec<Self>, path: &str) {
        let valid = results.iter().filter(|it| it.errors.is_empty()).count();
        match valid {
            _ if results.is_empty() => {}
            0 => {
                self.composite(path, "must validate one and only one schema (oneOf). Found none valid");
                self.merge(best(results));
            }
            1 => {}
            _ => {
                let what = format!(
                    "must validate one and only one schema (oneOf). Found {valid} valid alternatives"
                );
                self.composite(path, &what);
            }
        }
    }

    fn all_of(&mut self, results: Vec<Self>, path: &str) {
        let (of, valid) = (results.len(), results.iter().filter(|it| it.errors.is_empty()).count());
        results.into_iter().for_each(|it| self.merge(it));
        if valid != of {
            let none = if valid == 0 { ". None validated" } else { "" };
            self.composite(path, &format!("must validate all the schemas (allOf){none}"));
        }
    }
}

/// The first of those of which most was right.
fn best(results: Vec<Found>) -> Found {
    let most = results.iter().map(|it| it.right).max().unwrap_or_default();
    results.into_iter().find(|it| it.right == most).unwrap_or_default()
}

/// Doubles are integers as far as all of those are doubles.
fn is_integer(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.is_i64() || number.as_f64().is_some_and(|it| it.fract() == 0.0 && it.abs() <= EXACT)
        }
        _ => false,
    }
}

const EXACT: f64 = 9_007_199_254_740_991.0;

fn is_above(number: &Number, bound: Bound) -> bool {
    compared(number, bound.value).is_some_and(|it| if bound.exclusive { it.is_gt() } else { it.is_ge() })
}

fn is_below(number: &Number, bound: Bound) -> bool {
    compared(number, bound.value).is_some_and(|it| if bound.exclusive { it.is_lt() } else { it.is_le() })
}

/// Integers are compared as integers, with the bound cut to one, as Go does.
fn compared(number: &Number, bound: f64) -> Option<std::cmp::Ordering> {
    match number.as_i64() {
        #[expect(clippy::cast_possible_truncation, reason = "Go cuts it too")]
        Some(integer) => Some(integer.cmp(&(bound as i64))),
        None => number.as_f64()?.partial_cmp(&bound),
    }
}

fn is_multiple(number: &Number, factor: f64) -> bool {
    if factor <= 0.0 {
        return false;
    }
    let quotient =
        number.as_f64().map_or(0.0, |it| if factor < 1.0 { 1.0 / factor * it } else { it / factor });
    quotient.fract() == 0.0
}

/// Whether two values are the same; 1 and 1.0 are.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What Go calls the format of a value.
fn format_of(value: &Value) -> &'static str {
    match value {
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        _ => "",
    }
}
