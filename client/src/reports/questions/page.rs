//! Picks the rows of a page out of vulnerabilities that come in order of their numbers: only those of the page are kept.

use std::collections::BinaryHeap;

use super::Direction;
use super::Score;
use super::names::Names;
use super::vulnerabilities::{
    Counted, Fix, QuickFilter, Vulnerability, VulnerabilityCursor, VulnerabilityOrder, VulnerabilityPage,
    VulnerabilityQuery,
};
use crate::reports::index::IndexError;
use crate::reports::index::entry::Entry;
use crate::reports::index::entry::KINDS;
use crate::reports::index::traits::Ratings;

/// A row with where it stands, so that a heap finds the last.
struct Ranked {
    place: (i64, u64),
    entry: Entry,
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place.cmp(&other.place)
    }
}

/// A page that is being picked.
pub(super) struct Picker<'a> {
    query: &'a VulnerabilityQuery,
    quick: Option<Quick>,
    after: Option<(i64, u64)>,
    heap: BinaryHeap<Ranked>,
    more: bool,
    counted: Counted,
}

impl<'a> Picker<'a> {
    pub(super) fn new(query: &'a VulnerabilityQuery, names: &Names) -> Self {
        let after = query.after.as_ref().map(|cursor| {
            let by_name = query.order == VulnerabilityOrder::Name && !cursor.name.is_empty();
            let number = if by_name { names.place_of_name(&cursor.name) } else { cursor.number };
            place(query.direction, number, cursor.id)
        });
        let quick = query.quick.as_ref().filter(|it| !it.text.is_empty()).map(Quick::new);
        Self { query, quick, after, heap: BinaryHeap::new(), more: false, counted: Counted::default() }
    }

    /// Looks at a vulnerability. Counts of kinds that the question is not about were taken out before.
    pub(super) fn look(&mut self, entry: &Entry, ratings: &Ratings, names: &Names) {
        if entry.total() == 0 || !self.query.filter.admits(&entry.traits) {
            return;
        }
        self.counted.total += 1;
        *self.counted.severities.of(entry.traits.severity) += 1;
        for kind in 0..KINDS {
            self.counted.kinds[kind] += u64::from(entry.counts[kind] > 0);
        }
        if let Some(quick) = &mut self.quick
            && !quick.admits(entry, ratings, names)
        {
            return;
        }
        self.counted.matched += 1;
        let place = place(self.query.direction, self.number(entry, ratings, names), entry.id);
        if self.after.is_none_or(|after| place > after) {
            self.keep(Ranked { place, entry: *entry });
        }
    }

    fn keep(&mut self, ranked: Ranked) {
        if self.heap.len() < self.query.limit {
            self.heap.push(ranked);
            return;
        }
        self.more = true;
        if let Some(mut last) = self.heap.peek_mut()
            && ranked < *last
        {
            *last = ranked;
        }
    }

    fn number(&self, entry: &Entry, ratings: &Ratings, names: &Names) -> i64 {
        match self.query.order {
            VulnerabilityOrder::Name => names.place(entry.id),
            VulnerabilityOrder::Score => i64::from(entry.traits.score),
            VulnerabilityOrder::ScoreV3 => i64::from(entry.traits.score_v3),
            VulnerabilityOrder::Published => i64::from(entry.traits.published),
            VulnerabilityOrder::Impact => entry.total().cast_signed(),
            VulnerabilityOrder::FeedRating => i64::from(ratings.rank(entry.traits.rating)),
        }
    }

    /// The vulnerabilities whose names the page needs.
    pub(super) fn ids(&self) -> impl Iterator<Item = u64> {
        self.heap.iter().map(|it| it.entry.id)
    }

    /// The page.
    pub(super) fn finish(self, ratings: &Ratings, names: &Names) -> Result<VulnerabilityPage, IndexError> {
        let ranked = self.heap.into_sorted_vec();
        let rows = ranked.iter().map(|it| row(&it.entry, ratings, names)).collect::<Result<Vec<_>, _>>()?;
        let next = ranked.last().zip(rows.last()).filter(|_| self.more).map(|(ranked, row)| {
            let (number, id) = ranked.place;
            let other = self.query.order == VulnerabilityOrder::Name && id >> 63 == 1;
            let name = if other { row.name.clone() } else { String::new() };
            VulnerabilityCursor { number: signed(self.query.direction, number), id, name }
        });
        Ok(VulnerabilityPage { rows, next, counted: self.counted })
    }
}

/// Where a row stands: by its number, one way or the other, then by name in the way of names.
fn place(direction: Direction, number: i64, id: u64) -> (i64, u64) {
    (signed(direction, number), id)
}

fn signed(direction: Direction, number: i64) -> i64 {
    match direction {
        Direction::Ascending => number,
        Direction::Descending => -number,
    }
}

fn row(entry: &Entry, ratings: &Ratings, names: &Names) -> Result<Vulnerability, IndexError> {
    let traits = &entry.traits;
    let known = |date: u32| (date > 0).then_some(i64::from(date));
    Ok(Vulnerability {
        name: names.name(entry.id).ok_or(IndexError::Nameless(entry.id))?,
        severity: traits.severity,
        score: traits.score,
        score_v3: traits.score_v3,
        published: known(traits.published),
        modified: known(traits.modified),
        feed_rating: ratings.text(traits.rating).to_owned(),
        fix: match (traits.mended, traits.unmended) {
            (false, _) => Fix::None,
            (true, true) => Fix::Some,
            (true, false) => Fix::All,
        },
        assets: entry.counts.map(u64::from),
    })
}

/// A quick filter, ready to look for.
struct Quick {
    word: Vec<u8>,
    score: Score,
    buffer: Vec<u8>,
}

impl Quick {
    fn new(filter: &QuickFilter) -> Self {
        Self { word: filter.text.to_ascii_lowercase().into_bytes(), score: filter.score, buffer: Vec::new() }
    }

    fn admits(&mut self, entry: &Entry, ratings: &Ratings, names: &Names) -> bool {
        let score = match self.score {
            Score::V2 => entry.traits.score,
            Score::V3 => entry.traits.score_v3,
        };
        self.finds(|text| {
            number(text, u64::from(score / 10), 1);
            text.push(b'.');
            number(text, u64::from(score % 10), 1);
        }) || self.finds(|text| text.extend_from_slice(ratings.text(entry.traits.rating).as_bytes()))
            || self.finds(|text| spell(text, entry.id, names))
    }

    fn finds(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.buffer.clear();
        write(&mut self.buffer);
        self.buffer.make_ascii_lowercase();
        let word = &self.word[..];
        self.buffer.len() >= word.len() && self.buffer.windows(word.len()).any(|it| it == word)
    }
}

/// The name of a vulnerability; of a CVE without making a string of it, for there are hundreds of thousands.
fn spell(text: &mut Vec<u8>, id: u64, names: &Names) {
    if id >> 63 == 1 {
        text.extend(names.name(id).unwrap_or_default().bytes());
        return;
    }
    text.extend_from_slice(b"CVE-");
    number(text, id >> 32, 4);
    text.push(b'-');
    number(text, id & 0xffff_ffff, 4);
}

/// A number with at least so many digits.
fn number(text: &mut Vec<u8>, mut number: u64, digits: usize) {
    let begin = text.len();
    while number > 0 || text.len() - begin < digits {
        text.push(b'0' + (number % 10) as u8);
        number /= 10;
    }
    text[begin..].reverse();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::VulnerabilityId;

    #[test]
    fn cves_are_spelled_as_their_names() {
        for name in ["CVE-2021-20530", "CVE-1999-0001", "CVE-0000-0000", "CVE-2024-1234567"] {
            let mut text = Vec::new();
            spell(&mut text, VulnerabilityId::of(name).get(), &Names::default());
            assert_eq!(text, name.as_bytes());
        }
    }
}
