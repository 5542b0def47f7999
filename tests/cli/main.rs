//! The command line as it is typed: what it prints, and how it ends.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod answers;
mod fallback;
mod migrate;
mod prepared;
mod reports;
mod results;
mod run;
mod served;
