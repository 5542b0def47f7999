//! The inverted index: which vulnerabilities there are, and which reports have them.
//!
//! It is kept as search engines keep theirs. Reports beyond the *watermark* are pending; [`Index::fold`] turns the oldest of them around into
//! a *segment*, a run of immutable *blocks* sorted by vulnerability, and merges put segments together. A report that is replaced or deleted
//! later leaves its findings in `retired` until its part of the index is made anew. Questions read segments, add what is
//! pending and subtract what is retired, all in one snapshot, so counts are exact whoever wrote last; see
//! [`crate::reports::questions`].
//!
//! Whoever folds or merges writes beside what is there and switches over in one transaction that holds only if nobody else changed
//! the same part: no lock, no leader. What a vulnerability is said to be is joined over all that the index holds (see `traits`);
//! there is no way to ask for what one report alone says of it, other than to read that report.

mod aside;
pub(crate) mod block;
mod change;
pub(crate) mod entry;
mod error;
pub(crate) mod fields;
pub(crate) mod forward;
pub(crate) mod inverter;
mod merge;
pub(crate) mod merger;
#[cfg(test)]
mod pure_tests;
mod run;
pub(crate) mod traits;
mod upkeep;
mod varint;
mod writer;

pub use entry::Kind;
pub use error::IndexError;
pub use upkeep::{Index, Pace};
