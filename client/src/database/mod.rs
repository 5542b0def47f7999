//! Databases that take SQL: for now the sidecar, over HTTP with mutual TLS.

mod sidecar;

pub use sidecar::{
    Answer, Credentials, Endpoint, Error, Event, Operation, Options, Reason, RowStream, Sidecar,
};
