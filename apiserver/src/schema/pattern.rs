//! Patterns: what Go's `regexp` makes of them (RE2's syntax, <https://github.com/google/re2/wiki/Syntax>), said in the syntax of `regex`.
//!
//! The two look the same and are not: there `\d`, `\w`, `\s` and `\b` know ASCII alone, a brace or bracket that begins nothing is a letter, `&&` in a class are two
//! letters, and `\Q…\E` quotes; here more is taken that a cluster refuses. So a pattern is read as Go reads it, piece by piece, and each is written anew. Two things are not as there,
//! and in no pattern of use: a repetition is not repeated behind a change of flags (`a+(?i)*`), and `\B` alone also matches within a letter beyond ASCII.

mod class;

use std::str::Chars;

use regex::bytes::{Regex, RegexBuilder};

/// What a compiled pattern may take: some ten thousand times what patterns in use take, which is what a repeated class of Unicode needs.
const BYTES: usize = 10 << 20;
/// How often something may be repeated, counted through all repetitions that it stands in.
const MOST: u32 = 1000;

/// A pattern that texts have to match somewhere.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// As the document has it.
    pub(crate) text: String,
    // Bytes, since only among them a place can be told from a boundary of ASCII words.
    regex: Regex,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Go does not take it, in its words; or it becomes too large.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let wrong = |it: Wrong| format!("error parsing regexp: {}: `{}`", it.0, it.1);
        let translated = Reader::new(text).read().map_err(wrong)?;
        let regex = RegexBuilder::new(&translated).size_limit(BYTES).build();
        let regex = regex.map_err(|error| error.to_string().lines().last().unwrap_or_default().to_owned())?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// Whether a text matches somewhere.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text.as_bytes())
    }
}

/// What is wrong, in Go's words, and where.
struct Wrong(&'static str, String);

fn wrong<T>(what: &'static str, place: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong(what, place.into()))
}

const NO_ARGUMENT: &str = "missing argument to repetition operator";

/// Reads a pattern from left to right.
struct Reader<'t> {
    whole: &'t str,
    rest: Chars<'t>,
    out: String,
    /// A change of flags that is not written yet: a repetition behind it is of what stands before.
    flags: String,
    /// For each group that is open: how often its pieces are repeated at most.
    groups: Vec<u32>,
    /// How often the last piece is repeated; `None` if there is none that could be.
    last: Option<u32>,
    /// Whether the last piece is a repetition, which cannot be repeated again.
    is_repeated: bool,
}

impl<'t> Reader<'t> {
    fn new(whole: &'t str) -> Self {
        let (rest, out, flags) = (whole.chars(), String::new(), String::new());
        Self { whole, rest, out, flags, groups: vec![1], last: None, is_repeated: false }
    }

    fn read(mut self) -> Result<String, Wrong> {
        while let Some(char) = self.rest.next() {
            match char {
                '*' | '+' | '?' => self.repeat(1, &char.to_string())?,
                '{' => match self.counted()? {
                    Some((times, text)) => self.repeat(times, &text)?,
                    None => self.piece(&literal('{')),
                },
                '(' => self.open()?,
                ')' => self.close()?,
                '|' => {
                    self.write("|");
                    (self.last, self.is_repeated) = (None, false);
                }
                '^' | '$' | '.' => self.piece(char.encode_utf8(&mut [0; 4])),
                '[' => {
                    let class = self.class()?;
                    self.piece(&class);
                }
                '\\' => self.escaped()?,
                char => self.piece(&literal(char)),
            }
        }
        if self.groups.len() > 1 {
            return wrong("missing closing )", self.whole);
        }
        Ok(self.out)
    }

    fn write(&mut self, text: &str) {
        self.out.push_str(&self.flags);
        self.flags.clear();
        self.out.push_str(text);
    }

    fn piece(&mut self, text: &str) {
        self.write(text);
        self.note(1);
    }

    /// Something came that is repeated so often.
    fn note(&mut self, times: u32) {
        (self.last, self.is_repeated) = (Some(times), false);
        if let Some(group) = self.groups.last_mut() {
            *group = times.max(*group);
        }
    }

    fn eat(&mut self, text: &str) -> bool {
        match self.rest.as_str().strip_prefix(text) {
            Some(rest) => {
                self.rest = rest.chars();
                true
            }
            None => false,
        }
    }

    fn repeat(&mut self, times: u32, operator: &str) -> Result<(), Wrong> {
        let Some(inner) = self.last else { return wrong(NO_ARGUMENT, operator) };
        if self.is_repeated {
            return wrong("invalid nested repetition operator", operator);
        }
        let times = times.max(1) * inner;
        if times > MOST {
            return wrong("invalid repeat count", operator);
        }
        self.out.push_str(operator);
        if self.eat("?") {
            self.out.push('?');
        }
        self.note(times);
        self.is_repeated = true;
        Ok(())
    }

    /// `{2}`, `{2,}` or `{2,4}` behind its brace: how often at most that is, and its text; `None` if it is none, and the brace a letter.
    fn counted(&mut self) -> Result<Option<(u32, String)>, Wrong> {
        let Some((inner, rest)) = self.rest.as_str().split_once('}') else { return Ok(None) };
        let is_number = |it: &str| {
            !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()) && (it == "0" || !it.starts_with('0'))
        };
        let (least, most) = inner.split_once(',').unwrap_or((inner, inner));
        if !is_number(least) || !(is_number(most) || most.is_empty() && inner.ends_with(',')) {
            return Ok(None);
        }
        let text = format!("{{{inner}}}");
        let number = |it: &str| it.parse().ok().filter(|it| *it <= MOST);
        let (Some(least), Some(most)) = (number(least), if most.is_empty() { Some(0) } else { number(most) })
        else {
            return wrong("invalid repeat count", text);
        };
        if least > most && !inner.ends_with(',') {
            return wrong("invalid repeat count", text);
        }
        self.rest = rest.chars();
        Ok(Some((least.max(most), text)))
    }

    fn open(&mut self) -> Result<(), Wrong> {
        let place = self.rest.as_str();
        if self.eat("?P<") || self.eat("?<") {
            let named = self.rest.as_str().split_once('>');
            let is_word =
                |it: &&str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_');
            let Some((_, rest)) = named.filter(|(name, _)| is_word(name)) else {
                return wrong("invalid named capture", format!("({place}"));
            };
            self.rest = rest.chars();
        } else if self.eat("?") {
            return self.flags(place);
        }
        // Nobody asks what a group has matched.
        self.begin("(?:");
        Ok(())
    }

    fn begin(&mut self, text: &str) {
        self.write(text);
        self.groups.push(1);
        (self.last, self.is_repeated) = (None, false);
    }

    /// `?i)` or `?i:`, behind the question mark.
    fn flags(&mut self, place: &str) -> Result<(), Wrong> {
        let length = self.rest.as_str().find([':', ')']).unwrap_or_default();
        let (flags, rest) = self.rest.as_str().split_at(length);
        let (set, unset) = flags.split_once('-').map_or((flags, None), |(set, unset)| (set, Some(unset)));
        let are_known = |it: &str| it.chars().all(|it| "imsU".contains(it));
        let end = rest.chars().next().filter(|it| [':', ')'].contains(it));
        if !are_known(set) || unset.is_some_and(|it| it.is_empty() || !are_known(it)) || end.is_none() {
            return wrong("invalid or unsupported Perl syntax", format!("({place}"));
        }
        // Each flag once, as the other syntax wants it.
        let once = |flags: &str| "imsU".chars().filter(|it| flags.contains(*it)).collect::<String>();
        let unset = unset.map(once).unwrap_or_default();
        let set: String = once(set).chars().filter(|it| !unset.contains(*it)).collect();
        let minus = if unset.is_empty() { "" } else { "-" };
        let text = format!("(?{set}{minus}{unset}");
        self.rest = rest[1..].chars();
        match end {
            Some(':') => self.begin(&format!("{text}:")),
            // A change of nothing is written nowhere.
            _ if set.is_empty() && unset.is_empty() => {}
            _ => {
                self.flags.push_str(&text);
                self.flags.push(')');
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Wrong> {
        match self.groups.as_slice() {
            [_, .., inner] => {
                let inner = *inner;
                self.groups.pop();
                self.write(")");
                self.note(inner);
                Ok(())
            }
            _ => wrong("unexpected )", self.whole),
        }
    }

    /// What a backslash stands before, outside of classes.
    fn escaped(&mut self) -> Result<(), Wrong> {
        if self.eat("Q") {
            let (text, rest) = self.rest.as_str().split_once("\\E").unwrap_or((self.rest.as_str(), ""));
            self.rest = rest.chars();
            text.chars().for_each(|it| self.piece(&literal(it)));
            return Ok(());
        }
        for (name, text) in [("A", r"\A"), ("z", r"\z"), ("b", r"(?-u:\b)"), ("B", r"(?-u:\B)")] {
            if self.eat(name) {
                self.piece(text);
                return Ok(());
            }
        }
        let text = match self.group()? {
            Some(group) => group,
            None => literal(self.escape()?),
        };
        self.piece(&text);
        Ok(())
    }
}

/// A letter that stands for itself, in a class and outside.
fn literal(char: char) -> String {
    if char.is_alphanumeric() { char.to_string() } else { format!("\\x{{{:X}}}", u32::from(char)) }
}

#[cfg(test)]
mod tests;
