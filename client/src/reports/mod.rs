//! Reports: what they are, and where they stand in SQL.
//!
//! [`ReportKey`] names a report, [`Report`] is one, [`Finding`] is what a question can be asked about, [`ReportStore`] keeps them.
//! Nothing here knows of another store than SQL; that is [`crate::fallback`].

pub mod extract;
mod finding;
pub mod generate;
pub mod gzip;
pub mod index;
pub mod kept;
mod key;
#[cfg(test)]
mod measures;
pub mod packed;
pub mod questions;
mod report;
mod store;
pub(crate) mod version;

pub use finding::{Finding, Severity, VulnerabilityId};
pub use key::{KeyError, ReportKey};
pub use report::{Asset, Check, Encoding, Report};
pub use store::{
    ClassStats, Confirmed, Departures, Found, List, Listed, Mark, Moving, PAYLOAD_LIMIT, Page, Put,
    ReportError, ReportStore, ReportStream, RowStamp, Selection, Stored, Told, Tombstone, TombstoneStamp,
};
pub(crate) use store::{ListedTombstone, Standing};
pub use version::{Clock, Version};
