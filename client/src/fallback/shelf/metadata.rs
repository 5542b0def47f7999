//! What stands beside a value: whose it is, how new, and where its bytes are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};

use super::chunks::fresh_generation;
use crate::reports::kept::{self, Kept, Lost};
use crate::reports::{Asset, Check, Encoding, Finding, Report, ReportKey, Version, packed};

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

/// What every entry has.
#[derive(Deserialize)]
struct Form {
    form: u32,
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

/// Findings and checks, each packed as a database keeps it too.
#[derive(Serialize, Deserialize)]
struct Packed {
    findings: Option<ByteBuf>,
    checks: Option<ByteBuf>,
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
            written: fresh_generation(),
        }
    }

    /// Reads an entry.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let metadata = serde_json::from_slice::<Self>(json);
        if metadata.as_ref().map_or(true, |it| it.form > FORM)
            && let Some(later) = Self::later_form(json)
        {
            return Err(later);
        }
        let metadata = metadata.map_err(|error| error.to_string())?;
        metadata.scanned_at.parse::<Timestamp>().map_err(|error| error.to_string())?;
        Ok(metadata)
    }

    /// Says so if an entry is of a later form, which need not have the fields of this one.
    pub(crate) fn later_form(json: &[u8]) -> Option<String> {
        let Form { form } = serde_json::from_slice(json).ok()?;
        (form > FORM).then(|| format!("its form is {form}, and {FORM} is the last one known here"))
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and numbers are JSON")
    }

    pub(crate) fn version(&self) -> Version {
        Version::new(self.scanned_at(), self.sequence)
    }

    fn scanned_at(&self) -> Timestamp {
        self.scanned_at.parse().unwrap_or(Timestamp::UNIX_EPOCH)
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
        let (findings, checks) = extras.map(unpack).transpose()?.unwrap_or_default();
        Ok(Report {
            key: key.clone(),
            scanned_at: self.scanned_at(),
            scanner_version: self.scanner_version.clone(),
            encoding: self.encoding,
            payload,
            asset: self.asset.clone(),
            findings,
            checks,
        })
    }
}

/// The findings and checks of a report as bytes, if its writer gave any.
pub(crate) fn pack(report: &Report) -> Result<Option<Vec<u8>>, Lost> {
    if !report.is_given() {
        return Ok(None);
    }
    let Kept { packed, checks, lost, .. } = Kept::given(report);
    if let Some(lost) = lost {
        return Err(lost);
    }
    let packed = Packed { findings: packed.map(ByteBuf::from), checks: checks.map(ByteBuf::from) };
    Ok(Some(rmp_serde::to_vec(&packed).expect("bytes are MessagePack")))
}

/// Packed findings that are small enough to stand in the entry.
pub(crate) fn inline(packed: &[u8]) -> Option<Extras> {
    (packed.len() <= INLINE).then(|| Extras::Inline(STANDARD.encode(packed)))
}

/// What [`inline`] encoded.
pub(crate) fn from_inline(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| error.to_string())
}

/// Findings and checks, as a writer gave them.
type Given = (Option<Vec<Finding>>, Option<Vec<Check>>);

fn unpack(bytes: &[u8]) -> Result<Given, String> {
    let Packed { findings, checks } = rmp_serde::from_slice(bytes)
        .map_err(|error| format!("what stands beside it cannot be read: {error}"))?;
    let findings = findings.map(|it| packed::decode(&it)).transpose().map_err(|error| error.to_string())?;
    let checks = checks.map(|it| kept::unpack_checks(&it).ok_or("its checks cannot be unpacked"));
    Ok((findings, checks.transpose()?))
}

/// SHA-256 in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
