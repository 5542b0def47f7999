//! Stores of keys and values: one suite for all of them, run against the real servers, and what is special to each.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod consul;
mod etcd;
mod outage;
mod suite;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use larder_client::fallback::{Consul, Directory, Etcd, KeyValue, Login, Memory, Timeouts};
use larder_harness::Skip;

/// A store for one test. Others may use it too, each below a prefix of its own.
struct Site {
    store: Arc<dyn KeyValue>,
    prefix: String,
    _server: Box<dyn Any + Send + Sync>,
}

impl Site {
    fn new(store: impl KeyValue, prefix: &str, server: impl Any + Send + Sync) -> Self {
        Self { store: Arc::new(store), prefix: format!("{prefix}/"), _server: Box::new(server) }
    }

    /// A key below the prefix.
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

fn memory(test: &str) -> Result<Site, Skip> {
    Ok(Site::new(Memory::new(), test, ()))
}

fn directory(test: &str) -> Result<Site, Skip> {
    let home = tempfile::tempdir().unwrap();
    Ok(Site::new(Directory::open(home.path()).unwrap(), test, home))
}

fn consul(test: &str) -> Result<Site, Skip> {
    let server = larder_harness::Consul::shared()?;
    Ok(Site::new(consul_at(&server.url(), server.token()), test, server))
}

fn etcd(test: &str) -> Result<Site, Skip> {
    let server = larder_harness::Etcd::shared()?;
    Ok(Site::new(etcd_at(&server.url(), server.password()), test, server))
}

fn consul_at(url: &str, token: &str) -> Consul {
    let consul = Consul::new(url.parse().unwrap(), None).unwrap();
    consul.with_token(token).unwrap().with_timeouts(patient())
}

fn etcd_at(url: &str, password: &str) -> Etcd {
    let login = Login { user: "root".to_owned(), password: password.to_owned() };
    Etcd::new(url.parse().unwrap(), None).unwrap().with_login(login).with_timeouts(patient())
}

/// For a machine that has other things to do as well.
fn patient() -> Timeouts {
    Timeouts { connect: Duration::from_secs(10), answer: Duration::from_secs(60) }
}

/// Runs tests of the suite on a store.
macro_rules! runs {
    ($store:ident: $($test:ident)*) => { mod $store { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let test = concat!("suite-", stringify!($test));
                crate::suite::$test(larder_harness::need!(crate::$store(test))).await;
            }
    )* } };
}

/// Runs the whole suite on each store.
macro_rules! each {
    ($($store:ident)*) => { mod each { $(
        runs!($store:
            values_come_back_bit_for_bit
            conditions_hold_or_nothing_is_done
            transactions_are_all_or_nothing
            a_deleted_key_that_came_back_is_another
            counters_lose_no_step
            one_of_many_creates_a_key
            any_text_is_a_key
            listings_are_in_the_order_of_bytes
            pages_of_a_listing_join
            many_values_are_read_at_once
            limits_are_what_is_taken
            what_is_no_transaction_is_refused
        );
    )* } };
}

each!(memory directory consul etcd);
