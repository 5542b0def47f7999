//! A vulnerability in the index: how many reports of which kind of asset have it, and what is said of it.

use super::traits::{Ratings, Traits};

/// What kind of asset a report speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A container: class `workload`.
    Workload,
    /// A node: class `host`.
    Host,
    /// The orchestrator: class `platform`.
    Platform,
    /// An image of a registry: class `image`.
    Image,
    /// Any other class.
    Other,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = 5;

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; KINDS] = [Self::Workload, Self::Host, Self::Platform, Self::Image, Self::Other];

    /// The kind of asset that reports of a class speak of.
    #[must_use]
    pub fn of_class(class: &str) -> Self {
        match class {
            "workload" => Self::Workload,
            "host" => Self::Host,
            "platform" => Self::Platform,
            "image" => Self::Image,
            _ => Self::Other,
        }
    }
}

/// Numbers of reports by [`Kind`].
pub(crate) type Counts = [u32; KINDS];

/// A vulnerability in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The number of its name.
    pub(crate) id: u64,
    /// How many reports have it.
    pub(crate) counts: Counts,
    pub(crate) traits: Traits,
}

impl Entry {
    /// How many reports have it, of whatever kind.
    #[inline]
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().map(|&it| u64::from(it)).sum()
    }

    /// Takes in what another segment knows of the same vulnerability.
    #[inline]
    pub(crate) fn join(&mut self, other: &Self, ratings: &Ratings) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.traits.join(&other.traits, ratings);
    }
}
