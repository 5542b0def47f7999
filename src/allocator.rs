//! The allocator. Requests are taken apart on one thread and freed on another, which the C library's own does slowly.
#![expect(unsafe_code, reason = "options of the allocator are set through its C interface")]

use mimalloc::MiMalloc;

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
