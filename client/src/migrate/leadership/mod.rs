//! Who of several controllers moves reports.
//!
//! Leadership here saves work; it is not what keeps reports safe. A leader that slept does not know that it was deposed, so every step that
//! destroys is a compare-and-swap, and before a batch of them [`Leadership::confirm`] asks the server, not the memory.

mod always;
mod campaign;
mod consul;
mod lease;

use async_trait::async_trait;
use tokio::sync::watch;

pub use always::Always;
pub use campaign::{Campaign, Hold, Seat, SeatError, Terms};
pub use consul::ConsulLock;
pub use lease::Lease;

/// Who leads, as far as this process knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Leader {
    /// Nobody, or nobody could be asked.
    #[default]
    Unknown,
    /// Somebody else, by the name that they gave.
    Other(String),
    /// This process.
    Me,
}

/// Why a step that only the leader may do is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotLeading {
    /// The server says that it is somebody else, or nobody.
    #[error("{} leads", .0.as_deref().unwrap_or("nobody"))]
    Deposed(Option<String>),
    /// The server could not be asked.
    #[error("cannot confirm who leads: {0}")]
    Unconfirmed(String),
}

/// A claim to lead, campaigned for in the background for as long as it is kept. Dropping it resigns, in the background too.
#[async_trait]
pub trait Leadership: Send + Sync + 'static {
    /// Who leads, and every change of it. Good for deciding whether to begin; not for what destroys.
    fn leader(&self) -> watch::Receiver<Leader>;

    /// Asks the server whether this process leads now.
    async fn confirm(&self) -> Result<(), NotLeading>;

    /// Gives the lead away, if it is ours, and does not campaign any more.
    async fn resign(&self);
}
