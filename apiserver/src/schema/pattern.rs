//! Patterns, which are written for Go's `regexp` (RE2). Rust's syntax looks the same and is not: `\d`, `\w`, `\s` and `\b` mean all of Unicode, `&&`, `--`
//! and `~~` in brackets are operations on sets, `\<` is the beginning of a word; brackets within brackets, braces that are no repetition, octal numbers and
//! `\Q…\E` are errors. So a pattern is written anew before it is compiled.
//!
//! Not done: refusing all that Go refuses. Patterns come from CRDs, which a cluster has taken already.

use std::fmt::Write as _;

use regex::{Regex, RegexBuilder};

/// The memory that one pattern may take when it is compiled: some thousand times what patterns in use take.
const LARGEST: usize = 1 << 20;

/// Compiles a pattern; the error says what is wrong with it.
pub(super) fn compile(pattern: &str) -> Result<Regex, String> {
    let mut translator = Translator { rest: pattern, written: String::with_capacity(pattern.len()) };
    translator.run()?;
    let built = RegexBuilder::new(&translator.written).size_limit(LARGEST).build();
    built.map_err(|error| error.to_string().lines().last().unwrap_or_default().to_owned())
}

struct Translator<'p> {
    rest: &'p str,
    written: String,
}

/// What stands in brackets, or behind a backslash.
enum Item {
    One(char),
    /// The inside of brackets.
    Set(String),
}

impl Translator<'_> {
    fn run(&mut self) -> Result<(), String> {
        while let Some(next) = self.next() {
            match next {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '{' if self.is_repetition() => self.written.push('{'),
                '{' => self.literal('{'),
                '(' if self.take("?P<") || self.take("?<") => self.written.push_str("(?P<"),
                '(' if self.take("?") => self.flags()?,
                '}' if self.is_in_repetition() => self.written.push('}'),
                '}' => self.literal('}'),
                other => self.written.push(other),
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// One character that means itself, wherever it stands.
    fn literal(&mut self, one: char) {
        self.written.push_str(&literal(one));
    }

    /// Whether `2}`, `2,}` or `2,3}` follows.
    fn is_repetition(&self) -> bool {
        let Some((inside, _)) = self.rest.split_once('}') else { return false };
        let is_number = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
        match inside.split_once(',') {
            None => is_number(inside),
            Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
        }
    }

    /// Whether what was written ends in the inside of a repetition.
    fn is_in_repetition(&self) -> bool {
        let inside = self.written.trim_end_matches(|it: char| it.is_ascii_digit() || it == ',');
        inside.len() < self.written.len() && inside.ends_with('{') && !inside.ends_with("\\{")
    }

    /// `(?i)`, `(?s-m:`. Rust knows more flags, which would mean something else.
    fn flags(&mut self) -> Result<(), String> {
        let end = self.rest.find([':', ')']).ok_or("a group is not closed")?;
        let flags = &self.rest[..end];
        if !flags.bytes().all(|it| b"imsU-".contains(&it)) {
            return Err(format!("(?{flags} is not supported"));
        }
        self.written.push_str("(?");
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        if self.take("Q") {
            let (quoted, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
            quoted.chars().for_each(|it| self.literal(it));
            self.rest = rest;
            return Ok(());
        }
        for same in ["A", "z"] {
            if self.take(same) {
                self.written.extend(["\\", same]);
                return Ok(());
            }
        }
        for bound in ["b", "B"] {
            if self.take(bound) {
                // Writing to a text does not fail.
                let _ = write!(self.written, r"(?-u:\{bound})");
                return Ok(());
            }
        }
        match self.escaped()? {
            Item::One(one) => self.literal(one),
            Item::Set(set) => _ = write!(self.written, "[{set}]"),
        }
        Ok(())
    }

    /// What is behind a backslash, in brackets or not.
    fn escaped(&mut self) -> Result<Item, String> {
        let next = self.next().ok_or("a backslash at the end")?;
        let one = match next {
            'd' => return Ok(Item::Set("0-9".to_owned())),
            'D' => return Ok(Item::Set("[^0-9]".to_owned())),
            'w' => return Ok(Item::Set("0-9A-Za-z_".to_owned())),
            'W' => return Ok(Item::Set("[^0-9A-Za-z_]".to_owned())),
            's' => return Ok(Item::Set(r"\t\n\x0C\r\x20".to_owned())),
            'S' => return Ok(Item::Set(r"[^\t\n\x0C\r\x20]".to_owned())),
            'p' | 'P' => return self.property(next == 'P'),
            'a' => '\x07',
            'f' => '\x0C',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0B',
            'x' => self.hexadecimal()?,
            '0'..='7' => self.octal(next)?,
            other if other.is_ascii_alphanumeric() || !other.is_ascii() => {
                return Err(format!("invalid escape sequence: \\{other}"));
            }
            other => other,
        };
        Ok(Item::One(one))
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}`.
    fn property(&mut self, is_negated: bool) -> Result<Item, String> {
        let (name, rest) = match self.rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}').ok_or("a name of characters is not closed")?,
            None => self.rest.split_at(self.rest.chars().next().map_or(0, char::len_utf8)),
        };
        self.rest = rest;
        let (name, is_negated) = match name.strip_prefix('^') {
            Some(name) => (name, !is_negated),
            None => (name, is_negated),
        };
        Ok(Item::Set(format!(r"\{}{{{name}}}", if is_negated { 'P' } else { 'p' })))
    }

    /// `41` or `{1F600}`.
    fn hexadecimal(&mut self) -> Result<char, String> {
        let (digits, rest) = match self.rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}').ok_or("a number is not closed")?,
            None => self.rest.split_at_checked(2).ok_or("a number is too short")?,
        };
        self.rest = rest;
        let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
        code.ok_or_else(|| format!("{digits} is no character"))
    }

    /// Up to three octal digits, of which one alone would be a back reference.
    fn octal(&mut self, first: char) -> Result<char, String> {
        let more = self.rest.bytes().take(2).take_while(|it| (b'0'..=b'7').contains(it)).count();
        if first != '0' && more == 0 {
            return Err("backreferences are not supported".to_owned());
        }
        let (digits, rest) = self.rest.split_at(more);
        self.rest = rest;
        let code = u32::from_str_radix(&format!("{first}{digits}"), 8).ok().and_then(char::from_u32);
        code.ok_or_else(|| format!("{first}{digits} is no character"))
    }

    /// What stands in brackets, to the end of them.
    fn class(&mut self) -> Result<(), String> {
        let opening = if self.take("^") { "[^" } else { "[" };
        self.written.push_str(opening);
        let mut is_first = true;
        while is_first || !self.take("]") {
            is_first = false;
            match self.item()? {
                Item::Set(set) => self.written.push_str(&set),
                Item::One(low) => self.range(low)?,
            }
        }
        self.written.push(']');
        Ok(())
    }

    fn item(&mut self) -> Result<Item, String> {
        if self.rest.starts_with("[:")
            && let Some(end) = self.rest.find(":]")
        {
            let (name, rest) = self.rest.split_at(end + 2);
            self.rest = rest;
            return Ok(Item::Set(name.to_owned()));
        }
        match self.next().ok_or("brackets are not closed")? {
            '\\' => self.escaped(),
            other => Ok(Item::One(other)),
        }
    }

    /// One character, or all from it to another.
    fn range(&mut self, low: char) -> Result<(), String> {
        self.literal(low);
        if self.rest.starts_with("-]") || !self.take("-") {
            return Ok(());
        }
        let Item::One(high) = self.item()? else { return Err("a range ends in no character".to_owned()) };
        self.written.push('-');
        self.literal(high);
        Ok(())
    }
}

fn literal(one: char) -> String {
    if one.is_alphanumeric() { one.to_string() } else { format!(r"\x{{{:X}}}", u32::from(one)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each was tried with a kube-apiserver 1.34.
    #[test]
    fn patterns_mean_what_they_mean_in_a_cluster() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            (r"^\d+$", &["12"], &["٣", ""]),
            (r"^\w+\s?$", &["a ", "a_1"], &["ä ", "a\u{a0}", "a\x0B"]),
            (r"^\D\W\S$", &["ää-", "٣ä٣"], &["1ä-", "aa-", "aä "]),
            (r"\bfoo\b", &["a foo b", "äfoo"], &["afoo"]),
            (r"^{a}$", &["{a}"], &["a"]),
            (r"^a{,3}$", &["a{,3}"], &["aa"]),
            (r"^a{2,3}?b{1}c{2,}$", &["aabcc"], &["abcc"]),
            (r"^a{$|^b}$", &["a{", "b}"], &["a"]),
            (r"^[[a]+$", &["[a["], &["]"]),
            (r"^[]a]+$|^[^]b]$", &["]a", "c"], &["b"]),
            (r"^[~~#]+$", &["~~#", "#"], &["a"]),
            (r"^[a-z&&b]+$", &["a&", "b"], &["A"]),
            (r"^[\d-z]+$", &["1-z"], &["y"]),
            (r"^[a\-z]+$", &["a-z"], &["y"]),
            (r"^[a-]+$", &["a-"], &["b"]),
            (r"^[\w.-]+$", &["a.-_"], &["ä"]),
            (r"^[^\x00-\x1f\D]$", &["5"], &["a", "\t"]),
            (r"^[[:alpha:]_]+$", &["aB_"], &["ä"]),
            (r"^[[:^alpha:]]+$", &["1ä"], &["a"]),
            (r"^\Qa.b\E$", &["a.b"], &["axb"]),
            (r"^\123\0$", &["S\0"], &["S"]),
            (r"^\p{^Greek}\pL\PL$", &["aä1"], &["αa1"]),
            (r"^\<a\>$", &["<a>"], &["a"]),
            (r"^\x{1F600}\x41$", &["😀A"], &[]),
            (r"(?i)^abc$", &["aBC"], &["abc\n"]),
            (r"(?s-i:^.$)", &["\n"], &[""]),
            (r"^(?P<n>a)(?<m>b)(?:c)$", &["abc"], &[]),
            (r"^.$", &["ä", "😀"], &["\n", ""]),
            (r"^a\/b\_\-\@$", &["a/b_-@"], &[]),
        ];
        for (pattern, matched, refused) in cases {
            let regex = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            matched.iter().for_each(|it| assert!(regex.is_match(it), "{pattern} {it:?}"));
            refused.iter().for_each(|it| assert!(!regex.is_match(it), "{pattern} {it:?}"));
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in [
            r"\C",
            r"\1",
            r"\8",
            r"\Z",
            r"\u0041",
            r"\e",
            "a\\",
            r"[a-\d]",
            "[a",
            "[z-a]",
            "(a",
            "(?=a)",
            "(?x)a",
            "(?u)a",
            r"\p{Nobody}",
            r"\x{110000}",
            "*a",
        ] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_takes_too_much_memory_is_refused() {
        assert!(compile("(?:(?:a{1000}){1000}){10}").is_err());
    }
}
