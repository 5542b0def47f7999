//! Where reports are while the database is away, and who says which store is asked.
//!
//! [`KeyValue`] is a store of keys and values: [`Consul`], [`Etcd`], a [`Directory`], [`Memory`]. [`Shelf`] lays reports out in one; [`Primary`] is the
//! store that they belong in; [`Breaker`] says whether that is worth a call; and [`Reports`] is what a controller calls: both stores as one,
//! newest wins.

mod breaker;
mod chooser;
pub(crate) mod consul;
mod database;
mod directory;
mod etcd;
mod guarded;
mod memory;
mod primary;
pub mod shelf;
mod store;
mod transaction;

pub use breaker::{Breaker, BreakerOptions, BreakerState, Outcome};
pub use chooser::{
    Answered, Cleared, Counters, Deleted, Gate, ListAnswer, Mode, ModeError, Put, PutAnswer, Reports,
    ReportsError, ReportsOptions, ReportsStream, Stats, Store, Swept,
};
pub use consul::{Consul, KeyChange, KeyChanges, TokenError};
pub use directory::Directory;
pub use etcd::{Etcd, Login};
pub use memory::Memory;
pub use primary::{Kept, KeptStream, Listing, Primary, PrimaryError, PrimaryStats};
pub use shelf::{Layout, Shelf, ShelfError};
pub use store::{Condition, Entry, KeyValue, Limits, Listed, Operation, Revision, Sorted, StoreError};

pub use crate::http::Timeouts;
