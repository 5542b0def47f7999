//! A scanner's report in the form in which scanners write it, read in one pass.
//!
//! Go writes JSON without blanks, and hardly any text of a report needs an escape. What keeps to that and to the names that are known is read
//! here, in a third of the time; of all else, be it only odd or no JSON at all, nothing is said, and [`super::document`] reads it. So nothing is
//! decided here, and both give the same, which a test compares.
//!
//! Rows mostly say what the rows before them say. A text that is equal to the one before it is given as that one, so that whoever packs
//! them can tell without looking at it.

use super::ROWS;
use super::document::{Head, seconds, severity};
use crate::reports::packed::{Database, Place, Rating, Row, is_same};
use crate::reports::{Severity, VulnerabilityId};

/// Lists and objects within each other, at most, in what is passed over.
const DEPTH: u32 = 32;
/// Bytes of a row, about: how many rows there will be.
const ROW: usize = 256;

/// A byte in each of eight.
const EACH: u64 = u64::MAX / 0xff;
/// The highest bit of each of eight bytes.
const HIGH: u64 = EACH << 7;

/// A report that has a list of findings; `None` if it is anything else.
pub(super) fn read(text: &str) -> Option<(Head<'_>, Vec<Row<'_>>)> {
    let mut cursor = Cursor { text, at: 0 };
    let (mut head, mut rows) = (Head::default(), None);
    cursor.object(|cursor, key| {
        let texts = [
            ("scanned_at", &mut head.scanned_at),
            ("Version", &mut head.scanner_version),
            ("Namespace", &mut head.os),
            ("Registry", &mut head.registry),
            ("Repository", &mut head.repository),
            ("Tag", &mut head.tag),
        ];
        if let Some((_, text)) = texts.into_iter().find(|(name, _)| *name == key) {
            return once(text, cursor.string()?.into());
        }
        match key {
            "Vuls" => once(&mut rows, cursor.rows()?),
            // Of the REST interface or of a benchmark.
            "report" | "run_at" | "version" | "status" | "items" => None,
            _ => cursor.pass(DEPTH),
        }
    })?;
    let rest = text[cursor.at..].trim_ascii_end();
    Some((head, rows.filter(|_| rest.is_empty())?))
}

/// Takes a value that may stand there once.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// What stands in a row, as far as it does.
#[derive(Clone, Copy, Default)]
struct Raw<'a> {
    name: Option<&'a str>,
    score: Option<u8>,
    severity: Option<&'a str>,
    score_v3: Option<u8>,
    package_name: Option<&'a str>,
    package_name_deprecated: Option<&'a str>,
    package_version: Option<&'a str>,
    fixed_version: Option<&'a str>,
    published: Option<&'a str>,
    modified: Option<&'a str>,
    feed_rating: Option<&'a str>,
    in_base: Option<bool>,
    database_key: Option<&'a str>,
    file_name: Option<&'a str>,
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text.as_bytes()[self.at..].starts_with(word.as_bytes()).then(|| self.at += word.len())
    }

    /// An object: `member` reads the value of each key.
    #[inline]
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            let key = self.string()?;
            self.take(b':')?;
            member(self, key)?;
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
        }
    }

    #[inline]
    fn list(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(b'[')?;
        if self.take(b']').is_some() {
            return Some(());
        }
        loop {
            element(self)?;
            if self.take(b',').is_none() {
                return self.take(b']');
            }
        }
    }

    /// A text without escapes.
    #[inline]
    fn string(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let from = self.at;
        let bytes = self.text.as_bytes();
        while let Some(word) = bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            let stops = stops(u64::from_le_bytes(*word));
            self.at += stops.trailing_zeros() as usize / 8;
            if stops != 0 {
                break;
            }
        }
        while !matches!(self.peek()?, b'"' | b'\\' | ..b' ') {
            self.at += 1;
        }
        let text = self.text.get(from..self.at)?;
        self.take(b'"')?;
        Some(text)
    }

    /// A score of one decimal at most, in tenths.
    fn score(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        let (whole, length) = match *rest {
            [digit @ b'0'..=b'9', next, ..] if !next.is_ascii_digit() => (u32::from(digit - b'0'), 1),
            [ten @ b'1'..=b'9', digit @ b'0'..=b'9', ..] => {
                (10 * u32::from(ten - b'0') + u32::from(digit - b'0'), 2)
            }
            _ => return None,
        };
        let (tenth, length) = match rest[length..] {
            [b'.', digit @ b'0'..=b'9', ..] => (u32::from(digit - b'0'), length + 2),
            _ => (0, length),
        };
        self.at += length;
        // Whatever else belongs to the number is for others to read.
        matches!(self.peek()?, b',' | b'}').then_some(())?;
        // There is none above ten.
        u8::try_from(10 * whole + tenth).ok().filter(|tenths| *tenths <= 100)
    }

    fn boolean(&mut self) -> Option<bool> {
        match self.peek()? {
            b't' => self.word("true").map(|()| true),
            _ => self.word("false").map(|()| false),
        }
    }

    /// Passes over any value.
    fn pass(&mut self, depth: u32) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'[' => {
                let depth = depth.checked_sub(1)?;
                self.list(|cursor| cursor.pass(depth))
            }
            b'{' => {
                let depth = depth.checked_sub(1)?;
                self.object(|cursor, _| cursor.pass(depth))
            }
            b'n' => self.word("null"),
            b't' | b'f' => self.boolean().map(drop),
            _ => self.pass_number(),
        }
    }

    fn pass_number(&mut self) -> Option<()> {
        let _ = self.take(b'-');
        let from = self.at;
        self.digits()?;
        if self.text.as_bytes()[from] == b'0' && self.at > from + 1 {
            return None;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        (!matches!(self.peek()?, b'e' | b'E')).then_some(())
    }

    fn digits(&mut self) -> Option<()> {
        let count = self.text.as_bytes()[self.at..].iter().take_while(|it| it.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(())
    }

    fn rows(&mut self) -> Option<Vec<Row<'a>>> {
        let mut rows = Vec::with_capacity((self.text.len() / ROW).min(ROWS));
        let mut last = Last::default();
        self.list(|cursor| {
            rows.push(last.row(cursor.raw()?));
            (rows.len() <= ROWS).then_some(())
        })?;
        Some(rows)
    }

    fn raw(&mut self) -> Option<Raw<'a>> {
        let mut raw = Raw::default();
        self.object(|cursor, key| match key {
            "Name" => once(&mut raw.name, cursor.string()?),
            "Score" => once(&mut raw.score, cursor.score()?),
            "Severity" => once(&mut raw.severity, cursor.string()?),
            "ScoreV3" => once(&mut raw.score_v3, cursor.score()?),
            "PackageName" => once(&mut raw.package_name, cursor.string()?),
            "PackageNameDeprecated" => once(&mut raw.package_name_deprecated, cursor.string()?),
            "PackageVersion" => once(&mut raw.package_version, cursor.string()?),
            "FixedVersion" => once(&mut raw.fixed_version, cursor.string()?),
            "PublishedDate" => once(&mut raw.published, cursor.string()?),
            "LastModifiedDate" => once(&mut raw.modified, cursor.string()?),
            "FeedRating" => once(&mut raw.feed_rating, cursor.string()?),
            "InBase" => once(&mut raw.in_base, cursor.boolean()?),
            "DBKey" => once(&mut raw.database_key, cursor.string()?),
            "FileName" => once(&mut raw.file_name, cursor.string()?),
            _ => cursor.pass(DEPTH),
        })?;
        Some(raw)
    }
}

/// A bit for each of eight bytes at which a text may end: a quote, a backslash, what does not print. The lowest one is right, those above it
/// may not be.
fn stops(word: u64) -> u64 {
    let zeros = |word: u64| word.wrapping_sub(EACH) & !word;
    let low = word.wrapping_sub(EACH * u64::from(b' ')) & !word;
    (zeros(word ^ (EACH * u64::from(b'"'))) | zeros(word ^ (EACH * u64::from(b'\\'))) | low) & HIGH
}

/// What the row before said.
#[derive(Default)]
struct Last<'a> {
    place: [&'a str; 4],
    rating: [&'a str; 2],
    severity: (&'a str, u8, Severity),
    dates: [(&'a str, Option<i64>); 2],
}

impl<'a> Last<'a> {
    fn row(&mut self, raw: Raw<'a>) -> Row<'a> {
        let package = raw.package_name.filter(|it| !it.is_empty()).or(raw.package_name_deprecated);
        let place = [package, raw.package_version, raw.fixed_version, raw.file_name];
        let [package, version, fixed_version, file] = same(&mut self.place, place);
        let name = raw.name.unwrap_or_default();
        let (is_prefix, database) = match Database::of(raw.database_key.unwrap_or_default(), name) {
            Database::Prefix(prefix) => (true, prefix),
            Database::Text(text) => (false, text),
        };
        let [database, feed_rating] = same(&mut self.rating, [Some(database), raw.feed_rating]);
        let (score, score_v3) = (raw.score.unwrap_or_default(), raw.score_v3.unwrap_or_default());
        let [published, modified] = [raw.published, raw.modified];
        Row {
            name,
            id: VulnerabilityId::of(name),
            place: Place { package, version, fixed_version, file, in_base: raw.in_base.unwrap_or_default() },
            rating: Rating {
                database: if is_prefix { Database::Prefix(database) } else { Database::Text(database) },
                feed_rating,
                severity: self.severity(raw.severity.unwrap_or_default(), score.max(score_v3)),
                score,
                score_v3,
            },
            published: date(&mut self.dates[0], published),
            modified: date(&mut self.dates[1], modified),
        }
    }

    fn severity(&mut self, text: &'a str, score: u8) -> Severity {
        if self.severity.1 != score || !is_same(self.severity.0, text) {
            self.severity = (text, score, severity(text, score));
        }
        self.severity.2
    }
}

/// Those of `last` where they are the same as the new ones, which are empty where there are none.
fn same<'a, const N: usize>(last: &mut [&'a str; N], new: [Option<&'a str>; N]) -> [&'a str; N] {
    for (last, new) in last.iter_mut().zip(new) {
        let new = new.unwrap_or_default();
        if !is_same(last, new) {
            *last = new;
        }
    }
    *last
}

fn date<'a>(last: &mut (&'a str, Option<i64>), text: Option<&'a str>) -> Option<i64> {
    let text = text.unwrap_or_default();
    if !is_same(last.0, text) {
        *last = (text, seconds(text));
    }
    last.1
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

    use proptest::prelude::*;

    use super::super::document::Document;
    use super::*;
    use crate::reports::extract::{Packed, Scan};
    use crate::reports::generate::Generator;
    use crate::reports::gzip;

    fn here(text: &str) -> Option<Scan<Packed>> {
        read(text).map(|(head, rows)| head.scan(Packed::of_rows(&rows)))
    }

    /// What serde makes of it; `None` if it is no scan.
    fn there(text: &str) -> Option<Scan<Packed>> {
        let document = Document::read(text).ok()??;
        let findings = Packed::of_rows(&document.rows()?);
        Some(document.head().scan(findings))
    }

    fn generated(n: u64, findings: usize) -> String {
        let mut text = Vec::new();
        gzip::unpack(&Generator::new(1).report(n, findings).payload, &mut text, 1 << 20).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn what_scanners_write_is_read_here() {
        for (n, findings) in [(8, 0), (8, 1), (0, 142), (9, 1371)] {
            let text = generated(n, findings);
            let read = here(&text);
            assert!(read.is_some(), "{findings}");
            assert_eq!(read, there(&text));
        }
    }

    #[test]
    fn what_is_odd_is_left_to_others() {
        let all = r#"{"Vuls":[{"Name":"CVE-2021-1","Score":7.5,"InBase":true,"CPEs":["a",[-1.5,null,{}]]}]}"#;
        assert_eq!(here(all), there(all));
        let same = |odd: &str, instead: &str| all.replacen(odd, instead, 1);
        let odd = [
            same("7.5", "7.55"),
            same("7.5", "75e-1"),
            same("7.5", "07.5"),
            same("7.5", "25.6"),
            same("true", "null"),
            same("2021", r"\u0032021"),
            same("2021", "\u{1}"),
            same("Score", "Name"),
            same("[{", "[ {"),
            same(r#"{"Vuls""#, r#"{"items":[],"Vuls""#),
            same(r#"{"Vuls""#, r#"{"Vuls":[],"Vuls""#),
            same("-1.5", "-01"),
            same("-1.5", "1."),
            same("-1.5", &"[".repeat(200)),
            same("]}]}", "]}]"),
            same("]}]}", "]}]}x"),
            "[]".to_owned(),
            String::new(),
        ];
        for text in odd {
            assert_ne!(text, all);
            assert_eq!(here(&text), None, "{text}");
        }
        assert_eq!(here(&format!("{all}\n ")), there(all));
    }

    proptest! {
        #[test]
        fn what_is_read_here_is_read_there_alike(
            n in 0_u64..20,
            edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..3, edit()), 0..4),
        ) {
            let mut text = generated(n, 3);
            for (at, gone, instead) in edits {
                let at = at.index(text.len());
                text.replace_range(at..(at + gone).min(text.len()), instead);
            }
            if let Some(read) = here(&text) {
                prop_assert_eq!(Some(read), there(&text), "{}", text);
            }
        }
    }

    fn edit() -> impl Strategy<Value = &'static str> {
        const EDITS: &[&str] = &[
            "",
            "\"",
            "\\",
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "0",
            "9",
            ".",
            "-",
            "e",
            " ",
            "\n",
            "\u{0}",
            "null",
            "true",
            "\"\",",
            "\"a\"",
            "\"Name\":",
            "\"Score\":1,",
            "[1,2]",
        ];
        prop::sample::select(EDITS)
    }
}
