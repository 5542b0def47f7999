//! Reading a body as JSON: byte offsets of errors, and the integers that `serde_json` would round.

use serde::de::DeserializeSeed;

use super::Request;
use crate::context::{BodyError, Context};
use crate::value::{Value, out_of_range_message};

/// Reads a whole body through `seed`, which counts in `context`.
pub(super) fn read<'b, S>(body: &'b [u8], context: &Context, seed: S) -> Result<Request, BodyError>
where
    S: DeserializeSeed<'b, Value = Request>,
{
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let request = seed
        .deserialize(&mut deserializer)
        .and_then(|request| deserializer.end().map(|()| request))
        .map_err(|error| context.error(&without_position(&error), Some(offset_of(body, &error))))?;
    reject_rounded_integers(&request, body)?;
    Ok(request)
}

/// `serde_json` reads an integer literal beyond 64 bits as a double. A double of that size is rare, so
/// the text is looked at again only if there is one.
fn reject_rounded_integers(request: &Request, body: &[u8]) -> Result<(), BodyError> {
    let values = request.statements.iter().flat_map(|it| it.args.sets()).flat_map(|it| it.values());
    let suspicious = |value: &Value| matches!(value, Value::Real(real) if real.abs() >= 9.2e18);
    if !values.into_iter().any(suspicious) {
        return Ok(());
    }
    let Some(found) = find_wide_integer(body) else { return Ok(()) };
    let context = Context::default();
    context.enter_statement(found.statement);
    Err(context.error(&out_of_range_message(found.literal), Some(found.offset)))
}

/// The message without the ` at line 1 column 9` that `serde_json` appends: the byte offset says it.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

/// `serde_json` counts lines from 1 and the bytes that it has read in the last of them.
fn offset_of(body: &[u8], error: &serde_json::Error) -> usize {
    if error.is_eof() {
        return body.len();
    }
    let lines_before = error.line().saturating_sub(1);
    let before: usize = body.split_inclusive(|&byte| byte == b'\n').take(lines_before).map(<[u8]>::len).sum();
    let last_read = (before + error.column()).min(body.len()).saturating_sub(1);
    if body.get(last_read).is_some_and(u8::is_ascii_digit) {
        start_of_number(body, last_read)
    } else {
        last_read
    }
}

/// Where the number begins that `inside` is a byte of.
fn start_of_number(body: &[u8], inside: usize) -> usize {
    inside + 1 - body[..=inside].iter().rev().take_while(|byte| is_part_of_number(byte)).count()
}

fn is_part_of_number(byte: &u8) -> bool {
    matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')
}

struct WideInteger {
    literal: String,
    offset: usize,
    statement: usize,
}

/// The first integer literal, outside strings, that does not fit into 64 bits. `body` is valid JSON of a request.
fn find_wide_integer(body: &[u8]) -> Option<WideInteger> {
    // Commas at the depth of the statements array count the statements before.
    let statements_depth =
        if body.iter().find(|it| !it.is_ascii_whitespace()) == Some(&b'{') { 2 } else { 1 };
    let (mut depth, mut statement, mut at) = (0, 0, 0);
    while at < body.len() {
        match body[at] {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b',' if depth == statements_depth => statement += 1,
            b'"' => at = end_of_string(body, at),
            b'-' | b'0'..=b'9' => {
                let length = body[at..].iter().take_while(|byte| is_part_of_number(byte)).count();
                let literal = String::from_utf8_lossy(&body[at..at + length]);
                if is_wide(&literal) {
                    return Some(WideInteger { literal: literal.into_owned(), offset: at, statement });
                }
                at += length - 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Whether this is an integer that neither an `i64` nor a count (an `u64`) holds. A value between the two was refused when it was read.
fn is_wide(literal: &str) -> bool {
    !literal.contains(['.', 'e', 'E']) && literal.parse::<i64>().is_err() && literal.parse::<u64>().is_err()
}

/// The closing quote of the string that opens at `start`.
fn end_of_string(body: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < body.len() && body[at] != b'"' {
        at += if body[at] == b'\\' { 2 } else { 1 };
    }
    at
}
