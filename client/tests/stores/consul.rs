//! What is special to Consul.

use larder_client::Credentials;
use larder_client::fallback::{Condition, Consul, Entry, KeyChanges, KeyValue as _, StoreError};
use larder_harness::{Authority, need};

use crate::consul_at;
use crate::suite::{delete, find, is_refused, keys, put, set};

#[tokio::test]
async fn a_token_that_may_nothing_is_refused_everywhere() {
    let server = need!(larder_harness::Consul::shared());
    let key = "consul-token/key".to_owned();
    set(&consul_at(&server.url(), server.token()), &key, "1").await;
    let unknown = "11111111-aaaa-bbbb-cccc-222222222222";
    let nobody = Consul::new(server.url().parse().unwrap(), None).unwrap();
    for (store, says) in [(consul_at(&server.url(), unknown), "ACL not found"), (nobody, "Permission denied")]
    {
        let refusals = [
            is_refused(store.get(std::slice::from_ref(&key)).await),
            is_refused(store.list("consul-token/", None, 10).await),
            is_refused(store.list("consul-token/../?", None, 10).await),
            is_refused(store.commit(vec![put(&key, "2", Condition::Any)]).await),
            is_refused(store.commit(vec![put(&key, "2", Condition::Absent)]).await),
            is_refused(store.commit(vec![put(&key, vec![0; 512 << 10], Condition::Absent)]).await),
        ];
        for refusal in refusals {
            assert!(refusal.contains(says) && !refusal.contains(unknown), "{refusal}");
        }
        assert!(!format!("{store:?}").contains(unknown));
    }
    Consul::new(server.url().parse().unwrap(), None).unwrap().with_token("two\nlines").unwrap_err();
}

#[tokio::test]
async fn without_a_leader_nothing_is_known() {
    let server = need!(larder_harness::Consul::start_without_leader());
    let store = consul_at(&server.url(), server.token());
    let errors = [
        store.get(&["a".to_owned()]).await.unwrap_err(),
        store.list("a", None, 10).await.unwrap_err(),
        store.commit(vec![put("a", "", Condition::Any)]).await.unwrap_err(),
        store.commit(vec![put("a", vec![0; 512 << 10], Condition::Any)]).await.unwrap_err(),
    ];
    for error in errors {
        assert!(
            matches!(&error, StoreError::Unanswered { reason, .. } if reason.contains("No cluster leader")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn over_tls() {
    let server = need!(larder_harness::Consul::shared());
    let open = |ca: std::path::PathBuf| {
        let credentials = Credentials::trusting(ca).unwrap();
        let store = Consul::new(server.tls_url().parse().unwrap(), Some(credentials)).unwrap();
        store.with_token(server.token()).unwrap()
    };
    let store = open(server.ca());
    set(&store, "consul-tls/key", "1").await;
    assert_eq!(find(&store, "consul-tls/key").await.unwrap().value, "1");

    let other = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(other.path(), Authority::new("consul test").pem()).unwrap();
    let error = open(other.path().to_owned()).get(&["a".to_owned()]).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unreachable { reason, .. } if reason.contains("none of the given CAs")),
        "{error}"
    );
    Consul::new(server.tls_url().parse().unwrap(), None).unwrap_err();
}

#[tokio::test]
async fn a_long_listing_comes_folder_by_folder() {
    let server = need!(larder_harness::Consul::shared());
    let plain = consul_at(&server.url(), server.token());
    let mut all = Vec::new();
    for folder in 0..12 {
        let prefix = format!("consul-long/{folder}");
        all.extend((0..20).map(|number| format!("{prefix}/{number}/key")));
        all.extend([prefix.clone(), format!("{prefix}/"), format!("{prefix}-")]);
    }
    all.sort_unstable();
    for some in all.chunks(30) {
        let puts = some.iter().map(|key| put(key, "", Condition::Any)).collect();
        assert!(plain.commit(puts).await.unwrap());
    }
    // Neither the whole nor all folders at once fit, but one folder does.
    let narrow = consul_at(&server.url(), server.token()).with_listing_limit(1 << 10);
    for (prefix, after, limit) in [
        ("consul-long/", None, 1000),
        ("consul-long/", None, 7),
        ("consul-long/1", None, 1000),
        ("consul-long/", Some("consul-long/10/19/key"), 25),
        ("consul-long/", Some("consul-long/3/"), 1000),
        ("consul-long/", Some("consul-long/3"), 1),
        ("consul-long/5/", Some("consul-long/5/"), 1000),
    ] {
        let expected: Vec<_> = all
            .iter()
            .filter(|key| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after))
            .take(limit)
            .collect();
        let found = keys(&narrow, prefix, after, limit).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{prefix} {after:?}");
    }
    let hopeless = consul_at(&server.url(), server.token()).with_listing_limit(100);
    assert!(is_refused(hopeless.list("consul-long/", None, 10).await).contains("too many keys"));
}

#[tokio::test]
async fn a_large_value_under_an_odd_key_is_refused_with_a_reason() {
    let server = need!(larder_harness::Consul::shared());
    let store = consul_at(&server.url(), server.token());
    let large = |key| vec![put(key, vec![b'x'; 500 << 10], Condition::Any)];
    assert!(store.commit(large("consul-odd/a b?c#%")).await.unwrap());
    assert_eq!(find(&store, "consul-odd/a b?c#%").await.unwrap().value.len(), 500 << 10);
    let reason = is_refused(store.commit(large("consul-odd/../b")).await);
    assert!(reason.contains("consul-odd/../b"), "{reason}");
}

/// What is told, in the order of keys, as text.
async fn told(changes: &mut KeyChanges) -> Vec<(String, Option<String>)> {
    let text = |entry: Entry| String::from_utf8(entry.value.to_vec()).unwrap();
    let mut told: Vec<_> =
        changes.next().await.unwrap().into_iter().map(|it| (it.key, it.entry.map(text))).collect();
    told.sort();
    told
}

#[tokio::test]
async fn keys_are_followed_as_they_are_written_and_removed() {
    let server = need!(larder_harness::Consul::shared());
    let store = consul_at(&server.url(), server.token());
    let mut changes = store.follow("consul-follow/");
    let key = |name: &str| format!("consul-follow/{name}");
    let written = |name: &str, value: &str| (key(name), Some(value.to_owned()));

    // Nothing is there, which is told; then it waits, and forgets nothing if somebody stops waiting.
    assert_eq!(told(&mut changes).await, []);
    tokio::select! {
        biased;
        _ = changes.next() => panic!("nothing has changed"),
        _ = set(&store, "consul-follow", "beside it") => {}
    }
    let (first, _) = tokio::join!(told(&mut changes), async { set(&store, &key("a"), "1").await });
    assert_eq!(first, [written("a", "1")]);
    let both = vec![put(&key("a"), "2", Condition::Any), put(&key("b/ü"), "", Condition::Absent)];
    assert!(store.commit(both).await.unwrap());
    assert_eq!(told(&mut changes).await, [written("a", "2"), written("b/ü", "")]);
    assert!(store.commit(vec![delete(&key("a"), Condition::Any)]).await.unwrap());
    assert_eq!(told(&mut changes).await, [(key("a"), None)]);
    // Who begins is told of what is there.
    assert_eq!(told(&mut store.follow("consul-follow/")).await, [written("b/ü", "")]);
    assert!(store.commit(vec![delete(&key("b/ü"), Condition::Any)]).await.unwrap());
    assert_eq!(told(&mut changes).await, [(key("b/ü"), None)]);
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused() {
    let server = need!(larder_harness::Consul::shared());
    let store = consul_at(&server.url(), server.token());
    set(&store, "consul-unfollowed/key", vec![b'x'; 4000]).await;
    let nobody = Consul::new(server.url().parse().unwrap(), None).unwrap();
    assert!(is_refused(nobody.follow("consul-unfollowed/").next().await).contains("Permission denied"));
    assert!(is_refused(store.follow("consul-unfollowed/../").next().await).contains("cannot be followed"));
    let narrow = store.with_listing_limit(1000);
    assert!(is_refused(narrow.follow("consul-unfollowed/").next().await).contains("too much"));
}
