//! Moving custom resources out of the etcd of a real kube-apiserver, and back, while clients go on through the same kube-apiserver.
//!
//! The server is the real one, in this process, so that a mover can be ended after any of its calls. What clients see is checked by themselves: each knows
//! what it wrote and was told to be done.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod clients;
mod hidden;
mod killed;
mod moves;
mod refusals;
mod reports;
mod returned;
mod site;
