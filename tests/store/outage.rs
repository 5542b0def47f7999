//! Servers that die and come back, as they were or as they had been long ago.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use larder_apiserver::store::{Revision, Selection, Store, StoreError};
use larder_apiserver::watch::{Event, From, Watch, Watches};
use larder_harness::{Proxy, Server};
use serde_json::json;

use crate::sidecar_at;
use crate::suite::{RESOURCE, all, at, create, draft, failed, key, listed, shown, store};

const ROUNDS: usize = 4;
const WRITERS: usize = 4;

fn address(server: &Server) -> String {
    server.url().strip_prefix("https://").unwrap().to_owned()
}

fn through(wire: &Proxy, server: &Server) -> Arc<dyn larder_client::database::Database> {
    sidecar_at(&format!("https://{}", wire.address()), server)
}

/// Creates until it is not answered any more; says what was acknowledged, and what may have been done or not.
async fn write(store: Store, prefix: String) -> (BTreeMap<String, Revision>, String) {
    let mut acknowledged = BTreeMap::new();
    for it in 0.. {
        let place = format!("{prefix}/{it:05}");
        match store.create(RESOURCE, &draft(&place, "x=1", json!({}))).await {
            Ok(stored) => drop(acknowledged.insert(place, stored.revision)),
            Err(StoreError::Database(_)) => return (acknowledged, place),
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("it is killed")
}

/// Follows creations until it has heard of so many, and goes on whenever the database was away.
async fn follow(mut watch: Watch, enough: tokio::sync::watch::Receiver<Option<Revision>>) -> Vec<String> {
    let mut events = Vec::new();
    loop {
        if enough.borrow().is_some_and(|upto| watch.told() >= upto) {
            return events;
        }
        match tokio::time::timeout(Duration::from_millis(20), watch.next()).await {
            Ok(Ok(Event::Added(told))) => events.push(shown(&told.stored)),
            Ok(Ok(_)) => panic!("everything is created once"),
            Ok(Err(StoreError::Database(_))) => tokio::time::sleep(Duration::from_millis(20)).await,
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_and_expires_nobody() {
    let mut server = larder_harness::setup!().start();
    let wire = Proxy::start(address(&server));
    let stores = [store(&through(&wire, &server)).await, store(&through(&wire, &server)).await];
    let watches = [Watches::new(stores[0].clone()), Watches::new(stores[1].clone())];
    let (say, enough) = tokio::sync::watch::channel(None);
    let mut following = Vec::new();
    for it in &watches {
        let watch = it.watch(RESOURCE, Selection::default(), From::Now).await.unwrap();
        following.push(tokio::spawn(follow(watch, enough.clone())));
    }
    let (mut acknowledged, mut unknown) = (BTreeMap::new(), Vec::new());
    for round in 0..ROUNDS {
        let writers: Vec<_> = (0..WRITERS)
            .map(|it| tokio::spawn(write(stores[it % 2].clone(), format!("r{round}-{it}"))))
            .collect();
        tokio::time::sleep(Duration::from_millis(150 + 70 * round as u64)).await;
        wire.cut();
        server.kill();
        for writer in writers {
            let (done, open) = writer.await.unwrap();
            assert!(!done.is_empty());
            acknowledged.extend(done);
            unknown.push(open);
        }
        server.start_again();
        wire.lead_to(address(&server));
        wire.heal();
        while stores[0].revision().await.is_err() {}
    }
    let last = create(&stores[0], "z/last", "").await;
    acknowledged.insert("z/last".to_owned(), last.revision);
    say.send_replace(Some(last.revision));

    let found = listed(&stores[1], &all()).await.unwrap();
    let place = |shown: &str| shown.split('@').next().unwrap().to_owned();
    let revision = |shown: &str| shown.split('@').nth(1).unwrap().parse::<Revision>().unwrap();
    for (place, revision) in &acknowledged {
        assert!(found.contains(&format!("{place}@{revision}")), "{place} of {revision} was acknowledged");
    }
    assert!(found.iter().all(|it| acknowledged.contains_key(&place(it)) || unknown.contains(&place(it))));
    let mut expected = found;
    expected.sort_by_key(|it| revision(it));
    assert!(expected.windows(2).all(|pair| revision(&pair[0]) < revision(&pair[1])));
    for watcher in following {
        let told = tokio::time::timeout(Duration::from_secs(60), watcher).await;
        assert_eq!(told.expect("it is told all").unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_restored_ends_every_watch_and_gives_no_revision_again() {
    let server = larder_harness::setup!().start();
    let (one, other) =
        (store(&sidecar_at(server.url(), &server)).await, store(&sidecar_at(server.url(), &server)).await);
    create(&one, "a/kept", "").await;
    let common = one.revision().await.unwrap();
    let backup = server.connect("admin").await.get("/backup").await;
    assert_eq!(backup.status, 200);
    let watches = Watches::new(other.clone());
    let mut watch = watches.watch(RESOURCE, Selection::default(), From::Now).await.unwrap();
    let lost = create(&one, "a/lost", "").await;
    assert!(
        matches!(watch.next().await.unwrap(), Event::Added(told) if told.stored.revision == lost.revision)
    );

    let mut admin = server.connect("admin").await;
    let restored = admin.send(Method::POST, "/restore", &[], backup.body).await.unwrap();
    assert_eq!(restored.status, 200, "{restored:?}");
    let next = create(&one, "a/next", "").await;
    assert!(next.revision > lost.revision);
    let ended = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("it ends");
    assert!(matches!(failed(ended.map(drop)), StoreError::Expired { .. }));
    assert!(matches!(failed(listed(&one, &at(lost.revision)).await), StoreError::Expired { .. }));
    let again = watches.watch(RESOURCE, Selection::default(), From::Revision(lost.revision)).await;
    assert!(matches!(failed(again), StoreError::Expired { .. }));
    assert!(one.get(RESOURCE, &key("a/lost")).await.unwrap().is_none());
    let mut watch = watches.watch(RESOURCE, Selection::default(), From::Revision(common)).await.unwrap();
    assert!(
        matches!(watch.next().await.unwrap(), Event::Added(told) if told.stored.revision == next.revision)
    );
}
