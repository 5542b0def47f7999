//! What people ask of reports.
//!
//! [`Questions`] answers from the columns of reports (lists, [`AssetQuery`]), from the [index](crate::reports::index) (vulnerabilities and who has
//! them, [`VulnerabilityQuery`]) and from packed findings (dumps, [`FindingQuery`]); it never reads a payload. Each page is of one moment. Pages follow each
//! other by what the last row was, never by how many came before, so that none is missed or seen twice for what others write meanwhile.
//!
//! Which asset a caller may see is an [allow-list](AssetFilter::allowed) in every question. What a vulnerability *is* (severity, scores, dates, whether it
//! is mended) is joined over the reports that a question is about, as long as these have a million findings at most, and the list 5000 keys:
//! above that it is joined over all reports, for which see [`Questions::exact_up_to`].

mod affected;
mod asset;
mod assets;
mod dump;
mod filter;
mod names;
mod page;
mod plan;
mod sources;
mod vulnerabilities;

use std::sync::Arc;

use crate::database::Database;

pub use affected::{Affected, AffectedPage};
pub use asset::{AssetFindings, AssetSummary, Severities};
pub use assets::{AssetCursor, AssetOrder, AssetQuery, Overview, Page};
pub use dump::{FindingCursor, FindingPage, FindingQuery, FindingRow, ScoreRange};
pub use filter::{AssetFilter, Match, View};
pub use vulnerabilities::{
    Counted, Fix, FixFilter, Published, QuickFilter, Vulnerability, VulnerabilityCursor, VulnerabilityFilter,
    VulnerabilityOrder, VulnerabilityPage, VulnerabilityQuery,
};

/// Which way a list runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The least first.
    #[default]
    Ascending,
    /// The greatest first.
    Descending,
}

impl Direction {
    fn sql(self) -> &'static str {
        match self {
            Self::Ascending => "ASC",
            Self::Descending => "DESC",
        }
    }
}

/// Which score is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Score {
    /// CVSS 2.
    V2,
    /// CVSS 3.
    #[default]
    V3,
}

impl Score {
    fn column(self) -> &'static str {
        match self {
            Self::V2 => "score",
            Self::V3 => "score_v3",
        }
    }

    fn of(self, summary: &AssetSummary) -> u8 {
        match self {
            Self::V2 => summary.score,
            Self::V3 => summary.score_v3,
        }
    }
}

/// Asks a database, whose schema is [prepared](crate::schema::prepare). It needs no right but to read.
#[derive(Clone)]
pub struct Questions {
    database: Arc<dyn Database>,
    exact: u64,
}

impl std::fmt::Debug for Questions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Questions").finish_non_exhaustive()
    }
}

impl Questions {
    /// Questions to this database.
    #[must_use]
    pub fn new(database: Arc<dyn Database>) -> Self {
        Self { database, exact: plan::EXACT }
    }

    /// The same, of which a page of vulnerabilities says what the reports in question say and no others, as long as they have so many findings at
    /// most; by default a million, which takes a third of a second. Above that a page takes the same time whatever it is about, and two things are
    /// joined over all reports: what a row says of its vulnerability but for the number of assets, and what [`VulnerabilityFilter`], the quick
    /// filter's score and rating, and orders by score, rating and date go by. A report that was replaced or deleted counts there until
    /// [`Upkeep`](crate::migrate::Upkeep) clears it away, minutes later.
    #[must_use]
    pub fn exact_up_to(self, findings: u64) -> Self {
        Self { exact: findings, ..self }
    }
}
