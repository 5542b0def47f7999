//! Rules.
pub mod names;
