//! Findings of one report, packed into one blob that needs nothing else to be read.
//!
//! A report names 120 packages and some 1400 vulnerabilities, and says most of it twelve times over. Packed, every fact stands once:
//! places (package, version, fix, file) and ratings (severity, scores, database) are tables, dates are dictionaries, and rows are sorted by
//! vulnerability, so that names of CVEs become small differences. What is left are columns of small numbers, written in as many bits
//! as they are worth (`ans`, `column`), and texts, which zstd takes (`texts`).
//!
//! Measured on made-up reports of 1371 findings, whose columns are random: 6.5 KB, of which about 4.4 KB is the entropy of those columns and
//! 1.1 KB texts; the payload is 34 KB of gzip. The order of findings is not kept: they come back sorted by vulnerability. Scores are kept to a tenth, from 0 to 25.5. All else comes back as
//! it was. [`marks`] reads what an index needs without making a string for every row.
//!
//! The blob: version (1 byte), CRC-32 of what follows (4), length of the texts and of their zstd frame (4 each; the latter is 0 if they
//! stand as they are), texts, columns.

mod ans;
mod column;
mod mark;
mod read;
mod row;
mod texts;
mod write;

use super::Finding;
pub use mark::{Mark, Marks};
pub(crate) use row::{Database, Place, Rating, Row, tenths};

/// The first byte of a blob.
const VERSION: u8 = 1;
/// Findings in a blob, at most.
pub const ROWS: usize = 1 << 20;
/// Bytes of text in the findings of a blob, at most.
const TEXT: usize = 256 << 20;

/// Why a blob holds no findings that could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackedError {
    /// It was written by a newer Larder.
    #[error("packed findings are of version {0}, and 1 is known")]
    Version(u8),
    /// It is not what was written: too short, or its checksum differs.
    #[error("packed findings are damaged")]
    Damaged,
    /// It says what cannot be, though its checksum is right.
    #[error("packed findings make no sense")]
    Senseless,
    /// It holds more than 1,048,576 findings or 256 MiB of text.
    #[error("packed findings are more than 1,048,576 or hold more than 256 MiB of text")]
    TooLarge,
}

/// Whether findings can be unpacked again once they are packed.
pub(crate) fn fits(findings: &[Finding]) -> bool {
    let text: usize = findings.iter().map(read::text_of).sum();
    findings.len() <= ROWS && text <= TEXT
}

/// Packs findings. More than [`ROWS`] of them can be packed, but not be read.
#[must_use]
pub fn encode(findings: &[Finding]) -> Vec<u8> {
    let rows: Vec<Row<'_>> = findings.iter().map(Row::from).collect();
    write::encode(&rows)
}

/// Packs findings that are borrowed.
pub(crate) fn encode_rows(rows: &[Row<'_>]) -> Vec<u8> {
    write::encode(rows)
}

/// Unpacks findings, sorted by vulnerability.
///
/// # Errors
/// The blob is damaged or too large, see [`PackedError`].
pub fn decode(blob: &[u8]) -> Result<Vec<Finding>, PackedError> {
    read::Table::read(blob)?.findings()
}

/// Unpacks the findings of one vulnerability.
///
/// # Errors
/// The blob is damaged or too large, see [`PackedError`].
pub fn decode_of(blob: &[u8], name: &str) -> Result<Vec<Finding>, PackedError> {
    Ok(read::Table::read(blob)?.findings_of(name))
}

/// Reads what an index needs.
///
/// # Errors
/// The blob is damaged or too large, see [`PackedError`].
pub fn marks(blob: &[u8]) -> Result<Marks, PackedError> {
    Ok(read::Table::read(blob)?.marks())
}

#[cfg(test)]
mod tests;
