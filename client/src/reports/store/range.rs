//! Ranges of keys. SQLite and PostgreSQL (under the collation "C") order text by the bytes of UTF-8, which is the order of its code points.

use crate::reports::ReportKey;

/// The keys from one text on and before another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// The first.
    pub(super) from: String,
    /// The first that is no more.
    pub(super) to: String,
}

/// More of the last code point than a key has room for.
const BEYOND: usize = 257;

impl Range {
    /// The keys that begin with `prefix`, whatever is in it.
    pub(super) fn of(prefix: &str) -> Self {
        Self { from: prefix.to_owned(), to: behind_all_with(prefix) }
    }

    /// One key alone.
    pub(super) fn one(key: &str) -> Self {
        Self { from: key.to_owned(), to: format!("{key}\u{1}") }
    }

    /// The keys from the least to the greatest of some; nothing if there is none.
    pub(super) fn around(keys: &[ReportKey]) -> Self {
        let (from, to) = (keys.iter().min(), keys.iter().max());
        match from.zip(to) {
            Some((from, to)) => Self { from: from.to_string(), ..Self::one(to.as_str()) },
            None => Self { from: String::new(), to: String::new() },
        }
    }

    /// The same, without `key` and what stands before it. No key contains NUL, so this is the least that may follow.
    pub(super) fn after(self, key: Option<&str>) -> Self {
        let from = match key {
            Some(key) if key >= self.from.as_str() => format!("{key}\u{1}"),
            _ => self.from,
        };
        Self { from, to: self.to }
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.from.as_str() <= key && key < self.to.as_str()
    }
}

/// The least text that is greater than every key that begins with `prefix`.
fn behind_all_with(prefix: &str) -> String {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        if let Some(next) = following(last) {
            return chars.into_iter().chain([next]).collect();
        }
    }
    char::MAX.to_string().repeat(BEYOND)
}

fn following(char: char) -> Option<char> {
    (char..=char::MAX).nth(1)
}

/// Texts as JSON arrays of some 512 KiB, for `json_each`, each with the range that it speaks of: together they cover `range`.
pub(super) fn chunks(mut texts: Vec<&str>, range: &Range) -> Vec<(Range, String)> {
    texts.retain(|text| range.contains(text));
    texts.sort_unstable();
    texts.dedup();
    let mut chunks = Vec::new();
    let mut from = range.from.clone();
    let mut rest = texts.as_slice();
    loop {
        let (chunk, others) = rest.split_at(fitting(rest));
        let to = others.first().map_or_else(|| range.to.clone(), |it| (*it).to_owned());
        let json = serde_json::to_string(chunk).unwrap_or_else(|_| "[]".to_owned());
        chunks.push((Range { from, to: to.clone() }, json));
        if others.is_empty() {
            return chunks;
        }
        (from, rest) = (to, others);
    }
}

/// How many texts make up a chunk.
fn fitting(texts: &[&str]) -> usize {
    const CHUNK: usize = 512 << 10;
    let mut bytes = 0;
    let full = texts.iter().position(|text| {
        bytes += text.len() + 3;
        bytes > CHUNK
    });
    full.map_or(texts.len(), |count| count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_prefix_means_what_it_spells() {
        for (prefix, to) in [("a%", "a&"), ("a_", "a`"), ("ä\u{d7ff}", "ä\u{e000}"), ("x\u{10ffff}", "y")] {
            assert_eq!(Range::of(prefix).to, to);
        }
        assert!(Range::of("").contains(&"\u{10ffff}".repeat(256)));
    }

    proptest! {
        #[test]
        fn a_range_is_exactly_what_begins_with_it(prefix in "\\PC{0,3}", key in "\\PC{1,4}", tail in "\\PC{0,3}") {
            let range = Range::of(&prefix);
            prop_assert_eq!(range.contains(&key), key.starts_with(&prefix));
            let longer = prefix + &tail;
            prop_assert!(range.contains(&longer));
        }

        #[test]
        fn what_comes_after_is_all_that_is_greater(after in "[a-c%\u{1}]{1,4}", key in "[a-c%\u{1}]{1,4}") {
            prop_assert_eq!(Range::of("").after(Some(&after)).contains(&key), key > after);
        }
    }

    #[test]
    fn chunks_cover_the_range_without_a_gap() {
        let texts: Vec<String> = (0..30_000).map(|it| format!("workload/{it:040}")).collect();
        let range = Range::of("workload/");
        let chunks = chunks(texts.iter().rev().map(String::as_str).collect(), &range);
        assert!(chunks.len() > 2);
        assert_eq!((&chunks[0].0.from, &chunks.last().expect("one").0.to), (&range.from, &range.to));
        assert!(chunks.windows(2).all(|pair| pair[0].0.to == pair[1].0.from));
        let all: Vec<String> =
            chunks.iter().flat_map(|it| serde_json::from_str::<Vec<String>>(&it.1).expect("JSON")).collect();
        assert_eq!(all, texts);
    }
}
