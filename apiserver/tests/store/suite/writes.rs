//! Writes, one by one and at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use larder_apiserver::store::StoreError;
use larder_client::database::Database;
use serde_json::{Value, json};

use super::{RESOURCE, create, draft, failed, key, listed, store};

pub(crate) async fn an_object_comes_back_as_it_was(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let spec = json!({"owner": "ä\u{1f980}", "numbers": [1, -2, 0.1, 1e300], "none": null, "empty": {}});
    let written = store.create(RESOURCE, &draft("a/b", "x=1", spec.clone())).await.unwrap();
    let read = store.get(RESOURCE, &key("a/b")).await.unwrap().unwrap();
    assert_eq!((read.revision, &read.rest), (written.revision, &written.rest));
    assert_eq!(&*read.version, "v1");
    let object = Value::Object(read.object("example.com/v2", "Report").unwrap().0);
    assert_eq!(object["spec"], spec);
    assert_eq!(object["apiVersion"], "example.com/v2");
    assert_eq!(object["metadata"]["resourceVersion"], written.revision.to_string());
    assert!(store.get(RESOURCE, &key("a/c")).await.unwrap().is_none());
    assert!(store.get("others.example.com", &key("a/b")).await.unwrap().is_none());
}

pub(crate) async fn what_is_there_is_not_made_again(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let first = create(&store, "a/b", "x=1").await;
    let before = store.revision().await.unwrap();
    let again = store.create(RESOURCE, &draft("a/b", "x=2", json!({}))).await;
    assert!(matches!(failed(again), StoreError::Exists));
    assert_eq!(store.revision().await.unwrap(), before, "a write that fails takes no revision");
    let read = store.get(RESOURCE, &key("a/b")).await.unwrap().unwrap();
    assert_eq!((read.revision, read.rest), (first.revision, first.rest));
    store.create("others.example.com", &draft("a/b", "", json!({}))).await.unwrap();
}

pub(crate) async fn only_what_is_expected_is_replaced(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let first = create(&store, "a/b", "x=1").await;
    let change = draft("a/b", "x=2", json!({"n": 2}));
    let second = store.update(RESOURCE, &change, first.revision).await.unwrap();
    assert!(second.revision > first.revision);
    assert!(matches!(failed(store.update(RESOURCE, &change, first.revision).await), StoreError::Changed));
    assert!(matches!(failed(store.delete(RESOURCE, &key("a/b"), first.revision).await), StoreError::Changed));
    assert!(matches!(
        failed(store.delete(RESOURCE, &key("a/c"), second.revision).await),
        StoreError::Changed
    ));
    assert_eq!(store.get(RESOURCE, &key("a/b")).await.unwrap().unwrap().rest, second.rest);
    let third = store.delete(RESOURCE, &key("a/b"), second.revision).await.unwrap();
    assert!(third > second.revision);
    assert!(store.get(RESOURCE, &key("a/b")).await.unwrap().is_none());
    assert!(matches!(failed(store.update(RESOURCE, &change, second.revision).await), StoreError::Changed));
    let fourth = create(&store, "a/b", "x=1").await;
    assert!(fourth.revision > third);
}

pub(crate) async fn revisions_come_in_the_order_of_commits(database: Arc<dyn Database>) {
    let (one, other) = (store(&database).await, store(&database).await);
    let mut last = 0;
    for it in 0..20 {
        let writer = if it % 2 == 0 { &one } else { &other };
        let revision = create(writer, &format!("a/{it}"), "").await.revision;
        assert!(revision > last);
        assert_eq!(one.revision().await.unwrap(), revision);
        last = revision;
    }
}

pub(crate) async fn writers_at_once_get_revisions_of_their_own(database: Arc<dyn Database>) {
    let (one, other) = (store(&database).await, store(&database).await);
    let writers = (0..8).map(|writer| {
        let store = if writer % 2 == 0 { one.clone() } else { other.clone() };
        tokio::spawn(async move {
            let mut revisions = Vec::new();
            for it in 0..25 {
                // All are after the same objects: of each, one is made.
                match store.create(RESOURCE, &draft(&format!("a/{it}"), "x=1", json!({"by": writer}))).await {
                    Ok(stored) => revisions.push(stored.revision),
                    Err(StoreError::Exists) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            revisions
        })
    });
    let mut revisions = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        revisions.extend(writer.await.unwrap());
    }
    assert_eq!(revisions.len(), 25);
    let distinct: BTreeSet<_> = revisions.iter().collect();
    assert_eq!(distinct.len(), 25);
    assert_eq!(listed(&one, &super::all()).await.unwrap().len(), 25);
}

pub(crate) async fn a_database_without_tables_is_prepared_by_whoever_comes_first(
    database: Arc<dyn Database>,
) {
    let opening = (0..6).map(|_| {
        let database = Arc::clone(&database);
        tokio::spawn(async move { store(&database).await.revision().await.unwrap() })
    });
    for revision in opening.collect::<Vec<_>>() {
        assert!(revision.await.unwrap() > 0);
    }
}
