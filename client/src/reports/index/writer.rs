//! Cuts a sorted run of vulnerabilities into blocks.

use super::block::{Packed, Packer};
use super::entry::Entry;
use super::traits::Ratings;

/// Vulnerabilities in a block, at most: few enough that one can be found by unpacking its block alone.
const ENTRIES: usize = 1024;
/// Postings in a block, at most, unless one vulnerability alone has more.
const POSTINGS: usize = 64 << 10;

/// Takes vulnerabilities in order and gives blocks.
pub(crate) struct BlockWriter {
    packer: Packer,
    entries: Vec<Entry>,
    reports: Vec<u64>,
    /// What was written so far.
    pub(crate) vulnerabilities: u64,
    pub(crate) postings: u64,
}

impl BlockWriter {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            packer: Packer::new()?,
            entries: Vec::new(),
            reports: Vec::new(),
            vulnerabilities: 0,
            postings: 0,
        })
    }

    /// Adds a vulnerability with its reports, and gives the block that was full before it.
    pub(crate) fn push(
        &mut self,
        entry: Entry,
        reports: &[u64],
        ratings: &Ratings,
    ) -> std::io::Result<Option<Packed>> {
        let full = self.entries.len() >= ENTRIES || self.reports.len() + reports.len() > POSTINGS;
        let block = if full { self.flush(ratings)? } else { None };
        self.vulnerabilities += 1;
        self.postings += reports.len() as u64;
        self.entries.push(entry);
        self.reports.extend_from_slice(reports);
        Ok(block)
    }

    /// The block that is not full, if there is anything in it.
    pub(crate) fn flush(&mut self, ratings: &Ratings) -> std::io::Result<Option<Packed>> {
        if self.entries.is_empty() {
            return Ok(None);
        }
        let block = self.packer.pack(&self.entries, &self.reports, ratings)?;
        self.entries.clear();
        self.reports.clear();
        Ok(Some(block))
    }
}
