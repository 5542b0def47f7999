//! Larder's embedded SQLite.

pub mod floor;
