//! The client against the real sidecar over mutual TLS: what every database does, shown by the suite of the client crate, and what only
//! a server can do: go away, come back, and refuse.

#[path = "../../client/tests/database/suite/mod.rs"]
mod suite;

#[path = "../../client/examples/controller.rs"]
#[expect(dead_code, reason = "its main function is for people")]
mod controller;
mod controllers;
mod laws;
mod outage;

#[path = "../../client/tests/laws/history.rs"]
#[expect(dead_code, reason = "not everything that happens in the client's schedules happens here")]
mod history;
#[path = "../../client/tests/laws/log.rs"]
#[expect(dead_code, reason = "notes are for schedules that can be repeated to the last turn")]
mod log;
#[path = "../../client/tests/laws/random.rs"]
mod random;

use std::sync::Arc;

use larder_client::database::Database;
use larder_client::{Credentials, Sidecar};
use larder_harness::Server;

/// A server of its own, called by one who may make tables.
fn open() -> (Server, Arc<dyn Database>) {
    let server = larder_harness::setup!().start();
    let sidecar = sidecar(&server, "owner");
    (server, Arc::new(sidecar))
}

/// A client with the certificate of a role.
fn sidecar(server: &Server, role: &str) -> Sidecar {
    sidecar_at(server.url(), server, role)
}

/// The same, at the other end of a wire.
fn sidecar_at(url: &str, server: &Server, role: &str) -> Sidecar {
    let pair = server.pair(role);
    let credentials = Credentials::from_files(server.home().join("ca.crt"), pair.cert, pair.key);
    let endpoint = url.parse().expect("a URL");
    Sidecar::new(endpoint, credentials.expect("certificates")).expect("an encrypted endpoint")
}

suite::on!(crate::open);
