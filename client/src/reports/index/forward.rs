//! The findings of a report as the index wants them: marks, with ratings that are numbered for all reports alike.

use super::IndexError;
use super::traits::{Rating, Ratings};
use crate::reports::packed::{self, Mark};

/// Reads findings of many reports. It keeps what can be used again.
#[derive(Debug, Default)]
pub(crate) struct Forward {
    ratings: Vec<Rating>,
}

impl Forward {
    /// Hands over each mark of a report.
    pub(crate) fn read(
        &mut self,
        report: i64,
        findings: &[u8],
        ratings: &mut Ratings,
        mut each: impl FnMut(&Mark, Rating),
    ) -> Result<(), IndexError> {
        let damaged = |reason: String| IndexError::Findings { report, reason };
        let marks = packed::marks(findings).map_err(|error| damaged(error.to_string()))?;
        self.ratings.clear();
        self.ratings.extend(marks.feed_ratings.iter().map(|text| ratings.number(text)));
        for mark in &marks.marks {
            let rating = self.ratings.get(mark.feed_rating as usize);
            each(mark, *rating.ok_or_else(|| damaged("a rating is missing".to_owned()))?);
        }
        Ok(())
    }
}
