//! A server behind a wire that is cut, held up or deaf.

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_client::fallback::{Condition, Entry, KeyValue, StoreError, Timeouts};
use larder_harness::{Proxy, Skip, need};
use tokio::task::JoinHandle;

use crate::suite::{find, put, set};
use crate::{Site, consul_at, etcd_at};

const SHORT: Timeouts = Timeouts { connect: Duration::from_millis(500), answer: Duration::from_secs(2) };

fn consul(test: &str) -> Result<(Site, Proxy), Skip> {
    let server = larder_harness::Consul::shared()?;
    let proxy = Proxy::start(server.address());
    Ok((Site::new(consul_at(&proxy.url(), server.token()).with_timeouts(SHORT), test, server), proxy))
}

fn etcd(test: &str) -> Result<(Site, Proxy), Skip> {
    let server = larder_harness::Etcd::shared()?;
    let proxy = Proxy::start(server.address());
    Ok((Site::new(etcd_at(&proxy.url(), server.password()).with_timeouts(SHORT), test, server), proxy))
}

#[tokio::test]
async fn consul_comes_and_goes() {
    let (site, proxy) = need!(consul("outage-consul"));
    comes_and_goes(site, proxy).await;
}

#[tokio::test]
async fn etcd_comes_and_goes() {
    let (site, proxy) = need!(etcd("outage-etcd"));
    comes_and_goes(site, proxy).await;
}

async fn comes_and_goes(site: Site, proxy: Proxy) {
    let (store, key) = (&*site.store, site.key("key"));
    set(store, &key, "1").await;

    proxy.cut();
    for error in every_call(store, &key).await {
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    }
    proxy.heal();
    assert_eq!(find(store, &key).await.unwrap().value, "1");

    proxy.stall();
    for error in every_call(store, &key).await {
        assert!(matches!(error, StoreError::Unanswered { .. }), "{error}");
    }
    proxy.cut();
    proxy.heal();
    let before = find(store, &key).await.unwrap();
    assert_eq!(before.value, "1", "what was held up has been thrown away");

    proxy.lose_answers();
    let swap = || vec![put(&key, "2", Condition::Unchanged(before.revision))];
    let error = store.commit(swap()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unanswered { .. }), "{error}");
    proxy.heal();
    assert_eq!(find(store, &key).await.unwrap().value, "2", "it was done, once");
    assert!(!store.commit(swap()).await.unwrap());
}

/// Makes every call, each of which fails within its time.
async fn every_call(store: &dyn KeyValue, key: &str) -> Vec<StoreError> {
    let started = Instant::now();
    // Reads come first: they notice that the connections of before are no more, and what reads is sent again.
    let errors = vec![
        store.get(&[key.to_owned()]).await.unwrap_err(),
        store.list(key, None, 10).await.unwrap_err(),
        store.commit(vec![put(key, "lost", Condition::Any)]).await.unwrap_err(),
    ];
    assert!(started.elapsed() < 3 * (SHORT.answer + Duration::from_millis(500)), "{:?}", started.elapsed());
    errors
}

#[tokio::test]
async fn many_calls_wait_together_not_one_after_the_other() {
    let (site, proxy) = need!(consul("outage-many"));
    proxy.stall();
    let started = Instant::now();
    for call in ask(&site, 200) {
        call.await.unwrap().unwrap_err();
    }
    assert!(started.elapsed() < SHORT.answer + Duration::from_secs(1), "{:?}", started.elapsed());
}

/// An agent takes 200 connections of one client; the harness allows more, so that only what we do counts.
#[tokio::test]
async fn many_calls_take_few_connections() {
    let server = need!(larder_harness::Consul::shared());
    let proxy = Proxy::start(server.address());
    let site = Site::new(consul_at(&proxy.url(), server.token()), "outage-few", server);
    for call in ask(&site, 500) {
        assert_eq!(call.await.unwrap().unwrap(), [None]);
    }
    assert!(proxy.connections() <= 64, "{} connections", proxy.connections());
}

fn ask(site: &Site, calls: usize) -> Vec<JoinHandle<Result<Vec<Option<Entry>>, StoreError>>> {
    let ask = |number: usize| {
        let (store, key) = (Arc::clone(&site.store), site.key(&number.to_string()));
        tokio::spawn(async move { store.get(&[key]).await })
    };
    (0..calls).map(ask).collect()
}
