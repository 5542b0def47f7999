//! Many sorted runs of vulnerabilities as one.
//!
//! Blocks of all segments come in the order of their first vulnerability. When one arrives, everything below its first is complete, so what is
//! held is about one block of each segment, whatever the size of the index.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::entry::Entry;
use super::traits::Ratings;

/// Vulnerabilities in order of their numbers and, where they are wanted, the reports that have them: as many of each as it counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) entries: Vec<Entry>,
    pub(crate) reports: Vec<u64>,
}

/// Merges the sources that are pushed into it. The reports of a source have greater ids than those of the sources before it.
#[derive(Debug)]
pub(crate) struct Merger {
    sources: Vec<Source>,
    heap: BinaryHeap<Reverse<(u64, usize)>>,
}

#[derive(Debug, Default)]
struct Source {
    batches: VecDeque<Batch>,
    /// Where in the first batch the source is.
    entry: usize,
    report: usize,
}

impl Source {
    fn head(&self) -> Option<&Entry> {
        self.batches.front()?.entries.get(self.entry)
    }

    /// Goes on to the next entry, and lets go of batches that are over.
    fn advance(&mut self, reports: usize) {
        self.entry += 1;
        self.report += reports;
        while self.batches.front().is_some_and(|it| self.entry >= it.entries.len()) {
            self.batches.pop_front();
            (self.entry, self.report) = (0, 0);
        }
    }
}

impl Merger {
    pub(crate) fn new(sources: usize) -> Self {
        let sources: Vec<_> = std::iter::repeat_with(Source::default).take(sources).collect();
        Self { heap: BinaryHeap::with_capacity(sources.len()), sources }
    }

    /// Adds what follows in a source.
    pub(crate) fn push(&mut self, source: usize, batch: Batch) {
        let Some(first) = batch.entries.first() else { return };
        let waiting = &mut self.sources[source];
        if waiting.batches.is_empty() {
            self.heap.push(Reverse((first.id, source)));
        }
        waiting.batches.push_back(batch);
    }

    /// The next vulnerability below `limit`, joined from all sources; its reports are put behind those in `reports`.
    pub(crate) fn next(
        &mut self,
        limit: Option<u64>,
        ratings: &Ratings,
        reports: &mut Vec<u64>,
    ) -> Option<Entry> {
        let &Reverse((id, _)) = self.heap.peek()?;
        if limit.is_some_and(|limit| id >= limit) {
            return None;
        }
        let mut joined: Option<Entry> = None;
        while let Some(mut top) = self.heap.peek_mut() {
            let Reverse((next, number)) = *top;
            if next != id {
                break;
            }
            let source = &mut self.sources[number];
            let entry = *source.head()?;
            match &mut joined {
                None => joined = Some(entry),
                Some(joined) => joined.join(&entry, ratings),
            }
            let own = &source.batches[0].reports;
            let mut taken = 0;
            if !own.is_empty() {
                taken = entry.total() as usize;
                reports.extend_from_slice(&own[source.report..source.report + taken]);
            }
            source.advance(taken);
            match source.head() {
                Some(entry) => *top = Reverse((entry.id, number)),
                None => drop(std::collections::binary_heap::PeekMut::pop(top)),
            }
        }
        joined
    }
}
