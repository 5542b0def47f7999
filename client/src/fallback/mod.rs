//! Where reports are while the database is away: stores of keys and values, and what is laid out in them.

pub mod shelf;
mod store;

pub use shelf::{Layout, Shelf, ShelfError};
pub use store::{Condition, Entry, KeyValue, Limits, Listed, Operation, Revision, StoreError};
