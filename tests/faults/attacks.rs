//! The server against those who mean harm, or send rubbish: SQL that nobody should run, certificates that should not be
//! let in, HTTP that is none.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

#[path = "certificates.rs"]
mod certificates;
#[path = "heartbeat.rs"]
mod heartbeat;
#[path = "hostile.rs"]
mod hostile;
#[path = "malformed.rs"]
mod malformed;
