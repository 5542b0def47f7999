//! What a scan found, as far as questions are asked about it.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// One vulnerable package of an asset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    /// The vulnerability, as `CVE-2021-20530`.
    pub name: String,
    /// How severe it is.
    pub severity: Severity,
    /// The CVSS 2 score, 0 to 10, kept to a tenth.
    pub score: f32,
    /// The CVSS 3 score, 0 to 10, kept to a tenth.
    pub score_v3: f32,
    /// The package that has it.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The version in which it is mended; empty if there is none.
    pub fixed_version: String,
    /// When it was published, in seconds since 1970.
    pub published: Option<i64>,
    /// When it was last changed, in seconds since 1970.
    pub modified: Option<i64>,
    /// How the distribution's feed rates it.
    pub feed_rating: String,
    /// Whether it comes with the base image.
    pub in_base: bool,
    /// The file that it was found in, for packages of applications.
    pub file: String,
    /// The entry of the vulnerability database, as `ubuntu:CVE-2021-20530`.
    pub database_key: String,
}

/// How severe a vulnerability is. Greater is worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Low, negligible or unknown.
    #[default]
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

/// A vulnerability as a number: what the index counts with.
///
/// A canonical CVE name is the number that it spells, `year << 32 | number`, and can be read back from it. Any other name
/// is the top bit and 63 bits of its SHA-256; its text is kept elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VulnerabilityId(u64);

impl VulnerabilityId {
    /// The number of a name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self::canonical(name).unwrap_or_else(|| {
            let digest = Sha256::digest(name.as_bytes());
            let number = digest.iter().take(8).fold(0, |sum, &byte| sum << 8 | u64::from(byte));
            Self(number | 1 << 63)
        })
    }

    /// A number that was taken from [`VulnerabilityId::get`].
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The name, if the number spells it.
    #[must_use]
    pub fn name(self) -> Option<String> {
        let (year, number) = (self.0 >> 32, self.0 & 0xffff_ffff);
        self.is_canonical().then(|| {
            let mut name = String::with_capacity("CVE-2021-1234567".len());
            name.push_str("CVE-");
            push_number(&mut name, year);
            name.push('-');
            push_number(&mut name, number);
            name
        })
    }

    /// Whether the number spells its name.
    #[must_use]
    pub fn is_canonical(self) -> bool {
        self.0 >> 32 < 10_000
    }

    fn canonical(name: &str) -> Option<Self> {
        let (year, number) = name.as_bytes().strip_prefix(b"CVE-")?.split_first_chunk::<4>()?;
        let number = number.strip_prefix(b"-")?;
        if number.len() < 4 || number.len() > 4 && number.starts_with(b"0") {
            return None;
        }
        let number = u32::try_from(decimal(number)?).ok()?;
        Some(Self(decimal(year)? << 32 | u64::from(number)))
    }
}

/// What up to 19 digits say.
fn decimal(digits: &[u8]) -> Option<u64> {
    let add = |sum: u64, &digit: &u8| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'));
    if digits.len() > 19 { None } else { digits.iter().try_fold(0, add) }
}

/// Appends a number in four digits or more.
fn push_number(text: &mut String, number: u64) {
    let mut divisor = 1000;
    while number / divisor >= 10 {
        divisor *= 10;
    }
    while divisor > 0 {
        text.push(char::from(b'0' + (number / divisor % 10) as u8));
        divisor /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cves_are_numbers_and_come_back() {
        for name in ["CVE-2021-20530", "CVE-1999-0001", "CVE-2024-1234567", "CVE-0000-0000"] {
            assert_eq!(VulnerabilityId::of(name).name().as_deref(), Some(name));
        }
    }

    #[test]
    fn other_names_are_numbers_of_their_own() {
        let names = [
            "GHSA-1",
            "GHSA-2",
            "CVE-2021-020530",
            "CVE-2021-99999999999",
            "cve-2021-20530",
            "CVE-21-1",
            "CVE-2021-",
        ];
        let ids: std::collections::BTreeSet<_> = names.iter().map(|name| VulnerabilityId::of(name)).collect();
        assert_eq!(ids.len(), names.len());
        assert!(ids.iter().all(|id| id.name().is_none() && id.get() >> 63 == 1));
    }
}
