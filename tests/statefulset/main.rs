//! What puts Larder into a cluster: that overlays, chart and `larder manifests` are the same objects, that a real API server takes them,
//! that the alerts fire, and that the real binary does under the manifests' arguments what they promise.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod admission;
mod apiserver;
mod database;
mod image;
mod monitoring;
mod objects;
mod operations;
mod pod;
mod readme;
mod refusals;
mod rotation;
mod same;
mod sandbox;
mod values;
