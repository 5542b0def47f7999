//! Leading: one suite for every keeper of a seat, and what is special to each.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod alone;
mod kubernetes;
mod suite;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use larder_client::fallback::Consul;
use larder_client::migrate::leadership::{Campaign, ConsulLock, Lease, Terms};
use larder_client::migrate::{Leader, Leadership};
use larder_client::{Credentials, Endpoint};
use larder_harness::{Proxy, Skip};
use tokio::time::timeout;

/// How long a seat is kept for somebody who is silent.
const TTL: Duration = Duration::from_secs(2);
/// Nothing here takes longer, unless it does not happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who keeps the seat, and how a candidate of some name campaigns at the end of some wire.
struct Court {
    scheme: &'static str,
    address: String,
    campaign: Campaigns,
    _server: Box<dyn Any>,
}

/// How a candidate of some name campaigns at an endpoint.
type Campaigns = Box<dyn Fn(&str, Endpoint) -> Arc<dyn Leadership>>;

/// Somebody who wants to lead, and the wire to the keeper of the seat.
struct Candidate {
    leadership: Arc<dyn Leadership>,
    wire: Proxy,
}

impl Court {
    fn candidate(&self, name: &str) -> Candidate {
        let wire = Proxy::start(self.address.clone());
        let leadership =
            (self.campaign)(name, format!("{}://{}", self.scheme, wire.address()).parse().unwrap());
        Candidate { leadership, wire }
    }
}

impl Candidate {
    /// Waits until this candidate knows that `leader` leads.
    async fn sees(&self, leader: Leader) {
        let mut seen = self.leadership.leader();
        let waiting = timeout(PATIENCE, seen.wait_for(|it| *it == leader)).await.map(drop);
        waiting.unwrap_or_else(|_| {
            panic!("{leader:?} does not come about; it is {:?}", self.leadership.leader().borrow())
        });
    }

    fn believes(&self) -> Leader {
        self.leadership.leader().borrow().clone()
    }
}

fn consul(seat: &'static str) -> Result<Court, Skip> {
    let server = larder_harness::Consul::shared()?;
    let token = server.token();
    let campaign = move |name: &str, endpoint| -> Arc<dyn Leadership> {
        let consul = Consul::new(endpoint, None).unwrap().with_token(token).unwrap();
        Arc::new(Campaign::start(ConsulLock::new(&consul, format!("lock/{seat}"), name, TTL), Terms::of(TTL)))
    };
    let address = server.address();
    Ok(Court { scheme: "http", address, campaign: Box::new(campaign), _server: Box::new(server) })
}

fn kubernetes(seat: &'static str) -> Result<Court, Skip> {
    let server = larder_harness::Kubernetes::shared()?;
    let (address, ca, token) = (server.address(), server.ca(), server.token());
    let campaign = move |name: &str, endpoint| -> Arc<dyn Leadership> {
        let (credentials, token) = (Credentials::trusting(&ca).unwrap(), Some(token.clone()));
        let seat = format!("test-{}", seat.replace('_', "-"));
        let lease = Lease::new(endpoint, Some(credentials), token, ("default", &seat), name, TTL).unwrap();
        Arc::new(Campaign::start(lease, Terms::of(TTL)))
    };
    Ok(Court { scheme: "https", address, campaign: Box::new(campaign), _server: Box::new(server) })
}

fn lease(seat: &'static str) -> Result<Court, Skip> {
    let server = kubernetes::Leases::start();
    let (address, token) = (server.address(), server.token());
    let campaign = move |name: &str, endpoint| -> Arc<dyn Leadership> {
        let lease = Lease::new(endpoint, None, Some(token.clone()), ("larder", seat), name, TTL).unwrap();
        Arc::new(Campaign::start(lease, Terms::of(TTL)))
    };
    Ok(Court { scheme: "http", address, campaign: Box::new(campaign), _server: Box::new(server) })
}

/// Every test of the suite for every keeper.
macro_rules! suite {
    ($($test:ident)*) => {
        mod on_consul {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let court = larder_harness::need!(super::consul(stringify!($test)));
                super::suite::$test(court).await;
            })*
        }

        mod on_kubernetes {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let court = larder_harness::need!(super::kubernetes(stringify!($test)));
                super::suite::$test(court).await;
            })*
        }

        mod on_a_lease {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let court = larder_harness::need!(super::lease(stringify!($test)));
                super::suite::$test(court).await;
            })*
        }
    };
}

suite! {
    exactly_one_of_two_leads
    who_resigns_is_followed_at_once
    who_is_dropped_is_followed
    who_cannot_renew_steps_down_and_is_followed_and_knows_it_afterwards
    who_is_held_up_steps_down_before_another_leads
    without_a_keeper_nobody_leads
}
