//! A directory of backups: how they are called, which is the newest, which may go.
//!
//! Names carry the time in UTC, so that their order is that of time. What has another name is somebody else's and
//! is never touched.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::fmt::strtime;

const PREFIX: &str = "larder-";
const SUFFIX: &str = ".db.zst";
const TIME: &str = "%Y%m%dT%H%M%S%.3fZ";

/// The name of a backup that is begun now.
pub(super) fn next(directory: &Path, now: Timestamp) -> PathBuf {
    let time = now.to_zoned(jiff::tz::TimeZone::UTC).strftime(TIME).to_string();
    directory.join(format!("{PREFIX}{time}{SUFFIX}"))
}

/// All backups of a directory, oldest first.
pub(super) fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_backup) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The newest backup of a directory.
pub(super) fn newest(directory: &Path) -> io::Result<PathBuf> {
    let none = || io::Error::new(io::ErrorKind::NotFound, format!("no {PREFIX}TIME{SUFFIX} in it"));
    list(directory)?.pop().ok_or_else(none)
}

/// Removes the oldest until `keep` are left; says which.
pub(super) fn prune(directory: &Path, keep: usize) -> io::Result<Vec<PathBuf>> {
    let mut all = list(directory)?;
    let old = all.len().saturating_sub(keep);
    all.truncate(old);
    for file in &all {
        std::fs::remove_file(file)?;
    }
    Ok(all)
}

fn is_backup(name: &str) -> bool {
    let time = name.strip_prefix(PREFIX).and_then(|it| it.strip_suffix(SUFFIX));
    time.is_some_and(|it| strtime::parse("%Y%m%dT%H%M%S%.fZ", it).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    fn only_the_oldest_backups_are_removed() {
        let home = tempfile::tempdir().unwrap();
        let at = |second| next(home.path(), Timestamp::from_second(second).unwrap());
        let (old, middle, new) = (at(1_790_000_000), at(1_790_000_001), at(1_800_000_000));
        let foreign = ["larder-yesterday.db.zst", "larder-20260101T000000.000Z.db.zst.part", "notes.txt"];
        let foreign = foreign.map(|name| home.path().join(name));
        for file in [&new, &old, &middle].into_iter().chain(&foreign) {
            std::fs::write(file, "").unwrap();
        }
        assert_eq!(newest(home.path()).unwrap(), new);
        assert_eq!(prune(home.path(), 2).unwrap(), [old]);
        assert_eq!(prune(home.path(), 2).unwrap(), [] as [PathBuf; 0]);
        assert_eq!(list(home.path()).unwrap(), [middle, new]);
        assert!(foreign.iter().all(|file| file.exists()));
    }
}
