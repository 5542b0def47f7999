//! The server as its callers see it: the real binary, real mutual TLS, one server for each test.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod durability;
mod identities;
mod limits;
mod pyrqlite;
mod readme;
mod roles;
mod streams;
mod transactions;
