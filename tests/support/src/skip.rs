//! Tests that cannot be run here. Rust's test runner has no word for them, so each says so past the runner's capture of
//! output, and with `CI=true` it fails.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;

/// What a test needs and this machine does not have.
#[derive(Clone, Debug)]
pub struct Skip {
    missing: String,
}

impl Skip {
    pub(crate) fn new(missing: impl Into<String>) -> Self {
        Self { missing: missing.into() }
    }

    /// For tests that need to be root.
    ///
    /// # Errors
    /// They are not.
    pub fn unless_root() -> Result<(), Self> {
        // A process is its owner's.
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0);
        if is_root { Ok(()) } else { Err(Self::new("it takes root to join the network of another process")) }
    }

    /// Lists the calling test as skipped.
    ///
    /// # Panics
    /// `CI=true`: there everything has to be run.
    pub fn report(&self) {
        let current = std::thread::current();
        let test = current.name().unwrap_or("a test");
        let said = format!("skipped {test}: {}", self.missing);
        assert!(std::env::var_os("CI").is_none_or(|it| it != "true"), "{said}");
        let _ = std::io::stderr().write_all(format!("{said}\n").as_bytes());
    }
}

/// The server that a test needs; or else the test is listed as skipped and returns.
///
/// ```text
/// let consul = larder_harness::need!(Consul::start());
/// ```
#[macro_export]
macro_rules! need {
    ($server:expr) => {
        match $server {
            Ok(server) => server,
            Err(skip) => return skip.report(),
        }
    };
}
