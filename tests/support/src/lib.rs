//! The harness of the black-box tests: the real binary in a directory of its own, on ports that the system chooses, with
//! certificates made for this one test, spoken to over real mutual TLS.
//!
//! The stores that a controller falls back on are real servers too ([`Consul`], [`Etcd`]); a test whose server is not on this
//! machine is listed as skipped ([`need!`]). A [`Proxy`] cuts the wire to any of them.
//!
//! Nothing is shared between tests, so they run side by side. Nothing sleeps: readiness is the file that
//! `--announce` writes, the end of a process is the end of its log. It is a crate so that each test binary may
//! use as much of it as it needs. Failures panic: there is nobody to return an error to.
//!
//! ```text
//! let server = larder_harness::setup!().start();
//! let mut writer = server.connect("writer").await;
//! let answer = writer.post("/execute", r#"["CREATE TABLE t (a)"]"#).await;
//! assert_eq!(answer.status, 403);
//! ```
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod apiserver;
mod authority;
mod client;
mod daemon;
mod log;
mod pod;
mod proxy;
mod server;
mod skip;
mod stores;

pub use apiserver::{ApiServer, ApiServerSetup, Kubectl};
pub use authority::{Authority, Pair};
pub use client::{Answer, Coming, Connection, trusting};
pub use daemon::Daemon;
pub use log::Log;
pub use pod::Account;
pub use proxy::Proxy;
pub use server::{ROLES, STRANGER, Server, Setup};
pub use skip::Skip;
pub use stores::{Consul, ControllerManager, Etcd, Kubernetes, prepared};

/// An [`ApiServerSetup`] of the binary that Cargo built for the calling test.
#[macro_export]
macro_rules! apiserver {
    () => {
        $crate::ApiServerSetup::new(env!("CARGO_BIN_EXE_larder"))
    };
}

/// The binary that is tested: the one that Cargo built with the test, or the one that `LARDER_BINARY` names, such as a release.
#[must_use]
pub fn tested(built: &str) -> std::path::PathBuf {
    std::env::var_os("LARDER_BINARY").map_or_else(|| built.into(), Into::into)
}

/// A [`Setup`] of the binary that Cargo built for the calling test, or of the one that [`tested`] takes in its place.
#[macro_export]
macro_rules! setup {
    () => {
        $crate::Setup::new($crate::tested(env!("CARGO_BIN_EXE_larder")))
    };
}
