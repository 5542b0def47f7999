//! The JSON of reports: which names stand for what.
//!
//! Every name may be missing: what is empty is left out. Names in capitals are a scanner's, the others those of the REST interface; a
//! benchmark has its own. Which of the three it is, is said by what is there.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Bench, ExtractError, Scan};
use crate::reports::packed::{Database, Place, ROWS, Rating, Row, tenths};
use crate::reports::{Asset, Check, Severity};

/// A text of the document, borrowed unless it has escapes. (serde's own [`Cow`] is always a copy, but for fields that spell it out.)
#[derive(Clone, Default)]
struct Text<'a>(Cow<'a, str>);

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
    pub(super) fn read(text: &'a [u8]) -> Result<Option<Self>, ExtractError> {
        let text = std::str::from_utf8(text).map_err(|error| not_utf8(text, error.valid_up_to()))?;
        match serde_json::from_str(text) {
            Ok(document) => Ok(Some(document)),
            Err(error) if error.is_data() => Ok(None),
            Err(error) => Err(ExtractError::NotJson { line: error.line(), column: error.column() }),
        }
    }

    fn of_rest(&self) -> Option<&List<RestVulnerability<'a>>> {
        self.report.as_ref()?.vulnerabilities.as_ref()
    }

    pub(super) fn is_too_long(&self) -> bool {
        self.vulnerabilities.as_ref().is_some_and(|it| it.is_cut)
            || self.of_rest().is_some_and(|it| it.is_cut)
            || self.items.as_ref().is_some_and(|it| it.is_cut)
    }

    /// The benchmark that it is, if it is one.
    pub(super) fn bench(&mut self) -> Option<Bench> {
        let items = self.items.take().filter(|_| self.vulnerabilities.is_none())?;
        let status = match self.status {
            Some(Status::Number(number)) => number,
            Some(Status::Other(_)) | None => 0,
        };
        let run_at = self.run_at.as_deref().and_then(time);
        let checks = items.all.into_iter().map(Item::check).collect();
        Some(Bench { run_at, version: self.version.to_string(), status, checks })
    }

    /// Its findings; `None` if it is no scan. A scan that found nothing has no list, but says when and by what it was made.
    pub(super) fn rows(&self) -> Option<Vec<Row<'_>>> {
        match (&self.vulnerabilities, self.of_rest()) {
            (Some(list), _) => Some(list.all.iter().map(Vulnerability::row).collect()),
            (None, Some(list)) => Some(list.all.iter().map(RestVulnerability::row).collect()),
            (None, None) => (self.scanned_at.is_some() && self.scanner_version.is_some()).then(Vec::new),
        }
    }

    pub(super) fn scan<F>(self, findings: F) -> Scan<F> {
        let image = match (&*self.registry, &*self.repository, &*self.tag) {
            (_, "", _) => String::new(),
            (registry, repository, tag) => {
                let slash = if registry.is_empty() || registry.ends_with('/') { "" } else { "/" };
                let colon = if tag.is_empty() { "" } else { ":" };
                [registry, slash, repository, colon, tag].concat()
            }
        };
        let (os, repository, tag) =
            (self.os.into_owned(), self.repository.into_owned(), self.tag.into_owned());
        Scan {
            scanned_at: self.scanned_at.and_then(|it| time(&it)),
            scanner_version: self.scanner_version.unwrap_or_default().into_owned(),
            asset: Asset { os, repository, tag, image, ..Asset::default() },
            findings,
        }
    }
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
                severity: severity(&self.severity, self.score.max(self.score_v3)),
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
                severity: severity(&self.severity, self.score.max(self.score_v3)),
                score: tenths(self.score),
                score_v3: tenths(self.score_v3),
            },
            published: self.published_timestamp.0,
            modified: self.last_modified_timestamp.0,
        }
    }
}

/// What a scanner's word means. A score of 9 or more is critical whatever the word.
fn severity(text: &str, score: f32) -> Severity {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    match () {
        () if score >= 9.0 || is("critical") => Severity::Critical,
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
                Ok(Seconds(text.parse().ok().filter(|&it| it != 0)))
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

/// A list of [`ROWS`] at most: what is beyond is read over, and that it was there is noted.
struct List<T> {
    all: Vec<T>,
    is_cut: bool,
}

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
                while all.len() < ROWS {
                    match seq.next_element()? {
                        Some(item) => all.push(item),
                        None => return Ok(List { all, is_cut: false }),
                    }
                }
                let mut is_cut = false;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    is_cut = true;
                }
                Ok(List { all, is_cut })
            }
        }
        deserializer.deserialize_seq(Items(std::marker::PhantomData))
    }
}
