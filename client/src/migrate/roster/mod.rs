//! Who takes part: which controllers live, what they run and how they are set.
//!
//! A roster has to know *everybody* who reads or writes reports. Announcements alone know only who announces itself; where older controllers
//! may live that do not, they are [joined](Joined) to a roster that knows members otherwise, such as [`NeuVector`]'s.

mod announce;
mod joined;
mod neuvector;
mod version;

use async_trait::async_trait;

use crate::fallback::Mode;

pub use announce::{Announcement, Announcements, Announcer};
pub use joined::Joined;
pub use neuvector::{AgentMember, Agents, NeuVector};
pub use version::{ControllerVersion, Supported};

/// A controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub id: String,
    /// What it runs, in its own words; `None` if it does not say.
    pub version: Option<String>,
    /// How it is set; `None` if it does not say.
    pub mode: Option<Mode>,
    /// Whether it lives, or may live.
    pub alive: bool,
}

/// Why the members are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RosterError(pub String);

/// Knows every controller.
#[async_trait]
pub trait Roster: Send + Sync + 'static {
    /// Everybody, dead ones too where they are still remembered.
    async fn members(&self) -> Result<Vec<Member>, RosterError>;
}
