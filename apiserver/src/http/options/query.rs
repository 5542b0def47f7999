//! Reading a query as Kubernetes does: of several values the first counts, what is unknown is ignored, and numbers that are none are told of in
//! the words of Go.

use crate::http::status::Refusal;

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Of what stands behind the `?`.
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.map(|(key, value)| (key.into_owned(), value.into_owned())).collect())
    }

    /// The first value.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(it, _)| it == key).map(|(_, value)| value.as_str())
    }

    /// The first value that is not empty.
    pub(crate) fn set(&self, key: &str) -> Option<&str> {
        self.text(key).filter(|it| !it.is_empty())
    }

    /// All values.
    pub(crate) fn all(&self, key: &'static str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(it, _)| it == key).map(|(_, value)| value.as_str())
    }

    /// Whether it is switched on: everything but `0` and `false` says so, even nothing.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        self.text(key).map(|it| it != "0" && !it.eq_ignore_ascii_case("false"))
    }

    /// A whole number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<i64>, Refusal> {
        self.text(key).map(number).transpose().map_err(Refusal::bad_request)
    }
}

/// What Go's `strconv.ParseInt` says to a text.
pub(crate) fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let why = match error.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.ParseInt: parsing {}: {why}", crate::field::quote(text))
    })
}

/// A length of time as Go writes it: `1h15m30.5s`, `250ms`, `0`. Negative ones are none here.
pub(crate) fn duration(text: &str) -> Option<std::time::Duration> {
    if text == "0" {
        return Some(std::time::Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut seconds = 0.0_f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit() && it != '.')?;
        let (value, behind) = rest.split_at(digits);
        let end = behind.find(|it: char| it.is_ascii_digit() || it == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let unit = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += value.parse::<f64>().ok()? * unit;
        rest = behind;
    }
    std::time::Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn flags_are_on_unless_they_are_off() {
        let query = Query::parse(Some("a&b=0&c=FALSE&d=x&d=0&e="));
        assert_eq!(["a", "b", "c", "d", "e"].map(|it| query.flag(it)), [Some(true), Some(false), Some(false), Some(true), Some(true)]);
        assert_eq!(query.flag("f"), None);
    }

    #[test]
    fn numbers_are_refused_in_the_words_of_go() {
        assert_eq!(number("12"), Ok(12));
        assert_eq!(number("abc"), Err(r#"strconv.ParseInt: parsing "abc": invalid syntax"#.to_owned()));
        assert_eq!(number("").map_err(|it| it.len()), Err(44));
        let large = number("99999999999999999999").unwrap_err();
        assert!(large.ends_with("value out of range"), "{large}");
    }

    #[test]
    fn lengths_of_time_are_those_of_go() {
        for (text, millis) in [("32s", 32_000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("250ms", 250), ("0", 0)] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1x", "1s5", "..s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
