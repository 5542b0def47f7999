//! Which store is written to: the one setting by which the primary is switched on and off.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Reports;

/// Where reports are written. Every change is safe at any time, whatever other controllers are set to: reads ask both stores in every mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// To the fallback: reports stay where they are.
    #[default]
    Off,
    /// To the primary from the moment that it answers and the gate is open; to the fallback while not.
    Auto,
    /// To the primary or nowhere.
    Required,
    /// To the fallback, while what is in the primary is taken out of it.
    Leaving,
}

/// A text is no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of off, auto, required and leaving")]
pub struct ModeError(String);

impl Mode {
    const ALL: [Self; 4] = [Self::Off, Self::Auto, Self::Required, Self::Leaving];

    /// As it is written in a setting.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Auto => "auto",
            Self::Required => "required",
            Self::Leaving => "leaving",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or_else(|| ModeError(text.to_owned()))
    }
}

/// Whether every controller that reads reports knows the primary, so that it may be written to.
pub trait Gate: Send + Sync + 'static {
    /// Whether it does, as far as is known now.
    fn is_open(&self) -> bool;
}

impl<F: Fn() -> bool + Send + Sync + 'static> Gate for F {
    fn is_open(&self) -> bool {
        self()
    }
}

impl Gate for watch::Receiver<bool> {
    fn is_open(&self) -> bool {
        *self.borrow()
    }
}

/// The mode, with the writes that were begun under it.
pub(super) struct Epochs {
    now: Mutex<Epoch>,
}

struct Epoch {
    mode: Mode,
    begun: watch::Sender<()>,
}

/// A write that is under way in some mode.
pub(super) struct Begun {
    pub(super) mode: Mode,
    _until_dropped: watch::Receiver<()>,
}

impl Epochs {
    pub(super) fn new(mode: Mode) -> Self {
        Self { now: Mutex::new(Epoch::new(mode)) }
    }

    fn mode(&self) -> Mode {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).mode
    }

    /// Begins a write.
    pub(super) fn begin(&self) -> Begun {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        Begun { mode: now.mode, _until_dropped: now.begun.subscribe() }
    }

    fn change(&self, mode: Mode) -> watch::Sender<()> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *now, Epoch::new(mode)).begun
    }
}

impl Epoch {
    fn new(mode: Mode) -> Self {
        Self { mode, begun: watch::Sender::new(()) }
    }
}

impl Reports {
    /// How it is set.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.room.epoch.mode()
    }

    /// Sets it otherwise, and returns once every put that was begun before has ended: from then on this controller writes as `mode` says.
    /// Tell others of the new mode after that, so that whoever takes the primary for empty is right.
    pub async fn set_mode(&self, mode: Mode) {
        let before = self.room.epoch.change(mode);
        before.closed().await;
    }
}
