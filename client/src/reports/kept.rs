//! What a store keeps beside a payload: findings and checks in packed form, how many there are of each severity, the greatest scores.
//!
//! This is the one place where a report is looked into on its way to a store. What its writer gives counts; what he does not give is read
//! from the payload, where that is JSON. A payload that cannot be read is kept as it is, without findings.

use super::extract::{ExtractError, Extracted, Extractor, Packed, Summary};
use super::{Check, Report, VulnerabilityId, packed};

/// What is kept of a report beside its payload. The same report always gives the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// The findings, packed; `None` if nothing is known of them.
    pub packed: Option<Vec<u8>>,
    /// The checks, packed; `None` if nothing is known of them.
    pub checks: Option<Vec<u8>>,
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
        let mut kept = Self::default();
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
            // Nobody gave them, so the payload is kept without them.
            Ok(Extracted::Scan(scan)) if scan.findings.blob.len() > PACKED => {
                self.unread = Some(ExtractError::TooMany);
            }
            Ok(Extracted::Scan(scan)) => self.take(scan.findings),
            Ok(Extracted::Bench(bench)) => match pack_checks(&bench.checks).filter(|it| it.len() <= PACKED) {
                Some(checks) => self.checks = Some(checks),
                None => self.unread = Some(ExtractError::TooMany),
            },
            Ok(Extracted::Nothing) => {}
            Err(error) => self.unread = Some(error),
        }
    }

    fn take(&mut self, findings: Packed) {
        let Packed { blob, summary, names } = findings;
        // What is more than can be read does not come here: `fits`, and the limits of the extractor.
        debug_assert_eq!(packed::marks(&blob).map(|it| it.names).as_ref(), Ok(&names));
        (self.packed, self.summary, self.names) = (Some(blob), summary, names);
    }
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
