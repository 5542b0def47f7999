//! The wire.

mod body;
mod options;
mod path;
mod pretty;
mod pulse;
mod status;
