//! JSONPath as CRD documents write it for columns: `.spec.a`, `.metadata.labels['a\.b']`, `.items[?(@.type=="x")].y`.
//!
//! The dialect is Kubernetes' own: paths begin with a dot, and dots in names are escaped. Most paths are names and nothing else; those are followed
//! here. The others are put into the words of RFC 9535 and run by `jsonpath-rust`, which kube-rs uses too.

use std::fmt::Write as _;

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use serde_json::Value;

/// A path that was understood.
#[derive(Clone, Debug)]
pub struct JsonPath {
    /// The names that come first, before anything else.
    names: Vec<String>,
    /// What follows them.
    rest: Option<JpQuery>,
}

/// Why a path was not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is no JSONPath: {reason}")]
pub struct JsonPathError {
    path: String,
    reason: String,
}

impl JsonPath {
    /// Reads a path.
    ///
    /// # Errors
    /// It is no path.
    pub fn parse(path: &str) -> Result<Self, JsonPathError> {
        let error = |reason: &str| JsonPathError { path: path.to_owned(), reason: reason.to_owned() };
        if !path.starts_with(['.', '[']) {
            return Err(error("it has to begin with a dot"));
        }
        let mut names = Vec::new();
        let mut rest = path;
        while let Some((name, behind)) = leading_name(rest) {
            names.push(name);
            rest = behind;
        }
        let rest = match rest {
            "" => None,
            "." if names.is_empty() => None,
            rest => {
                let standard =
                    standard(rest).ok_or_else(|| error("a bracket is not closed, or a name is missing"))?;
                let query = parse_json_path(&standard).map_err(|it| error(&it.to_string()))?;
                Some(query)
            }
        };
        Ok(Self { names, rest })
    }

    /// The names of the fields that the path begins with: all that has to be known of an object to follow it.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The first value that the path leads to.
    #[must_use]
    pub fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        let start = self.names.iter().try_fold(value, |value, name| value.get(name))?;
        self.first_below(start)
    }

    /// As [`JsonPath::first`], from the value behind the leading names.
    #[must_use]
    pub fn first_below<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match &self.rest {
            None => Some(value),
            Some(query) => js_path_process(query, value).ok()?.into_iter().next().map(|it| it.val()),
        }
    }
}

/// A name that stands first, as `.name` or `['name']`, and what stands behind it.
fn leading_name(path: &str) -> Option<(String, &str)> {
    if let Some(inner) = path.strip_prefix("['").or_else(|| path.strip_prefix("[\"")) {
        let quote = path.as_bytes()[1] as char;
        let (name, behind) = until(inner, |it| it == quote);
        return behind.strip_prefix(quote)?.strip_prefix(']').map(|behind| (name, behind));
    }
    let inner = path.strip_prefix('.')?;
    let (name, behind) = until(inner, |it| matches!(it, '.' | '[' | ']'));
    (!name.is_empty() && name != "*").then_some((name, behind))
}

/// Text up to a character, without the backslashes that escape others, and the rest from that character on.
fn until(text: &str, is_end: impl Fn(char) -> bool) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => name.extend(chars.next().map(|it| it.1)),
            _ if is_end(char) => return (name, &text[at..]),
            _ => name.push(char),
        }
    }
    (name, "")
}

/// The path in the words of RFC 9535.
fn standard(path: &str) -> Option<String> {
    let mut out = "$".to_owned();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some((name, behind)) = leading_name(rest) {
            write!(out, "[{}]", Value::from(name)).ok()?;
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix("..") {
            out.push_str("..");
            let (name, behind) = until(behind, |it| it == '.' || it == '[');
            let step = if name == "*" { "[*]".to_owned() } else { format!("[{}]", Value::from(name)) };
            out.push_str(&step);
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix(".*") {
            out.push_str("[*]");
            rest = behind;
        } else {
            let length = bracket(rest)?;
            out.push_str(&rest[..length]);
            rest = &rest[length..];
        }
    }
    Some(out)
}

/// How long a bracket is, with what it holds; brackets within quotes do not count.
fn bracket(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match (char, quote) {
            ('\\', Some(_)) => _ = chars.next(),
            (char, Some(open)) if char == open => quote = None,
            (_, Some(_)) => {}
            ('\'' | '"', None) => quote = Some(char),
            ('[', None) => depth += 1,
            (']', None) => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            (_, None) if depth == 0 => return None,
            (_, None) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_followed() {
        let object = json!({
            "metadata": {"labels": {"a.b/c": "x", "d-e": "y"}},
            "spec": {"list": [{"n": 1}, {"n": 2}], "empty": []},
            "status": {"conditions": [{"type": "Ready", "m": "no"}, {"type": "Failed", "m": "why"}]}
        });
        for (path, value) in [
            (".metadata.labels.a\\.b/c", json!("x")),
            (".metadata.labels['a\\.b/c']", json!("x")),
            (".metadata.labels[\"a.b/c\"]", json!("x")),
            (".metadata.labels.d-e", json!("y")),
            (".spec.list[1].n", json!(2)),
            (".spec.list[-1].n", json!(2)),
            (".spec.list[*].n", json!(1)),
            (".spec.list[0]", json!({"n": 1})),
            (".status.conditions[?(@.type==\"Failed\")].m", json!("why")),
            (".status.conditions[?(@.type == 'Failed')].m", json!("why")),
            ("..m", json!("no")),
        ] {
            assert_eq!(JsonPath::parse(path).unwrap().first(&object), Some(&value), "{path}");
        }
        for path in
            [".spec.none", ".spec.list[7].n", ".spec.empty[0].x", ".metadata.labels.x.y", ".spec.list.n"]
        {
            assert_eq!(JsonPath::parse(path).unwrap().first(&object), None, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["", "spec", ".a[", ".a[?(@.b==\"]", ".a]", ".a[?(@.type=)]", ".a[b"] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(path in r#"[.a\[\]'"\\?@()=*0-9: -]{0,30}"#) {
            if let Ok(path) = JsonPath::parse(&path) {
                let _ = path.first(&json!({"a": [{"a": 1}, [1]]}));
            }
        }
    }
}
