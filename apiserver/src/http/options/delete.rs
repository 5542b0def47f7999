//! Options of deletions (`DeleteOptions`): in the body if there is one, else in the query.

use serde_json::{Map, Value, json};

use super::query::Query;
use super::write::dry_run;
use crate::field::FieldError;
use crate::http::status::Refusal;
use crate::rules::{DeleteOptions, Propagation};

/// Reads and checks the options of a deletion.
pub(crate) fn delete_options(
    query: &Query,
    body: Option<&Map<String, Value>>,
) -> Result<DeleteOptions, Refusal> {
    let written = match body {
        Some(body) => in_body(body)?,
        None => in_query(query)?,
    };
    let (mut errors, (mut options, propagation)) = (Vec::new(), written);
    options.propagation_policy = match propagation.as_deref() {
        None => None,
        Some("Orphan") => Some(Propagation::Orphan),
        Some("Background") => Some(Propagation::Background),
        Some("Foreground") => Some(Propagation::Foreground),
        Some(other) => {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            errors.push(FieldError::not_supported("propagationPolicy", &json!(other), supported));
            None
        }
    };
    if let (Some(_), Some(text)) = (options.orphan_dependents, &propagation) {
        let detail = "orphanDependents and deletionPropagation cannot be both set";
        errors.push(FieldError::invalid_text("propagationPolicy", text, detail));
    }
    dry_run(options.dry_run.iter().map(String::as_str).collect(), &mut errors);
    if errors.is_empty() { Ok(options) } else { Err(Refusal::invalid_options("DeleteOptions", &errors)) }
}

fn in_query(query: &Query) -> Result<(DeleteOptions, Option<String>), Refusal> {
    let options = DeleteOptions {
        dry_run: query.all("dryRun").map(str::to_owned).collect(),
        orphan_dependents: query.flag("orphanDependents"),
        grace_period_seconds: query.number("gracePeriodSeconds")?,
        ..DeleteOptions::default()
    };
    Ok((options, query.set("propagationPolicy").map(str::to_owned)))
}

/// The policy is read by itself: an unknown one is an error of another kind than what cannot be read.
fn in_body(body: &Map<String, Value>) -> Result<(DeleteOptions, Option<String>), Refusal> {
    let mut body = body.clone();
    let kind = body.remove("kind").and_then(|it| it.as_str().map(str::to_owned));
    if let Some(kind) = kind.filter(|it| !it.is_empty() && it != "DeleteOptions") {
        let message = format!("{} cannot be handled as a DeleteOptions", crate::field::quote(&kind));
        return Err(Refusal::bad_request(message));
    }
    body.retain(|_, value| !value.is_null());
    let propagation = body.remove("propagationPolicy").map(serde_json::from_value).transpose();
    let read = propagation.and_then(|it: Option<String>| Ok((serde_json::from_value(body.into())?, it)));
    read.map_err(|error| Refusal::bad_request(format!("DeleteOptions cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, body: Option<Value>) -> Result<DeleteOptions, u16> {
        let body = body.map(|it| it.as_object().expect("an object").clone());
        delete_options(&Query::parse(Some(query)), body.as_ref()).map_err(|it| it.code().as_u16())
    }

    #[test]
    fn a_body_counts_and_the_query_does_not() {
        let body = json!({"propagationPolicy": "Foreground", "preconditions": {"uid": "u", "resourceVersion": "5"}});
        let options = read("propagationPolicy=Orphan&dryRun=All", Some(body)).expect("good options");
        assert_eq!(options.propagation_policy, Some(Propagation::Foreground));
        let preconditions = options.preconditions.expect("they were given");
        assert_eq!((preconditions.uid.as_deref(), preconditions.resource_version.as_deref()), (Some("u"), Some("5")));
        assert!(options.dry_run.is_empty());
        assert_eq!(read("dryRun=All", None).expect("good options").dry_run, ["All"]);
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
