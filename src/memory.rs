//! What memory the process keeps: how the allocator gives back, and the code that only a start needs.
//!
//! The allocator is mimalloc: requests are taken apart on one thread and freed on another, which the C library's does slowly.
#![expect(unsafe_code, reason = "both are asked for through C interfaces")]

use mimalloc::MiMalloc;
use rustix::mm::{Advice, madvise};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// `mi_option_purge_delay` (<https://microsoft.github.io/mimalloc/environment.html>).
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// Long enough for a busy server to use a page again, short enough not to hold what a burst took.
const MILLISECONDS: std::ffi::c_long = 5;

/// Has freed memory go back to the system soon. Called before anything else.
pub(crate) fn set_up() {
    // SAFETY: sets a number that the allocator reads when it frees.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, MILLISECONDS) };
}

/// Lets go of what the process has mapped of its program and libraries and never wrote. What runs comes back page by page from the
/// page cache; what read the command line, made certificates and opened the database does not, and is most of what an idle
/// server would hold.
pub(crate) fn forget_start() {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    for (start, length) in unwritten(&maps) {
        // SAFETY: the range maps a file privately, cannot be written, and has no page of its own (relocations would be such): its
        // pages are those of the file and come back with the same content (madvise(2), MADV_DONTNEED).
        let forgotten = unsafe { madvise(start as *mut _, length, Advice::LinuxDontNeed) };
        if let Err(error) = forgotten {
            tracing::debug!(%error, "code stays in memory");
        }
    }
}

/// Start and length of each mapping of a file that cannot be written and that has no page of its own (proc_pid_smaps(5)).
fn unwritten(smaps: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut mapping = None;
    smaps.lines().filter_map(move |line| {
        if let Some(begun) = read_only_mapping(line) {
            mapping = begun;
        }
        let own = line.strip_prefix("Anonymous:")?;
        mapping.take().filter(|_| own.trim() == "0 kB")
    })
}

/// Whether a line begins a mapping, and which, if it is one of a file that cannot be written.
fn read_only_mapping(line: &str) -> Option<Option<(usize, usize)>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (address(start)?, address(end)?);
    let permissions = fields.next()?;
    let is_file = fields.nth(3).is_some_and(|path| path.starts_with('/'));
    let unwritable = matches!(permissions, "r--p" | "r-xp");
    Some((is_file && unwritable).then(|| (start, end.saturating_sub(start))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(mapping: &str, anonymous: &str) -> Vec<(usize, usize)> {
        let smaps = format!("{mapping}\nRss: 8 kB\nAnonymous: {anonymous} kB\nVmFlags: rd\n");
        unwritten(&smaps).collect()
    }

    #[test]
    fn only_what_is_as_in_its_file_is_let_go() {
        assert_eq!(one("1000-3000 r-xp 002a9000 fe:00 99  /usr/bin/larder", "0"), [(0x1000, 0x2000)]);
        assert_eq!(one("1000-3000 r--p 00000000 fe:00 99  /lib/libc.so.6", "0"), [(0x1000, 0x2000)]);
        // Relocated, written, writable, shared, no file.
        assert_eq!(one("1000-3000 r--p 00ce5000 fe:00 99  /usr/bin/larder", "4"), []);
        assert_eq!(one("1000-3000 rw-p 00d00000 fe:00 99  /usr/bin/larder", "0"), []);
        assert_eq!(one("1000-3000 r--s 00000000 fe:00 99  /data/larder.db-shm", "0"), []);
        assert_eq!(one("1000-3000 r-xp 00000000 00:00 0   [vdso]", "0"), []);
        assert_eq!(one("1000-3000 r--p 00000000 00:00 0", "0"), []);
    }

    #[test]
    fn a_process_that_forgot_its_start_goes_on() {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("Linux");
        assert!(unwritten(&maps).count() > 1);
        forget_start();
        assert_eq!(unwritten(&maps).count(), unwritten(&maps).filter(|(_, length)| *length > 0).count());
    }
}
