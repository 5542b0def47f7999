//! Arguments of SQL on the command line, which knows only text: what becomes an integer, a real, NULL, bytes.
//!
//! What JSON calls a number is one, so `007`, `+49` and `1_000` stay text. Nothing else is guessed.

use std::fs;

use larder_wire::{Bindings, Value};

use super::Failure;

/// The arguments of one statement, by position or by name.
pub(crate) fn parse(params: &[String], as_text: bool) -> Result<Bindings, Failure> {
    let (mut positional, mut named) = (Vec::new(), Vec::new());
    for param in params {
        match name_and_value(param) {
            Some((name, text)) => named.push((name.to_owned(), value(text, as_text)?)),
            None => positional.push(value(unescaped(param, ':'), as_text)?),
        }
    }
    match (positional.is_empty(), named.is_empty()) {
        (_, true) => Ok(Bindings::Positional(positional)),
        (true, false) => Ok(Bindings::Named(named)),
        (false, false) => Err(Failure::Usage(
            "arguments go by position or by name (:name=value), not both; a text that begins like a name is \
             written with two colons"
                .to_owned(),
        )),
    }
}

fn value(text: &str, as_text: bool) -> Result<Value, Failure> {
    if as_text {
        return Ok(Value::Text(text.to_owned()));
    }
    if text == "null" {
        return Ok(Value::Null);
    }
    if let Some(path) = text.strip_prefix('@').filter(|it| !it.starts_with('@')) {
        return fs::read(path).map(Value::Blob).map_err(Failure::io(format!("reading {path}")));
    }
    if is_number(text) {
        return number(text);
    }
    Ok(Value::Text(unescaped(text, '@').to_owned()))
}

fn number(text: &str) -> Result<Value, Failure> {
    let out_of_range =
        || Failure::Usage(format!("{text} is out of the range of 64 bits; --text sends it as text"));
    if text.bytes().all(|it| it == b'-' || it.is_ascii_digit()) {
        return text.parse().map(Value::Integer).map_err(|_| out_of_range());
    }
    match text.parse::<f64>() {
        Ok(real) if real.is_finite() => Ok(Value::Real(real)),
        _ => Err(out_of_range()),
    }
}

/// Whether the text is a number by the grammar of JSON (RFC 8259, section 6).
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|it| digits(it.strip_prefix(['+', '-']).unwrap_or(it)))
}

/// `:name=value`.
fn name_and_value(param: &str) -> Option<(&str, &str)> {
    let (name, value) = param.strip_prefix(':')?.split_once('=')?;
    let mut bytes = name.bytes();
    let first = bytes.next()?;
    let is_name = (first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|it| it.is_ascii_alphanumeric() || it == b'_');
    is_name.then_some((name, value))
}

/// The text without the first of two marks that stand for one.
fn unescaped(text: &str, mark: char) -> &str {
    match text.strip_prefix(mark) {
        Some(rest) if rest.starts_with(mark) => rest,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Value {
        let Ok(Bindings::Positional(mut values)) = parse(&[text.to_owned()], false) else { panic!("{text}") };
        values.remove(0)
    }

    #[test]
    fn types_by_how_they_look() {
        let text = |it: &str| Value::Text(it.to_owned());
        let cases = [
            ("null", Value::Null),
            ("NULL", text("NULL")),
            ("0", Value::Integer(0)),
            ("-0", Value::Integer(0)),
            ("-5", Value::Integer(-5)),
            ("9223372036854775807", Value::Integer(i64::MAX)),
            ("-9223372036854775808", Value::Integer(i64::MIN)),
            ("1.5", Value::Real(1.5)),
            ("1e3", Value::Real(1000.0)),
            ("-2.5E-1", Value::Real(-0.25)),
            ("1e+2", Value::Real(100.0)),
            ("007", text("007")),
            ("+49", text("+49")),
            (".5", text(".5")),
            ("5.", text("5.")),
            ("1e", text("1e")),
            ("-", text("-")),
            ("1_000", text("1_000")),
            ("0x10", text("0x10")),
            ("inf", text("inf")),
            ("NaN", text("NaN")),
            ("true", text("true")),
            ("", text("")),
            (" 1", text(" 1")),
            ("@@home", text("@home")),
            ("::int", text(":int")),
            (":-)", text(":-)")),
            (":5=5", text(":5=5")),
        ];
        for (input, expected) in cases {
            assert_eq!(one(input), expected, "{input:?}");
        }
    }

    #[test]
    fn text_forces_text() {
        let Ok(Bindings::Positional(values)) = parse(&["5".into(), "null".into(), "@x".into()], true) else {
            panic!()
        };
        assert_eq!(values, ["5".into(), "null".into(), Value::Text("@x".into())]);
    }

    #[test]
    fn names() {
        let params = [":a=1".to_owned(), ":b_2=x=y".to_owned(), ":c=".to_owned()];
        let Ok(Bindings::Named(pairs)) = parse(&params, false) else { panic!() };
        let expected = [("a", Value::Integer(1)), ("b_2", "x=y".into()), ("c", "".into())];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn what_is_refused() {
        let refused = |params: &[&str]| {
            let params: Vec<String> = params.iter().map(|&it| it.to_owned()).collect();
            parse(&params, false).expect_err("refused").exit_code()
        };
        assert_eq!(refused(&[":a=1", "2"]), 2);
        assert_eq!(refused(&["9223372036854775808"]), 2);
        assert_eq!(refused(&["1e999"]), 2);
        assert_eq!(refused(&["@/no/such/file"]), 1);
    }

    #[test]
    fn a_file_is_bytes() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), [0, 159, 146]).expect("written");
        assert_eq!(one(&format!("@{}", file.path().display())), Value::Blob(vec![0, 159, 146]));
    }
}
