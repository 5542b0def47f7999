//! Where reports are while the database is away: stores of keys and values, and what is laid out in them.
//!
//! A store is whatever implements [`KeyValue`]: [`Consul`], [`Etcd`], a [`Directory`], [`Memory`].

pub(crate) mod consul;
mod directory;
mod etcd;
mod memory;
mod store;
mod transaction;

pub use consul::{Consul, TokenError};
pub use directory::Directory;
pub use etcd::{Etcd, Login};
pub use memory::Memory;
pub use store::{Condition, Entry, KeyValue, Limits, Listed, Operation, Revision, StoreError};

pub use crate::http::Timeouts;
