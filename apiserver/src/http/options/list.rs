//! Options of lists and watches, and what they mean together (`ListOptions`).

use serde_json::json;

use super::query::Query;
use crate::field::FieldError;
use crate::http::status::Refusal;
use crate::registry::{Scope, Version};
use crate::selector;
use crate::store::{Requirement, Revision, Selection};

/// What a list or a watch asks for, each option by itself checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListOptions {
    pub(crate) labels: Vec<Requirement>,
    pub(crate) fields: Vec<(String, bool, String)>,
    pub(crate) resource_version: Option<Revision>,
    pub(crate) matching: Option<Match>,
    pub(crate) limit: Option<usize>,
    pub(crate) go_on: Option<String>,
    pub(crate) watch: bool,
    pub(crate) bookmarks: bool,
    pub(crate) initial_events: Option<bool>,
    pub(crate) timeout_seconds: Option<u64>,
}

/// How a revision is meant (`resourceVersionMatch`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    Exact,
    NotOlderThan,
}

impl ListOptions {
    /// Reads and checks them.
    pub(crate) fn read(query: &Query, scope: Scope, version: &Version) -> Result<Self, Refusal> {
        let bad = |error: selector::SelectorError| Refusal::bad_request(error.to_string());
        let revision = query.set("resourceVersion").map(listed_revision).transpose();
        let options = Self {
            labels: selector::labels(query.text("labelSelector").unwrap_or_default()).map_err(bad)?,
            fields: selector::fields(query.text("fieldSelector").unwrap_or_default(), scope, version)
                .map_err(bad)?,
            matching: None,
            resource_version: None,
            limit: query.number("limit")?.and_then(|it| usize::try_from(it).ok()).filter(|it| *it > 0),
            go_on: query.set("continue").map(str::to_owned),
            watch: query.flag("watch").unwrap_or(false),
            bookmarks: query.flag("allowWatchBookmarks").unwrap_or(false),
            initial_events: query.flag("sendInitialEvents"),
            timeout_seconds: query.number("timeoutSeconds")?.and_then(|it| u64::try_from(it).ok()),
        };
        let matching = options.check(query)?;
        Ok(Self { matching, resource_version: revision?, ..options })
    }

    /// What only shows when options are seen together.
    fn check(&self, query: &Query) -> Result<Option<Match>, Refusal> {
        let text = query.set("resourceVersionMatch");
        let revision = query.set("resourceVersion");
        let mut errors = Vec::new();
        if self.watch {
            self.check_watch(text, revision, &mut errors);
        } else {
            self.check_list(text, revision, &mut errors);
        }
        if !errors.is_empty() {
            return Err(Refusal::invalid_options("ListOptions", &errors));
        }
        Ok(text.map(|it| if it == EXACT { Match::Exact } else { Match::NotOlderThan }))
    }

    fn check_list(&self, matching: Option<&str>, revision: Option<&str>, errors: &mut Vec<FieldError>) {
        let forbidden = |detail| FieldError::forbidden(MATCH, detail);
        if let Some(text) = matching {
            if revision.is_none() {
                errors
                    .push(forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided"));
            }
            if self.go_on.is_some() {
                errors.push(forbidden("resourceVersionMatch is forbidden when continue is provided"));
            }
            if text != EXACT && text != NOT_OLDER {
                errors.push(FieldError::not_supported(MATCH, &json!(text), [EXACT, NOT_OLDER, ""]));
            }
            if text == EXACT && revision == Some("0") {
                errors
                    .push(forbidden(r#"resourceVersionMatch "exact" is forbidden for resourceVersion "0""#));
            }
        }
        if self.initial_events.is_some() {
            errors
                .push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
    }

    fn check_watch(&self, matching: Option<&str>, revision: Option<&str>, errors: &mut Vec<FieldError>) {
        let forbidden = |detail| FieldError::forbidden(MATCH, detail);
        if self.initial_events.is_some() && matching != Some(NOT_OLDER) {
            errors.push(forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
        }
        // A watch from the beginning is taken for one that asks for what there is.
        let begins = self.initial_events.is_none() && matches!(revision, None | Some("0"));
        if self.go_on.is_some() && (matching.is_some() || begins) {
            errors.push(forbidden("resourceVersionMatch is forbidden when continue is provided"));
        }
        let Some(text) = matching else { return };
        if self.initial_events.is_none() {
            errors.push(forbidden(
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        if text != NOT_OLDER {
            errors.push(FieldError::not_supported(MATCH, &json!(text), [NOT_OLDER]));
        }
    }

    /// Which objects are meant, in this namespace or, if it is empty, in all.
    pub(crate) fn selection(&self, namespace: &str) -> Selection {
        let (names, fields) = self
            .fields
            .iter()
            .cloned()
            .partition::<Vec<_>, _>(|(path, equal, _)| *equal && path == "metadata.name");
        let mut names = names.into_iter();
        let first = names.next().map(|(.., name)| name);
        Selection {
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
            name: first,
            labels: self.labels.clone(),
            fields: fields.into_iter().chain(names).collect(),
        }
    }
}

const MATCH: &str = "resourceVersionMatch";
const EXACT: &str = "Exact";
const NOT_OLDER: &str = "NotOlderThan";

fn listed_revision(text: &str) -> Result<Revision, Refusal> {
    read_revision(text)
        .map_err(|why| Refusal::bad_request(format!("invalid resource version: resourceVersion: {why}")))
}

/// A revision in a query.
pub(crate) fn revision(text: &str) -> Result<Revision, Refusal> {
    read_revision(text).map_err(Refusal::bad_request)
}

/// What Go's `strconv.ParseUint` says to a text.
fn read_revision(text: &str) -> Result<Revision, String> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let is_long = *error.kind() == std::num::IntErrorKind::PosOverflow;
        let why = if is_long { "value out of range" } else { "invalid syntax" };
        format!("Invalid value: {}: strconv.ParseUint: parsing {0}: {why}", crate::field::quote(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> Version {
        Version {
            name: "v1".to_owned(),
            schema: crate::schema::Schema::default(),
            columns: Vec::new(),
            selectable: Vec::new(),
            status: false,
            deprecation: None,
        }
    }

    fn code(query: &str) -> u16 {
        let read = ListOptions::read(&Query::parse(Some(query)), Scope::Namespaced, &version());
        read.map_or_else(|it| it.code().as_u16(), |_| 200)
    }

    /// Section 3.4 of the guide, and the validation of watches.
    #[test]
    fn options_are_judged_together() {
        for (query, expected) in [
            ("", 200),
            ("resourceVersion=0", 200),
            ("resourceVersion=5", 200),
            ("resourceVersion=x", 400),
            ("resourceVersionMatch=Exact", 422),
            ("resourceVersionMatch=Exact&resourceVersion=0", 422),
            ("resourceVersionMatch=Exact&resourceVersion=5", 200),
            ("resourceVersionMatch=NotOlderThan", 422),
            ("resourceVersionMatch=NotOlderThan&resourceVersion=0", 200),
            ("resourceVersionMatch=Newer&resourceVersion=5", 422),
            ("resourceVersionMatch=Exact&resourceVersion=5&continue=x", 422),
            ("sendInitialEvents=true", 422),
            ("sendInitialEvents=false", 422),
            ("watch=1&sendInitialEvents=true", 422),
            ("watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", 200),
            ("watch=1&sendInitialEvents=true&resourceVersionMatch=Exact", 422),
            ("watch=1&resourceVersionMatch=NotOlderThan", 422),
            ("watch=1&sendInitialEvents=1&resourceVersionMatch=NotOlderThan&continue=x", 422),
            ("watch=1&continue=x", 422),
            ("watch=1&resourceVersion=5&continue=x", 200),
            ("limit=abc", 400),
            ("timeoutSeconds=1.5", 400),
            ("labelSelector=a+b", 400),
            ("fieldSelector=spec.x%3D1", 400),
        ] {
            assert_eq!(code(query), expected, "{query}");
        }
    }
}
