//! Built-in functions whose time grows with the product of their arguments' lengths, replaced by ones whose time
//! grows with the sum. SQLite cannot interrupt a function, so `instr(zeroblob(16000000), zeroblob(8000000) || x'01')`
//! would hold a thread for hours.

use memchr::memmem;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Error, Result};
use std::collections::HashSet;
use std::sync::Mutex;

use crate::sync::lock;

/// Installs the replacements.
pub(crate) fn install(connection: &Connection, max_bytes: usize) -> Result<()> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("instr", 2, flags, instr)?;
    connection.create_scalar_function("replace", 3, flags, move |context| replace(context, max_bytes))?;
    limit_patch(connection, "json_patch", Some(JSON_SUBTYPE))?;
    limit_patch(connection, "jsonb_patch", None)?;
    connection.create_scalar_function("unhex", 2, flags, unhex)?;
    for (name, sides) in [("trim", Sides::Both), ("ltrim", Sides::Left), ("rtrim", Sides::Right)] {
        connection.create_scalar_function(name, 2, flags, move |context| trim(context, sides))?;
    }
    Ok(())
}

/// Marks text as JSON for the function that it is handed to (`JSON_SUBTYPE` in SQLite's json.c).
const JSON_SUBTYPE: std::ffi::c_uint = 74;

/// The longest product of the lengths of both arguments: about a second.
const MAX_PATCH_WORK: usize = 1 << 32;

/// Puts a limit on a function that looks for each member of its patch among all members of its target. What is
/// within is done by SQLite's own, on a connection where it has not been replaced.
fn limit_patch(connection: &Connection, name: &'static str, subtype: Option<std::ffi::c_uint>) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS
        | FunctionFlags::SQLITE_RESULT_SUBTYPE;
    let original = Mutex::new(Connection::open_in_memory()?);
    connection.create_scalar_function(name, 2, flags, move |context| {
        let [target, patch] = [context.get_raw(0), context.get_raw(1)];
        if bytes(target).len().saturating_mul(bytes(patch).len()) > MAX_PATCH_WORK {
            return Err(too_big());
        }
        let arguments = [target, patch].map(ToSqlOutput::Borrowed);
        let original = lock(&original);
        let mut call = original.prepare_cached(&format!("SELECT {name}(?1, ?2)"))?;
        let patched: Value = call.query_row(rusqlite::params_from_iter(arguments), |row| row.get(0))?;
        Ok((patched, subtype))
    })
}

/// `instr(X,Y)`: in bytes if both are blobs, in characters otherwise; 0 if absent, NULL if either is NULL
/// (<https://sqlite.org/lang_corefunc.html#instr>).
fn instr(context: &Context<'_>) -> Result<Option<i64>> {
    let (haystack, needle) = (context.get_raw(0), context.get_raw(1));
    if haystack == ValueRef::Null || needle == ValueRef::Null {
        return Ok(None);
    }
    let in_bytes = matches!((haystack, needle), (ValueRef::Blob(_), ValueRef::Blob(_)));
    let (haystack, needle) = (bytes(haystack), bytes(needle));
    let Some(found) = memmem::find(&haystack, &needle) else { return Ok(Some(0)) };
    let before = if in_bytes { found } else { characters(&haystack[..found]) };
    Ok(i64::try_from(before + 1).ok())
}

/// `replace(X,Y,Z)` (<https://sqlite.org/lang_corefunc.html#replace>).
fn replace(context: &Context<'_>, max_bytes: usize) -> Result<ToSqlOutput<'static>> {
    let [text, pattern, with] = [context.get_raw(0), context.get_raw(1), context.get_raw(2)];
    if text == ValueRef::Null || pattern == ValueRef::Null {
        return Ok(ToSqlOutput::Owned(Value::Null));
    }
    let (text, pattern) = (bytes(text), bytes(pattern));
    // In this order: nothing to look for leaves the text, whatever should take its place.
    if pattern.is_empty() {
        return Ok(owned_text(text.into_owned()));
    }
    if with == ValueRef::Null {
        return Ok(ToSqlOutput::Owned(Value::Null));
    }
    let with = bytes(with);
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = 0;
    for found in memmem::find_iter(&text, &*pattern) {
        replaced.extend_from_slice(&text[rest..found]);
        replaced.extend_from_slice(&with);
        rest = found + pattern.len();
        if replaced.len() > max_bytes {
            return Err(too_big());
        }
    }
    replaced.extend_from_slice(&text[rest..]);
    Ok(owned_text(replaced))
}

#[derive(Clone, Copy, PartialEq)]
enum Sides {
    Left,
    Right,
    Both,
}

/// `trim(X,Y)`: removes the characters of Y from the ends of X (<https://sqlite.org/lang_corefunc.html#trim>).
fn trim(context: &Context<'_>, sides: Sides) -> Result<ToSqlOutput<'static>> {
    let (text, set) = (context.get_raw(0), context.get_raw(1));
    if text == ValueRef::Null || set == ValueRef::Null {
        return Ok(ToSqlOutput::Owned(Value::Null));
    }
    let (text, set) = (bytes(text), bytes(set));
    let text = String::from_utf8_lossy(&text);
    // The built-in function reads its set as far as a NUL.
    let set = Characters::of(&set[..memchr::memchr(0, &set).unwrap_or(set.len())]);
    let mut trimmed = &*text;
    if sides != Sides::Right {
        trimmed = trimmed.trim_start_matches(|it| set.contains(it));
    }
    if sides != Sides::Left {
        trimmed = trimmed.trim_end_matches(|it| set.contains(it));
    }
    Ok(ToSqlOutput::Owned(Value::Text(trimmed.to_owned())))
}

/// `unhex(X,Y)`: the bytes that pairs of digits stand for; characters of Y may stand between pairs, and NULL is given
/// for any other (<https://sqlite.org/lang_corefunc.html#unhex>).
fn unhex(context: &Context<'_>) -> Result<Option<Vec<u8>>> {
    let (text, ignored) = (context.get_raw(0), context.get_raw(1));
    if text == ValueRef::Null || ignored == ValueRef::Null {
        return Ok(None);
    }
    let (text, ignored) = (bytes(text), Characters::of(&bytes(ignored)));
    // As far as the built-in function reads.
    let end = memchr::memchr(0, &text).unwrap_or(text.len());
    let text = String::from_utf8_lossy(&text[..end]);
    let mut decoded = Vec::with_capacity(text.len() / 2);
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match (character.to_digit(16), ignored.contains(character)) {
            (Some(high), _) => {
                let Some(low) = rest.next().and_then(|it| it.to_digit(16)) else { return Ok(None) };
                decoded.extend(u8::try_from(high << 4 | low));
            }
            (None, true) => {}
            (None, false) => return Ok(None),
        }
    }
    Ok(Some(decoded))
}

/// A set of characters that tells in constant time what is in it.
struct Characters {
    ascii: [bool; 128],
    others: HashSet<char>,
}

impl Characters {
    fn of(text: &[u8]) -> Self {
        let mut set = Self { ascii: [false; 128], others: HashSet::new() };
        for character in String::from_utf8_lossy(text).chars() {
            match set.ascii.get_mut(character as usize) {
                Some(contained) => *contained = true,
                None => drop(set.others.insert(character)),
            }
        }
        set
    }

    fn contains(&self, character: char) -> bool {
        self.ascii.get(character as usize).copied().unwrap_or_else(|| self.others.contains(&character))
    }
}

/// The value as SQLite casts it to text or blob.
fn bytes(value: ValueRef<'_>) -> std::borrow::Cow<'_, [u8]> {
    match value {
        ValueRef::Null => (&[][..]).into(),
        ValueRef::Integer(value) => value.to_string().into_bytes().into(),
        ValueRef::Real(value) => real_text(value).into_bytes().into(),
        ValueRef::Text(text) => text.into(),
        ValueRef::Blob(blob) => blob.into(),
    }
}

/// SQLite writes doubles with 15 significant digits and always a point (`%!.15g`).
fn real_text(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let exponent = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    if !(-5..15).contains(&exponent) {
        let text = format!("{value:.14e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let mantissa = with_point(mantissa.trim_end_matches('0'));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let decimals = usize::try_from(14 - exponent).unwrap_or(0);
    with_point(format!("{value:.decimals$}").trim_end_matches('0'))
}

fn with_point(digits: &str) -> String {
    match digits {
        whole if whole.ends_with('.') => format!("{whole}0"),
        whole if !whole.contains('.') => format!("{whole}.0"),
        fraction => fraction.to_owned(),
    }
}

/// Characters as SQLite counts them: bytes that do not continue one.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

fn owned_text(bytes: Vec<u8>) -> ToSqlOutput<'static> {
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    ToSqlOutput::Owned(Value::Text(text))
}

fn too_big() -> Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_TOOBIG);
    // With a message of our own, SQLite would forget the code.
    Error::SqliteFailure(code, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_limited_and_stay_json() {
        let ours = Connection::open_in_memory().expect("a connection");
        install(&ours, 1 << 20).expect("functions");
        let text = |sql: &str| ours.query_row(sql, [], |row| row.get::<_, Option<String>>(0));
        let patched = text("SELECT json_array(json_patch('{\"a\":1}', '{\"b\":[2]}'))").expect("JSON");
        assert_eq!(patched.as_deref(), Some(r#"[{"a":1,"b":[2]}]"#));
        let binary = text("SELECT json(jsonb_patch('{\"a\":1}', '{\"a\":null}'))").expect("JSON");
        assert_eq!(binary.as_deref(), Some("{}"));
        assert_eq!(text("SELECT json_patch(NULL, '{}')").expect("NULL"), None);
        assert!(text("SELECT json_patch('{', '{}')").is_err());
        let long = "SELECT json_patch(printf('%100000s', '{}'), printf('%100000s', '{}'))";
        let error = text(long).expect_err("too long");
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::TooBig));
    }

    /// Every call gives what SQLite's own function gives.
    #[test]
    fn replacements_agree_with_the_built_in_functions() {
        let built_in = Connection::open_in_memory().expect("a connection");
        let ours = Connection::open_in_memory().expect("a connection");
        install(&ours, 1 << 20).expect("functions");
        let values = [
            "NULL",
            "''",
            "x''",
            "'a'",
            "'ab'",
            "'äöä'",
            "'ä'",
            "'aXbXc'",
            "'X'",
            "x'6162'",
            "x'62'",
            "x'c3a4'",
            "12",
            "1.5",
            "-0.25",
            "1e100",
            "123456789.125",
            "9e999",
            "1e-7",
            "100.0",
            "'  a '",
            "' '",
            "'aaa'",
            "'aa'",
            "0.1",
            "'41-42 4a'",
            "'-ä '",
            "'4-1'",
            "'41' || char(0) || 'x'",
        ];
        let mut calls = Vec::new();
        for a in values {
            for b in values {
                for name in ["instr", "trim", "ltrim", "rtrim", "unhex"] {
                    calls.push(format!("{name}({a},{b})"));
                }
                calls.extend(["'X'", "''", "NULL", "'yy'"].map(|c| format!("replace({a},{b},{c})")));
            }
        }
        for call in calls {
            let sql = format!("SELECT typeof({call}), quote({call})");
            let read = |connection: &Connection| {
                connection.query_row(&sql, [], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
            };
            assert_eq!(read(&ours), read(&built_in), "{call}");
        }
    }
}
