//! The same requests to a real kube-apiserver, with a CRD, and to the functions of this crate: what objects become, who owns their fields, and what
//! is said of what is wrong has to be the same, word by word.
//!
//! How objects and the server are shown is compared too ([`shown`]). First what is worth writing down ([`cases`]), then random changes by several managers ([`random`]). What no two servers agree on, uids, revisions
//! and times, is left out; whether there is a time is not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cases;
mod ours;
mod random;
mod real;
mod request;
mod shown;

use larder_harness::{Kubernetes, need};
use serde_json::Value;

use ours::Ours;
use real::Real;
use request::{Answer, Request};

/// Both servers, asked side by side.
struct Pair {
    real: Real,
    ours: Ours,
    differences: Vec<String>,
}

impl Pair {
    async fn new(kubernetes: &Kubernetes) -> Self {
        let document = document();
        let real = Real::new(kubernetes).await;
        real.serve(&document).await;
        Self { real, ours: Ours::new(&document), differences: Vec::new() }
    }

    /// Asks both; what they do not agree on is kept, since it is seldom alone.
    async fn ask(&mut self, request: &Request) {
        let real = self.real.ask(request).await.comparable();
        let ours = self.ours.ask(request).comparable();
        if (ours.code, &ours.warnings, &ours.body) != (real.code, &real.warnings, &real.body) {
            let shown = |it: &Answer| format!("{} {:?}\n{:#}", it.code, it.warnings, it.body);
            let (ours, real) = (shown(&ours), shown(&real));
            self.differences.push(format!("{request:#?}\nours: {ours}\nreal: {real}"));
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let shown = self
                .differences
                .iter()
                .take(std::env::var("SHOW").map_or(5, |it| it.parse().unwrap()))
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join("\n\n");
            assert!(self.differences.is_empty(), "{} answers differ\n\n{shown}", self.differences.len());
        }
    }
}

/// A resource that has one field of each sort.
fn document() -> Value {
    serde_json::from_str(include_str!("things.json")).unwrap()
}

#[tokio::test]
async fn what_is_written_down_is_answered_alike() {
    let kubernetes = need!(Kubernetes::shared());
    let mut pair = Pair::new(&kubernetes).await;
    for request in cases::all() {
        pair.ask(&request).await;
    }
}

#[tokio::test]
async fn random_changes_are_answered_alike() {
    let kubernetes = need!(Kubernetes::shared());
    let mut pair = Pair::new(&kubernetes).await;
    for seed in 0..random::schedules() {
        for request in random::schedule(seed) {
            pair.ask(&request).await;
        }
    }
}
