//! The results of policy reports as rows: which policy, which rule, what was checked, what came of it, when.
//!
//! What looks like a policy report is one, whatever its resource is called ([`extract()`]). Rows are made from the objects behind the writers' backs, by
//! following the log of changes ([`Results`]): a write waits for none of it. Up to which revision they were made is noted in the transaction that writes
//! them, so it does not matter who makes them, how many do at once, or where they are stopped. Nobody is shown what is out of date: a question first
//! makes the rows that are missing ([`Questions`]).
//!
//! Rows that are ahead of that revision do no harm: the next change of the object brings them back. Rows of a history that was lost cannot come about: a
//! batch is written only if the history still has the revision that it was read at, and no revision is given twice.
//!
//! There is no table of policies or messages that rows would point to. It would take half of the space, and a rule for when a text may go.

mod error;
mod extract;
mod extractor;
mod filter;
mod keep;
mod questions;
mod select;
mod table;

pub use error::ResultsError;
pub use extract::{ResultRow, TEXT, extract};
pub use filter::{Filter, Outcome, Severity};
pub use keep::{Lag, Results};
pub use questions::{Count, CountPage, Found, Group, Page, Questions};
