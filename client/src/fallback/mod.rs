//! Where reports are while the database is away: stores of keys and values, and what is laid out in them.

mod store;

pub use store::{Condition, Entry, KeyValue, Limits, Listed, Operation, Revision, StoreError};
