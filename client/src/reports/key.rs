//! Names of reports.

use std::fmt;
use std::str::FromStr;

/// Bytes that a key may have, at most.
const LIMIT: usize = 1024;

/// The name of a report: `class/id…`, as `workload/<id>`, `image/<registry>/<id>` or `bench/<id>/<type>`.
///
/// The id is other people's text: colons, slashes, any Unicode but NUL. It is never made into SQL, a path or a URL
/// without being bound or escaped.
///
/// ```
/// use larder_client::reports::ReportKey;
/// let key: ReportKey = "image/quay.io/team/4f5a".parse()?;
/// assert_eq!((key.class(), key.id()), ("image", "quay.io/team/4f5a"));
/// # Ok::<(), larder_client::reports::KeyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReportKey(String);

/// Why a text names no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no class, no slash, or no id.
    #[error("{0:?} is no key of a report: it needs a class and an id, as in workload/4f5a")]
    Incomplete(String),
    /// The key is longer than 1024 bytes.
    #[error("the key of a report has {0} bytes, and 1024 at most are allowed")]
    TooLong(usize),
    /// The key contains NUL.
    #[error("{0:?} contains NUL, which no key of a report may")]
    Nul(String),
}

impl ReportKey {
    /// Reads a key.
    ///
    /// # Errors
    /// The text names no report, see [`KeyError`].
    pub fn new(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = text.into();
        if text.len() > LIMIT {
            return Err(KeyError::TooLong(text.len()));
        }
        if text.contains('\0') {
            return Err(KeyError::Nul(text));
        }
        match text.split_once('/') {
            Some((class, id)) if !class.is_empty() && !id.is_empty() => Ok(Self(text)),
            _ => Err(KeyError::Incomplete(text)),
        }
    }

    /// What stands before the first slash.
    #[must_use]
    pub fn class(&self) -> &str {
        self.0.split_once('/').map_or("", |(class, _)| class)
    }

    /// What stands behind the first slash.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, id)| id)
    }

    /// The whole key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ReportKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReportKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hold_the_text_of_other_people() {
        for text in [
            "host/k8s-worker2:564d66ca",
            "image/r/ä/../b",
            "platform/platform",
            "workload/'; DROP TABLE report",
        ] {
            assert_eq!(ReportKey::new(text).map(|it| it.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_names_no_report_is_refused() {
        for text in ["", "workload", "workload/", "/x"] {
            assert_eq!(ReportKey::new(text), Err(KeyError::Incomplete(text.to_owned())));
        }
        assert_eq!(ReportKey::new("a/\0"), Err(KeyError::Nul("a/\0".to_owned())));
        assert_eq!(ReportKey::new(format!("a/{}", "b".repeat(1023))), Err(KeyError::TooLong(1025)));
        assert!(ReportKey::new(format!("a/{}", "b".repeat(1022))).is_ok());
    }
}
