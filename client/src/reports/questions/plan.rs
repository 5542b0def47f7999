//! How vulnerabilities are counted on some assets: the way that reads least.
//!
//! On all assets, summaries say it. On few, their own findings do. On many, postings are counted against the set of the assets' reports. All
//! three give the same numbers; which is taken is guessed before, so it need not be of the same moment as the answer.

use larder_wire::{Request, Statement};

use super::Questions;
use super::filter::AssetFilter;
use crate::reports::index::fields::number;
use crate::reports::index::{IndexError, Kind};

/// How vulnerabilities are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// As summaries say, less what is retired.
    All,
    /// By the findings of the assets.
    Few,
    /// By postings that are of the assets' reports.
    Many,
}

/// Unpacking the findings of a report costs about as much as passing by the postings of so many.
const UNPACKING: i64 = 32;

impl Questions {
    pub(super) async fn plan(&self, filter: &AssetFilter) -> Result<Plan, IndexError> {
        if filter.is_open() {
            return Ok(Plan::All);
        }
        let condition = filter.condition();
        if !condition.is_complete() {
            return Ok(Plan::Many);
        }
        let request = Request::new([
            Statement::with(format!("SELECT COUNT(*) FROM report WHERE {}", condition.sql), condition.values),
            Statement::new("SELECT COUNT(*) FROM report"),
        ]);
        let mut response = self.database.query(&request).await?;
        let mut counts = response.results.iter_mut().map(number);
        let mut next = || counts.next().unwrap_or(Err(IndexError::Shape("a result is missing")));
        let (some, all) = (next()?, next()?);
        Ok(if some * UNPACKING <= all { Plan::Few } else { Plan::Many })
    }
}

/// A set of reports, and of what kind each is. Ids of reports lie close together, so it is a table in pages.
#[derive(Debug, Default)]
pub(super) struct Selection(Vec<Option<Box<[u8; PAGE]>>>);

const PAGE: usize = 4096;
const ABSENT: u8 = u8::MAX;

impl Selection {
    pub(super) fn insert(&mut self, report: u64, kind: Kind) {
        let (page, place) = (report as usize / PAGE, report as usize % PAGE);
        if self.0.len() <= page {
            self.0.resize_with(page + 1, || None);
        }
        self.0[page].get_or_insert_with(|| Box::new([ABSENT; PAGE]))[place] = kind as u8;
    }

    /// The kind of a report, as a number, if it is in the set.
    #[inline]
    pub(super) fn get(&self, report: u64) -> Option<usize> {
        let page = self.0.get(report as usize / PAGE)?.as_ref()?;
        let kind = page[report as usize % PAGE];
        (kind != ABSENT).then_some(usize::from(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_has_what_was_put_in() {
        let mut selection = Selection::default();
        for id in [0, 1, 4095, 4096, 1_000_000] {
            selection.insert(id, Kind::Image);
        }
        let has = |id| selection.get(id) == Some(Kind::Image as usize);
        assert!([0, 1, 4095, 4096, 1_000_000].into_iter().all(has));
        assert!(![2, 4097, 999_999, 1_000_001, u64::MAX].into_iter().any(has));
    }
}
