//! Requests that share a commit cannot tell: each gets what it would get alone, whatever happens to the others.
//!
//! The law is tried with random batches, in which every fifth request fails in one of the known ways, against a model in
//! which every request has an engine of its own, so that it cannot see what any other has left in a connection.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

#[path = "group/bench.rs"]
mod bench;
#[path = "group/neighbours.rs"]
mod neighbours;
#[path = "group/poison.rs"]
mod poison;
