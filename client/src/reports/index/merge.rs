//! Many segments into one, beside those that are there: some blocks of each are read, merged and written at a time.

use larder_wire::{Request, Statement};

use super::IndexError;
use super::aside::aside;
use super::block::{Packed, Unpacker};
use super::change;
use super::fields::{from_sql, json, number, rows, to_sql};
use super::merger::{Batch, Merger};
use super::traits::Ratings;
use super::writer::BlockWriter;
use crate::database::Database;

/// Blocks that are read at once.
const BLOCKS: i64 = 16;
/// Bytes of blocks that are written at once, about.
const BYTES: usize = 2 << 20;

/// A block as it comes from the database: of which source, of which segment, its first vulnerability, and what is in it.
struct Arrived {
    source: usize,
    segment: i64,
    block: Packed,
}

/// What is between two reads.
struct Work {
    merger: Merger,
    unpacker: Unpacker,
    writer: BlockWriter,
    ratings: Ratings,
    reports: Vec<u64>,
    done: Vec<Packed>,
    bytes: usize,
}

impl Work {
    fn new(sources: usize) -> std::io::Result<Self> {
        Ok(Self {
            merger: Merger::new(sources),
            unpacker: Unpacker::new()?,
            writer: BlockWriter::new()?,
            ratings: Ratings::new(),
            reports: Vec::new(),
            done: Vec::new(),
            bytes: 0,
        })
    }

    fn take(&mut self, arrived: Arrived) -> Result<(), IndexError> {
        let Arrived { source, segment, block } = arrived;
        let damaged = || IndexError::block(segment, block.first);
        self.drain(Some(block.first))?;
        let entries =
            self.unpacker.summary(block.first, &block.summary, &mut self.ratings).map_err(damaged())?;
        let mut reports = Vec::new();
        let read = self.unpacker.postings(&block.postings, &entries, |_, report| reports.push(report));
        read.map_err(damaged())?;
        self.merger.push(source, Batch { entries, reports });
        Ok(())
    }

    fn drain(&mut self, limit: Option<u64>) -> Result<(), IndexError> {
        while let Some(entry) = self.merger.next(limit, &self.ratings, &mut self.reports) {
            let block = self.writer.push(entry, &self.reports, &self.ratings)?;
            self.reports.clear();
            self.keep(block);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), IndexError> {
        self.drain(None)?;
        let block = self.writer.flush(&self.ratings)?;
        self.keep(block);
        Ok(())
    }

    fn keep(&mut self, block: Option<Packed>) {
        self.bytes += block.as_ref().map_or(0, |it| it.summary.len() + it.postings.len());
        self.done.extend(block);
    }
}

/// Merges segments, given in order of the reports that they are of, into `target`, which does not count yet. False if one of them went
/// away meanwhile.
pub(super) async fn merge(database: &dyn Database, from: &[i64], target: i64) -> Result<bool, IndexError> {
    let mut work = Work::new(from.len())?;
    let mut behind = None;
    loop {
        let Some(arrived) = read(database, from, behind).await? else { return Ok(false) };
        behind = arrived.last().map(|it| (it.block.first, it.segment));
        work = aside(move || step(work, arrived)).await?;
        if (behind.is_none() || work.bytes >= BYTES) && !work.done.is_empty() {
            let done = std::mem::take(&mut work.done);
            if !change::append(database, target, done, work.writer.postings).await? {
                return Ok(false);
            }
            work.bytes = 0;
        }
        if behind.is_none() {
            return Ok(true);
        }
    }
}

/// Merges what arrived; if that is nothing, what is left.
fn step(mut work: Work, arrived: Vec<Arrived>) -> Result<Work, IndexError> {
    if arrived.is_empty() {
        work.finish()?;
    }
    for block in arrived {
        work.take(block)?;
    }
    Ok(work)
}

/// The next blocks in order of their first vulnerability; `None` if a segment is no longer there.
async fn read(
    database: &dyn Database,
    from: &[i64],
    behind: Option<(u64, i64)>,
) -> Result<Option<Vec<Arrived>>, IndexError> {
    let list = || json(from.iter().copied());
    let (first, segment) = behind.map_or((i64::MIN, i64::MIN), |(first, segment)| (to_sql(first), segment));
    let there = "SELECT COUNT(*) FROM segment WHERE id IN (SELECT value FROM json_each(?))";
    // The plus keeps the engine from collecting the blocks of every segment and sorting them for each read.
    let next = "SELECT first, segment, summary, postings FROM block WHERE (first, segment) > (?, ?) \
                AND +segment IN (SELECT value FROM json_each(?)) ORDER BY first, segment LIMIT ?";
    let request = Request::new([
        Statement::with(there, [list()]),
        Statement::with(next, [first.into(), segment.into(), list(), BLOCKS.into()]),
    ]);
    let mut response = database.query(&request).await?;
    let [there, next] = &mut response.results[..] else {
        return Err(IndexError::Shape("a result is missing"));
    };
    if number(there)? != from.len() as i64 {
        return Ok(None);
    }
    let mut blocks = Vec::new();
    for mut row in rows(next) {
        let (first, segment) = (from_sql(row.integer()?), row.integer()?);
        let source = from.iter().position(|&it| it == segment);
        let source = source.ok_or(IndexError::Shape("a block of another segment came"))?;
        let block = Packed { first, summary: row.blob()?, postings: row.blob()? };
        blocks.push(Arrived { source, segment, block });
    }
    Ok(Some(blocks))
}
