//! What stands beside a value: whose it is, how new, and where its bytes are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::chunks::fresh_generation;
use crate::reports::{Asset, Check, Encoding, Finding, Report, ReportKey, Severity, Version};

/// The form that is written. A reader refuses a greater one rather than misread it.
const FORM: u32 = 1;
/// Findings and checks up to this size stand in the entry itself.
const INLINE: usize = 16 << 10;

/// The entry beside a value, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Metadata {
    form: u32,
    scanned_at: String,
    sequence: i64,
    scanner_version: String,
    encoding: Encoding,
    /// The payload's length and SHA-256: a value that does not match was written by somebody who knows nothing of this entry.
    pub(crate) size: usize,
    pub(crate) sha256: String,
    pub(crate) place: Place,
    asset: Asset,
    /// Findings and checks, if the writer gave any.
    pub(crate) extras: Option<Extras>,
    /// Different in each write: Consul gives no new revision to a value that is written as it stands.
    #[serde(default)]
    written: String,
}

/// Where the payload is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    /// The value is the payload.
    Value,
    /// In chunks. The value is the generation's name, and later a copy for older controllers of which `head` is the SHA-256 of the first piece.
    Chunks { generation: String, count: usize, head: String },
}

/// Where findings and checks are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Extras {
    Inline(String),
    Chunks { generation: String, count: usize },
}

/// Findings and checks, as they are packed.
#[derive(Serialize, Deserialize)]
struct Packed {
    findings: Option<Vec<PackedFinding>>,
    checks: Option<Vec<Check>>,
}

impl Metadata {
    pub(crate) fn new(report: &Report, sequence: i64, place: Place, extras: Option<Extras>) -> Self {
        Self {
            form: FORM,
            scanned_at: report.scanned_at.to_string(),
            sequence,
            scanner_version: report.scanner_version.clone(),
            encoding: report.encoding,
            size: report.payload.len(),
            sha256: digest(&report.payload),
            place,
            asset: report.asset.clone(),
            extras,
            written: fresh_generation(sequence),
        }
    }

    /// Reads an entry.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let metadata: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if metadata.form > FORM {
            return Err(format!("its form is {}, and {FORM} is the last one known here", metadata.form));
        }
        metadata.scanned_at.parse::<Timestamp>().map_err(|error| error.to_string())?;
        Ok(metadata)
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and numbers are JSON")
    }

    pub(crate) fn version(&self) -> Version {
        Version {
            scanned_at: self.scanned_at.parse().unwrap_or(Timestamp::UNIX_EPOCH),
            sequence: self.sequence,
        }
    }

    /// The report of this entry.
    pub(crate) fn report(
        &self,
        key: &ReportKey,
        payload: bytes::Bytes,
        extras: Option<&[u8]>,
    ) -> Result<Report, String> {
        if payload.len() != self.size || digest(&payload) != self.sha256 {
            return Err("the payload does not match its checksum".into());
        }
        let packed = extras.map(unpack).transpose()?.unwrap_or(Packed { findings: None, checks: None });
        Ok(Report {
            key: key.clone(),
            scanned_at: self.version().scanned_at,
            scanner_version: self.scanner_version.clone(),
            encoding: self.encoding,
            payload,
            asset: self.asset.clone(),
            findings: packed.findings.map(|all| all.into_iter().map(Into::into).collect()),
            checks: packed.checks,
        })
    }
}

/// The findings and checks of a report as bytes, if it has any.
pub(crate) fn pack(report: &Report) -> Option<Vec<u8>> {
    if report.findings.is_none() && report.checks.is_none() {
        return None;
    }
    let findings = report.findings.as_ref().map(|all| all.iter().cloned().map(Into::into).collect());
    let bytes = rmp_serde::to_vec(&Packed { findings, checks: report.checks.clone() })
        .expect("text and numbers are MessagePack");
    Some(zstd::bulk::compress(&bytes, 3).expect("zstd packs what is in memory"))
}

/// Packed findings that are small enough to stand in the entry.
pub(crate) fn inline(packed: &[u8]) -> Option<Extras> {
    (packed.len() <= INLINE).then(|| Extras::Inline(STANDARD.encode(packed)))
}

/// What [`inline`] encoded.
pub(crate) fn from_inline(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| error.to_string())
}

fn unpack(packed: &[u8]) -> Result<Packed, String> {
    let bytes =
        zstd::decode_all(packed).map_err(|error| format!("its findings cannot be unpacked: {error}"))?;
    rmp_serde::from_slice(&bytes).map_err(|error| format!("its findings cannot be read: {error}"))
}

/// SHA-256 in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A [`Finding`] as an array of its fields.
#[derive(Serialize, Deserialize)]
struct PackedFinding(
    String,
    Severity,
    (f32, f32),
    (String, String, String),
    (Option<i64>, Option<i64>),
    String,
    bool,
    String,
    String,
);

impl From<Finding> for PackedFinding {
    fn from(it: Finding) -> Self {
        Self(
            it.name,
            it.severity,
            (it.score, it.score_v3),
            (it.package, it.version, it.fixed_version),
            (it.published, it.modified),
            it.feed_rating,
            it.in_base,
            it.file,
            it.database_key,
        )
    }
}

impl From<PackedFinding> for Finding {
    fn from(it: PackedFinding) -> Self {
        let (package, version, fixed_version) = it.3;
        Self {
            name: it.0,
            severity: it.1,
            score: it.2.0,
            score_v3: it.2.1,
            package,
            version,
            fixed_version,
            published: it.4.0,
            modified: it.4.1,
            feed_rating: it.5,
            in_base: it.6,
            file: it.7,
            database_key: it.8,
        }
    }
}
