//! The command line: one file for each command.

pub(crate) mod bench;
pub(crate) mod certs;
pub(crate) mod serve;
