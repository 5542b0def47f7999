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

/// Lets go of the program's code in memory. What runs comes back page by page from the page cache; what read the command
/// line, made certificates and opened the database does not, and is most of what an idle server would hold.
pub(crate) fn forget_start() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let Ok(program) = std::env::current_exe() else { return };
    for (start, length) in maps.lines().filter_map(|line| code_of(&program.to_string_lossy(), line)) {
        // SAFETY: the range is a mapping of the program's file that nobody can write (`r-xp`), so its pages are those of the file and
        // come back with the same content (madvise(2), MADV_DONTNEED). The program is linked without relocations in its code.
        let forgotten = unsafe { madvise(start as *mut _, length, Advice::LinuxDontNeed) };
        if let Err(error) = forgotten {
            tracing::debug!(%error, "code stays in memory");
        }
    }
}

/// Start and length of a mapping, if it is code of `program` (proc_pid_maps(5)).
fn code_of(program: &str, line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_code = fields.next()? == "r-xp" && line.ends_with(program);
    let address = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (address(start)?, address(end)?);
    is_code.then(|| (start, end.saturating_sub(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_the_program_is_let_go() {
        let code = "55ef5dcf8000-55ef5dcfa000 r-xp 002a9000 fe:00 99  /usr/bin/larder";
        assert_eq!(code_of("/usr/bin/larder", code), Some((0x55ef_5dcf_8000, 0x2000)));
        assert_eq!(code_of("/usr/bin/other", code), None);
        assert_eq!(code_of("/usr/bin/larder", "1000-2000 r--p 0 fe:00 99 /usr/bin/larder"), None);
        assert_eq!(code_of("/usr/bin/larder", "1000-2000 rw-p 0 00:00 0"), None);
        assert_eq!(code_of("/usr/bin/larder", ""), None);
    }

    #[test]
    fn a_program_that_forgot_its_start_goes_on() {
        forget_start();
        assert_eq!(code_of("x", "10-20 r-xp 0 0 0 x"), Some((0x10, 0x10)));
    }
}
