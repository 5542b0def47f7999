//! How vulnerabilities are counted on some assets, and from whom it is taken what they are.
//!
//! Summaries of the index join what all reports say, those of other assets among them, and those that are gone until the index lets go of them.
//! Exactly these assets are asked only by reading all that was found on them. That is done up to some number of findings ([`EXACT`]); above
//! it, counts are exact all the same, and what is said of a vulnerability is what all reports say.
//!
//! Which way is taken is found out before, so it need not be of the same moment as the answer.

use larder_wire::{Request, Statement};

use super::Questions;
use super::filter::{AssetFilter, View};
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

/// Findings that are read for one page: a third of a second's work.
pub(super) const EXACT: u64 = 1 << 20;

impl Questions {
    pub(super) async fn plan(&self, filter: &AssetFilter) -> Result<Plan, IndexError> {
        let condition = filter.condition();
        if !condition.is_complete() {
            return Ok(Plan::Many);
        }
        let is_about_all = filter.is_open() && filter.view == View::All;
        let sum = format!("SELECT SUM(critical + high + medium + low) FROM report WHERE {}", condition.sql);
        let sql = match is_about_all {
            // Nothing is gone that the index still speaks of.
            true => format!(
                "SELECT CASE WHEN EXISTS (SELECT 1 FROM retired) THEN COALESCE(({sum}), 0) ELSE -1 END"
            ),
            false => format!("SELECT COALESCE(({sum}), 0)"),
        };
        let mut response =
            self.database.query(&Request::new([Statement::with(sql, condition.values)])).await?;
        let findings = number(response.results.first_mut().ok_or(IndexError::Shape("a result is missing"))?)?;
        Ok(match u64::try_from(findings) {
            Ok(findings) if findings <= self.exact => Plan::Few,
            _ if filter.is_open() => Plan::All,
            _ => Plan::Many,
        })
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
