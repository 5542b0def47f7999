//! Options of deletions (`DeleteOptions`): in the body if there is one, else in the query.

use serde_json::{Map, Value, json};

use super::query::Query;
use super::write::dry_run;
use crate::field::FieldError;
use crate::http::status::Refusal;

/// What a deletion asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    /// Everything is done but keeping it.
    pub(crate) dry_run: bool,
    /// What becomes of dependents, if it is said.
    pub(crate) propagation: Option<Propagation>,
    /// `orphanDependents: false` was asked for, the old way.
    pub(crate) cascades: bool,
    /// Only an object of this uid.
    pub(crate) uid: Option<String>,
    /// Only an object of this revision.
    pub(crate) resource_version: Option<String>,
}

/// What becomes of objects that the deleted one owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// They stay.
    Orphan,
    /// They are deleted behind it.
    Background,
    /// They are deleted before it.
    Foreground,
}

/// The options as they were written.
#[derive(Default)]
struct Written {
    dry_run: Vec<String>,
    propagation: Option<String>,
    orphan: Option<bool>,
    uid: Option<String>,
    resource_version: Option<String>,
}

impl DeleteOptions {
    /// Reads and checks them.
    pub(crate) fn read(query: &Query, body: Option<&Map<String, Value>>) -> Result<Self, Refusal> {
        let written = match body {
            Some(body) => Written::in_body(body).map_err(Refusal::bad_request)?,
            None => Written::in_query(query)?,
        };
        written.checked()
    }
}

impl Written {
    fn in_query(query: &Query) -> Result<Self, Refusal> {
        // It is of no use here and still has to be a number.
        query.number("gracePeriodSeconds")?;
        Ok(Self {
            dry_run: query.all("dryRun").map(str::to_owned).collect(),
            propagation: query.set("propagationPolicy").map(str::to_owned),
            orphan: query.flag("orphanDependents"),
            ..Self::default()
        })
    }

    fn in_body(body: &Map<String, Value>) -> Result<Self, String> {
        if let Some(kind) = body.get("kind").and_then(Value::as_str).filter(|it| !it.is_empty())
            && kind != "DeleteOptions"
        {
            return Err(format!("no kind {} is registered for deletions", crate::field::quote(kind)));
        }
        let wrong = |field: &str| format!("DeleteOptions.{field} has a value of the wrong type");
        let given = |from: &Map<String, Value>, field: &str| from.get(field).filter(|it| !it.is_null()).cloned();
        let text = |from: &Map<String, Value>, field: &str| {
            let value = given(from, field);
            value.map(|it| it.as_str().map(str::to_owned).ok_or_else(|| wrong(field))).transpose()
        };
        if given(body, "gracePeriodSeconds").is_some_and(|it| !it.is_i64()) {
            return Err(wrong("gracePeriodSeconds"));
        }
        let orphan = given(body, "orphanDependents");
        let dry_run = given(body, "dryRun").unwrap_or_else(|| Value::Array(Vec::new()));
        let preconditions = given(body, "preconditions").unwrap_or_else(|| Value::Object(Map::new()));
        let preconditions = preconditions.as_object().ok_or_else(|| wrong("preconditions"))?;
        Ok(Self {
            dry_run: serde_json::from_value(dry_run).map_err(|_| wrong("dryRun"))?,
            propagation: text(body, "propagationPolicy")?,
            orphan: orphan.map(|it| it.as_bool().ok_or_else(|| wrong("orphanDependents"))).transpose()?,
            uid: text(preconditions, "uid")?,
            resource_version: text(preconditions, "resourceVersion")?,
        })
    }

    fn checked(self) -> Result<DeleteOptions, Refusal> {
        let mut errors = Vec::new();
        let propagation = match self.propagation.as_deref() {
            None => self.orphan.map(|it| if it { Propagation::Orphan } else { Propagation::Background }),
            Some("Orphan") => Some(Propagation::Orphan),
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some(other) => {
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                errors.push(FieldError::not_supported("propagationPolicy", &json!(other), supported));
                None
            }
        };
        if let (Some(_), Some(text)) = (self.orphan, &self.propagation) {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(FieldError::invalid_text("propagationPolicy", text, detail));
        }
        let dry_run = dry_run(self.dry_run.iter().map(String::as_str).collect(), &mut errors);
        if !errors.is_empty() {
            return Err(Refusal::invalid_options("DeleteOptions", &errors));
        }
        Ok(DeleteOptions {
            dry_run,
            propagation,
            cascades: self.orphan == Some(false),
            uid: self.uid,
            resource_version: self.resource_version,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, body: Option<Value>) -> Result<DeleteOptions, u16> {
        let body = body.map(|it| it.as_object().expect("an object").clone());
        DeleteOptions::read(&Query::parse(Some(query)), body.as_ref()).map_err(|it| it.code().as_u16())
    }

    #[test]
    fn a_body_counts_and_the_query_does_not() {
        let body = json!({"propagationPolicy": "Foreground", "preconditions": {"uid": "u", "resourceVersion": "5"}});
        let options = read("propagationPolicy=Orphan&dryRun=All", Some(body)).expect("good options");
        assert_eq!(options.propagation, Some(Propagation::Foreground));
        assert_eq!((options.uid.as_deref(), options.resource_version.as_deref()), (Some("u"), Some("5")));
        assert!(!options.dry_run);
        assert!(read("dryRun=All", None).expect("good options").dry_run);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for (body, code) in [
            (json!({"propagationPolicy": "Maybe"}), 422),
            (json!({"propagationPolicy": "Orphan", "orphanDependents": true}), 422),
            (json!({"dryRun": ["Some"]}), 422),
            (json!({"dryRun": "All"}), 400),
            (json!({"gracePeriodSeconds": "x"}), 400),
            (json!({"preconditions": 5}), 400),
            (json!({"kind": "Pod"}), 400),
        ] {
            assert_eq!(read("", Some(body.clone())), Err(code), "{body}");
        }
        assert_eq!(read("gracePeriodSeconds=x", None), Err(400));
    }
}
