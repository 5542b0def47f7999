//! `larder apiserver` as its clients see it: raw HTTP, `kubectl` and kube-rs, alone and behind a real kube-apiserver.
//!
//! Tests are named after the checks that a server of the Kubernetes API has to pass (`check_NN`). Servers are the real binary on ports that the
//! system chooses. Standing alone, one server is shared by the tests of this process, each of which has a namespace of its own; what restarts
//! a server, or counts everything in it, has one for itself.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod aggregated;
mod applies;
mod client_go;
mod cluster;
mod controllers;
mod deletes;
mod discovery;
mod documents;
mod kubectl;
mod lists;
mod moves;
mod readme;
mod replicas;
mod versions;
mod watches;
mod world;
mod writes;
