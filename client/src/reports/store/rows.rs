//! Between a report and its row.

use bytes::Bytes;
use larder_wire::Value;

use super::{ReportError, key_of, nanoseconds, time, unreadable};
use crate::reports::extract::Summary;
use crate::reports::kept::Kept;
use crate::reports::{Asset, Encoding, Report, Version};

/// A report as it stands in a database.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The number of its row, by which the index knows it. A report that is replaced gets another.
    pub id: i64,
    /// Its version.
    pub version: Version,
    /// The report. Its findings and checks are in packed form, beside it.
    pub report: Report,
    /// Whether its writer gave findings or checks. Otherwise they were read from the payload.
    pub given: bool,
    /// The findings, packed; `None` if there are none or they were not asked for.
    pub packed: Option<Bytes>,
    /// The checks, packed; `None` if there are none or they were not asked for.
    pub checks: Option<Bytes>,
}

/// The columns of a whole report, as [`read_stored`] takes them.
pub(super) const WHOLE: &str = "id, key, scanned_at, sequence, scanner_version, encoding, name, namespace, service, image, os, node, \
                                repository, tag, size, upload, given, checks, findings, payload";
/// The same with no more findings and checks than the writer gave.
pub(super) const AS_GIVEN: &str = "id, key, scanned_at, sequence, scanner_version, encoding, name, namespace, service, image, os, node, \
                                   repository, tag, size, upload, given, CASE given WHEN 1 THEN checks END, \
                                   CASE given WHEN 1 THEN findings END, payload";
/// The same without findings and checks.
pub(super) const WITHOUT_FINDINGS: &str = "id, key, scanned_at, sequence, scanner_version, encoding, name, namespace, service, image, os, \
                                           node, repository, tag, size, upload, given, NULL, NULL, payload";

/// A row of [`WHOLE`]; if the payload is not in it, the upload that has it, and its size.
pub(super) fn read_stored(row: Vec<Value>) -> Result<(Stored, Option<Upload>), ReportError> {
    let mut row = Row(row.into_iter());
    let id = row.integer()?;
    let (key, version) = (key_of(row.text()?)?, row.version()?);
    let (scanner_version, encoding, asset) = (row.text()?, encoding(&row.text()?), row.asset()?);
    let (size, upload, given) = (row.length()?, row.optional_integer()?, row.integer()? != 0);
    let (checks, packed, payload) = (row.blob()?, row.blob()?, row.blob()?.unwrap_or_default());
    if upload.is_none() && payload.len() != size {
        return Err(unreadable(key.as_str(), "the payload is not as long as it is said to be"));
    }
    let scanned_at = version.scanned_at;
    let report =
        Report { key, scanned_at, scanner_version, encoding, payload, asset, findings: None, checks: None };
    Ok((Stored { id, version, report, given, packed, checks }, upload.map(|number| Upload { number, size })))
}

/// A payload in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Upload {
    pub(super) number: i64,
    pub(super) size: usize,
}

/// A report's columns but for the key, the version and the upload, in the order of the table.
pub(super) fn columns(report: &Report, kept: &Kept, upload: Option<Upload>) -> Vec<Value> {
    let asset = &kept.asset;
    let integer = |number: usize| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    let blob = |bytes: &Option<Vec<u8>>| bytes.clone().map_or(Value::Null, Value::Blob);
    let payload = if upload.is_some() { Vec::new() } else { report.payload.to_vec() };
    let Summary { critical, high, medium, low, score, score_v3 } = kept.summary;
    let mut values: Vec<Value> = vec![
        report.key.class().into(),
        kept.scanner_version.as_str().into(),
        encoding_name(report.encoding).into(),
    ];
    values.extend(texts(asset).map(|(_, text)| Value::from(text)));
    values.push(integer(report.payload.len()));
    values.extend([critical, high, medium, low].map(Value::from));
    values.extend([score, score_v3].map(|it| Value::Integer(it.into())));
    values.push(upload.map(|it| it.number).into());
    values.push(Value::Integer(report.is_given().into()));
    values.extend([blob(&kept.checks), blob(&kept.packed), Value::Blob(payload)]);
    values
}

/// The names of [`columns`].
pub(super) const COLUMNS: &str = "class, scanner_version, encoding, name, namespace, service, image, os, node, repository, tag, size, \
                                  critical, high, medium, low, score, score_v3, upload, given, checks, findings, payload";

/// The texts of an asset with their columns, in the order of the table.
pub(super) fn texts(asset: &Asset) -> [(&'static str, &str); 8] {
    [
        ("name", &asset.name),
        ("namespace", &asset.namespace),
        ("service", &asset.service),
        ("image", &asset.image),
        ("os", &asset.os),
        ("node", &asset.node),
        ("repository", &asset.repository),
        ("tag", &asset.tag),
    ]
}

/// A version as it is bound.
pub(super) fn bound(version: Version) -> [Value; 2] {
    [nanoseconds(version.scanned_at).into(), version.sequence.into()]
}

const ENCODINGS: [(Encoding, &str); 5] = [
    (Encoding::Opaque, "opaque"),
    (Encoding::Json, "json"),
    (Encoding::GzipJson, "gzip-json"),
    (Encoding::ZstdJson, "zstd-json"),
    (Encoding::GzipGob, "gzip-gob"),
];

fn encoding_name(encoding: Encoding) -> &'static str {
    ENCODINGS.iter().find(|it| it.0 == encoding).map_or("opaque", |it| it.1)
}

/// What a later release writes and this one does not know is opaque.
fn encoding(name: &str) -> Encoding {
    ENCODINGS.iter().find(|it| it.1 == name).map_or(Encoding::Opaque, |it| it.0)
}

/// The values of a row, one after the other.
pub(super) struct Row(pub(super) std::vec::IntoIter<Value>);

impl Row {
    pub(super) fn integer(&mut self) -> Result<i64, ReportError> {
        match self.0.next() {
            Some(Value::Integer(number)) => Ok(number),
            other => Err(unexpected(other.as_ref(), "an integer")),
        }
    }

    pub(super) fn optional_integer(&mut self) -> Result<Option<i64>, ReportError> {
        match self.0.next() {
            Some(Value::Integer(number)) => Ok(Some(number)),
            Some(Value::Null) => Ok(None),
            other => Err(unexpected(other.as_ref(), "an integer or nothing")),
        }
    }

    pub(super) fn length(&mut self) -> Result<usize, ReportError> {
        usize::try_from(self.integer()?).map_err(|_| unreadable("", "a length is negative"))
    }

    /// A count or a score.
    fn small<N: TryFrom<i64>>(&mut self) -> Result<N, ReportError> {
        N::try_from(self.integer()?).map_err(|_| unreadable("", "a count is out of range"))
    }

    pub(super) fn text(&mut self) -> Result<String, ReportError> {
        match self.0.next() {
            Some(Value::Text(text)) => Ok(text),
            other => Err(unexpected(other.as_ref(), "text")),
        }
    }

    pub(super) fn blob(&mut self) -> Result<Option<Bytes>, ReportError> {
        match self.0.next() {
            Some(Value::Blob(bytes)) => Ok(Some(bytes.into())),
            Some(Value::Null) => Ok(None),
            other => Err(unexpected(other.as_ref(), "bytes")),
        }
    }

    pub(super) fn version(&mut self) -> Result<Version, ReportError> {
        Ok(Version { scanned_at: time(self.integer()?), sequence: self.integer()? })
    }

    pub(super) fn encoding(&mut self) -> Result<Encoding, ReportError> {
        Ok(encoding(&self.text()?))
    }

    pub(super) fn asset(&mut self) -> Result<Asset, ReportError> {
        Ok(Asset {
            name: self.text()?,
            namespace: self.text()?,
            service: self.text()?,
            image: self.text()?,
            os: self.text()?,
            node: self.text()?,
            repository: self.text()?,
            tag: self.text()?,
        })
    }

    pub(super) fn summary(&mut self) -> Result<Summary, ReportError> {
        Ok(Summary {
            critical: self.small()?,
            high: self.small()?,
            medium: self.small()?,
            low: self.small()?,
            score: self.small()?,
            score_v3: self.small()?,
        })
    }
}

fn unexpected(found: Option<&Value>, expected: &str) -> ReportError {
    let found = match found {
        None => "the end of the row",
        Some(Value::Null) => "NULL",
        Some(Value::Integer(_)) => "an integer",
        Some(Value::Real(_)) => "a float",
        Some(Value::Text(_)) => "text",
        Some(Value::Blob(_)) => "bytes",
    };
    unreadable("", &format!("{expected} was expected where {found} stands"))
}
