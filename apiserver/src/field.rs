//! What is wrong with a field, in the words of Kubernetes.
//!
//! Clients show these texts to people and some compare them, so values are quoted as Go quotes them. Which HTTP status comes of it is
//! decided by whoever answers the request: as a rule 422 with one cause for each error.

use std::fmt::{self, Write as _};

use serde_json::Value;

/// What kind of error it is: what a Status calls the reason of a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldReason {
    /// The value is malformed or out of its bounds.
    Invalid,
    /// The value is of another type.
    TypeInvalid,
    /// There has to be a value.
    Required,
    /// The value is none of those that there are.
    NotSupported,
    /// The value might be right elsewhere, or at another time.
    Forbidden,
    /// The value has to be unique.
    Duplicate,
    /// The value is too long.
    TooLong,
    /// There are too many values.
    TooMany,
    /// There is no such thing.
    NotFound,
}

impl FieldReason {
    /// As a Status writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Required => "FieldValueRequired",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
        }
    }
}

/// One field that is wrong. Displayed as `spec.foo: Invalid value: "x": must be …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The kind of error.
    pub reason: FieldReason,
    /// The path of the field: `spec.list[0].name`; `<nil>` is the whole object.
    pub field: String,
    /// What is said of it, without the path.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl std::error::Error for FieldError {}

impl FieldError {
    fn new(reason: FieldReason, field: &str, message: String) -> Self {
        let field = if field.is_empty() { "<nil>" } else { field }.to_owned();
        Self { reason, field, message }
    }

    /// `Invalid value: VALUE: DETAIL`.
    #[must_use]
    pub fn invalid(field: &str, value: &Value, detail: &str) -> Self {
        Self::new(FieldReason::Invalid, field, with_detail("Invalid value", Some(value), detail))
    }

    /// [`FieldError::invalid`] for a text.
    #[must_use]
    pub fn invalid_text(field: &str, value: &str, detail: &str) -> Self {
        Self::invalid(field, &Value::from(value), detail)
    }

    /// [`FieldError::invalid`] for a value that is shown like this.
    #[must_use]
    pub fn invalid_shown(field: &str, shown: &str, detail: &str) -> Self {
        Self::new(FieldReason::Invalid, field, format!("Invalid value: {shown}: {detail}"))
    }

    /// `Invalid value: VALUE: DETAIL`, where the type of the value is what is wrong.
    #[must_use]
    pub fn type_invalid(field: &str, value: &Value, detail: &str) -> Self {
        Self::new(FieldReason::TypeInvalid, field, with_detail("Invalid value", Some(value), detail))
    }

    /// `Required value: DETAIL`; the detail may be empty.
    #[must_use]
    pub fn required(field: &str, detail: &str) -> Self {
        Self::new(FieldReason::Required, field, with_detail("Required value", None, detail))
    }

    /// `Unsupported value: VALUE: supported values: "a", "b"`.
    #[must_use]
    pub fn not_supported<'a>(
        field: &str,
        value: &Value,
        supported: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let supported: Vec<String> = supported.into_iter().map(quote).collect();
        let detail = match supported.as_slice() {
            [] => String::new(),
            some => format!("supported values: {}", some.join(", ")),
        };
        Self::new(FieldReason::NotSupported, field, with_detail("Unsupported value", Some(value), &detail))
    }

    /// `Forbidden: DETAIL`.
    #[must_use]
    pub fn forbidden(field: &str, detail: &str) -> Self {
        Self::new(FieldReason::Forbidden, field, with_detail("Forbidden", None, detail))
    }

    /// `Duplicate value: VALUE`.
    #[must_use]
    pub fn duplicate(field: &str, value: &Value) -> Self {
        Self::new(FieldReason::Duplicate, field, with_detail("Duplicate value", Some(value), ""))
    }

    /// `Too long: may not be more than N bytes`.
    #[must_use]
    pub fn too_long(field: &str, most: u64) -> Self {
        let bytes = if most == 1 { "byte" } else { "bytes" };
        let detail = format!("may not be more than {most} {bytes}");
        Self::new(FieldReason::TooLong, field, with_detail("Too long", None, &detail))
    }

    /// `Too many: ACTUAL: must have at most N items`.
    #[must_use]
    pub fn too_many(field: &str, actual: u64, most: u64) -> Self {
        let items = if most == 1 { "item" } else { "items" };
        let detail = format!("must have at most {most} {items}");
        Self::new(FieldReason::TooMany, field, with_detail("Too many", Some(&actual.into()), &detail))
    }
}

/// All of them in one text, as Go shows a list of errors: one as it is, several in brackets, none twice.
#[must_use]
pub fn joined<E: fmt::Display>(errors: &[E]) -> String {
    let mut texts: Vec<String> = Vec::with_capacity(errors.len());
    for text in errors.iter().map(ToString::to_string) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [one] => one.clone(),
        some => format!("[{}]", some.join(", ")),
    }
}

fn with_detail(kind: &str, value: Option<&Value>, detail: &str) -> String {
    let mut text = kind.to_owned();
    for part in [value.map(shown), (!detail.is_empty()).then(|| detail.to_owned())].into_iter().flatten() {
        text.push_str(": ");
        text.push_str(&part);
    }
    text
}

/// A value as Go shows it: texts quoted, everything else as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        other => html_escaped(&other.to_string()),
    }
}

/// Go's encoder writes these three as escapes, so that its output may stand in HTML.
fn html_escaped(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// A text in quotes, as Go's `%q` writes it.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        quote_char(char, &mut out);
    }
    out.push('"');
    out
}

fn quote_char(char: char, out: &mut String) {
    match char {
        '"' | '\\' => out.extend(['\\', char]),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        _ if is_printable(char) => out.push(char),
        _ => escape_char(char as u32, out),
    }
}

fn escape_char(code: u32, out: &mut String) {
    let written = match code {
        0..0x80 => write!(out, "\\x{code:02x}"),
        0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
    written.expect("a String takes everything");
}

/// Whether Go prints a character as it is. Spaces other than the ordinary one are not printable there.
#[must_use]
pub fn is_printable(char: char) -> bool {
    char == ' ' || !(char.is_control() || char.is_whitespace() || char == '\u{feff}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_are_worded_as_go_words_them() {
        let cases = [
            (
                FieldError::invalid("spec.a", &json!("x\n"), "must be 1"),
                r#"spec.a: Invalid value: "x\n": must be 1"#,
            ),
            (FieldError::invalid("spec.a", &json!(5), "no"), "spec.a: Invalid value: 5: no"),
            (FieldError::invalid("a", &json!({"b": "<"}), "no"), "a: Invalid value: {\"b\":\"\\u003c\"}: no"),
            (FieldError::required("spec.a", ""), "spec.a: Required value"),
            (
                FieldError::not_supported("a", &json!("x"), ["p", "q"]),
                r#"a: Unsupported value: "x": supported values: "p", "q""#,
            ),
            (FieldError::too_long("a", 1), "a: Too long: may not be more than 1 byte"),
            (FieldError::too_many("a", 3, 2), "a: Too many: 3: must have at most 2 items"),
            (FieldError::duplicate("a[1]", &json!("x")), r#"a[1]: Duplicate value: "x""#),
            (FieldError::forbidden("", "never"), "<nil>: Forbidden: never"),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn texts_are_quoted_as_go_quotes_them() {
        assert_eq!(quote("ä\"\\\u{1}\u{a0}\u{1f600}"), "\"ä\\\"\\\\\\x01\\u00a0\u{1f600}\"");
    }

    #[test]
    fn several_errors_stand_in_brackets_once() {
        assert_eq!(joined(&["a"]), "a");
        assert_eq!(joined(&["a", "b", "a"]), "[a, b]");
    }
}
