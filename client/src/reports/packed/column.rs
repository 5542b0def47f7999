//! Columns: many values of one kind, written by the cheaper of two models.
//!
//! Either by how often each value stands in the column (the counts are written first), or as evenly spread between the least and the
//! greatest of its group, which costs no counts. Groups are the years of the vulnerabilities: dates of publication lie near
//! them. Both need no tuning and nothing that is learnt from other reports.

use super::ans::{Decoder, Encoder, SHARE, Share, length_of};

/// Which shares the values of a column have.
struct Shares {
    /// Where each begins, and the end of the last.
    starts: Vec<u32>,
    bits: u32,
}

impl Shares {
    /// Shares in proportion to counts, none of them rounded to nothing. `None` if nothing is counted, or too much.
    fn of(counts: &[u64]) -> Option<Self> {
        let total = counts.iter().try_fold(0_u64, |sum, &count| sum.checked_add(count))?;
        let bits = (counts.len().ilog2() + 6).clamp(9, SHARE);
        let used = counts.iter().filter(|&&count| count > 0).count() as u64;
        let free = (1_u64 << bits).checked_sub(used)?;
        if total == 0 || total > u64::from(u32::MAX) {
            return None;
        }
        let (mut sum, mut seen) = (0, 0);
        let mut starts = Vec::with_capacity(counts.len() + 1);
        for &count in counts {
            starts.push((sum * free / total + seen) as u32);
            sum += count;
            seen += u64::from(count > 0);
        }
        starts.push(1 << bits);
        Some(Self { starts, bits })
    }

    fn of_value(&self, value: usize) -> Share {
        let start = self.starts[value];
        Share { start, size: self.starts[value + 1] - start, bits: self.bits }
    }

    /// Reads so many values.
    fn read(&self, decoder: &mut Decoder<'_>, count: usize) -> Vec<u32> {
        let values = Values::of(self);
        if let [only] = values.used[..] {
            // Its share would be the whole: nothing was written.
            return vec![only.value; count];
        }
        (0..count).map(|_| values.read(decoder)).collect()
    }
}

/// Places taken together in the table of [`Values`], as a power of two: at most so many values have to be passed.
const TOGETHER: u32 = 4;
/// The size of a table in which every place can stand for itself, as a power of two.
const TABLE: u32 = 12;

/// Which value has which place.
struct Values {
    /// Values that have a share, in order.
    used: Vec<Used>,
    /// For some places together, the first value that has one of them.
    table: Vec<u32>,
    together: u32,
    bits: u32,
}

#[derive(Clone, Copy)]
struct Used {
    value: u32,
    start: u32,
    end: u32,
}

impl Values {
    fn of(shares: &Shares) -> Self {
        let bits = shares.bits;
        let together = bits.saturating_sub(TABLE).min(TOGETHER);
        let pairs = (0..).zip(shares.starts.windows(2));
        let used: Vec<Used> = pairs
            .filter(|(_, pair)| pair[0] < pair[1])
            .map(|(value, pair)| Used { value, start: pair[0], end: pair[1] })
            .collect();
        let mut table = Vec::with_capacity(1 << (bits - together));
        for (at, it) in (0..).zip(&used) {
            table.resize(((it.end - 1) >> together) as usize + 1, at);
        }
        Self { used, table, together, bits }
    }

    fn read(&self, decoder: &mut Decoder<'_>) -> u32 {
        let place = decoder.place(self.bits);
        let mut at = self.table[(place >> self.together) as usize] as usize;
        while self.used[at].end <= place {
            at += 1;
        }
        let Used { value, start, end } = self.used[at];
        decoder.take(Share { start, size: end - start, bits: self.bits });
        value
    }
}

/// Values that are evenly spread over `0..width`. What is left of the places behind the last value is never written.
#[derive(Clone, Copy)]
struct Even {
    width: u64,
    bits: u32,
    /// Places of one value, times `1 << FRACTION`: a division once, not for every value.
    each: u64,
}

const FRACTION: u32 = 16;

impl Even {
    fn over(width: u32) -> Self {
        let bits = (width.ilog2() + 8).min(SHARE);
        let width = u64::from(width);
        Self { width, bits, each: (1 << (bits + FRACTION)) / width }
    }

    fn start(self, value: u64) -> u32 {
        ((value * self.each) >> FRACTION) as u32
    }

    fn of_value(self, value: u32) -> Share {
        let value = u64::from(value);
        let start = self.start(value);
        Share { start, size: self.start(value + 1) - start, bits: self.bits }
    }

    fn read(self, decoder: &mut Decoder<'_>) -> u32 {
        let place = decoder.place(self.bits);
        // As starts are rounded down, this may be one too few.
        let value = (u64::from(place) * self.width) >> self.bits;
        let value = (value + u64::from(self.start(value + 1) <= place)).min(self.width - 1) as u32;
        decoder.take(self.of_value(value));
        value
    }
}

fn bits_of(values: u32) -> u32 {
    u32::BITS - values.saturating_sub(1).leading_zeros()
}

/// The least value of a group, and how many there are up to the greatest.
fn span(group: &[u32]) -> (u32, u32) {
    let (least, greatest) = group.iter().fold((u32::MAX, 0), |(a, b), &it| (a.min(it), b.max(it)));
    (least, greatest - least + 1)
}

/// Splits values into groups of these lengths.
fn groups<'a>(values: &'a [u32], lengths: &'a [usize]) -> impl Iterator<Item = &'a [u32]> {
    let mut rest = values;
    lengths.iter().filter(|&&it| it > 0).filter_map(move |&length| rest.split_off(..length))
}

/// Writes a column of values under `kinds`, in groups of these lengths.
pub(super) fn write(encoder: &mut Encoder, values: &[u32], kinds: u32, lengths: &[usize]) {
    if kinds <= 1 || values.is_empty() {
        return;
    }
    let mut counts = vec![0_u64; kinds as usize];
    values.iter().for_each(|&value| counts[value as usize] += 1);
    let shares = Shares::of(&counts).filter(|_| by_counts(&counts) < by_spans(values, kinds, lengths));
    encoder.bits(u64::from(shares.is_some()), 1);
    if let Some(shares) = shares {
        counts.iter().for_each(|&count| encoder.number(count));
        let is_only = counts.contains(&(values.len() as u64));
        let written = if is_only { &[] } else { values };
        written.iter().for_each(|&value| encoder.share(shares.of_value(value as usize)));
        return;
    }
    for group in groups(values, lengths) {
        let (least, width) = span(group);
        encoder.bits(u64::from(least), bits_of(kinds));
        encoder.bits(u64::from(width - 1), bits_of(kinds));
        let even = Even::over(width);
        group.iter().for_each(|value| encoder.share(even.of_value(value - least)));
    }
}

/// What the column takes in bits if it is written by counts.
fn by_counts(counts: &[u64]) -> f64 {
    let total = counts.iter().sum::<u64>() as f64;
    // Most counts are 0 or 1, of which the logarithm is known.
    let value = |&count: &u64| if count <= 1 { 0.0 } else { count as f64 * (count as f64).log2() };
    let lengths = counts.iter().map(|&count| length_of(count)).sum::<u64>();
    lengths as f64 + total * total.log2() - counts.iter().map(value).sum::<f64>()
}

/// What the column takes in bits if it is written by spans.
fn by_spans(values: &[u32], kinds: u32, lengths: &[usize]) -> f64 {
    let group =
        |group: &[u32]| f64::from(2 * bits_of(kinds)) + group.len() as f64 * f64::from(span(group).1).log2();
    groups(values, lengths).map(group).sum()
}

/// Reads a column that was written with the same `kinds` and groups; `None` if it makes no sense.
pub(super) fn read(decoder: &mut Decoder<'_>, kinds: u32, lengths: &[usize]) -> Option<Vec<u32>> {
    let total = lengths.iter().sum();
    if kinds <= 1 || total == 0 {
        return Some(vec![0; total]);
    }
    if decoder.bits(1) == 1 {
        let counts: Vec<u64> = (0..kinds).map(|_| decoder.number()).collect();
        let shares = Shares::of(&counts)?;
        return (!decoder.is_over()).then(|| shares.read(decoder, total));
    }
    let mut values = Vec::with_capacity(total);
    for &length in lengths.iter().filter(|&&it| it > 0) {
        let least = decoder.bits(bits_of(kinds)) as u32;
        let width = decoder.bits(bits_of(kinds)) as u32 + 1;
        if least.checked_add(width)? > kinds || decoder.is_over() {
            return None;
        }
        let even = Even::over(width);
        values.extend((0..length).map(|_| least + even.read(decoder)));
    }
    Some(values)
}

/// Lengths of numbers in bits: 0 to 64.
const LENGTHS: u32 = 65;

/// Writes numbers of any size: their lengths as a column, then what is below the highest bit as it is.
pub(super) fn write_numbers(encoder: &mut Encoder, numbers: &[u64]) {
    let lengths: Vec<u32> = numbers.iter().map(|number| u64::BITS - number.leading_zeros()).collect();
    write(encoder, &lengths, LENGTHS, &[lengths.len()]);
    for (&number, length) in numbers.iter().zip(lengths) {
        encoder.bits(number, length.saturating_sub(1));
    }
}

/// Reads `count` numbers of any size.
pub(super) fn read_numbers(decoder: &mut Decoder<'_>, count: usize) -> Option<Vec<u64>> {
    let lengths = read(decoder, LENGTHS, &[count])?;
    let number = |length: u32| match length {
        0 => 0,
        _ => decoder.bits(length - 1) | 1 << (length - 1),
    };
    Some(lengths.into_iter().map(number).collect())
}
