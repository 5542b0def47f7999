//! Reading YAML as Kubernetes' readers do, as far as the reader of YAML 1.2 can: `017` is an octal number and `yes` is true, as in YAML 1.1. What `y`
//! and `n` mean as keys is not followed: they stay texts.

use serde::de::DeserializeSeed as _;
use serde_json::Value;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{DuplicateKeyPolicy, Error, Options};

use crate::schema::{Notes, Seed};

/// Objects and lists may be nested so deep: less than in JSON, since the reader takes more of the stack for a level.
const DEPTH: usize = 64;
/// Aliases may stand for so many nodes without further ado.
const REPEATED: usize = 1000;

/// The first document of a text, and the paths of fields that stand there twice; the last one counts.
///
/// # Errors
/// It is no YAML, in one line.
pub(crate) fn first(text: &str) -> Result<(Value, Vec<String>), String> {
    let mut notes = Notes::default();
    let mut options = limited(text);
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.legacy_octal_numbers = true;
    let read = |it: serde_saphyr::Deserializer<'_, '_>| Seed(&mut notes).deserialize(it);
    let value = serde_saphyr::with_deserializer_from_str_with_options(first_of(text), options, read);
    Ok((value.map_err(|it| line(&it))?, notes.into_duplicates()))
}

/// All documents of a text; of a field that stands there twice nobody knows which was meant.
///
/// # Errors
/// One of them is no YAML, in one line.
pub(crate) fn several(text: &str) -> Result<Vec<Value>, String> {
    serde_saphyr::from_multiple_with_options(text, limited(text)).map_err(|it| line(&it))
}

/// A text is as long as its reader let it be, so it may say as much as JSON of that length: aliases, which say more than is there, may not
/// take more than the text itself.
fn limited(text: &str) -> Options {
    let mut options = serde_saphyr::options! { with_snippet: false };
    let length = text.len();
    options.alias_limits.max_total_replayed_events = REPEATED + length;
    options.budget = serde_saphyr::budget! {
        max_depth: DEPTH,
        max_events: 2 * (REPEATED + length),
        max_nodes: REPEATED + length,
        max_total_scalar_bytes: 2 * (REPEATED + length),
        enforce_alias_anchor_ratio: false,
    };
    options
}

fn line(error: &Error) -> String {
    match error {
        Error::AliasError { error, .. } => line(error),
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => format!("exceeded max depth of {DEPTH}"),
        Error::Budget { .. } | Error::AliasReplayLimitExceeded { .. } => {
            "document contains excessive aliasing".to_owned()
        }
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        }
    }
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
    fn as_much_may_be_said_as_in_json() {
        let many = format!("a: [{}]", "1,".repeat(300_000));
        assert_eq!(first(&many).expect("YAML").0["a"].as_array().map(Vec::len), Some(300_000));
        let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(first(&deep(DEPTH)).is_ok());
        let blocks =
            |levels: usize| (0..levels).map(|it| format!("{}a:\n", " ".repeat(it))).collect::<String>();
        assert!(first(&blocks(DEPTH)).is_ok());
        for text in [deep(DEPTH + 1), blocks(DEPTH + 1), blocks(1000)] {
            assert_eq!(first(&text), Err("exceeded max depth of 64".to_owned()));
        }
        assert!(first(&deep(100_000)).is_err());
    }

    #[test]
    fn aliases_do_not_multiply_a_text() {
        let some = format!("a: &a [x, y]\nb: [{}]", "*a,".repeat(200));
        assert_eq!(first(&some).expect("YAML").0["b"].as_array().map(Vec::len), Some(200));
        let nines = |it: usize| format!("a{it}: &a{it} [{}]\n", format!("*a{},", it - 1).repeat(9));
        let nested = format!("a0: &a0 x\n{}", (1..30).map(nines).collect::<String>());
        let long = format!("a: &a {}\nb: [{}]", "x".repeat(100_000), "*a,".repeat(20_000));
        for text in [nested, long] {
            assert_eq!(first(&text), Err("document contains excessive aliasing".to_owned()));
        }
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
