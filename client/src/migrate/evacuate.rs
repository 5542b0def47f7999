//! Taking reports out of the primary again, and saying when it may be removed.
//!
//! It is the same move in the other direction. It does not wait for the gate: as soon as one member is set to `leaving`, the gate of the others
//! closes and they write to the fallback. But the primary may be removed only when nothing is in it *and* nobody is left who
//! would write to it.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::depot::{Depot, DepotError};
use super::gate::GateState;
use super::mover::{Halt, Outcome};
use super::progress::Progress;
use super::scheduler::{Migrator, Pauses};

/// How far the primary is from being removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Departure {
    /// Nobody looked yet, or the last pass was stopped.
    #[default]
    Unknown,
    /// Reports or tombstones are in it.
    Holds,
    /// It is empty, and somebody may still write to it.
    Used(GateState),
    /// It is empty, and nobody writes to it.
    MayBeRemoved,
}

/// Moves everything out of the primary.
pub struct Evacuation<F: Depot, T: Depot> {
    migrator: Migrator<F, T>,
    left: watch::Receiver<GateState>,
    departure: watch::Sender<Departure>,
}

impl<F: Depot, T: Depot> Evacuation<F, T> {
    /// An evacuation with a migrator that moves from the primary to the fallback and whose gate is [always open](GateState::always_open).
    /// `left` is open when nobody writes to the primary any more: a gate under [`Rules::leaving`](super::Rules::leaving).
    pub fn new(migrator: Migrator<F, T>, left: watch::Receiver<GateState>) -> Self {
        Self { migrator, left, departure: watch::Sender::default() }
    }

    /// How far the current pass is, and every change of it.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.migrator.progress()
    }

    /// How far the primary is from being removed, and every change of it.
    #[must_use]
    pub fn departure(&self) -> watch::Receiver<Departure> {
        self.departure.subscribe()
    }

    /// Empties the primary once, as far as that is possible, and says how far it is.
    ///
    /// # Errors
    /// A pass was stopped, see [`Halt`].
    pub async fn run_once(&self) -> Result<(Outcome, Departure), Halt> {
        let outcome = self.migrator.run_once().await;
        let departure = self.look(outcome.is_ok()).await;
        Ok((outcome?, departure))
    }

    /// Empties the primary again and again until `stop` is done.
    pub async fn run(&self, interval: Duration, stop: impl Future<Output = ()>) {
        let mut pauses = Pauses::new(interval);
        let passes = async {
            loop {
                let ended = self.migrator.round().await;
                self.look(ended.is_ok()).await;
                sleep(pauses.after(ended.is_ok())).await;
            }
        };
        tokio::select! {
            biased;
            () = stop => {}
            () = passes => {}
        }
    }

    async fn look(&self, went_to_its_end: bool) -> Departure {
        // Who writes is asked before what is there: nobody who stopped writing can have written in between.
        let left = self.left.borrow().clone();
        let departure = match self.is_empty().await {
            Ok(true) if went_to_its_end && left.is_open() => Departure::MayBeRemoved,
            Ok(true) if went_to_its_end => Departure::Used(left),
            Ok(_) if went_to_its_end => Departure::Holds,
            Ok(_) | Err(_) => Departure::Unknown,
        };
        self.departure.send_replace(departure.clone());
        departure
    }

    async fn is_empty(&self) -> Result<bool, DepotError> {
        let page = self.migrator.from().list(None, 1).await?;
        if !page.keys.is_empty() || !page.strange.is_empty() || page.next.is_some() {
            return Ok(false);
        }
        let page = self.migrator.from().tombstones(None, 1).await?;
        Ok(page.graves.is_empty() && page.next.is_none())
    }
}
