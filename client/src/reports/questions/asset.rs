//! An asset in lists: all that is known of it but its findings.

use jiff::Timestamp;

use crate::reports::index::IndexError;
use crate::reports::index::fields::Fields;
use crate::reports::packed;
use crate::reports::{Asset, Finding, ReportKey, Severity};

/// The columns of an [`AssetSummary`], in order.
pub(super) const COLUMNS: &str = "id, key, scanned_at, scanner_version, name, namespace, service, image, os, node, repository, tag, \
                                  size, critical, high, medium, low, score, score_v3";

/// An asset, and how much was found on it.
#[derive(Clone, Debug, PartialEq)]
pub struct AssetSummary {
    /// The key of its report.
    pub key: ReportKey,
    /// When it was scanned.
    pub scanned_at: Timestamp,
    /// The version of the scanner or of its database.
    pub scanner_version: String,
    /// What it is called and where it runs.
    pub asset: Asset,
    /// The bytes of its report.
    pub size: u64,
    /// How many findings it has.
    pub findings: Severities,
    /// The highest CVSS 2 score of a finding, in tenths.
    pub score: u8,
    /// The highest CVSS 3 score of a finding, in tenths.
    pub score_v3: u8,
}

/// Numbers by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Severities {
    /// Critical ones.
    pub critical: u64,
    /// High ones.
    pub high: u64,
    /// Medium ones.
    pub medium: u64,
    /// Low ones.
    pub low: u64,
}

impl Severities {
    /// All together.
    #[must_use]
    pub fn total(self) -> u64 {
        self.critical + self.high + self.medium + self.low
    }

    /// The number of this severity.
    pub fn of(&mut self, severity: Severity) -> &mut u64 {
        match severity {
            Severity::Critical => &mut self.critical,
            Severity::High => &mut self.high,
            Severity::Medium => &mut self.medium,
            Severity::Low => &mut self.low,
        }
    }

    pub(super) fn read(row: &mut Fields) -> Result<Self, IndexError> {
        let mut next = || row.integer().map(i64::unsigned_abs);
        Ok(Self { critical: next()?, high: next()?, medium: next()?, low: next()? })
    }
}

/// An asset with what was found on it.
#[derive(Clone, Debug, PartialEq)]
pub struct AssetFindings {
    /// The asset.
    pub summary: AssetSummary,
    /// What was found, in order of the vulnerabilities' numbers.
    pub findings: Vec<Finding>,
}

impl AssetSummary {
    /// Reads [`COLUMNS`]; gives the id of the report too.
    pub(super) fn read(row: &mut Fields) -> Result<(i64, Self), IndexError> {
        let id = row.integer()?;
        let summary = Self {
            key: ReportKey::new(row.text()?).map_err(|_| IndexError::Shape("a key is none"))?,
            scanned_at: Timestamp::from_nanosecond(i128::from(row.integer()?))
                .map_err(|_| IndexError::Shape("a time is none"))?,
            scanner_version: row.text()?,
            asset: Asset {
                name: row.text()?,
                namespace: row.text()?,
                service: row.text()?,
                image: row.text()?,
                os: row.text()?,
                node: row.text()?,
                repository: row.text()?,
                tag: row.text()?,
            },
            size: row.integer()?.unsigned_abs(),
            findings: Severities::read(row)?,
            score: tenths(row.integer()?)?,
            score_v3: tenths(row.integer()?)?,
        };
        Ok((id, summary))
    }
}

impl AssetFindings {
    /// Reads [`COLUMNS`] and the findings.
    pub(super) fn read(row: &mut Fields) -> Result<(i64, Self), IndexError> {
        let (id, summary) = AssetSummary::read(row)?;
        let findings = findings(row)?.map_err(|reason| IndexError::Findings { report: id, reason })?;
        Ok((id, Self { summary, findings }))
    }
}

/// Reads the findings; or why they are damaged.
pub(super) fn findings(row: &mut Fields) -> Result<Result<Vec<Finding>, String>, IndexError> {
    let Some(blob) = row.optional_blob()? else { return Ok(Ok(Vec::new())) };
    Ok(packed::decode(&blob).map_err(|error| error.to_string()))
}

fn tenths(number: i64) -> Result<u8, IndexError> {
    u8::try_from(number).map_err(|_| IndexError::Shape("a score is none"))
}
