//! Findings into a blob.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

use super::ans::Encoder;
use super::column::{write, write_numbers};
use super::row::{Database, Place, Rating};
use super::{Row, VERSION, texts};
use crate::reports::VulnerabilityId;

/// Different values in order, and for every row the number of its own.
struct Dictionary<T> {
    values: Vec<T>,
    of_row: Vec<u32>,
}

impl<T: Copy + Ord + Hash> Dictionary<T> {
    fn of(rows: impl ExactSizeIterator<Item = T>) -> Self {
        let mut numbers = HashMap::with_hasher(RandomState::default());
        let mut of_row: Vec<u32> = Vec::with_capacity(rows.len());
        let mut last = None;
        for value in rows {
            // Rows of one package mostly follow one another, and looking is cheaper than hashing.
            let number = match (last, of_row.last()) {
                (Some(last), Some(&number)) if last == value => number,
                _ => {
                    let next = numbers.len() as u32;
                    *numbers.entry(value).or_insert(next)
                }
            };
            last = Some(value);
            of_row.push(number);
        }
        Self::sorted(numbers, of_row)
    }

    fn sorted(numbers: HashMap<T, u32, RandomState>, mut of_row: Vec<u32>) -> Self {
        let mut values: Vec<(T, u32)> = numbers.into_iter().collect();
        values.sort_unstable();
        let mut ranks = vec![0; values.len()];
        (0..).zip(&values).for_each(|(rank, &(_, number))| ranks[number as usize] = rank);
        of_row.iter_mut().for_each(|number| *number = ranks[*number as usize]);
        Self { values: values.into_iter().map(|(value, _)| value).collect(), of_row }
    }
}

/// The rows in the order of their numbers, which have 96 bits at most. Sorted are numbers with their rows behind them, in one word where they fit.
fn order(numbers: &[u128]) -> Vec<u32> {
    let bits = usize::BITS - numbers.len().leading_zeros();
    let greatest = numbers.iter().fold(0, |all, number| all | number);
    if greatest >> (u64::BITS - bits) > 0 {
        let mut all: Vec<u128> =
            (0..).zip(numbers).map(|(row, number): (u32, _)| number << 32 | u128::from(row)).collect();
        all.sort_unstable();
        return all.into_iter().map(|it| it as u32).collect();
    }
    let mut all: Vec<u64> = (0..).zip(numbers).map(|(row, &number)| (number as u64) << bits | row).collect();
    all.sort_unstable();
    all.into_iter().map(|it| (it & ((1 << bits) - 1)) as u32).collect()
}

impl Dictionary<u128> {
    /// Of numbers, most of them different: sorting is cheaper than hashing.
    fn of_numbers(numbers: &[u128]) -> Self {
        let mut of_row = vec![0; numbers.len()];
        let mut values: Vec<u128> = Vec::with_capacity(numbers.len());
        for row in order(numbers) {
            let number = numbers[row as usize];
            if values.last() != Some(&number) {
                values.push(number);
            }
            of_row[row as usize] = values.len() as u32 - 1;
        }
        Self { values, of_row }
    }

    fn map<T>(self, value: impl FnMut(u128) -> T) -> Dictionary<T> {
        Dictionary { values: self.values.into_iter().map(value).collect(), of_row: self.of_row }
    }
}

impl<T> Dictionary<T> {
    fn kinds(&self) -> u32 {
        self.values.len() as u32
    }
}

/// Dates are counted from the first of them, so that they are small numbers; 0 is none.
fn dates(rows: impl Iterator<Item = Option<i64>> + Clone) -> Dictionary<Option<i64>> {
    let first = rows.clone().flatten().min().unwrap_or_default();
    let number = |date: Option<i64>| date.map_or(0, |date| u128::from(date.wrapping_sub(first) as u64) + 1);
    let date = |number: u128| number.checked_sub(1).map(|it| first.wrapping_add(it as u64 as i64));
    Dictionary::of_numbers(&rows.map(number).collect::<Vec<_>>()).map(date)
}

/// Texts of ratings are few, and what is beside them are numbers.
fn ratings<'a>(rows: &[Row<'a>]) -> Dictionary<Rating<'a>> {
    let texts = Dictionary::of(rows.iter().map(|row| (row.rating.database, row.rating.feed_rating)));
    let number = |(row, &texts): (&Row<'_>, &u32)| {
        let Rating { severity, score, score_v3, .. } = row.rating;
        u128::from(texts) << 24 | (severity as u128) << 16 | u128::from(score) << 8 | u128::from(score_v3)
    };
    let numbers: Vec<u128> = rows.iter().zip(&texts.of_row).map(number).collect();
    let Dictionary { values, of_row } = Dictionary::of_numbers(&numbers);
    // Any row of the number has its rating.
    let mut rating_of = vec![None; values.len()];
    rows.iter().zip(&of_row).for_each(|(row, &number)| rating_of[number as usize] = Some(row.rating));
    Dictionary { values: rating_of.into_iter().flatten().collect(), of_row }
}

/// What is said of a vulnerability, as numbers in dictionaries. It may be said of several places.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fact {
    id: VulnerabilityId,
    /// The number among names that are no number of their own.
    other: u32,
    rating: u32,
    published: u32,
    modified: u32,
}

pub(super) fn encode(rows: &[Row<'_>]) -> Vec<u8> {
    let places = Dictionary::of(rows.iter().map(|row| row.place));
    let ratings = ratings(rows);
    let published = dates(rows.iter().map(|row| row.published));
    let modified = dates(rows.iter().map(|row| row.modified));
    let mut others: Vec<_> = rows.iter().filter(|row| !row.id.is_canonical()).collect();
    others.sort_unstable_by_key(|row| (row.id, row.name));
    others.dedup_by_key(|row| row.name);

    let fact = |row: usize| Fact {
        id: rows[row].id,
        other: match rows[row].id.is_canonical() {
            true => 0,
            false => others.partition_point(|it| (it.id, it.name) < (rows[row].id, rows[row].name)) as u32,
        },
        rating: ratings.of_row[row],
        published: published.of_row[row],
        modified: modified.of_row[row],
    };
    // By the numbers alone first: few vulnerabilities stand there twice.
    let numbers: Vec<u128> = rows.iter().map(|row| row.id.get().into()).collect();
    let mut sorted: Vec<(Fact, u32)> =
        order(&numbers).into_iter().map(|row| (fact(row as usize), places.of_row[row as usize])).collect();
    sorted.chunk_by_mut(|a, b| a.0.id == b.0.id).for_each(<[_]>::sort_unstable);
    let places_of_rows: Vec<u32> = sorted.iter().map(|&(_, place)| place).collect();
    let facts: Vec<(Fact, u64)> =
        sorted.chunk_by(|a, b| a.0 == b.0).map(|rows| (rows[0].0, rows.len() as u64 - 1)).collect();

    let mut encoder = Encoder::default();
    encoder.number(rows.len() as u64);
    let groups = write_names(&mut encoder, &facts);
    write_numbers(&mut encoder, &facts.iter().map(|&(_, more)| more).collect::<Vec<_>>());
    write_dates(&mut encoder, &published.values);
    write_dates(&mut encoder, &modified.values);
    let mut writer = texts::Writer::default();
    others.iter().fold("", |like, row| {
        writer.write(row.name, like);
        row.name
    });
    write_ratings(&mut encoder, &mut writer, &ratings.values);
    write_places(&mut encoder, &mut writer, &places.values);
    let mut column = |of: fn(&Fact) -> u32, kinds| {
        let values: Vec<u32> = facts.iter().map(|(fact, _)| of(fact)).collect();
        write(&mut encoder, &values, kinds, &groups);
    };
    column(|fact| fact.rating, ratings.kinds());
    column(|fact| fact.published, published.kinds());
    column(|fact| fact.modified, modified.kinds());
    write(&mut encoder, &places_of_rows, places.kinds(), &[rows.len()]);
    let text = writer.finish(&mut encoder);
    blob(&text, encoder)
}

/// Writes the vulnerabilities: how many facts there are of each year, and of names without one; then the numbers within the year
/// as differences. Gives the number of facts in each group.
fn write_names(encoder: &mut Encoder, facts: &[(Fact, u64)]) -> Vec<usize> {
    let canonical = facts.partition_point(|(fact, _)| fact.id.is_canonical());
    let (canonical, others) = facts.split_at(canonical);
    let year = |fact: &(Fact, u64)| fact.0.id.get() >> 32;
    let years: Vec<&[(Fact, u64)]> = canonical.chunk_by(|a, b| year(a) == year(b)).collect();
    encoder.number(others.len() as u64);
    encoder.number(years.len() as u64);
    let mut differences = Vec::with_capacity(facts.len());
    let mut last_year = 0;
    for facts in &years {
        encoder.number(year(&facts[0]) - last_year);
        encoder.number(facts.len() as u64);
        last_year = year(&facts[0]);
        differences.extend(difference(facts.iter().map(|(fact, _)| fact.id.get() & u64::from(u32::MAX))));
    }
    differences.extend(difference(others.iter().map(|(fact, _)| u64::from(fact.other))));
    write_numbers(encoder, &differences);
    years.iter().map(|facts| facts.len()).chain([others.len()]).collect()
}

fn difference(ascending: impl Iterator<Item = u64>) -> impl Iterator<Item = u64> {
    ascending.scan(0, |last, it| Some(it - std::mem::replace(last, it)))
}

/// Writes a dictionary of dates: whether none is among them, the first, and differences, of which the greatest common
/// divisor is taken out: databases publish on the minute or the day.
fn write_dates(encoder: &mut Encoder, dates: &[Option<i64>]) {
    let some: Vec<i64> = dates.iter().filter_map(|&it| it).collect();
    encoder.bits(u64::from(some.len() < dates.len()), 1);
    encoder.number(some.len() as u64);
    let Some(&first) = some.first() else { return };
    encoder.number(zigzag(first));
    let steps: Vec<u64> = some.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]) as u64).collect();
    let divisor = steps.iter().fold(0, |a, &b| gcd(a, b)).max(1);
    encoder.number(divisor);
    write_numbers(encoder, &steps.iter().map(|step| step / divisor).collect::<Vec<_>>());
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn write_ratings(encoder: &mut Encoder, texts: &mut texts::Writer, ratings: &[Rating<'_>]) {
    encoder.number(ratings.len() as u64);
    let (mut last_database, mut last_feed) = ("", "");
    for rating in ratings {
        let (verbatim, database) = match rating.database {
            Database::Prefix(prefix) => (false, prefix),
            Database::Text(text) => (true, text),
        };
        encoder.bits(u64::from(verbatim), 1);
        encoder.bits(rating.severity as u64, 2);
        encoder.bits(u64::from(rating.score), 8);
        encoder.bits(u64::from(rating.score_v3), 8);
        texts.write(database, last_database);
        texts.write(rating.feed_rating, last_feed);
        (last_database, last_feed) = (database, rating.feed_rating);
    }
}

fn write_places(encoder: &mut Encoder, texts: &mut texts::Writer, places: &[Place<'_>]) {
    encoder.number(places.len() as u64);
    let mut last = Place { package: "", version: "", fixed_version: "", file: "", in_base: false };
    for place in places {
        encoder.bits(u64::from(place.in_base), 1);
        texts.write(place.package, last.package);
        texts.write(place.version, last.version);
        texts.write(place.fixed_version, place.version);
        texts.write(place.file, last.file);
        last = *place;
    }
}

fn blob(text: &[u8], encoder: Encoder) -> Vec<u8> {
    let frame = texts::compress(text);
    let mut blob = vec![VERSION, 0, 0, 0, 0];
    blob.extend_from_slice(&(text.len() as u32).to_le_bytes());
    blob.extend_from_slice(&frame.as_ref().map_or(0, |frame| frame.len() as u32).to_le_bytes());
    blob.extend_from_slice(frame.as_deref().unwrap_or(text));
    encoder.finish(&mut blob);
    let crc = crc32fast::hash(&blob[5..]);
    blob[1..5].copy_from_slice(&crc.to_le_bytes());
    blob
}
