//! What an index keeps of a finding: numbers.

use crate::reports::{Severity, VulnerabilityId};

/// A finding without its texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The vulnerability.
    pub vulnerability: VulnerabilityId,
    /// How severe it is.
    pub severity: Severity,
    /// The CVSS 2 score in tenths.
    pub score: u8,
    /// The CVSS 3 score in tenths.
    pub score_v3: u8,
    /// Whether a version is known in which it is mended.
    pub has_fix: bool,
    /// When it was published, in seconds since 1970; 0 if that is unknown. Dates outside of 1970 to 2106 are moved to its ends.
    pub published: u32,
    /// When it was last changed, likewise.
    pub modified: u32,
    /// The number of the feed's rating in [`Marks::feed_ratings`].
    pub feed_rating: u32,
    /// Different numbers are different places within the report: package, version, fixed version, file.
    pub place: u32,
}

/// The marks of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// In order of the vulnerability's number; one vulnerability may stand here several times.
    pub marks: Vec<Mark>,
    /// The feed's ratings, in order.
    pub feed_ratings: Vec<String>,
    /// The names of vulnerabilities whose numbers do not spell them.
    pub names: Vec<(VulnerabilityId, String)>,
}
