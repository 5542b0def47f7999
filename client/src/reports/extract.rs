//! What a store keeps beside a payload: findings and checks in packed form, how many there are of each severity, the greatest scores.
//!
//! This is the one place where a report is looked into on its way to a store.

use super::{Check, Finding, Report, Severity, VulnerabilityId};

/// What is kept of a report beside its payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extract {
    /// The findings, packed; `None` if nothing is known of them.
    pub packed: Option<Vec<u8>>,
    /// The checks, packed; `None` if there are none to know of.
    pub checks: Option<Vec<u8>>,
    /// How many findings there are of each severity.
    pub counts: Counts,
    /// The greatest CVSS 2 score, in tenths.
    pub score: i64,
    /// The greatest CVSS 3 score, in tenths.
    pub score_v3: i64,
    /// The vulnerabilities whose number does not spell their name.
    pub names: Vec<(VulnerabilityId, String)>,
}

/// How many findings there are of each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Critical ones.
    pub critical: u32,
    /// High ones.
    pub high: u32,
    /// Medium ones.
    pub medium: u32,
    /// Low ones.
    pub low: u32,
}

/// Looks into a report. What the writer gives counts; the same report always gives the same.
#[must_use]
pub fn extract(report: &Report) -> Extract {
    let mut extract = Extract { checks: report.checks.as_deref().map(pack_checks), ..Extract::default() };
    let Some(findings) = &report.findings else { return extract };
    extract.packed = Some(pack(findings));
    for finding in findings {
        extract.count(finding);
    }
    extract.names.sort_unstable();
    extract.names.dedup();
    extract
}

impl Extract {
    fn count(&mut self, finding: &Finding) {
        let count = match finding.severity {
            Severity::Critical => &mut self.counts.critical,
            Severity::High => &mut self.counts.high,
            Severity::Medium => &mut self.counts.medium,
            Severity::Low => &mut self.counts.low,
        };
        *count += 1;
        self.score = self.score.max(tenths(finding.score));
        self.score_v3 = self.score_v3.max(tenths(finding.score_v3));
        let id = VulnerabilityId::of(&finding.name);
        if id.name().is_none() {
            self.names.push((id, finding.name.clone()));
        }
    }
}

/// A score from 0 to 10 as an integer; what is no number is 0.
fn tenths(score: f32) -> i64 {
    ((score * 10.0).round() as i64).clamp(0, 100)
}

fn pack(findings: &[Finding]) -> Vec<u8> {
    let rows: Vec<_> = findings
        .iter()
        .map(|it| {
            let what = (&it.name, it.severity, it.score, it.score_v3, it.published, it.modified);
            let place = (&it.package, &it.version, &it.fixed_version, &it.file, it.in_base);
            (what, place, &it.feed_rating, &it.database_key)
        })
        .collect();
    compress(rmp_serde::to_vec(&rows).unwrap_or_default())
}

fn pack_checks(checks: &[Check]) -> Vec<u8> {
    compress(rmp_serde::to_vec(checks).unwrap_or_default())
}

fn compress(bytes: Vec<u8>) -> Vec<u8> {
    zstd::bulk::compress(&bytes, zstd::DEFAULT_COMPRESSION_LEVEL).unwrap_or(bytes)
}

/// The findings that [`extract`] packed; `None` if that is not what it is.
pub(crate) fn unpack(packed: &[u8]) -> Option<Vec<Finding>> {
    type Row = (
        (String, Severity, f32, f32, Option<i64>, Option<i64>),
        (String, String, String, String, bool),
        String,
        String,
    );
    let rows: Vec<Row> = rmp_serde::from_slice(&zstd::decode_all(packed).ok()?).ok()?;
    let finding = |(what, place, feed_rating, database_key): Row| {
        let (name, severity, score, score_v3, published, modified) = what;
        let (package, version, fixed_version, file, in_base) = place;
        Finding {
            name,
            severity,
            score,
            score_v3,
            package,
            version,
            fixed_version,
            published,
            modified,
            feed_rating,
            in_base,
            file,
            database_key,
        }
    };
    Some(rows.into_iter().map(finding).collect())
}

/// The checks that [`extract`] packed; `None` if that is not what it is.
pub(crate) fn unpack_checks(packed: &[u8]) -> Option<Vec<Check>> {
    rmp_serde::from_slice(&zstd::decode_all(packed).ok()?).ok()
}
