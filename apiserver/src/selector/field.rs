//! Field selectors: `metadata.name=a,spec.owner!=b`.

use super::SelectorError;
use crate::registry::{Scope, Version};

/// Parses a field selector into paths, whether the value has to be equal, and values. Empty text selects everything.
///
/// Which fields may be named is said by the resource: `metadata.name`, `metadata.namespace` of namespaced ones, and the version's own.
///
/// # Errors
/// The text is no field selector, or names another field.
pub fn fields(
    text: &str,
    scope: Scope,
    version: &Version,
) -> Result<Vec<(String, bool, String)>, SelectorError> {
    let mut terms: Vec<&str> = terms(text).into_iter().filter(|it| !it.is_empty()).collect();
    terms.sort_unstable();
    let read = |term| {
        let (path, equal, value) = split(term).ok_or_else(|| {
            SelectorError::new(format!("invalid selector: '{text}'; can't understand '{term}'"))
        })?;
        let value = unescaped(value)?;
        known(path, scope, version)?;
        Ok((path.to_owned(), equal, value))
    };
    terms.into_iter().map(read).collect()
}

/// What stands between commas that are not escaped.
fn terms(text: &str) -> Vec<&str> {
    let mut escaped = false;
    text.split(|char| {
        let is_end = !escaped && char == ',';
        escaped = !escaped && char == '\\';
        is_end
    })
    .collect()
}

fn split(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.find(['=', '!']).filter(|_| term.contains('='))?;
    let (path, rest) = term.split_at(at);
    if let Some(value) = rest.strip_prefix("!=") {
        return Some((path, false, value));
    }
    match rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        Some(value) => Some((path, true, value)),
        // A lone exclamation mark belongs to the path.
        None => split(&rest[1..]).map(|(more, equal, value)| (&term[..=at + more.len()], equal, value)),
    }
}

fn unescaped(value: &str) -> Result<String, SelectorError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some(it @ ('\\' | ',' | '=')) => out.push(it),
                other => {
                    let sequence: String = ['\\'].into_iter().chain(other).collect();
                    let text = format!("invalid field selector: invalid escape sequence: {sequence}");
                    return Err(SelectorError::new(text));
                }
            },
            ',' | '=' => {
                let text = format!("invalid field selector: unescaped character in value: {}", char as u32);
                return Err(SelectorError::new(text));
            }
            _ => out.push(char),
        }
    }
    Ok(out)
}

fn known(path: &str, scope: Scope, version: &Version) -> Result<(), SelectorError> {
    let mut fields = vec!["metadata.name".to_owned()];
    if scope == Scope::Namespaced {
        fields.push("metadata.namespace".to_owned());
    }
    fields.extend(version.selectable.iter().map(|it| it.join(".")));
    if fields.iter().any(|it| it == path) {
        return Ok(());
    }
    Err(SelectorError::new(format!("field label not supported: {path}")))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn version() -> Version {
        let selectable = vec![vec!["spec".to_owned(), "a".to_owned()]];
        Version {
            name: "v1".to_owned(),
            schema: crate::schema::Schema::default(),
            columns: Vec::new(),
            selectable,
            status: false,
            deprecation: None,
        }
    }

    fn read(text: &str) -> Result<Vec<(String, bool, String)>, SelectorError> {
        fields(text, Scope::Namespaced, &version())
    }

    #[test]
    fn terms_are_read() {
        for (text, path, equal, value) in [
            ("metadata.name=a", "metadata.name", true, "a"),
            ("metadata.name==a", "metadata.name", true, "a"),
            ("spec.a!=b", "spec.a", false, "b"),
            (r"spec.a=b\,c\=d\\", "spec.a", true, r"b,c=d\"),
            ("spec.a=,", "spec.a", true, ""),
        ] {
            assert_eq!(read(text), Ok(vec![(path.to_owned(), equal, value.to_owned())]), "{text}");
        }
        assert_eq!(read(""), Ok(Vec::new()));
        assert_eq!(
            read("spec.a=1,metadata.name=b").map(|it| it[0].0.clone()),
            Ok("metadata.name".to_owned())
        );
    }

    #[test]
    fn what_is_no_selector_is_said_in_the_words_of_go() {
        for (text, error) in [
            ("x", "invalid selector: 'x'; can't understand 'x'"),
            ("spec.b=1", "field label not supported: spec.b"),
            ("!a=1", "field label not supported: !a"),
            (r"spec.a=\x", r"invalid field selector: invalid escape sequence: \x"),
            ("spec.a=1=2", "invalid field selector: unescaped character in value: 61"),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), error, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in r"[a-c=!.,\\ä]{0,40}") {
            let _ = read(&text);
        }
    }
}
