//! Versions of controllers as they call themselves: `v5.4.1`, `v5.4.1-s1`, `interim/master.2310`.

use std::str::FromStr;

/// A version that was understood.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ControllerVersion {
    /// A release: major, minor, patch. What follows a dash is a rebuild of it and does not count.
    Release(u32, u32, u32),
    /// A build between releases, by the name of its branch.
    Interim(String),
}

/// A text is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version of a controller")]
pub struct VersionError(String);

/// Which versions know the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supported {
    /// The first release that does.
    pub since: (u32, u32, u32),
    /// Whether builds between releases do.
    pub interim: bool,
}

impl Supported {
    /// Whether a version does. What is not understood does not.
    #[must_use]
    pub fn includes(&self, version: &str) -> bool {
        match version.parse() {
            Ok(ControllerVersion::Release(major, minor, patch)) => (major, minor, patch) >= self.since,
            Ok(ControllerVersion::Interim(_)) => self.interim,
            Err(VersionError(_)) => false,
        }
    }
}

impl FromStr for ControllerVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let read = || match text.strip_prefix("interim/") {
            Some(name) => {
                let (branch, build) = name.rsplit_once('.')?;
                (!branch.is_empty() && !build.is_empty()).then(|| Self::Interim(branch.to_owned()))
            }
            None => release(text),
        };
        read().ok_or_else(|| VersionError(text.to_owned()))
    }
}

fn release(text: &str) -> Option<ControllerVersion> {
    let numbers = text.strip_prefix('v').unwrap_or(text);
    let numbers = match numbers.split_once('-') {
        Some((_, "")) => return None,
        Some((numbers, _)) => numbers,
        None => numbers,
    };
    let mut parts = numbers.split('.').map(|part| part.parse().ok());
    let version =
        ControllerVersion::Release(parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    parts.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_controllers_say_them() {
        let reads = |text: &str, version| assert_eq!(text.parse(), Ok(version), "{text}");
        reads("v5.4.1", ControllerVersion::Release(5, 4, 1));
        reads("v5.4.1-s1", ControllerVersion::Release(5, 4, 1));
        reads("5.4", ControllerVersion::Release(5, 4, 0));
        reads("interim/master.2310", ControllerVersion::Interim("master".to_owned()));
        reads("interim/release/v5.4.77", ControllerVersion::Interim("release/v5.4".to_owned()));
        for text in ["", "v", "v5", "v5.x.1", "v5.4.1-", "v5.4.1.2", "interim/", "interim/master", "latest"] {
            assert!(text.parse::<ControllerVersion>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_not_supported() {
        let supported = Supported { since: (5, 10, 0), interim: false };
        for (version, expected) in [
            ("v5.10.0", true),
            ("v5.10.0-s1", true),
            ("v5.9.9", false),
            ("v6.0.0", true),
            ("interim/master.1", false),
            ("latest", false),
        ] {
            assert_eq!(supported.includes(version), expected, "{version}");
        }
        assert!(Supported { interim: true, ..supported }.includes("interim/master.1"));
    }
}
