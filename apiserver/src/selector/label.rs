//! Label selectors: `a=1,b in (x,y),!c,d>5`.

use std::collections::BTreeSet;

use super::SelectorError;
use crate::field::{FieldError, joined};
use crate::rules::names;
use crate::store::{Requirement, Test};

/// Parses a label selector. Empty text selects everything.
///
/// # Errors
/// The text is no label selector.
pub fn labels(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut parser = Parser { tokens: tokens(text), position: 0 };
    let mut requirements = parser.requirements()?;
    requirements.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(requirements)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    End,
    Word,
    In,
    NotIn,
    Comma,
    Open,
    Close,
    Not,
    Equals,
    NotEquals,
    Greater,
    Less,
}

#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    kind: Kind,
    text: &'a str,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'=' | b'!' | b'(' | b')' | b',' | b'>' | b'<')
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let length = token_length(rest);
        if length == 0 {
            tokens.push(Token { kind: Kind::End, text: "" });
            return tokens;
        }
        let (text, behind) = rest.split_at(length);
        tokens.push(Token { kind: kind(text), text });
        rest = behind;
    }
}

/// How many bytes the next token has. A NUL ends the text, as it does in Go's lexer.
fn token_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes {
        [] | [0, ..] => 0,
        [b'=', b'=', ..] | [b'!', b'=', ..] => 2,
        [first, ..] if is_special(*first) => 1,
        _ => bytes.iter().position(|it| is_special(*it) || is_space(*it) || *it == 0).unwrap_or(bytes.len()),
    }
}

fn kind(text: &str) -> Kind {
    match text {
        "in" => Kind::In,
        "notin" => Kind::NotIn,
        "," => Kind::Comma,
        "(" => Kind::Open,
        ")" => Kind::Close,
        "!" => Kind::Not,
        "=" | "==" => Kind::Equals,
        "!=" => Kind::NotEquals,
        ">" => Kind::Greater,
        "<" => Kind::Less,
        _ => Kind::Word,
    }
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    position: usize,
}

impl<'a> Parser<'a> {
    /// The next token as an operator; the last one stays the last.
    fn operator(&mut self) -> Token<'a> {
        let token = self.tokens[self.position.min(self.tokens.len() - 1)];
        self.position += 1;
        token
    }

    /// The next token where `in` and `notin` are words like others.
    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.position += 1;
        token
    }

    fn peek(&self) -> Token<'a> {
        let token = self.tokens[self.position.min(self.tokens.len() - 1)];
        match token.kind {
            Kind::In | Kind::NotIn => Token { kind: Kind::Word, ..token },
            _ => token,
        }
    }

    fn requirements(&mut self) -> Result<Vec<Requirement>, SelectorError> {
        let mut requirements = Vec::new();
        loop {
            let token = self.peek();
            match token.kind {
                Kind::Word | Kind::Not => requirements.push(self.checked_requirement()?),
                Kind::End => return Ok(requirements),
                _ => return Err(found(token, "!, identifier, or 'end of string'")),
            }
            let token = self.next();
            match token.kind {
                Kind::End => return Ok(requirements),
                Kind::Comma if matches!(self.peek().kind, Kind::Word | Kind::Not) => {}
                Kind::Comma => return Err(found(self.peek(), "identifier after ','")),
                _ => return Err(found(token, "',' or 'end of string'")),
            }
        }
    }

    fn checked_requirement(&mut self) -> Result<Requirement, SelectorError> {
        self.requirement().map_err(|it| SelectorError::new(format!("unable to parse requirement: {it}")))
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let negated = self.peek().kind == Kind::Not;
        if negated {
            self.next();
        }
        let key = self.key()?;
        let test = match (negated, self.peek().kind) {
            (true, _) => Test::Absent,
            (false, Kind::End | Kind::Comma) => Test::Exists,
            (false, _) => self.test(&key)?,
        };
        Ok(Requirement { key, test })
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        let token = self.next();
        if token.kind != Kind::Word {
            return Err(found(token, "identifier"));
        }
        match names::qualified(token.text).as_slice() {
            [] => Ok(token.text.to_owned()),
            wrong => {
                let error = FieldError::invalid_text("", token.text, &wrong.join("; "));
                Err(SelectorError::new(error.to_string()))
            }
        }
    }

    fn test(&mut self, key: &str) -> Result<Test, SelectorError> {
        let operator = self.operator();
        let values = match operator.kind {
            Kind::In | Kind::NotIn => self.values()?,
            Kind::Equals | Kind::NotEquals | Kind::Greater | Kind::Less => vec![self.value()?],
            _ => return Err(found(operator, "in, notin, =, ==, !=, gt, lt")),
        };
        let is_number = matches!(operator.kind, Kind::Greater | Kind::Less);
        let number = if is_number { number(&values[0]) } else { Some(0) };
        check(key, &values, number)?;
        let number = number.unwrap_or_default();
        Ok(match operator.kind {
            Kind::In | Kind::Equals => Test::In(values),
            Kind::Greater => Test::Greater(number),
            Kind::Less => Test::Less(number),
            _ => Test::NotIn(values),
        })
    }

    /// What stands behind `=`; nothing is the empty value.
    fn value(&mut self) -> Result<String, SelectorError> {
        match self.peek().kind {
            Kind::End | Kind::Comma => Ok(String::new()),
            Kind::Word => Ok(self.next().text.to_owned()),
            _ => Err(found(self.peek(), "identifier")),
        }
    }

    /// `(a,b,)`, sorted and each once.
    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        let open = self.next();
        if open.kind != Kind::Open {
            return Err(found(open, "'('"));
        }
        let mut values = BTreeSet::new();
        match self.peek().kind {
            Kind::Close => _ = values.insert(""),
            Kind::Word | Kind::Comma => self.listed(&mut values)?,
            _ => return Err(found(self.peek(), "',', ')' or identifier")),
        }
        let close = self.next();
        if close.kind != Kind::Close {
            return Err(found(close, "')'"));
        }
        Ok(values.into_iter().map(str::to_owned).collect())
    }

    fn listed(&mut self, values: &mut BTreeSet<&'a str>) -> Result<(), SelectorError> {
        loop {
            let token = self.next();
            match (token.kind, self.peek().kind) {
                (Kind::Word, Kind::Comma) => _ = values.insert(token.text),
                (Kind::Word, Kind::Close) => {
                    values.insert(token.text);
                    return Ok(());
                }
                (Kind::Word, _) => return Err(found(self.peek(), "',' or ')'")),
                (Kind::Comma, behind) => {
                    if values.is_empty() || matches!(behind, Kind::Close | Kind::Comma) {
                        values.insert("");
                    }
                    match behind {
                        Kind::Close => return Ok(()),
                        Kind::Comma => _ = self.next(),
                        _ => {}
                    }
                }
                _ => return Err(found(token, "',', or identifier")),
            }
        }
    }
}

fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn check(key: &str, values: &[String], number: Option<i64>) -> Result<(), SelectorError> {
    let mut errors = Vec::new();
    if number.is_none() {
        let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
        errors.push(FieldError::invalid_text("values[0]", &values[0], detail));
    }
    for (index, value) in values.iter().enumerate() {
        let wrong = names::label_value(value);
        if !wrong.is_empty() {
            let path = format!("values[{index}][{key}]");
            errors.push(FieldError::invalid_text(&path, value, &wrong.join("; ")));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(SelectorError::new(joined(&errors))) }
}

fn found(token: Token<'_>, expected: &str) -> SelectorError {
    SelectorError::new(format!("found '{}', expected: {expected}", token.text))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Vec<(String, Test)> {
        labels(text).unwrap().into_iter().map(|it| (it.key, it.test)).collect()
    }

    fn values(values: &[&str]) -> Vec<String> {
        values.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn every_operator_is_read() {
        for (text, key, test) in [
            ("a=1", "a", Test::In(values(&["1"]))),
            ("a == 1", "a", Test::In(values(&["1"]))),
            ("a=", "a", Test::In(values(&[""]))),
            ("a!=1", "a", Test::NotIn(values(&["1"]))),
            ("example.com/a", "example.com/a", Test::Exists),
            ("!a", "a", Test::Absent),
            ("a in (y, x,y)", "a", Test::In(values(&["x", "y"]))),
            ("a in (,x)", "a", Test::In(values(&["", "x"]))),
            ("a in ()", "a", Test::In(values(&[""]))),
            ("a notin (x,,y)", "a", Test::NotIn(values(&["", "x", "y"]))),
            ("a in (in,notin)", "a", Test::In(values(&["in", "notin"]))),
            ("in in (in)", "in", Test::In(values(&["in"]))),
            ("a>5", "a", Test::Greater(5)),
            ("a < 7", "a", Test::Less(7)),
        ] {
            assert_eq!(parsed(text), [(key.to_owned(), test)], "{text}");
        }
        assert_eq!(parsed(""), []);
        assert_eq!(parsed("b,a=1").len(), 2);
        assert_eq!(parsed("b,a=1")[0].0, "a");
    }

    #[test]
    fn what_is_no_selector_is_said_in_the_words_of_go() {
        for (text, error) in [
            ("a=1,", "found '', expected: identifier after ','"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a in x", "unable to parse requirement: found 'x', expected: '('"),
            ("a in (x", "unable to parse requirement: found '', expected: ',' or ')'"),
            (",a", "found ',', expected: !, identifier, or 'end of string'"),
            ("a=b=c", "found '=', expected: ',' or 'end of string'"),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        ] {
            assert_eq!(labels(text).unwrap_err().to_string(), error, "{text}");
        }
        let error = labels("-a=1").unwrap_err().to_string();
        let start = "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of";
        assert!(error.starts_with(start), "{error}");
        let error = labels("a=$").unwrap_err().to_string();
        let start = "unable to parse requirement: values[0][a]: Invalid value: \"$\": a valid label must be";
        assert!(error.starts_with(start), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "[a-c=!<>(), \t\0äin]{0,40}") {
            let _ = labels(&text);
        }

        #[test]
        fn what_is_asked_is_what_is_read(key in "[a-z]{1,8}", set in proptest::collection::btree_set("[a-z0-9]{0,5}", 1..5)) {
            let set: Vec<String> = set.into_iter().collect();
            let text = format!("{key} notin ({})", set.join(" , "));
            prop_assert_eq!(parsed(&text), [(key, Test::NotIn(set))]);
        }
    }
}
