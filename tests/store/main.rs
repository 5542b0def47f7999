//! The revision store of the API server on a real sidecar over mutual TLS: what it does on every database, shown by the suite of its crate, and what
//! only a server can do: die, come back, and be replaced by an old copy of itself, while others write and watch.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

#[path = "../../apiserver/tests/store/suite/mod.rs"]
mod suite;

mod outage;

use std::sync::Arc;

use larder_client::database::Database;
use larder_client::{Credentials, Sidecar};
use larder_harness::Server;

/// A server of its own, called by one who may make tables.
fn open() -> (Server, Arc<dyn Database>) {
    let server = larder_harness::setup!().start();
    let sidecar = sidecar_at(server.url(), &server);
    (server, sidecar)
}

fn sidecar_at(url: &str, server: &Server) -> Arc<dyn Database> {
    let pair = server.pair("owner");
    let credentials = Credentials::from_files(server.home().join("ca.crt"), pair.cert, pair.key);
    let endpoint = url.parse().expect("a URL");
    Arc::new(Sidecar::new(endpoint, credentials.expect("certificates")).expect("an encrypted endpoint"))
}

suite::on!(crate::open);
