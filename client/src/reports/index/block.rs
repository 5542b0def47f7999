//! A block: some hundred vulnerabilities that follow each other, as two blobs.
//!
//! The *summary* is what pages are made of and is read from every block; the *postings* say which reports have each vulnerability and are read
//! from few. Both are columns of small numbers, compressed as zstd with its checksum, so that a damaged block is an error and never an answer.

use zstd::bulk::{Compressor, Decompressor};

use super::entry::{Entry, KINDS};
use super::traits::{Rating, Ratings, Traits};
use super::varint::{Malformed, Reader, push};
use crate::reports::Severity;

/// What a blob may hold when it is unpacked: more is damage, not data.
const LIMIT: u64 = 256 << 20;
/// Summaries are read by every question: what packs tighter here is not read more slowly.
const LEVEL: i32 = 3;
/// Of how many bytes a distance between neighbours in a dictionary is at least.
const LEAST: usize = 1;

/// A block as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    /// The number of its first vulnerability.
    pub(crate) first: u64,
    pub(crate) summary: Vec<u8>,
    pub(crate) postings: Vec<u8>,
}

/// Writes blocks. It keeps what compression needs between them.
pub(crate) struct Packer {
    zstd: Compressor<'static>,
    raw: Vec<u8>,
}

impl Packer {
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut zstd = Compressor::new(LEVEL)?;
        zstd.include_checksum(true)?;
        Ok(Self { zstd, raw: Vec::new() })
    }

    /// Packs vulnerabilities in order of their numbers, with the ids of the reports that have the first, the second, and so on: as many of each as it
    /// counts, ascending.
    pub(crate) fn pack(
        &mut self,
        entries: &[Entry],
        reports: &[u64],
        ratings: &Ratings,
    ) -> std::io::Result<Packed> {
        self.raw.clear();
        write_summary(&mut self.raw, entries, ratings);
        let summary = self.compress()?;
        self.raw.clear();
        write_postings(&mut self.raw, entries, reports);
        Ok(Packed { first: entries.first().map_or(0, |it| it.id), summary, postings: self.compress()? })
    }

    fn compress(&mut self) -> std::io::Result<Vec<u8>> {
        let packed = self.zstd.compress(&self.raw)?;
        let mut blob = Vec::with_capacity(packed.len() + 4);
        push(&mut blob, self.raw.len() as u64);
        blob.extend_from_slice(&packed);
        Ok(blob)
    }
}

/// Reads blocks.
pub(crate) struct Unpacker {
    zstd: Decompressor<'static>,
    raw: Vec<u8>,
}

impl Unpacker {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { zstd: Decompressor::new()?, raw: Vec::new() })
    }

    /// The vulnerabilities of a summary whose first has this number.
    pub(crate) fn summary(
        &mut self,
        first: u64,
        blob: &[u8],
        ratings: &mut Ratings,
    ) -> Result<Vec<Entry>, Malformed> {
        self.unpack(blob)?;
        let entries = read_summary(&mut Reader(&self.raw), ratings)?;
        match entries.first() {
            Some(entry) if entry.id == first => Ok(entries),
            _ => Err(Malformed("it belongs to another vulnerability")),
        }
    }

    /// Hands over each report of each of these vulnerabilities: which of them, and the report's id.
    pub(crate) fn postings(
        &mut self,
        blob: &[u8],
        entries: &[Entry],
        each: impl FnMut(usize, u64),
    ) -> Result<(), Malformed> {
        self.unpack(blob)?;
        read_postings(Reader(&self.raw), entries, each)
    }

    fn unpack(&mut self, blob: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader(blob);
        let length = reader.number()?;
        if length > LIMIT {
            return Err(Malformed("it says that it is longer than any block"));
        }
        self.raw.clear();
        self.raw.reserve(length as usize);
        self.zstd
            .decompress_to_buffer(reader.0, &mut self.raw)
            .map_err(|_| Malformed("it cannot be decompressed"))?;
        if self.raw.len() as u64 == length { Ok(()) } else { Err(Malformed("it has another length")) }
    }
}

fn write_summary(out: &mut Vec<u8>, entries: &[Entry], ratings: &Ratings) {
    push(out, entries.len() as u64);
    let mut last = 0;
    for entry in entries {
        push(out, entry.id - last);
        last = entry.id;
    }
    out.extend(entries.iter().map(|it| flags(&it.traits)));
    out.extend(entries.iter().map(|it| it.traits.score));
    out.extend(entries.iter().map(|it| it.traits.score_v3));
    write_counts(out, entries);
    write_dates(out, entries.iter().map(|it| it.traits.published));
    write_dates(out, entries.iter().map(|it| it.traits.modified));
    write_ratings(out, entries, ratings);
}

fn read_summary(reader: &mut Reader<'_>, ratings: &mut Ratings) -> Result<Vec<Entry>, Malformed> {
    let count = reader.count(4)?;
    let mut entries = Vec::with_capacity(count);
    let mut id = 0_u64;
    for index in 0..count {
        let distance = reader.number()?;
        if index > 0 && distance == 0 {
            return Err(Malformed("a vulnerability stands in it twice"));
        }
        id = id.checked_add(distance).ok_or(Malformed("a vulnerability has too large a number"))?;
        entries.push(Entry { id, counts: [0; KINDS], traits: NO_TRAITS });
    }
    let (all_flags, scores, scores_v3) = (reader.bytes(count)?, reader.bytes(count)?, reader.bytes(count)?);
    for (index, entry) in entries.iter_mut().enumerate() {
        set_flags(&mut entry.traits, all_flags[index]);
        entry.traits.score = scores[index];
        entry.traits.score_v3 = scores_v3[index];
    }
    read_counts(reader, &mut entries)?;
    read_dates(reader, &mut entries, |traits, date| traits.published = date)?;
    read_dates(reader, &mut entries, |traits, date| traits.modified = date)?;
    read_ratings(reader, &mut entries, ratings)?;
    std::mem::replace(reader, Reader(&[])).end()?;
    Ok(entries)
}

const NO_TRAITS: Traits = Traits {
    severity: Severity::Low,
    score: 0,
    score_v3: 0,
    mended: false,
    unmended: false,
    rating: Rating(0),
    published: 0,
    modified: 0,
};

fn flags(traits: &Traits) -> u8 {
    traits.severity as u8 | u8::from(traits.mended) << 2 | u8::from(traits.unmended) << 3
}

fn set_flags(traits: &mut Traits, flags: u8) {
    traits.severity = match flags & 3 {
        0 => Severity::Low,
        1 => Severity::Medium,
        2 => Severity::High,
        _ => Severity::Critical,
    };
    traits.mended = flags & 4 != 0;
    traits.unmended = flags & 8 != 0;
}

/// One column for each kind that occurs at all.
fn write_counts(out: &mut Vec<u8>, entries: &[Entry]) {
    let occurs = |kind: usize| entries.iter().any(|it| it.counts[kind] > 0);
    let kinds: Vec<usize> = (0..KINDS).filter(|&kind| occurs(kind)).collect();
    out.push(kinds.iter().fold(0, |mask, kind| mask | 1 << kind));
    for kind in kinds {
        entries.iter().for_each(|it| push(out, u64::from(it.counts[kind])));
    }
}

fn read_counts(reader: &mut Reader<'_>, entries: &mut [Entry]) -> Result<(), Malformed> {
    let mask = reader.bytes(1)?[0];
    for kind in (0..KINDS).filter(|kind| mask >> kind & 1 == 1) {
        for entry in entries.iter_mut() {
            let count = u32::try_from(reader.number()?);
            entry.counts[kind] = count.map_err(|_| Malformed("it counts too many reports"))?;
        }
    }
    Ok(())
}

/// The dates that occur, then for each vulnerability which of them.
fn write_dates(out: &mut Vec<u8>, dates: impl Iterator<Item = u32> + Clone) {
    let mut known: Vec<u32> = dates.clone().collect();
    known.sort_unstable();
    known.dedup();
    push(out, known.len() as u64);
    let mut last = 0;
    for &date in &known {
        push(out, u64::from(date - last));
        last = date;
    }
    write_choices(out, known.len(), dates.map(|date| known.binary_search(&date).unwrap_or(known.len())));
}

fn read_dates(
    reader: &mut Reader<'_>,
    entries: &mut [Entry],
    mut set: impl FnMut(&mut Traits, u32),
) -> Result<(), Malformed> {
    let count = reader.count(LEAST)?;
    let mut known = Vec::with_capacity(count);
    let mut last = 0_u64;
    for _ in 0..count {
        last = last.saturating_add(reader.number()?);
        known.push(u32::try_from(last).map_err(|_| Malformed("a date is too late"))?);
    }
    read_choices(reader, entries.len(), count, |index, choice| {
        set(&mut entries[index].traits, *known.get(choice).ok_or(Malformed("a date is missing in it"))?);
        Ok(())
    })
}

fn write_ratings(out: &mut Vec<u8>, entries: &[Entry], ratings: &Ratings) {
    let mut known: Vec<u32> = entries.iter().map(|it| it.traits.rating.0).collect();
    known.sort_unstable();
    known.dedup();
    push(out, known.len() as u64);
    for &rating in &known {
        let text = ratings.text(Rating(rating));
        push(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
    let number = |entry: &Entry| known.binary_search(&entry.traits.rating.0).unwrap_or(known.len());
    write_choices(out, known.len(), entries.iter().map(number));
}

fn read_ratings(
    reader: &mut Reader<'_>,
    entries: &mut [Entry],
    ratings: &mut Ratings,
) -> Result<(), Malformed> {
    let count = reader.count(LEAST)?;
    let mut known = Vec::with_capacity(count);
    for _ in 0..count {
        let length = reader.count(LEAST)?;
        let text =
            std::str::from_utf8(reader.bytes(length)?).map_err(|_| Malformed("a rating is no text"))?;
        known.push(ratings.number(text));
    }
    read_choices(reader, entries.len(), count, |index, choice| {
        entries[index].traits.rating = *known.get(choice).ok_or(Malformed("a rating is missing in it"))?;
        Ok(())
    })
}

/// Numbers up to `largest`, each in as many bytes as that takes, column by column of bytes: the upper ones compress to nothing.
fn write_choices(out: &mut Vec<u8>, largest: usize, choices: impl Iterator<Item = usize> + Clone) {
    for byte in 0..width(largest) {
        out.extend(choices.clone().map(|choice| (choice >> (8 * byte)) as u8));
    }
}

fn read_choices(
    reader: &mut Reader<'_>,
    count: usize,
    largest: usize,
    mut each: impl FnMut(usize, usize) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let width = width(largest);
    let columns = reader.bytes(count.saturating_mul(width))?;
    for index in 0..count {
        let choice =
            (0..width).fold(0, |sum, byte| sum | usize::from(columns[byte * count + index]) << (8 * byte));
        each(index, choice)?;
    }
    Ok(())
}

fn width(largest: usize) -> usize {
    (usize::BITS - largest.leading_zeros()).div_ceil(8) as usize
}

/// Report ids as distances: the first of each vulnerability from the smallest of the block, the others from their neighbour.
fn write_postings(out: &mut Vec<u8>, entries: &[Entry], reports: &[u64]) {
    let base = reports.iter().min().copied().unwrap_or(0);
    push(out, base);
    let mut rest = reports;
    for entry in entries {
        let (mine, others) = rest.split_at(entry.total() as usize);
        rest = others;
        let mut last = base;
        for &report in mine {
            push(out, report - last);
            last = report;
        }
    }
}

fn read_postings(
    mut reader: Reader<'_>,
    entries: &[Entry],
    mut each: impl FnMut(usize, u64),
) -> Result<(), Malformed> {
    let base = reader.number()?;
    for (index, entry) in entries.iter().enumerate() {
        let mut report = base;
        for _ in 0..entry.total() {
            report = report.checked_add(reader.number()?).ok_or(Malformed("a report has too large an id"))?;
            each(index, report);
        }
    }
    reader.end()
}
