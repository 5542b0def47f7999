//! What an operator should know of the data directory although everything works: too little room, a volume that does not
//! last, a journal that is slow. Each is one sentence that says what to do.

use crate::directory::{self, Directory};
use crate::options::{Journal, Options};
use crate::volume::Nature;

/// Each with the part that it is about.
pub(crate) fn of(directory: &Directory, options: &Options) -> Vec<(&'static str, String)> {
    let path = directory.path();
    let mut remarks = Vec::new();
    if let (Some(free), Some(volume)) = (directory::free_bytes(path), directory::volume_bytes(path)) {
        remarks.extend(room(free, volume, directory::size(&directory.wal()), options).map(|it| ("disk", it)));
    }
    let file_system = directory.file_system();
    if file_system.nature == Nature::Fleeting {
        let text = format!(
            "the data directory is on {}, which does not outlive the container or the machine: mount a volume at {}",
            file_system.name,
            path.display()
        );
        remarks.push(("volume", text));
    }
    if options.journal == Journal::Rollback {
        let text = "a rollback journal is in use: reads wait while writes are under way, writes for reads, and a commit is \
                    several syncs; on a volume of block storage --journal wal is faster";
        remarks.push(("journal", text.to_owned()));
    }
    remarks
}

/// What the log has taken already need not be free.
fn room(free: u64, volume: u64, log: u64, options: &Options) -> Option<String> {
    let mib = |bytes: u64| bytes >> 20;
    let limit = options.wal_limit_bytes;
    let quota = options.max_database_bytes.unwrap_or(0);
    if quota > 0 && volume < quota.saturating_add(limit) {
        return Some(format!(
            "the volume holds {} MiB, less than --max-db-size ({} MiB) and the log (--wal-limit, {} MiB): grow the volume, or \
             lower --max-db-size",
            mib(volume),
            mib(quota),
            mib(limit)
        ));
    }
    (free.saturating_add(log) < limit).then(|| {
        format!(
            "{} MiB of {} are free, less than the log may take (--wal-limit, {} MiB), so that writes may get 507: grow the \
             volume, or remove from it what is not Larder's",
            mib(free),
            mib(volume),
            mib(limit)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_is_told_and_enough_is_not() {
        const MIB: u64 = 1 << 20;
        let options = Options { max_database_bytes: Some(4096 * MIB), ..Options::new("unused") };
        let small = room(900 * MIB, 1024 * MIB, 0, &options).expect("too small for the quota");
        assert!(small.contains("holds 1024 MiB") && small.contains("--max-db-size (4096 MiB)"), "{small}");
        let full = room(12 * MIB, 10_240 * MIB, 4 * MIB, &options).expect("nearly full");
        assert!(full.starts_with("12 MiB of 10240 are free"), "{full}");
        // A log at its limit has what it needs.
        assert_eq!(room(2 * MIB, 10_240 * MIB, 64 * MIB, &options), None);
        assert_eq!(room(900 * MIB, 1024 * MIB, 0, &Options::new("unused")), None);
    }
}
