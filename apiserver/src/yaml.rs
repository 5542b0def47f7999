//! Reading YAML as Kubernetes' readers do, as far as the reader of YAML 1.2 can: `017` is an octal number and `yes` is true, as in YAML 1.1. What `y`
//! and `n` mean as keys is not followed: they stay texts.

use serde::de::DeserializeSeed as _;
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Error, Options};

use crate::schema::{Notes, Seed};

/// The first document of a text, and the paths of fields that stand there twice; the last one counts.
///
/// # Errors
/// It is no YAML, in one line.
pub(crate) fn first(text: &str) -> Result<(Value, Vec<String>), String> {
    let mut notes = Notes::default();
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    let read = |it: serde_saphyr::Deserializer<'_, '_>| Seed(&mut notes).deserialize(it);
    let value = serde_saphyr::with_deserializer_from_str_with_options(first_of(text), options, read);
    Ok((value.map_err(|it| line(&it))?, notes.into_duplicates()))
}

/// All documents of a text; of a field that stands there twice nobody knows which was meant.
///
/// # Errors
/// One of them is no YAML, in one line.
pub(crate) fn several(text: &str) -> Result<Vec<Value>, String> {
    let options: Options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|it| line(&it))
}

fn line(error: &Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// A text up to where its second document begins.
fn first_of(text: &str) -> &str {
    let (mut has_begun, mut length) = (false, 0);
    for line in text.split_inclusive('\n') {
        let marks = |marker: &str| {
            line.strip_prefix(marker)
                .is_some_and(|it| it.starts_with([' ', '\t', '\r', '\n']) || it.is_empty())
        };
        if has_begun && (marks("---") || marks("...")) {
            return &text[..length];
        }
        let is_said = !line.trim().is_empty() && !line.starts_with(['#', '%']);
        has_begun |= is_said && line.trim() != "---";
        length += line.len();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_document_counts() {
        let value = |text: &str| first(text).expect("YAML").0;
        assert_eq!(value("# one\n---\na: 1\n---\nb: 2\n"), json!({"a": 1}));
        assert_eq!(value("%YAML 1.1\n--- {a: 1}\n...\nb: 2"), json!({"a": 1}));
        assert_eq!(value("a: |\n  ---\n  x\n"), json!({"a": "---\nx\n"}));
        assert_eq!(several("a: 1\n---\nb: 2\n"), Ok(vec![json!({"a": 1}), json!({"b": 2})]));
    }

    #[test]
    fn values_are_those_of_the_older_yaml() {
        let (value, duplicates) =
            first("a: 017\nb: yes\nc: 1e3\nd: {e: 1, e: 2}\nl: [x, {f: 1, f: 2}]\ny: 1\n").expect("YAML");
        let expected = json!({"a": 15, "b": true, "c": 1000, "d": {"e": 2}, "l": ["x", {"f": 2}], "y": 1});
        assert_eq!((value, duplicates), (expected, vec!["d.e".to_owned(), "l[1].f".to_owned()]));
    }

    #[test]
    fn errors_are_told_in_a_line() {
        for text in ["a: [", "a: 1\n b: {", "a: *none"] {
            let error = first(text).expect_err("no YAML");
            assert!(error.lines().count() == 1 && !error.contains("-->"), "{text:?}: {error}");
        }
        assert!(several("a: 1\na: 2").is_err());
    }
}
