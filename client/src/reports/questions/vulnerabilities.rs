//! Vulnerabilities over all assets: the question in its parts, and its answer.

use serde::{Deserialize, Serialize};

use super::asset::Severities;
use super::filter::AssetFilter;
use super::{Direction, Score};
use crate::reports::Severity;
use crate::reports::index::Kind;
use crate::reports::index::traits::Traits;

/// A question for a page of vulnerabilities.
#[derive(Clone, Debug)]
pub struct VulnerabilityQuery {
    /// On which assets. Vulnerabilities that none of them has are left out.
    pub assets: AssetFilter,
    /// Which vulnerabilities.
    pub filter: VulnerabilityFilter,
    /// Which of those, by a word.
    pub quick: Option<QuickFilter>,
    /// By what they are sorted. Those that are alike in it follow by name.
    pub order: VulnerabilityOrder,
    /// Which way.
    pub direction: Direction,
    /// Where the page begins: what the page before it says; `None` for the first.
    pub after: Option<VulnerabilityCursor>,
    /// How many rows the page has, at most.
    pub limit: usize,
}

impl Default for VulnerabilityQuery {
    fn default() -> Self {
        Self {
            assets: AssetFilter::default(),
            filter: VulnerabilityFilter::default(),
            quick: None,
            order: VulnerabilityOrder::Name,
            direction: Direction::Descending,
            after: None,
            limit: 100,
        }
    }
}

/// Which vulnerabilities are meant: those that every part admits. The default admits all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VulnerabilityFilter {
    /// By whether packages can be mended.
    pub fix: FixFilter,
    /// Of one of these severities; empty: of any.
    pub severities: Vec<Severity>,
    /// With a CVSS 2 score from the first to the second, in tenths.
    pub score: Option<(u8, u8)>,
    /// With a CVSS 3 score from the first to the second, in tenths.
    pub score_v3: Option<(u8, u8)>,
    /// By when they were published.
    pub published: Option<Published>,
    /// Changed later than this, in seconds since 1970.
    pub modified_after: Option<i64>,
}

/// By whether the packages that have a vulnerability can be mended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FixFilter {
    /// Whether or not.
    #[default]
    All,
    /// Some can.
    WithFix,
    /// None can.
    WithoutFix,
    /// All can.
    WithFixAll,
}

/// By when a vulnerability was published. One of which that is not known is neither before nor after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Published {
    /// Before this second since 1970.
    Before(i64),
    /// In this second since 1970, or after it.
    After(i64),
}

/// A word that stands in the name, in the score (`7.5`) or in the feed's rating, whatever the case of ASCII letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuickFilter {
    /// The word.
    pub text: String,
    /// In which score.
    pub score: Score,
}

/// What vulnerabilities are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VulnerabilityOrder {
    /// The name: CVEs by year and number, then all others by their text.
    Name,
    /// The CVSS 2 score.
    Score,
    /// The CVSS 3 score.
    ScoreV3,
    /// When it was published; where that is not known, as if before everything.
    Published,
    /// How many of the assets have it.
    Impact,
    /// How bad the feed rates it.
    FeedRating,
}

/// Where a page of vulnerabilities ends. It can be kept and sent as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VulnerabilityCursor {
    /// What it is sorted by.
    pub(super) number: i64,
    /// The vulnerability.
    pub(super) id: u64,
    /// Its name, if it is sorted by that and is no CVE's.
    pub(super) name: String,
}

/// A vulnerability, and how many assets have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vulnerability {
    /// Its name.
    pub name: String,
    /// The worst severity that is said of it.
    pub severity: Severity,
    /// The highest CVSS 2 score, in tenths.
    pub score: u8,
    /// The highest CVSS 3 score, in tenths.
    pub score_v3: u8,
    /// When it was first published, in seconds since 1970.
    pub published: Option<i64>,
    /// When it was last changed, in seconds since 1970.
    pub modified: Option<i64>,
    /// The feed's worst rating.
    pub feed_rating: String,
    /// Whether the packages that have it can be mended.
    pub fix: Fix,
    /// How many of the assets have it, in the order of [`Kind::ALL`].
    pub assets: [u64; Kind::ALL.len()],
}

impl Vulnerability {
    /// How many of the assets have it.
    #[must_use]
    pub fn impact(&self) -> u64 {
        self.assets.iter().sum()
    }
}

/// Whether the packages that have a vulnerability can be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fix {
    /// None can.
    None,
    /// Some can, some cannot.
    Some,
    /// All can.
    All,
}

/// A page of vulnerabilities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VulnerabilityPage {
    /// The rows.
    pub rows: Vec<Vulnerability>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<VulnerabilityCursor>,
    /// What there is on all pages together.
    pub counted: Counted,
}

/// Vulnerabilities on all pages together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// All that the filters admit.
    pub total: u64,
    /// Those of them that the quick filter admits too.
    pub matched: u64,
    /// The total by severity.
    pub severities: Severities,
    /// How many of the total some asset of each kind has, in the order of [`Kind::ALL`].
    pub kinds: [u64; Kind::ALL.len()],
}

impl VulnerabilityFilter {
    /// Whether it admits a vulnerability of which this is said.
    pub(super) fn admits(&self, traits: &Traits) -> bool {
        let within = |score: u8, range: Option<(u8, u8)>| {
            range.is_none_or(|(low, high)| (low..=high).contains(&score))
        };
        let fix = match self.fix {
            FixFilter::All => true,
            FixFilter::WithFix => traits.mended,
            FixFilter::WithoutFix => !traits.mended,
            FixFilter::WithFixAll => !traits.unmended,
        };
        let published = i64::from(traits.published);
        let in_time = match self.published {
            None => true,
            Some(_) if published == 0 => false,
            Some(Published::Before(time)) => published < time,
            Some(Published::After(time)) => published >= time,
        };
        fix && in_time
            && (self.severities.is_empty() || self.severities.contains(&traits.severity))
            && within(traits.score, self.score)
            && within(traits.score_v3, self.score_v3)
            && self.modified_after.is_none_or(|time| traits.modified > 0 && i64::from(traits.modified) > time)
    }
}
