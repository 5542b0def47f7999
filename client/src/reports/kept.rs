//! What a store keeps beside a payload: findings and checks in packed form, how many there are of each severity, the greatest scores, and what
//! the asset and the scanner are called.
//!
//! This is the one place where a report is looked into on its way to a store. What its writer gives counts; what he does not give is read
//! from the payload, where that is JSON. A payload that cannot be read is kept as it is, without findings.

use super::extract::{ExtractError, Extracted, Extractor, Packed, Summary};
use super::{Asset, Check, Report, VulnerabilityId, packed};

/// What is kept of a report beside its payload. The same report always gives the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// The findings, packed; `None` if nothing is known of them.
    pub packed: Option<Vec<u8>>,
    /// The checks, packed; `None` if nothing is known of them.
    pub checks: Option<Vec<u8>>,
    /// What the asset is called and where it runs.
    pub asset: Asset,
    /// The version of the scanner or of its database.
    pub scanner_version: String,
    /// How many findings there are, and how bad they are.
    pub summary: Summary,
    /// The vulnerabilities whose number does not spell their name.
    pub names: Vec<(VulnerabilityId, String)>,
    /// Why the payload could not be looked into, though it says that it can.
    pub unread: Option<ExtractError>,
    /// What its writer gives and nobody could read again: such a report is not to be stored.
    pub lost: Option<Lost>,
}

/// What a writer gives is more than can be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Findings.
    #[error("it has more than {} findings, or more than 256 MiB of text in them", packed::ROWS)]
    Findings,
    /// Checks.
    #[error("its checks have more than {} MiB", CHECKS >> 20)]
    Checks,
}

/// Bytes of packed findings, and of packed checks, at most.
pub(super) const PACKED: usize = 4 << 20;
/// Bytes of a text that says something of the asset or the scanner, at most.
pub(super) const TEXT: usize = 4 << 10;

/// Bytes of checks, at most, as they are before they are compressed.
const CHECKS: usize = 64 << 20;

impl Kept {
    /// Looks into a report.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        Self::with(report, &mut Extractor::new())
    }

    /// Looks into one of many reports, with what is kept from one to the next.
    #[must_use]
    pub fn with(report: &Report, extractor: &mut Extractor) -> Self {
        let mut kept = Self::given(report);
        if report.findings.is_none() && report.checks.is_none() {
            kept.read(report, extractor);
        }
        kept
    }

    /// What the writer gives, and nothing else: the payload stays closed.
    #[must_use]
    pub fn given(report: &Report) -> Self {
        let (asset, scanner_version) = (report.asset.clone(), report.scanner_version.clone());
        let mut kept = Self { asset, scanner_version, ..Self::default() };
        if let Some(checks) = &report.checks {
            kept.checks = pack_checks(checks);
            kept.lost = kept.checks.is_none().then_some(Lost::Checks);
        }
        match &report.findings {
            Some(findings) if packed::fits(findings) => kept.take(Packed::of(findings)),
            Some(_) => kept.lost = Some(Lost::Findings),
            None => {}
        }
        kept
    }

    fn read(&mut self, report: &Report, extractor: &mut Extractor) {
        match extractor.extract_packed(report.encoding, &report.payload) {
            Ok(Extracted::Scan(scan)) => {
                self.fill(scan.asset, scan.scanner_version);
                // Nobody gave them, so the payload is kept without them.
                if scan.findings.blob.len() > PACKED {
                    self.unread = Some(ExtractError::TooMany);
                } else {
                    self.take(scan.findings);
                }
            }
            Ok(Extracted::Bench(bench)) => {
                self.fill(Asset::default(), bench.version);
                match pack_checks(&bench.checks).filter(|it| it.len() <= PACKED) {
                    Some(checks) => self.checks = Some(checks),
                    None => self.unread = Some(ExtractError::TooMany),
                }
            }
            Ok(Extracted::Nothing) => {}
            Err(error) => self.unread = Some(error),
        }
    }

    /// Takes what the payload says where the writer says nothing.
    fn fill(&mut self, mut asset: Asset, scanner_version: String) {
        let Asset { name, namespace, service, image, os, node, repository, tag } = &mut asset;
        // A writer could not give more either.
        for text in [name, namespace, service, image, os, node, repository, tag] {
            if text.len() > TEXT {
                text.clear();
            }
        }
        self.asset = std::mem::take(&mut self.asset).or(asset);
        if self.scanner_version.is_empty() && scanner_version.len() <= TEXT {
            self.scanner_version = scanner_version;
        }
    }

    fn take(&mut self, findings: Packed) {
        let Packed { blob, summary, names } = findings;
        // What is more than can be read does not come here: `fits`, and the limits of the extractor.
        debug_assert_eq!(packed::marks(&blob).map(|it| it.names).as_ref(), Ok(&names));
        (self.packed, self.summary, self.names) = (Some(blob), summary, names);
    }
}

/// Whether `theirs` is what `report` says of its asset and scanner, filled or not with what its payload says of them.
pub(super) fn describes(report: &Report, theirs: &Report) -> bool {
    report.asset.clone().or(theirs.asset.clone()) == theirs.asset
        && ["", theirs.scanner_version.as_str()].contains(&report.scanner_version.as_str())
}

/// Packs checks: MessagePack under zstd. `None` if they are more than can be unpacked.
fn pack_checks(checks: &[Check]) -> Option<Vec<u8>> {
    let bytes = rmp_serde::to_vec(checks).ok().filter(|it| it.len() <= CHECKS)?;
    zstd::bulk::compress(&bytes, zstd::DEFAULT_COMPRESSION_LEVEL).ok()
}

/// Unpacks checks; `None` if the bytes hold none.
#[must_use]
pub fn unpack_checks(bytes: &[u8]) -> Option<Vec<Check>> {
    let mut unpacked = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(bytes).ok()?;
    let mut decoder = std::io::Read::take(decoder, CHECKS as u64);
    std::io::Read::read_to_end(&mut decoder, &mut unpacked).ok()?;
    rmp_serde::from_slice(&unpacked).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::Finding;
    use crate::reports::generate::Generator;

    #[test]
    fn findings_are_read_from_a_payload_and_what_is_given_counts() {
        let read = Kept::of(&Generator::new(1).report(1, 142));
        assert_eq!(read.unread, None);
        let Summary { critical, high, medium, low, .. } = read.summary;
        assert_eq!(critical + high + medium + low, 142);
        let finding = Finding { name: "GHSA-x".to_owned(), ..Finding::default() };
        let given = Kept::of(&Report { findings: Some(vec![finding]), ..Generator::new(1).report(1, 142) });
        assert_eq!((given.summary.low, given.names.len()), (1, 1));
        let none = Kept::of(&Report { findings: Some(Vec::new()), ..Generator::new(1).report(1, 142) });
        assert_eq!((none.packed.is_some(), none.summary), (true, Summary::default()));
    }

    #[test]
    fn what_a_payload_says_of_its_asset_fills_what_the_writer_leaves_open() {
        let scan = br#"{"Version":"3.422","Namespace":"ubuntu:14.04","Repository":"team-b/metrics","Tag":"1.5","Vuls":[]}"#;
        let asset = Asset { os: "ubuntu:22.04".to_owned(), ..Asset::default() };
        let report = Report {
            payload: scan.as_slice().into(),
            asset,
            scanner_version: String::new(),
            ..Generator::new(1).report(1, 1)
        };
        let report = Report { encoding: crate::reports::Encoding::Json, ..report };
        let kept = Kept::of(&report);
        assert_eq!((kept.asset.os.as_str(), kept.scanner_version.as_str()), ("ubuntu:22.04", "3.422"));
        assert_eq!((kept.asset.repository.as_str(), kept.asset.tag.as_str()), ("team-b/metrics", "1.5"));
        let filled = Report { asset: kept.asset, scanner_version: kept.scanner_version, ..report.clone() };
        assert!(describes(&report, &filled) && describes(&report, &report) && !describes(&filled, &report));
        assert_eq!(Kept::given(&report).asset, report.asset);
    }

    #[test]
    fn checks_come_back_and_rubbish_does_not() {
        let check =
            Check { test_number: "1.2.3".to_owned(), message: vec!["a".to_owned()], ..Check::default() };
        let checks = vec![check; 40];
        let bytes = pack_checks(&checks).expect("they are few");
        assert_eq!(unpack_checks(&bytes), Some(checks));
        assert_eq!(unpack_checks(&bytes[..bytes.len() - 1]), None);
        assert_eq!(unpack_checks(b"rubbish"), None);
    }

    #[test]
    fn a_broken_payload_is_kept_without_findings() {
        let whole = Generator::new(1).report(1, 142);
        let broken = Report { payload: whole.payload.slice(..whole.payload.len() / 2), ..whole };
        let kept = Kept::of(&broken);
        assert!(matches!(kept.unread, Some(ExtractError::Gzip(_))), "{:?}", kept.unread);
        assert_eq!(kept.packed, None);
    }
}
