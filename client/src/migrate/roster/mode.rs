//! The one setting with which a controller is switched to the primary and back.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a controller is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Reports stay where they are.
    #[default]
    Off,
    /// The primary is used while it answers and everybody knows it.
    Auto,
    /// The primary is used, or nothing.
    Required,
    /// Reports are taken out of the primary, so that it can be removed.
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
