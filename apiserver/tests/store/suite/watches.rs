//! Watches: every change once, in order, whoever made it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder_apiserver::store::{Requirement, Selection, Store, StoreError, Test};
use larder_apiserver::watch::{Event, From, Watch, Watches};
use larder_client::database::Database;
use serde_json::json;

use super::{RESOURCE, all, create, draft, event, failed, forgetful, key, listed, next, shown, store, told};

async fn watch(watches: &Watches, from: From) -> Watch {
    watches.watch(RESOURCE, Selection::default(), from).await.unwrap()
}

async fn update(store: &Store, place: &str, labels: &str) -> u64 {
    let there = store.get(RESOURCE, &key(place)).await.unwrap().unwrap();
    let other = draft(place, labels, json!({"after": there.revision}));
    store.update(RESOURCE, &other, there.revision).await.unwrap().revision
}

async fn delete(store: &Store, place: &str) -> u64 {
    let there = store.get(RESOURCE, &key(place)).await.unwrap().unwrap();
    store.delete(RESOURCE, &there.key, there.revision).await.unwrap()
}

pub(crate) async fn every_change_is_told_once(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let watches = Watches::new(store.clone());
    let mut watch = watch(&watches, From::Revision(store.revision().await.unwrap())).await;
    let one = create(&store, "a/b", "x=1").await;
    store.create("others.example.com", &draft("a/b", "", json!({}))).await.unwrap();
    let two = update(&store, "a/b", "x=1").await;
    let three = delete(&store, "a/b").await;
    let four = create(&store, "a/b", "").await.revision;
    let expected = [
        format!("+a/b@{}", one.revision),
        format!("~a/b@{two}"),
        format!("-a/b@{three}"),
        format!("+a/b@{four}"),
    ];
    let Event::Added(first) = next(&mut watch).await.unwrap() else { panic!("it is new") };
    assert_eq!(shown(&first.stored), expected[0][1..]);
    assert_eq!(first.stored.rest, one.rest);
    assert_eq!(told(&mut watch, 3).await, expected[1..]);
}

pub(crate) async fn transitions_of_a_selection(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let watches = Watches::new(store.clone());
    let labels = vec![Requirement { key: "x".to_owned(), test: Test::In(vec!["1".to_owned()]) }];
    let selection = Selection { labels, namespace: Some("a".to_owned()), ..Selection::default() };
    let mut watch = watches.watch(RESOURCE, selection, From::Now).await.unwrap();
    create(&store, "a/b", "x=2").await;
    create(&store, "b/b", "x=1").await;
    let enters = update(&store, "a/b", "x=1").await;
    let stays = update(&store, "a/b", "x=1,y=1").await;
    let leaves = update(&store, "a/b", "").await;
    update(&store, "a/b", "x=3").await;
    delete(&store, "a/b").await;
    let new = create(&store, "a/b", "x=1").await.revision;
    let gone = delete(&store, "a/b").await;
    assert_eq!(told(&mut watch, 2).await, [format!("+a/b@{enters}"), format!("~a/b@{stays}")]);
    let Event::Deleted(left) = next(&mut watch).await.unwrap() else { panic!("it leaves") };
    assert_eq!(shown(&left.stored), format!("a/b@{leaves}"));
    let object = serde_json::Value::Object(left.stored.object("g/v1", "K").unwrap().0);
    assert_eq!(object["metadata"]["labels"], json!({"x": "1", "y": "1"}), "the object as it was");
    assert_eq!(object["metadata"]["resourceVersion"], leaves.to_string());
    assert_eq!(told(&mut watch, 2).await, [format!("+a/b@{new}"), format!("-a/b@{gone}")]);
}

pub(crate) async fn what_is_there_comes_first(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let watches = Watches::new(store.clone());
    let before = store.revision().await.unwrap();
    let mut empty = watch(&watches, From::Present(None)).await;
    assert_eq!(told(&mut empty, 1).await, [format!("={before}")]);
    let (two, one) = (create(&store, "a/2", "").await, create(&store, "a/1", "").await);
    let mut full = watch(&watches, From::Present(Some(one.revision))).await;
    assert_eq!(full.told(), 0);
    let three = create(&store, "a/3", "").await;
    let expected = [
        format!("+{}", shown(&one)),
        format!("+{}", shown(&two)),
        format!("={}", one.revision),
        format!("+{}", shown(&three)),
    ];
    assert_eq!(told(&mut full, 4).await, expected);
    assert_eq!(
        told(&mut empty, 3).await,
        [format!("+{}", shown(&two)), expected[0].clone(), expected[3].clone()]
    );
    let never = watches.watch(RESOURCE, Selection::default(), From::Present(Some(1 << 60))).await;
    assert!(matches!(failed(never), StoreError::Future { .. }));
}

pub(crate) async fn from_now_on_and_from_the_future(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let watches = Watches::new(store.clone());
    create(&store, "a/1", "").await;
    let mut now = watch(&watches, From::Now).await;
    let mut future = watch(&watches, From::Revision(1 << 60)).await;
    let two = create(&store, "a/2", "").await;
    assert_eq!(told(&mut now, 1).await, [format!("+{}", shown(&two))]);
    let nothing = tokio::time::timeout(Duration::from_millis(100), future.next()).await;
    assert!(nothing.is_err(), "it stays open, and what is older is not told");
    // A revision that was never given may be one of a history that was lost: its turn never comes.
    let mut close = watch(&watches, From::Revision(two.revision + 1_000)).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    create(&store, "a/3", "").await;
    assert!(matches!(failed(next(&mut close).await), StoreError::Expired { .. }));
}

pub(crate) async fn a_watch_of_the_past_joins_the_present(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let begin = store.revision().await.unwrap();
    let mut expected = Vec::new();
    for it in 0..700 {
        expected.push(format!("+{}", shown(&create(&store, &format!("a/{it:03}"), "").await)));
        // Which has left its place in the log when it is read.
        if it % 100 == 0 {
            expected.push(format!("~a/{it:03}@{}", update(&store, &format!("a/{it:03}"), "x=1").await));
        }
    }
    // Nobody has followed until now: all of it is in the database only.
    let watches = Watches::new(store.clone());
    let mut watch = watch(&watches, From::Revision(begin)).await;
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            let mut made = Vec::new();
            for it in 700..900 {
                made.push(format!("+{}", shown(&create(&store, &format!("a/{it:03}"), "").await)));
            }
            made
        }
    });
    let found = told(&mut watch, expected.len() + 200).await;
    expected.extend(writer.await.unwrap());
    assert_eq!(found, expected);
}

pub(crate) async fn two_stores_tell_each_others_changes(database: Arc<dyn Database>) {
    let (one, other) = (store(&database).await, store(&database).await);
    let (here, there) = (Watches::new(one.clone()), Watches::new(other.clone()));
    let mut here = watch(&here, From::Now).await;
    let mut there = watch(&there, From::Now).await;
    let mut expected = Vec::new();
    for it in 0..10 {
        let writer = if it % 2 == 0 { &one } else { &other };
        expected.push(format!("+{}", shown(&create(writer, &format!("a/{it}"), "").await)));
    }
    assert_eq!(told(&mut here, 10).await, expected);
    assert_eq!(told(&mut there, 10).await, expected);
    assert!(matches!(failed(one.delete(RESOURCE, &key("a/1"), 1).await), StoreError::Changed));
}

pub(crate) async fn who_is_too_late_is_told_so_and_harms_nobody(database: Arc<dyn Database>) {
    let store = forgetful(&database, 5).await;
    let begin = store.revision().await.unwrap();
    let watches = Watches::new(store.clone());
    let mut lively = watch(&watches, From::Now).await;
    create(&store, "a/first", "").await;
    assert_eq!(told(&mut lively, 1).await.len(), 1);
    let after = store.revision().await.unwrap();
    // More than the ring takes by bytes, so that it does not reach back to the beginning.
    let text: String = (0..60_000_u64).map(|it| (it.wrapping_mul(0x9e37_79b9) >> 7).to_string()).collect();
    let mut stuck = watch(&watches, From::Revision(begin)).await;
    for it in 0..80 {
        let made =
            store.create(RESOURCE, &draft(&format!("b/{it}"), "", json!({"text": text}))).await.unwrap();
        assert_eq!(told(&mut lively, 1).await, [format!("+{}", shown(&made))]);
    }
    assert_eq!(stuck.told(), begin);
    store.compact().await.unwrap();
    assert!(matches!(failed(next(&mut stuck).await), StoreError::Expired { .. }));
    let late = watches.watch(RESOURCE, Selection::default(), From::Revision(after)).await;
    assert!(matches!(failed(late), StoreError::Expired { asked, .. } if asked == after));
    let last = create(&store, "a/last", "").await;
    assert_eq!(told(&mut lively, 1).await, [format!("+{}", shown(&last))]);
}

pub(crate) async fn encodings_are_made_once(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let watches = Watches::new(store.clone());
    let mut watching = Vec::new();
    for _ in 0..20 {
        watching.push(watch(&watches, From::Now).await);
    }
    let made = create(&store, "a/b", "").await;
    let count = AtomicUsize::new(0);
    for watch in &mut watching {
        let Event::Added(told) = next(watch).await.unwrap() else { panic!("it is new") };
        for representation in ["g/v1", "g/v2"] {
            let bytes = told.encoded(representation, |stored| {
                count.fetch_add(1, Ordering::Relaxed);
                let mut bytes = Vec::new();
                stored.write_json(representation, "K", &mut bytes);
                bytes
            });
            let mut expected = Vec::new();
            made.write_json(representation, "K", &mut expected);
            assert_eq!(bytes, expected);
        }
    }
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

pub(crate) async fn bookmarks_lose_nothing(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let watches = Watches::new(store.clone());
    let mut idle = watches.watch("others.example.com", Selection::default(), From::Now).await.unwrap();
    let mut busy = watch(&watches, From::Now).await;
    let begin = idle.told();
    let made = create(&store, "a/b", "").await;
    assert_eq!(told(&mut busy, 1).await, [format!("+{}", shown(&made))]);
    assert_eq!(busy.told(), made.revision);
    // It is told nothing, and everything that concerns it.
    let waited = tokio::time::timeout(Duration::from_millis(20), idle.next()).await;
    assert!(waited.is_err());
    assert!(begin < made.revision && idle.told() == made.revision);
    let other = store.create("others.example.com", &draft("a/b", "", json!({}))).await.unwrap();
    assert_eq!(event(&next(&mut idle).await.unwrap()), format!("+{}", shown(&other)));
    let mut again = watches
        .watch("others.example.com", Selection::default(), From::Revision(made.revision))
        .await
        .unwrap();
    assert_eq!(told(&mut again, 1).await, [format!("+{}", shown(&other))]);
    assert_eq!(listed(&store, &all()).await.unwrap().len(), 1);
}

/// All informers of a cluster begin anew at once, and a database has room for so many questions only.
pub(crate) async fn many_may_begin_together(database: Arc<dyn Database>) {
    const MANY: usize = 800;
    let store = store(&database).await;
    let first = create(&store, "a/a", "").await.revision;
    let last = create(&store, "a/b", "").await.revision;
    let watches = Watches::new(store);
    let starts = [From::Revision(first), From::Present(Some(first)), From::Now];
    let begun = (0..MANY).map(|it| {
        let (watches, from) = (watches.clone(), starts[it % starts.len()]);
        tokio::spawn(async move {
            let mut watch = watches.watch(RESOURCE, Selection::default(), from).await?;
            if from == From::Now { Ok(None) } else { watch.next().await.map(Some) }
        })
    });
    let begun: Vec<_> = begun.collect();
    for (it, begun) in begun.into_iter().enumerate() {
        let event = begun.await.unwrap().unwrap();
        let Some(event) = event else { continue };
        let (Event::Added(told) | Event::Modified(told)) = event else { panic!("nothing was deleted") };
        let expected = if it % starts.len() == 0 { last } else { first };
        assert_eq!(told.stored.revision, expected);
    }
}
