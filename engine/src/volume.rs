//! What kind of file system the data directory is on, since not every one can carry a write-ahead log.
//!
//! The log's index is shared memory and its safety rests on locks, and on network file systems neither is what SQLite takes it
//! for (<https://sqlite.org/wal.html>, <https://sqlite.org/faq.html#q5>). SQLite itself falls back silently on some and opens the log
//! all the same on others, so the kind is asked of the system. Kinds that only look local (a file of NFS behind a loop device) are
//! not seen through.

use std::borrow::Cow;
use std::path::Path;

/// The kind of a file system, by the number that `statfs` gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// What it is called.
    pub name: Cow<'static, str>,
    /// What to expect of it.
    pub nature: Nature,
}

/// What a file system is to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// A disk of this machine, or what behaves like one.
    Local,
    /// Another machine or another process serves the files.
    Remote,
    /// It ends with the machine or the container.
    Fleeting,
}

/// The numbers are those of `linux/magic.h` and of the file systems' own sources.
const KNOWN: [(u64, &str, Nature); 25] = [
    (0xEF53, "ext2/3/4", Nature::Local),
    (0x5846_5342, "xfs", Nature::Local),
    (0x9123_683E, "btrfs", Nature::Local),
    (0xF2F5_2010, "f2fs", Nature::Local),
    (0x2FC1_2FC1, "zfs", Nature::Local),
    (0xCA45_1A4E, "bcachefs", Nature::Local),
    (0x6969, "NFS", Nature::Remote),
    (0x517B, "SMB", Nature::Remote),
    (0xFF53_4D42, "CIFS", Nature::Remote),
    (0xFE53_4D42, "SMB2", Nature::Remote),
    (0x0102_1997, "9p", Nature::Remote),
    (0x6573_5546, "FUSE", Nature::Remote),
    (0x00C3_6400, "CephFS", Nature::Remote),
    (0x5346_414F, "AFS", Nature::Remote),
    (0x6B41_4653, "kAFS", Nature::Remote),
    (0x7375_7245, "Coda", Nature::Remote),
    (0x564C, "NCP", Nature::Remote),
    (0x0BD0_0BD0, "Lustre", Nature::Remote),
    (0x4750_4653, "GPFS", Nature::Remote),
    (0x1983_0326, "BeeGFS", Nature::Remote),
    (0x2003_0528, "OrangeFS", Nature::Remote),
    (0x786F_4256, "vboxsf", Nature::Remote),
    (0x0102_1994, "tmpfs", Nature::Fleeting),
    (0x8584_58F6, "ramfs", Nature::Fleeting),
    (0x794C_7630, "overlay", Nature::Fleeting),
];

impl FileSystem {
    /// That of a path. Where the system does not say, it is taken for a disk.
    pub(crate) fn of(path: &Path) -> Self {
        // The field's width and sign differ between architectures; the number is one of 32 bits.
        rustix::fs::statfs(path)
            .map_or_else(|_| Self::numbered(0), |stat| Self::numbered(u64::from(stat.f_type as u32)))
    }

    fn numbered(number: u64) -> Self {
        let known = KNOWN.iter().find(|(known, ..)| *known == number);
        known.map_or_else(
            || Self { name: format!("{number:#x}").into(), nature: Nature::Local },
            |&(_, name, nature)| Self { name: name.into(), nature },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_their_numbers() {
        let cases = [
            (rustix::fs::NFS_SUPER_MAGIC as u64, Nature::Remote),
            (0x6573_5546, Nature::Remote),
            (0xFF53_4D42, Nature::Remote),
            (0x0102_1997, Nature::Remote),
            (0x794C_7630, Nature::Fleeting),
            (0xEF53, Nature::Local),
            (0x1234_5678, Nature::Local),
        ];
        for (number, nature) in cases {
            assert_eq!(FileSystem::numbered(number).nature, nature, "{number:#x}");
        }
        assert_eq!(FileSystem::numbered(0x1234_5678).name, "0x12345678");
        assert_eq!(FileSystem::of(Path::new("/dev/shm")).name, "tmpfs");
        let mut numbers: Vec<_> = KNOWN.iter().map(|it| it.0).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), KNOWN.len());
    }
}
