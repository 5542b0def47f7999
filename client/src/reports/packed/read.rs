//! A blob into what it says.
//!
//! The checksum tells damage. All else is checked as well, for a checksum can be right by chance or by malice: counts are bounded before
//! anything of their size is made, numbers of dictionaries by their models, texts by the text that is there.

use super::ans::Decoder;
use super::column::{read, read_numbers};
use super::mark::{Mark, Marks};
use super::row::{Database, Place, Rating, Row};
use super::texts::{self, Span, Texts};
use super::{PackedError, ROWS, TEXT, VERSION};
use crate::reports::{Finding, Severity, VulnerabilityId};

/// Findings that room is made for at once: of more, the text may be too large before the last.
const EXPECTED: usize = 1 << 12;

/// A blob, its columns read.
pub(super) struct Table {
    facts: Facts,
    /// The place of each row.
    places_of: Vec<u32>,
    published: Vec<Option<i64>>,
    modified: Vec<Option<i64>>,
    others: Vec<Span>,
    ratings: Vec<OwnRating>,
    places: Vec<OwnPlace>,
    texts: Texts,
}

/// What is said of each vulnerability, column by column.
struct Facts {
    names: Names,
    /// How many rows say so.
    repeats: Vec<usize>,
    ratings: Vec<u32>,
    published: Vec<u32>,
    modified: Vec<u32>,
}

/// Vulnerabilities that are numbers, and behind them those that are not, as numbers of their names.
struct Names {
    canonical: Vec<VulnerabilityId>,
    others: Vec<usize>,
    /// How many there are of each year, and of the others.
    groups: Vec<usize>,
}

#[derive(Clone, Copy, Default)]
struct OwnRating {
    verbatim: bool,
    database: Span,
    feed_rating: Span,
    severity: Severity,
    score: u8,
    score_v3: u8,
}

#[derive(Clone, Copy, Default)]
struct OwnPlace {
    in_base: bool,
    package: Span,
    version: Span,
    fixed_version: Span,
    file: Span,
}

impl Table {
    pub(super) fn read(blob: &[u8]) -> Result<Self, PackedError> {
        let (text, columns) = open(blob)?;
        let mut decoder = Decoder::new(columns).ok_or(PackedError::Senseless)?;
        let rows = usize::try_from(decoder.number()).ok().filter(|&rows| rows <= ROWS);
        let rows = rows.ok_or(PackedError::TooLarge)?;
        let mut table = Self::read_columns(&mut decoder, rows).ok_or(PackedError::Senseless)?;
        table.read_texts(&mut decoder, &text)?;
        if decoder.is_over() { Err(PackedError::Senseless) } else { Ok(table) }
    }

    fn read_columns(decoder: &mut Decoder<'_>, rows: usize) -> Option<Self> {
        let names = Names::read(decoder, rows)?;
        let count = names.canonical.len() + names.others.len();
        let repeats = read_repeats(decoder, count, rows)?;
        let (published, modified) = (read_dates(decoder, rows)?, read_dates(decoder, rows)?);
        let (ratings, places) = (read_ratings(decoder, rows)?, read_places(decoder, rows)?);
        let mut column = |kinds: usize, groups: &[usize]| {
            (kinds > 0 || rows == 0).then(|| read(decoder, kinds as u32, groups))?
        };
        let facts = Facts {
            ratings: column(ratings.len(), &names.groups)?,
            published: column(published.len(), &names.groups)?,
            modified: column(modified.len(), &names.groups)?,
            names,
            repeats,
        };
        let places_of = column(places.len(), &[rows])?;
        let others = vec![Span::default(); facts.names.others.last().map_or(0, |last| last + 1)];
        let texts = Texts::default();
        Some(Self { facts, places_of, published, modified, others, ratings, places, texts })
    }

    fn read_texts(&mut self, decoder: &mut Decoder<'_>, text: &[u8]) -> Result<(), PackedError> {
        let count = self.others.len() + 2 * self.ratings.len() + 4 * self.places.len();
        let mut texts = texts::Reader::new(decoder, count, text).ok_or(PackedError::Senseless)?;
        let mut last = Span::default();
        for name in &mut self.others {
            *name = texts.read(last)?;
            last = *name;
        }
        let mut last = OwnRating::default();
        for rating in &mut self.ratings {
            rating.database = texts.read(last.database)?;
            rating.feed_rating = texts.read(last.feed_rating)?;
            last = *rating;
        }
        let mut last = OwnPlace::default();
        for place in &mut self.places {
            place.package = texts.read(last.package)?;
            place.version = texts.read(last.version)?;
            place.fixed_version = texts.read(place.version)?;
            place.file = texts.read(last.file)?;
            last = *place;
        }
        self.texts = texts.finish()?;
        Ok(())
    }

    /// For each row the number of its fact, and of its place.
    fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        let facts =
            self.facts.repeats.iter().enumerate().flat_map(|(fact, &rows)| (0..rows).map(move |_| fact));
        facts.zip(self.places_of.iter().map(|&place| place as usize))
    }

    pub(super) fn findings(&self) -> Result<Vec<Finding>, PackedError> {
        let canonical = self.facts.names.canonical.len();
        let mut findings = Vec::with_capacity(self.places_of.len().min(EXPECTED));
        let mut left = TEXT;
        let (mut named, mut name) = (usize::MAX, String::new());
        for (fact, place) in self.rows() {
            if fact != named {
                named = fact;
                name = match fact.checked_sub(canonical) {
                    None => self.facts.names.canonical[fact].name().ok_or(PackedError::Senseless)?,
                    Some(other) => self.other(other).to_owned(),
                };
            }
            let finding = self.row(&name, fact, place).finding();
            left = left.checked_sub(text_of(&finding)).ok_or(PackedError::TooLarge)?;
            findings.push(finding);
        }
        Ok(findings)
    }

    /// The findings of one vulnerability.
    pub(super) fn findings_of(&self, name: &str) -> Vec<Finding> {
        let id = VulnerabilityId::of(name);
        let canonical = &self.facts.names.canonical;
        let wanted = |fact: usize| match fact.checked_sub(canonical.len()) {
            None => canonical[fact] == id,
            Some(other) => self.other(other) == name,
        };
        let rows = self.rows().filter(|&(fact, _)| wanted(fact));
        rows.map(|(fact, place)| self.row(name, fact, place).finding()).collect()
    }

    /// The name of a vulnerability that is not the number of its name.
    fn other(&self, number: usize) -> &str {
        self.texts.get(self.others[self.facts.names.others[number]])
    }

    fn row<'a>(&'a self, name: &'a str, fact: usize, place: usize) -> Row<'a> {
        let rating = &self.ratings[self.facts.ratings[fact] as usize];
        let place = &self.places[place];
        let text = |span: Span| self.texts.get(span);
        Row {
            name,
            place: Place {
                package: text(place.package),
                version: text(place.version),
                fixed_version: text(place.fixed_version),
                file: text(place.file),
                in_base: place.in_base,
            },
            rating: Rating {
                database: match rating.verbatim {
                    true => Database::Text(text(rating.database)),
                    false => Database::Prefix(text(rating.database)),
                },
                feed_rating: text(rating.feed_rating),
                severity: rating.severity,
                score: rating.score,
                score_v3: rating.score_v3,
            },
            published: self.published[self.facts.published[fact] as usize],
            modified: self.modified[self.facts.modified[fact] as usize],
        }
    }

    pub(super) fn marks(&self) -> Marks {
        let text = |span: &Span| self.texts.get(*span);
        let mut feed_ratings: Vec<&str> = self.ratings.iter().map(|it| text(&it.feed_rating)).collect();
        feed_ratings.sort_unstable();
        feed_ratings.dedup();
        let names: Vec<_> = self.others.iter().map(|it| (VulnerabilityId::of(text(it)), text(it))).collect();
        let of_others = self.facts.names.others.iter().map(|&other| names[other].0);
        let ids = self.facts.names.canonical.iter().copied().chain(of_others);
        let of_ratings = self.marks_of_ratings(&feed_ratings);
        let of_facts = self.marks_of_facts(ids, &of_ratings);
        let mut places = self.places_of.iter().copied();
        let mut marks = Vec::with_capacity(self.places_of.len());
        for (mark, &rows) in of_facts.zip(&self.facts.repeats) {
            marks.extend(places.by_ref().take(rows).map(|place| {
                let has_fix = !self.places[place as usize].fixed_version.is_empty();
                Mark { has_fix, place, ..mark }
            }));
        }
        Marks {
            marks,
            feed_ratings: feed_ratings.into_iter().map(str::to_owned).collect(),
            names: names.into_iter().map(|(id, name)| (id, name.to_owned())).collect(),
        }
    }

    /// What a rating says in a mark; the rest of it is still to be said.
    fn marks_of_ratings(&self, feed_ratings: &[&str]) -> Vec<Mark> {
        let mark = |rating: &OwnRating| {
            let feed_rating = self.texts.get(rating.feed_rating);
            Mark {
                vulnerability: VulnerabilityId::from_number(0),
                severity: rating.severity,
                score: rating.score,
                score_v3: rating.score_v3,
                has_fix: false,
                published: 0,
                modified: 0,
                feed_rating: feed_ratings.partition_point(|&text| text < feed_rating) as u32,
                place: 0,
            }
        };
        self.ratings.iter().map(mark).collect()
    }

    /// The same for all that is said of a vulnerability.
    fn marks_of_facts(
        &self,
        ids: impl Iterator<Item = VulnerabilityId>,
        ratings: &[Mark],
    ) -> impl Iterator<Item = Mark> {
        let Facts { ratings: of_ratings, published, modified, .. } = &self.facts;
        let [dates_published, dates_modified] = [&self.published, &self.modified].map(|dates| seconds(dates));
        let columns = of_ratings.iter().zip(published).zip(modified);
        ids.zip(columns).map(move |(vulnerability, ((&rating, &published), &modified))| Mark {
            vulnerability,
            published: dates_published[published as usize],
            modified: dates_modified[modified as usize],
            ..ratings[rating as usize]
        })
    }
}

pub(super) fn text_of(it: &Finding) -> usize {
    let texts = [&it.name, &it.package, &it.version, &it.fixed_version, &it.feed_rating, &it.file];
    texts.into_iter().chain([&it.database_key]).map(String::len).sum()
}

fn seconds(dates: &[Option<i64>]) -> Vec<u32> {
    let second = |date: &Option<i64>| date.map_or(0, |date| date.clamp(1, i64::from(u32::MAX)) as u32);
    dates.iter().map(second).collect()
}

/// The texts and the columns of a blob whose checksum is right.
fn open(blob: &[u8]) -> Result<(Vec<u8>, &[u8]), PackedError> {
    let (&version, rest) = blob.split_first().ok_or(PackedError::Damaged)?;
    if version > VERSION {
        return Err(PackedError::Version(version));
    }
    let (crc, mut rest) = rest.split_first_chunk().ok_or(PackedError::Damaged)?;
    if version != VERSION || u32::from_le_bytes(*crc) != crc32fast::hash(rest) {
        return Err(PackedError::Damaged);
    }
    let mut length = || {
        let (length, behind) = rest.split_first_chunk().ok_or(PackedError::Senseless)?;
        rest = behind;
        Ok(u32::from_le_bytes(*length) as usize)
    };
    let (plain, frame) = (length()?, length()?);
    let stored = if frame == 0 { plain } else { frame };
    let (text, columns) = rest.split_at_checked(stored).ok_or(PackedError::Senseless)?;
    let text = if frame == 0 { text.to_vec() } else { texts::decompress(text, plain)? };
    Ok((text, columns))
}

/// A count that is at most `limit`.
fn read_count(decoder: &mut Decoder<'_>, limit: usize) -> Option<usize> {
    usize::try_from(decoder.number()).ok().filter(|&count| count <= limit && !decoder.is_over())
}

impl Names {
    fn read(decoder: &mut Decoder<'_>, rows: usize) -> Option<Self> {
        let mut left = rows;
        let others = read_count(decoder, left)?;
        left -= others;
        let mut years = Vec::new();
        let mut groups = Vec::new();
        let mut year = 0_u64;
        for _ in 0..read_count(decoder, left)? {
            year = year.checked_add(decoder.number()).filter(|&year| year < 10_000)?;
            let count = read_count(decoder, left)?;
            left -= count;
            years.push(year);
            groups.push(count);
        }
        groups.push(others);
        let differences = read_numbers(decoder, groups.iter().sum())?;
        let mut numbers = differences.into_iter();
        let mut canonical = Vec::with_capacity(rows - left - others);
        for (&year, &count) in years.iter().zip(&groups) {
            for number in summed(numbers.by_ref().take(count), u64::from(u32::MAX)) {
                canonical.push(VulnerabilityId::from_number(year << 32 | number?));
            }
        }
        // A name more than facts would be one that nobody has.
        let others = summed(numbers, others as u64).map(|it| Some(it? as usize)).collect::<Option<_>>()?;
        Some(Self { canonical, others, groups })
    }
}

/// Sums of differences; `None` once one is above `limit`.
fn summed(differences: impl Iterator<Item = u64>, limit: u64) -> impl Iterator<Item = Option<u64>> {
    differences.scan(Some(0_u64), move |sum, it| {
        *sum = sum.and_then(|sum| sum.checked_add(it)).filter(|&sum| sum <= limit);
        Some(*sum)
    })
}

fn read_repeats(decoder: &mut Decoder<'_>, facts: usize, rows: usize) -> Option<Vec<usize>> {
    let mut left = rows.checked_sub(facts)?;
    let more = read_numbers(decoder, facts)?;
    let repeats = more.into_iter().map(|more| {
        let more = usize::try_from(more).ok()?;
        left = left.checked_sub(more)?;
        Some(more + 1)
    });
    let repeats = repeats.collect::<Option<Vec<_>>>()?;
    (left == 0).then_some(repeats)
}

fn read_dates(decoder: &mut Decoder<'_>, rows: usize) -> Option<Vec<Option<i64>>> {
    let none = decoder.bits(1) == 1;
    let some = read_count(decoder, rows)?;
    let mut dates = Vec::with_capacity(some + 1);
    dates.extend(none.then_some(None));
    if some > 0 {
        let first = decoder.number();
        let mut date = (first >> 1) as i64 ^ -((first & 1) as i64);
        let divisor = decoder.number();
        dates.push(Some(date));
        for step in read_numbers(decoder, some - 1)? {
            date = date.wrapping_add(step.wrapping_mul(divisor) as i64);
            dates.push(Some(date));
        }
    }
    Some(dates)
}

fn read_ratings(decoder: &mut Decoder<'_>, rows: usize) -> Option<Vec<OwnRating>> {
    let count = read_count(decoder, rows)?;
    let rating = |_| OwnRating {
        verbatim: decoder.bits(1) == 1,
        severity: match decoder.bits(2) {
            0 => Severity::Low,
            1 => Severity::Medium,
            2 => Severity::High,
            _ => Severity::Critical,
        },
        score: decoder.bits(8) as u8,
        score_v3: decoder.bits(8) as u8,
        ..OwnRating::default()
    };
    Some((0..count).map(rating).collect())
}

fn read_places(decoder: &mut Decoder<'_>, rows: usize) -> Option<Vec<OwnPlace>> {
    let count = read_count(decoder, rows)?;
    let place = |_| OwnPlace { in_base: decoder.bits(1) == 1, ..OwnPlace::default() };
    Some((0..count).map(place).collect())
}
