//! What is written and read on the wire: golden files for every form, a table of malformed bodies, and the laws
//! that hold for all of them.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod encoders;
mod golden;
mod malformed;
mod properties;
mod requests;
