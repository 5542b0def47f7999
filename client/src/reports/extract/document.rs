//! The JSON of reports: which names stand for what.
//!
//! Every name may be missing: what is empty is left out. Names in capitals are a scanner's, the others those of the REST interface; a
//! benchmark has its own. Which of the three it is, is said by what is there.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Bench, ExtractError, ROWS, Scan};
use crate::reports::packed::{Database, Place, Rating, Row, tenths};
use crate::reports::{Asset, Check, Severity, VulnerabilityId};

/// A text of the document, borrowed unless it has escapes. (serde's own [`Cow`] is always a copy, but for fields that spell it out.)
#[derive(Clone, Default)]
pub(super) struct Text<'a>(Cow<'a, str>);

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Text<'_> {
    fn into_owned(self) -> String {
        self.0.into_owned()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;
        impl<'de> Visitor<'de> for Borrowed {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrowed)
    }
}

/// What a scan says beside its findings.
#[derive(Default)]
pub(super) struct Head<'a> {
    pub(super) scanned_at: Option<Text<'a>>,
    pub(super) scanner_version: Option<Text<'a>>,
    pub(super) os: Option<Text<'a>>,
    pub(super) registry: Option<Text<'a>>,
    pub(super) repository: Option<Text<'a>>,
    pub(super) tag: Option<Text<'a>>,
}

/// All that may stand at the top of a report.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Document<'a> {
    #[serde(borrow)]
    scanned_at: Option<Text<'a>>,
    #[serde(borrow, rename = "Version")]
    scanner_version: Option<Text<'a>>,
    #[serde(borrow, rename = "Namespace")]
    os: Text<'a>,
    #[serde(borrow, rename = "Registry")]
    registry: Text<'a>,
    #[serde(borrow, rename = "Repository")]
    repository: Text<'a>,
    #[serde(borrow, rename = "Tag")]
    tag: Text<'a>,
    #[serde(borrow, rename = "Vuls")]
    vulnerabilities: Option<List<Vulnerability<'a>>>,
    #[serde(borrow)]
    report: Option<Rest<'a>>,
    #[serde(borrow)]
    run_at: Option<Text<'a>>,
    #[serde(borrow)]
    version: Text<'a>,
    /// A number in a benchmark. A text in the state of a scan, which is no report.
    status: Option<Status>,
    #[serde(borrow)]
    items: Option<List<Item<'a>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Status {
    Number(i64),
    Other(IgnoredAny),
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Rest<'a> {
    #[serde(borrow)]
    vulnerabilities: Option<List<RestVulnerability<'a>>>,
}

/// As a scanner writes it. Other names for the same would cost a tenth of the time.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Vulnerability<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    score: f32,
    #[serde(borrow)]
    severity: Text<'a>,
    score_v3: f32,
    #[serde(borrow)]
    package_name: Text<'a>,
    #[serde(borrow)]
    package_name_deprecated: Text<'a>,
    #[serde(borrow)]
    package_version: Text<'a>,
    #[serde(borrow)]
    fixed_version: Text<'a>,
    published_date: Seconds,
    last_modified_date: Seconds,
    #[serde(borrow)]
    feed_rating: Text<'a>,
    in_base: bool,
    #[serde(borrow, rename = "DBKey")]
    database_key: Text<'a>,
    #[serde(borrow)]
    file_name: Text<'a>,
}

/// As the REST interface gives it.
#[derive(Deserialize, Default)]
#[serde(default)]
struct RestVulnerability<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    score: f32,
    #[serde(borrow)]
    severity: Text<'a>,
    score_v3: f32,
    #[serde(borrow)]
    package_name: Text<'a>,
    #[serde(borrow)]
    package_version: Text<'a>,
    #[serde(borrow)]
    fixed_version: Text<'a>,
    published_timestamp: Seconds,
    last_modified_timestamp: Seconds,
    #[serde(borrow)]
    feed_rating: Text<'a>,
    in_base_image: bool,
    #[serde(borrow)]
    file_name: Text<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Item<'a> {
    #[serde(borrow)]
    test_number: Text<'a>,
    #[serde(borrow)]
    level: Text<'a>,
    #[serde(borrow)]
    header: Text<'a>,
    message: Option<Vec<String>>,
    #[serde(borrow)]
    remediation: Text<'a>,
    #[serde(borrow)]
    profile: Text<'a>,
    scored: bool,
    automated: bool,
}

impl<'a> Document<'a> {
    /// `None` if it is JSON, but of another shape.
    pub(super) fn read(text: &'a str) -> Result<Option<Self>, ExtractError> {
        match serde_json::from_str(text) {
            Ok(document) => Ok(Some(document)),
            Err(error) if error.is_data() => Ok(None),
            Err(error) => Err(ExtractError::NotJson { line: error.line(), column: error.column() }),
        }
    }

    fn of_rest(&self) -> Option<&List<RestVulnerability<'a>>> {
        self.report.as_ref()?.vulnerabilities.as_ref()
    }

    /// The benchmark that it is, if it is one.
    pub(super) fn bench(&mut self) -> Option<Bench> {
        let items = self.items.take().filter(|_| self.vulnerabilities.is_none())?;
        let status = match self.status {
            Some(Status::Number(number)) => number,
            Some(Status::Other(_)) | None => 0,
        };
        let run_at = self.run_at.as_deref().and_then(time);
        let checks = items.0.into_iter().map(Item::check).collect();
        Some(Bench { run_at, version: self.version.to_string(), status, checks })
    }

    /// Its findings; `None` if it is no scan. A scan that found nothing has no list, but says when and by what it was made.
    pub(super) fn rows(&self) -> Option<Vec<Row<'_>>> {
        match (&self.vulnerabilities, self.of_rest()) {
            (Some(list), _) => Some(list.0.iter().map(Vulnerability::row).collect()),
            (None, Some(list)) => Some(list.0.iter().map(RestVulnerability::row).collect()),
            (None, None) => (self.scanned_at.is_some() && self.scanner_version.is_some()).then(Vec::new),
        }
    }

    pub(super) fn head(self) -> Head<'a> {
        let (scanned_at, scanner_version) = (self.scanned_at, self.scanner_version);
        let [os, registry, repository, tag] = [self.os, self.registry, self.repository, self.tag].map(Some);
        Head { scanned_at, scanner_version, os, registry, repository, tag }
    }
}

impl Head<'_> {
    pub(super) fn scan<F>(self, findings: F) -> Scan<F> {
        let [os, registry, repository, tag] = [self.os, self.registry, self.repository, self.tag]
            .map(|it| it.map(Text::into_owned).unwrap_or_default());
        let image = match (&*registry, &*repository, &*tag) {
            (_, "", _) => String::new(),
            (registry, repository, tag) => {
                let slash = if registry.is_empty() || registry.ends_with('/') { "" } else { "/" };
                let colon = if tag.is_empty() { "" } else { ":" };
                [registry, slash, repository, colon, tag].concat()
            }
        };
        Scan {
            scanned_at: self.scanned_at.and_then(|it| time(&it)),
            scanner_version: self.scanner_version.map(Text::into_owned).unwrap_or_default(),
            asset: Asset { os, repository, tag, image, ..Asset::default() },
            findings,
        }
    }
}

/// The text that these bytes are.
pub(super) fn utf8(text: &[u8]) -> Result<&str, ExtractError> {
    std::str::from_utf8(text).map_err(|error| not_utf8(text, error.valid_up_to()))
}

fn not_utf8(text: &[u8], valid: usize) -> ExtractError {
    let text = &text[..valid];
    let line = 1 + text.iter().filter(|&&byte| byte == b'\n').count();
    let column = 1 + text.iter().rev().take_while(|&&byte| byte != b'\n').count();
    ExtractError::NotJson { line, column }
}

/// A time, unless it is Go's zero or none at all.
fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|_| !text.starts_with("0001-01-01T00:00:00"))
}

impl Vulnerability<'_> {
    fn row(&self) -> Row<'_> {
        let package =
            if self.package_name.is_empty() { &self.package_name_deprecated } else { &self.package_name };
        Row {
            name: &self.name,
            id: VulnerabilityId::of(&self.name),
            place: Place {
                package,
                version: &self.package_version,
                fixed_version: &self.fixed_version,
                file: &self.file_name,
                in_base: self.in_base,
            },
            rating: Rating {
                database: Database::of(&self.database_key, &self.name),
                feed_rating: &self.feed_rating,
                severity: severity(&self.severity, tenths(self.score.max(self.score_v3))),
                score: tenths(self.score),
                score_v3: tenths(self.score_v3),
            },
            published: self.published_date.0,
            modified: self.last_modified_date.0,
        }
    }
}

impl RestVulnerability<'_> {
    fn row(&self) -> Row<'_> {
        Row {
            name: &self.name,
            id: VulnerabilityId::of(&self.name),
            place: Place {
                package: &self.package_name,
                version: &self.package_version,
                fixed_version: &self.fixed_version,
                file: &self.file_name,
                in_base: self.in_base_image,
            },
            rating: Rating {
                database: Database::Text(""),
                feed_rating: &self.feed_rating,
                severity: severity(&self.severity, tenths(self.score.max(self.score_v3))),
                score: tenths(self.score),
                score_v3: tenths(self.score_v3),
            },
            published: self.published_timestamp.0,
            modified: self.last_modified_timestamp.0,
        }
    }
}

/// What a scanner's word means. A score of 9 or more, as it is kept, is critical whatever the word.
pub(super) fn severity(text: &str, tenths: u8) -> Severity {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    match () {
        () if tenths >= 90 || is("critical") => Severity::Critical,
        () if is("high") => Severity::High,
        () if is("medium") => Severity::Medium,
        () => Severity::Low,
    }
}

impl Item<'_> {
    fn check(self) -> Check {
        Check {
            test_number: self.test_number.into_owned(),
            level: self.level.into_owned(),
            header: self.header.into_owned(),
            message: self.message.unwrap_or_default(),
            remediation: self.remediation.into_owned(),
            profile: self.profile.into_owned(),
            scored: self.scored,
            automated: self.automated,
        }
    }
}

/// Seconds since 1970 in digits.
pub(super) fn seconds(digits: &str) -> Option<i64> {
    digits.parse().ok().filter(|&it| it != 0)
}

/// Seconds since 1970, as a number or in digits. 0 and anything else is none.
#[derive(Clone, Copy, Default)]
struct Seconds(Option<i64>);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Seconds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since 1970")
            }

            fn visit_str<E>(self, text: &str) -> Result<Seconds, E> {
                Ok(Seconds(seconds(text)))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Seconds, E> {
                Ok(Seconds(Some(number).filter(|&it| it != 0)))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Seconds, E> {
                Ok(Seconds(i64::try_from(number).ok().filter(|&it| it != 0)))
            }
        }
        deserializer.deserialize_any(Digits)
    }
}

/// A list of [`ROWS`] at most: see [`Lengths`].
struct List<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = seq.next_element()? {
                    all.push(item);
                }
                Ok(List(all))
            }
        }
        deserializer.deserialize_seq(Items(std::marker::PhantomData))
    }
}

/// How long the lists of a report are, found out without keeping anything of them.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Lengths {
    #[serde(rename = "Vuls")]
    vulnerabilities: Option<Length>,
    report: Option<RestLengths>,
    items: Option<Length>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RestLengths {
    vulnerabilities: Option<Length>,
}

struct Length(usize);

impl Lengths {
    /// Whether a list is longer than [`ROWS`]. What is no report has none.
    pub(super) fn are_too_many(text: &str) -> bool {
        let lengths: Self = serde_json::from_str(text).unwrap_or_default();
        let of_rest = lengths.report.and_then(|it| it.vulnerabilities);
        [lengths.vulnerabilities, of_rest, lengths.items].iter().flatten().any(|it| it.0 > ROWS)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Length;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Length, A::Error> {
                let mut length = 0;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    length += 1;
                }
                Ok(Length(length))
            }
        }
        deserializer.deserialize_seq(Items)
    }
}
