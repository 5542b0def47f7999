//! What is special to etcd.

use larder_client::Credentials;
use larder_client::fallback::{Condition, Etcd, KeyValue as _, Login, StoreError};
use larder_harness::need;

use crate::etcd_at;
use crate::suite::{find, is_refused, keys, put, set};

#[tokio::test]
async fn a_stranger_is_refused_everywhere() {
    let server = need!(larder_harness::Etcd::shared());
    let stranger = etcd_at(&server.url(), "wrong horse");
    let nobody = Etcd::new(server.url().parse().unwrap(), None).unwrap();
    let key = "etcd-token/key".to_owned();
    for store in [stranger, nobody] {
        let refusals = [
            is_refused(store.get(std::slice::from_ref(&key)).await),
            is_refused(store.list("etcd-token/", None, 10).await),
            is_refused(store.commit(vec![put(&key, "2", Condition::Any)]).await),
        ];
        for refusal in refusals {
            assert!(!refusal.is_empty() && !refusal.contains("wrong horse"), "{refusal}");
        }
        assert!(!format!("{store:?}").contains("wrong horse"));
    }
}

#[tokio::test]
async fn a_token_that_etcd_forgot_is_asked_for_again() {
    let mut server = need!(larder_harness::Etcd::start());
    let store = etcd_at(&server.url(), server.password());
    set(&store, "key", "1").await;
    server.start_again();
    assert_eq!(find(&store, "key").await.unwrap().value, "1");
    assert!(store.commit(vec![put("key", "2", Condition::Any)]).await.unwrap());
    assert_eq!(find(&store, "key").await.unwrap().value, "2");
}

#[tokio::test]
async fn over_tls_with_a_certificate() {
    let server = need!(larder_harness::Etcd::shared());
    let open = |credentials| {
        let login = Login { user: server.user().to_owned(), password: server.password().to_owned() };
        Etcd::new(server.tls_url().parse().unwrap(), Some(credentials)).unwrap().with_login(login)
    };
    let pair = server.client();
    let store = open(Credentials::from_files(server.ca(), pair.cert, pair.key).unwrap());
    set(&store, "etcd-tls/key", "1").await;
    assert_eq!(find(&store, "etcd-tls/key").await.unwrap().value, "1");

    let without = open(Credentials::trusting(server.ca()).unwrap());
    let error = without.get(&["a".to_owned()]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_listing_of_more_than_one_page() {
    let server = need!(larder_harness::Etcd::shared());
    let store = etcd_at(&server.url(), server.password());
    let all: Vec<_> = (0..2100).map(|number| format!("etcd-pages/{number:04}")).collect();
    for some in all.chunks(128) {
        assert!(store.commit(some.iter().map(|key| put(key, "", Condition::Any)).collect()).await.unwrap());
    }
    assert_eq!(keys(&store, "etcd-pages/", None, 10_000).await, all);
    assert_eq!(keys(&store, "etcd-pages/", None, 2000).await, all[..2000]);
    assert_eq!(keys(&store, "etcd-pages/", Some("etcd-pages/1999"), 2000).await, all[2000..]);
}
