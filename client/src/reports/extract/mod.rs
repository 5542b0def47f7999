//! Findings and checks out of a payload, where it is JSON.
//!
//! Read is what a scanner stores (`Vuls`), what the controller's REST interface gives (`report.vulnerabilities`) and benchmarks (`items`), plain or
//! under gzip or zstd. Gob is Go's own and stays closed. A payload that is no report is no error: it has no findings, and is stored as it is.
//!
//! What scanners write is read in one pass by `plain`, in 0.2 ms for 447 KB; all else by serde_json into borrowed texts, which takes
//! half a millisecond (sonic-rs and simd-json took hardly less).
//!
//! A few KB may unpack to anything, and rows take more than the text that they are read from. So both are bounded, and of all that is larger than
//! nearly every report only one is held at a time in a process. What is beyond stays closed: it is stored, and has no findings.

mod document;
mod plain;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::gzip::{self, GzipError, UNPACKED};
use super::packed::{self, Row};
use super::{Asset, Check, Encoding, Finding, Severity, VulnerabilityId};
use document::{Document, Lengths};

/// Bytes kept from one payload to the next.
const KEPT: usize = 4 << 20;
/// Texts up to this size are read beside each other.
const SMALL: usize = 4 << 20;
/// Findings or checks that are read out of one payload: a row takes some hundred bytes while it is packed.
const ROWS: usize = 1 << 16;
/// What zstd may hold of what it has unpacked, as a power of two.
const WINDOW: u32 = 24;
/// Held by whoever reads a text that is not small.
static LARGE: Mutex<()> = Mutex::new(());
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Why a payload could not be looked into, though it says that it can. It can be stored nevertheless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtractError {
    /// The gzip stream around it cannot be unpacked.
    #[error(transparent)]
    Gzip(#[from] GzipError),
    /// The zstd frame around it cannot be unpacked.
    #[error("the zstd frame is damaged or stops before its end")]
    Zstd,
    /// It is more than 24 MiB once unpacked.
    #[error("the payload is more than 24 MiB once unpacked")]
    TooLarge,
    /// It is no JSON.
    #[error("the payload is no JSON from line {line}, column {column} on")]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// There are more findings or checks than are read.
    #[error("the report has more than {} findings or checks", ROWS)]
    TooMany,
}

/// What a payload is.
#[derive(Clone, Debug, PartialEq)]
pub enum Extracted<F = Vec<Finding>> {
    /// A scan for vulnerabilities.
    Scan(Scan<F>),
    /// A benchmark.
    Bench(Bench),
    /// No report that can be read: gob, other JSON, anything.
    Nothing,
}

/// A scan for vulnerabilities.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan<F = Vec<Finding>> {
    /// When it was made.
    pub scanned_at: Option<Timestamp>,
    /// The version of the vulnerability database.
    pub scanner_version: String,
    /// What the report knows of its asset: the operating system, image, repository and tag.
    pub asset: Asset,
    /// What was found.
    pub findings: F,
}

/// A benchmark.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bench {
    /// When it was run.
    pub run_at: Option<Timestamp>,
    /// The version of the benchmark.
    pub version: String,
    /// How it ended, as a number of NeuVector's.
    pub status: i64,
    /// What was checked.
    pub checks: Vec<Check>,
}

/// Findings as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// See [`packed`].
    pub blob: Vec<u8>,
    /// What lists say of them.
    pub summary: Summary,
    /// The vulnerabilities whose number does not spell their name, each once.
    pub names: Vec<(VulnerabilityId, String)>,
}

/// Findings in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many are critical.
    pub critical: u32,
    /// How many are high.
    pub high: u32,
    /// How many are medium.
    pub medium: u32,
    /// How many are low.
    pub low: u32,
    /// The highest CVSS 2 score, in tenths.
    pub score: u8,
    /// The highest CVSS 3 score, in tenths.
    pub score_v3: u8,
}

impl Packed {
    /// Packs findings.
    #[must_use]
    pub fn of(findings: &[Finding]) -> Self {
        Self::of_rows(&findings.iter().map(Row::from).collect::<Vec<_>>())
    }

    fn of_rows(rows: &[Row<'_>]) -> Self {
        let mut summary = Summary::default();
        for row in rows {
            *match row.rating.severity {
                Severity::Critical => &mut summary.critical,
                Severity::High => &mut summary.high,
                Severity::Medium => &mut summary.medium,
                Severity::Low => &mut summary.low,
            } += 1;
            summary.score = summary.score.max(row.rating.score);
            summary.score_v3 = summary.score_v3.max(row.rating.score_v3);
        }
        let others: BTreeSet<_> =
            rows.iter().filter(|row| !row.id.is_canonical()).map(|row| (row.id, row.name)).collect();
        let names = others.into_iter().map(|(id, name)| (id, name.to_owned())).collect();
        Self { blob: packed::encode_rows(rows), summary, names }
    }
}

/// Looks into payloads, one after the other, in one buffer.
#[derive(Debug, Default)]
pub struct Extractor {
    text: Vec<u8>,
}

impl Extractor {
    /// An extractor with an empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks into a payload. If nothing is known of its encoding, its first bytes say what it is.
    ///
    /// # Errors
    /// It is damaged or too large, see [`ExtractError`].
    ///
    /// ```
    /// use larder_client::reports::Encoding;
    /// use larder_client::reports::extract::{Extracted, Extractor};
    /// let payload = br#"{"scanned_at":"2024-06-01T12:34:56Z","Vuls":[{"Name":"CVE-2021-20530","Score":7.5}]}"#;
    /// let Extracted::Scan(scan) = Extractor::new().extract(Encoding::Opaque, payload)? else { panic!() };
    /// assert_eq!(scan.findings[0].name, "CVE-2021-20530");
    /// # Ok::<(), larder_client::reports::extract::ExtractError>(())
    /// ```
    pub fn extract(&mut self, encoding: Encoding, payload: &[u8]) -> Result<Extracted, ExtractError> {
        self.read(encoding, payload, |rows| rows.iter().map(Row::finding).collect())
    }

    /// Looks into a payload and packs its findings, without making strings of them.
    ///
    /// # Errors
    /// It is damaged or too large, see [`ExtractError`].
    pub fn extract_packed(
        &mut self,
        encoding: Encoding,
        payload: &[u8],
    ) -> Result<Extracted<Packed>, ExtractError> {
        self.read(encoding, payload, Packed::of_rows)
    }

    fn read<F>(
        &mut self,
        encoding: Encoding,
        payload: &[u8],
        findings: impl FnOnce(&[Row<'_>]) -> F,
    ) -> Result<Extracted<F>, ExtractError> {
        let encoding = sniffed(encoding, payload);
        let (mut large, mut place) = (None, unpack(encoding, payload, &mut self.text, SMALL));
        if matches!(place, Err(ExtractError::TooLarge | ExtractError::Gzip(GzipError::TooLarge))) {
            // It guards memory, not data: what a panic left behind is gone.
            large = Some(LARGE.lock().unwrap_or_else(PoisonError::into_inner));
            place = unpack(encoding, payload, &mut self.text, UNPACKED);
        }
        let text = match place {
            Ok(Text::Nowhere) => None,
            Ok(Text::Payload) => Some(payload),
            Ok(Text::Buffer) => Some(&self.text[..]),
            Err(error) => {
                self.let_go();
                return Err(error);
            }
        };
        let extracted = text.map_or(Ok(Extracted::Nothing), |text| read_text(text, findings));
        self.let_go();
        drop(large);
        extracted
    }

    /// Keeps no large buffer.
    fn let_go(&mut self) {
        if self.text.capacity() > KEPT {
            self.text = Vec::new();
        }
    }
}

/// Where the text of a payload is.
enum Text {
    /// It has none.
    Nowhere,
    /// It is the payload.
    Payload,
    /// In the buffer that it was unpacked into.
    Buffer,
}

/// Unpacks a payload that has a text, of `limit` bytes at most.
fn unpack(
    encoding: Encoding,
    payload: &[u8],
    text: &mut Vec<u8>,
    limit: usize,
) -> Result<Text, ExtractError> {
    match encoding {
        Encoding::Json if payload.len() > limit => Err(ExtractError::TooLarge),
        Encoding::Json => Ok(Text::Payload),
        Encoding::GzipJson => unpack_gzip(payload, text, limit),
        Encoding::ZstdJson => unpack_zstd(payload, text, limit),
        Encoding::GzipGob | Encoding::Opaque => Ok(Text::Nowhere),
    }
}

/// What a payload is by its first bytes, if nobody says it.
fn sniffed(encoding: Encoding, payload: &[u8]) -> Encoding {
    match encoding {
        Encoding::Opaque if payload.starts_with(GZIP) => gzipped(payload),
        Encoding::Opaque if payload.starts_with(ZSTD) => Encoding::ZstdJson,
        Encoding::Opaque if is_object(payload) => Encoding::Json,
        encoding => encoding,
    }
}

/// Whether this begins as a report in JSON does.
fn is_object(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{")
}

/// Gob is most of what is stored so, and need not be unpacked to be left alone.
fn gzipped(payload: &[u8]) -> Encoding {
    let mut beginning = [0; 64];
    let beginning = gzip::beginning(payload, &mut beginning);
    let may_be_json = beginning.trim_ascii_start().is_empty() || is_object(beginning);
    if may_be_json { Encoding::GzipJson } else { Encoding::GzipGob }
}

fn unpack_gzip(payload: &[u8], text: &mut Vec<u8>, limit: usize) -> Result<Text, ExtractError> {
    gzip::unpack(payload, text, limit)?;
    Ok(Text::Buffer)
}

fn unpack_zstd(payload: &[u8], text: &mut Vec<u8>, limit: usize) -> Result<Text, ExtractError> {
    text.clear();
    let mut decoder = zstd::stream::read::Decoder::with_buffer(payload).map_err(|_| ExtractError::Zstd)?;
    decoder.window_log_max(WINDOW).map_err(|_| ExtractError::Zstd)?;
    let read = decoder.single_frame().take(limit as u64 + 1).read_to_end(text);
    match read {
        Ok(length) if length > limit => Err(ExtractError::TooLarge),
        Ok(_) => Ok(Text::Buffer),
        Err(_) => Err(ExtractError::Zstd),
    }
}

fn read_text<F>(text: &[u8], findings: impl FnOnce(&[Row<'_>]) -> F) -> Result<Extracted<F>, ExtractError> {
    if !is_object(text) {
        return Ok(Extracted::Nothing);
    }
    let text = document::utf8(text)?;
    if may_be_too_long(text) && Lengths::are_too_many(text) {
        return Err(ExtractError::TooMany);
    }
    if let Some((head, rows)) = plain::read(text) {
        return Ok(Extracted::Scan(head.scan(findings(&rows))));
    }
    let Some(mut document) = Document::read(text)? else { return Ok(Extracted::Nothing) };
    if let Some(bench) = document.bench() {
        return Ok(Extracted::Bench(bench));
    }
    let findings = document.rows().map(|rows| findings(&rows));
    Ok(findings.map_or(Extracted::Nothing, |findings| Extracted::Scan(document.head().scan(findings))))
}

/// Whether a text has brackets enough for a list that is too long. One that has is read once without being kept, so that it takes no memory.
fn may_be_too_long(text: &str) -> bool {
    text.len() > 2 * ROWS && memchr::memchr2_iter(b'{', b'[', text.as_bytes()).nth(ROWS).is_some()
}

#[cfg(test)]
mod tests;
