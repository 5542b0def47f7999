//! A finding as it is packed: borrowed, its parts grouped by what they are facts of.

use crate::reports::{Finding, Severity, VulnerabilityId};

/// A finding that borrows its texts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) name: &'a str,
    /// The number of the name.
    pub(crate) id: VulnerabilityId,
    pub(crate) place: Place<'a>,
    pub(crate) rating: Rating<'a>,
    pub(crate) published: Option<i64>,
    pub(crate) modified: Option<i64>,
}

/// Where it was found.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place<'a> {
    pub(crate) package: &'a str,
    pub(crate) version: &'a str,
    pub(crate) fixed_version: &'a str,
    pub(crate) file: &'a str,
    pub(crate) in_base: bool,
}

impl PartialEq for Place<'_> {
    /// Most places are the one before, down to where their texts stand.
    fn eq(&self, other: &Self) -> bool {
        let texts = |it: &Self| [it.package, it.version, it.fixed_version, it.file];
        self.in_base == other.in_base && texts(self).into_iter().zip(texts(other)).all(|(a, b)| is_same(a, b))
    }
}

/// Whether two texts are equal, without a look at them where they stand at the same place or are empty. The C library's `memcmp` takes a tenth of
/// a microsecond for nothing at all if it stands at no address, as `""` does: it reads with a mask, and the processor mends that by microcode.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len() && (one.is_empty() || std::ptr::eq(one, other) || one == other)
}

/// How bad it is, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Rating<'a> {
    pub(crate) database: Database<'a>,
    pub(crate) feed_rating: &'a str,
    pub(crate) severity: Severity,
    pub(crate) score: u8,
    pub(crate) score_v3: u8,
}

/// The entry of the vulnerability database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Database<'a> {
    /// The name of the vulnerability under this prefix, as in `ubuntu:CVE-2021-20530`.
    Prefix(&'a str),
    /// Any other text.
    Text(&'a str),
}

impl<'a> Database<'a> {
    pub(crate) fn of(key: &'a str, name: &str) -> Self {
        match key.strip_suffix(name).and_then(|key| key.strip_suffix(':')) {
            Some(prefix) => Self::Prefix(prefix),
            None => Self::Text(key),
        }
    }

    pub(super) fn key(self, name: &str) -> String {
        match self {
            Self::Prefix(prefix) => [prefix, ":", name].concat(),
            Self::Text(text) => text.to_owned(),
        }
    }
}

/// A score in tenths. There is none above ten.
pub(crate) fn tenths(score: f32) -> u8 {
    ((score * 10.0).round() as u8).min(100)
}

/// A score from its tenths. An earlier release kept what is more than ten.
pub(super) fn score(tenths: u8) -> f32 {
    f32::from(tenths.min(100)) / 10.0
}

impl<'a> From<&'a Finding> for Row<'a> {
    fn from(it: &'a Finding) -> Self {
        let place = Place {
            package: &it.package,
            version: &it.version,
            fixed_version: &it.fixed_version,
            file: &it.file,
            in_base: it.in_base,
        };
        let rating = Rating {
            database: Database::of(&it.database_key, &it.name),
            feed_rating: &it.feed_rating,
            severity: it.severity,
            score: tenths(it.score),
            score_v3: tenths(it.score_v3),
        };
        Self {
            name: &it.name,
            id: VulnerabilityId::of(&it.name),
            place,
            rating,
            published: it.published,
            modified: it.modified,
        }
    }
}

impl Row<'_> {
    /// The finding, with texts of its own.
    pub(crate) fn finding(&self) -> Finding {
        Finding {
            name: self.name.to_owned(),
            severity: self.rating.severity,
            score: score(self.rating.score),
            score_v3: score(self.rating.score_v3),
            package: self.place.package.to_owned(),
            version: self.place.version.to_owned(),
            fixed_version: self.place.fixed_version.to_owned(),
            published: self.published,
            modified: self.modified,
            feed_rating: self.rating.feed_rating.to_owned(),
            in_base: self.place.in_base,
            file: self.place.file.to_owned(),
            database_key: self.rating.database.key(self.name),
        }
    }
}
