//! One value as a person sees it in a table.

use larder_wire::ValueRef;

use super::escape;

/// Characters of a text that are shown, at most.
const TEXT: usize = 1000;
/// Bytes of a blob that are shown, at most.
const BLOB: usize = 16;

/// The value as text that is safe on a terminal.
pub(super) fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => real(value),
        ValueRef::Text(text) => shortened(text),
        ValueRef::Blob(bytes) => blob(bytes),
    }
}

/// With a point or an exponent, so that it is not taken for an integer.
fn real(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() };
    }
    format!("{value:?}")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        None => escape::text(text).into_owned(),
        Some((end, _)) => {
            let count = text.chars().count();
            format!("{}… ({count} characters)", escape::text(&text[..end]))
        }
    }
}

/// As SQL would write it, if it is short.
fn blob(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().take(BLOB).map(|it| format!("{it:02x}")).collect();
    if bytes.len() <= BLOB { format!("x'{hex}'") } else { format!("x'{hex}…' ({} bytes)", bytes.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let cases = [
            (ValueRef::Null, "NULL"),
            (ValueRef::Integer(i64::MIN), "-9223372036854775808"),
            (ValueRef::Real(1.0), "1.0"),
            (ValueRef::Real(1e300), "1e300"),
            (ValueRef::Real(f64::NEG_INFINITY), "-Infinity"),
            (ValueRef::Text("a\u{1b}b"), "a\\u{1b}b"),
            (ValueRef::Blob(&[]), "x''"),
            (ValueRef::Blob(&[0xde, 0xad]), "x'dead'"),
            (ValueRef::Blob(&[1; 17]), "x'01010101010101010101010101010101…' (17 bytes)"),
        ];
        for (value, expected) in cases {
            assert_eq!(shown(value), expected);
        }
        assert!(shown(ValueRef::Text(&"ä".repeat(1001))).ends_with("ä… (1001 characters)"));
        assert_eq!(shown(ValueRef::Text(&"ä".repeat(1000))).chars().count(), 1000);
    }
}
