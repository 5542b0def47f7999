//! The fault lab: what can break is broken on purpose, and every acknowledged write has to be there afterwards.
//!
//! One file for each fault. `cargo test` runs a short form; `make faults` sets `LARDER_FAULTS=long`. Each fault ends with
//! one line of what was done and measured. Faults take turns, since most of them want the machine for themselves.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod backup;
mod clients;
mod disk_full;
mod drain;
mod fsync;
mod kill;
mod lab;
mod load;
mod network;
