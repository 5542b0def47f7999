//! The stores of this crate as depots: reports in SQL, and reports on a shelf.

mod shelf;
mod sql;
