//! The stores that a controller falls back on, and a Kubernetes API to lead by, as real servers: `tests/servers/prepare` makes them available.

mod consul;
mod etcd;
mod kubernetes;
mod process;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

pub use consul::Consul;
pub use etcd::Etcd;
pub use kubernetes::Kubernetes;
pub(crate) use process::free_port;

use crate::skip::Skip;

/// A tool or file that `tests/servers/prepare` makes available, or that is installed.
///
/// # Errors
/// It is not on this machine.
pub fn prepared(name: &str) -> Result<PathBuf, Skip> {
    find(name, |it| it.exists())
}

/// The binary of a server: prepared beside the build of the calling test, or on the `PATH`.
fn binary(name: &str) -> Result<PathBuf, Skip> {
    find(name, |it| it.is_file())
}

fn find(name: &str, is_it: impl Fn(&std::path::Path) -> bool) -> Result<PathBuf, Skip> {
    let test = std::env::current_exe().unwrap_or_default();
    let prepared = test.ancestors().map(|dir| dir.join("servers").join(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|dir| dir.join(name));
    let mut found = prepared.chain(installed).filter(|file| is_it(file));
    found
        .next()
        .ok_or_else(|| Skip::new(format!("there is no {name}; tests/servers/prepare gets it or says how")))
}

/// A server that tests of one process use side by side. It ends with the last of them.
struct Shared<T>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    fn get(&self, start: impl FnOnce() -> Result<T, Skip>) -> Result<Arc<T>, Skip> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = current.upgrade() {
            return Ok(running);
        }
        let started = Arc::new(start()?);
        *current = Arc::downgrade(&started);
        Ok(started)
    }
}
