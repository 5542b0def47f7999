//! What every store does.

use std::sync::Arc;

use bytes::Bytes;
use larder_client::fallback::{Condition, Entry, KeyValue, Operation, Revision, StoreError};

use crate::Site;

/// Keys that somebody's file system, URL or query language would stumble over.
const ODD: [&str; 20] = [
    "a b",
    " ",
    "%",
    "%2F",
    "%00",
    "?",
    "#",
    "?keys",
    "a&b=c",
    "..",
    "../up",
    "./a",
    "a//b",
    "/",
    "a/",
    "é€ключ",
    "\u{1F980}",
    "\t\n\r",
    "\"\\'",
    "a\u{200B}b\u{7F}",
];

pub(crate) fn put(key: &str, value: impl Into<Bytes>, condition: Condition) -> Operation {
    Operation::Put { key: key.to_owned(), value: value.into(), condition }
}

pub(crate) fn delete(key: &str, condition: Condition) -> Operation {
    Operation::Delete { key: key.to_owned(), condition }
}

fn check(key: &str, condition: Condition) -> Operation {
    Operation::Check { key: key.to_owned(), condition }
}

/// Does it, whatever stands there.
pub(crate) async fn set(store: &dyn KeyValue, key: &str, value: impl Into<Bytes>) -> Revision {
    assert!(store.commit(vec![put(key, value, Condition::Any)]).await.unwrap());
    find(store, key).await.unwrap().revision
}

pub(crate) async fn find(store: &dyn KeyValue, key: &str) -> Option<Entry> {
    store.get(&[key.to_owned()]).await.unwrap().pop().unwrap()
}

async fn value(store: &dyn KeyValue, key: &str) -> Option<Bytes> {
    find(store, key).await.map(|entry| entry.value)
}

pub(crate) async fn keys(
    store: &dyn KeyValue,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Vec<String> {
    store.list(prefix, after, limit).await.unwrap().into_iter().map(|listed| listed.key).collect()
}

pub(crate) fn is_refused<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn values_come_back_bit_for_bit(site: Site) {
    let store = &*site.store;
    let every_byte: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    for (name, bytes) in [("empty", Bytes::new()), ("text", "ключ".into()), ("bytes", every_byte.into())]
    {
        set(store, &site.key(name), bytes.clone()).await;
        assert_eq!(value(store, &site.key(name)).await, Some(bytes), "{name}");
    }
    set(store, &site.key("text"), "").await;
    assert_eq!(value(store, &site.key("text")).await, Some(Bytes::new()));
    assert_eq!(value(store, &site.key("nothing")).await, None);
}

pub(crate) async fn conditions_hold_or_nothing_is_done(site: Site) {
    let store = &*site.store;
    let (there, missing) = (site.key("there"), site.key("missing"));
    let first = set(store, &there, "1").await;
    assert_ne!(first, Revision(0));
    let revision = set(store, &there, "2").await;
    assert!(revision > first);
    let (now, before) = (Condition::Unchanged(revision), Condition::Unchanged(first));

    let no = [
        put(&there, "x", Condition::Absent),
        put(&there, "x", before),
        put(&missing, "x", now),
        delete(&there, Condition::Absent),
        delete(&there, before),
        delete(&missing, now),
        check(&there, Condition::Absent),
        check(&there, before),
        check(&missing, now),
    ];
    for operation in no {
        assert!(!store.commit(vec![operation.clone()]).await.unwrap(), "{operation:?}");
        assert_eq!(find(store, &there).await, Some(Entry { value: "2".into(), revision }), "{operation:?}");
        assert_eq!(find(store, &missing).await, None, "{operation:?}");
    }
    let changes_nothing = [
        check(&there, Condition::Any),
        check(&there, now),
        check(&missing, Condition::Any),
        check(&missing, Condition::Absent),
        delete(&missing, Condition::Any),
        delete(&missing, Condition::Absent),
    ];
    for operation in changes_nothing {
        assert!(store.commit(vec![operation.clone()]).await.unwrap(), "{operation:?}");
        assert_eq!(find(store, &there).await, Some(Entry { value: "2".into(), revision }), "{operation:?}");
    }
    assert!(store.commit(Vec::new()).await.unwrap());
    assert!(store.commit(vec![put(&there, "3", now)]).await.unwrap());
    assert!(store.commit(vec![put(&missing, "4", Condition::Absent)]).await.unwrap());
    let third = find(store, &there).await.unwrap();
    assert!(third.value == "3" && third.revision > revision);
    assert!(store.commit(vec![delete(&there, Condition::Unchanged(third.revision))]).await.unwrap());
    assert!(store.commit(vec![delete(&missing, Condition::Any)]).await.unwrap());
    assert_eq!((find(store, &there).await, find(store, &missing).await), (None, None));
}

pub(crate) async fn transactions_are_all_or_nothing(site: Site) {
    let store = &*site.store;
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| site.key(name));
    set(store, &a, "a").await;
    let b_revision = set(store, &b, "b").await;
    let changes = |checked: Condition| {
        vec![
            put(&a, "A", Condition::Any),
            delete(&b, Condition::Unchanged(b_revision)),
            put(&c, "C", Condition::Absent),
            check(&d, checked),
        ]
    };
    assert!(!store.commit(changes(Condition::Unchanged(b_revision))).await.unwrap());
    assert_eq!(keys(store, &site.prefix, None, 10).await, [a.as_str(), &b]);
    assert_eq!(value(store, &a).await.unwrap(), "a");
    assert!(store.commit(changes(Condition::Absent)).await.unwrap());
    assert_eq!(keys(store, &site.prefix, None, 10).await, [a.as_str(), &c]);
    assert_eq!(value(store, &a).await.unwrap(), "A");
    assert!(!store.commit(changes(Condition::Absent)).await.unwrap());
}

pub(crate) async fn a_deleted_key_that_came_back_is_another(site: Site) {
    let store = &*site.store;
    let key = site.key("key");
    let before = set(store, &key, "same").await;
    assert!(store.commit(vec![delete(&key, Condition::Any)]).await.unwrap());
    let after = set(store, &key, "same").await;
    assert!(after > before);
    assert!(!store.commit(vec![delete(&key, Condition::Unchanged(before))]).await.unwrap());
}

pub(crate) async fn counters_lose_no_step(site: Site) {
    const TASKS: u64 = 16;
    const STEPS: u64 = 10;
    let key = site.key("counter");
    set(&*site.store, &key, "0").await;
    let tasks: Vec<_> =
        (0..TASKS).map(|_| tokio::spawn(count(Arc::clone(&site.store), key.clone(), STEPS))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(value(&*site.store, &key).await.unwrap(), (TASKS * STEPS).to_string());
}

async fn count(store: Arc<dyn KeyValue>, key: String, steps: u64) {
    for _ in 0..steps {
        loop {
            let Entry { value, revision } = find(&*store, &key).await.unwrap();
            let next = std::str::from_utf8(&value).unwrap().parse::<u64>().unwrap() + 1;
            let step = put(&key, next.to_string(), Condition::Unchanged(revision));
            if store.commit(vec![step]).await.unwrap() {
                break;
            }
        }
    }
}

pub(crate) async fn one_of_many_creates_a_key(site: Site) {
    let key = site.key("lock");
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let (store, create) =
                (Arc::clone(&site.store), put(&key, format!("{number}"), Condition::Absent));
            tokio::spawn(async move { store.commit(vec![create]).await.unwrap() })
        })
        .collect();
    let mut winners = Vec::new();
    for (number, task) in tasks.into_iter().enumerate() {
        if task.await.unwrap() {
            winners.push(number.to_string());
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(value(&*site.store, &key).await.unwrap(), winners[0]);
}

pub(crate) async fn any_text_is_a_key(site: Site) {
    let store = &*site.store;
    let long = "l".repeat(1024 - site.prefix.len());
    let mut all: Vec<String> = ODD.iter().copied().chain([long.as_str()]).map(|it| site.key(it)).collect();
    for (number, key) in all.iter().enumerate() {
        assert!(
            store.commit(vec![put(key, format!("{number}"), Condition::Absent)]).await.unwrap(),
            "{key:?}"
        );
    }
    let found = store.get(&all).await.unwrap();
    for (number, entry) in found.into_iter().enumerate() {
        assert_eq!(entry.map(|it| it.value), Some(number.to_string().into()), "{:?}", all[number]);
    }
    for key in &all {
        assert!(keys(store, key, None, 10).await.contains(key), "{key:?} as a prefix");
    }
    all.sort_unstable();
    assert_eq!(keys(store, &site.prefix, None, 100).await, all);
    for key in &all {
        let revision = find(store, key).await.unwrap().revision;
        assert!(store.commit(vec![delete(key, Condition::Unchanged(revision))]).await.unwrap(), "{key:?}");
    }
    assert!(keys(store, &site.prefix, None, 100).await.is_empty());
}

pub(crate) async fn listings_are_in_the_order_of_bytes(site: Site) {
    let store = &*site.store;
    let mut all =
        ["b", "a", "a/", "a/b", "a-b", "a0", "aé", "a/b/c", "B", "_", "ab", "é"].map(|it| site.key(it));
    for key in &all {
        set(store, key, "").await;
    }
    all.sort_unstable();
    assert_eq!(keys(store, &site.prefix, None, 100).await, all);
    for (prefix, after) in
        [("a", ""), ("a", "a-b"), ("a/", "a/"), ("a", "0"), ("a", "zzz"), ("", "a/b"), ("a/b", "a/b/c")]
    {
        let (prefix, after) = (site.key(prefix), site.key(after));
        let expected: Vec<_> = all.iter().filter(|key| key.starts_with(&prefix) && **key > after).collect();
        assert_eq!(
            keys(store, &prefix, Some(&after), 100).await.iter().collect::<Vec<_>>(),
            expected,
            "{prefix} {after}"
        );
    }
    let everything = keys(store, "", None, usize::MAX).await;
    assert!(all.iter().all(|key| everything.contains(key)) && everything.is_sorted());
    assert!(keys(store, &site.key("nothing"), None, 100).await.is_empty());
}

pub(crate) async fn pages_of_a_listing_join(site: Site) {
    let store = &*site.store;
    let all: Vec<String> = (0..120).map(|number| site.key(&format!("{number:03}"))).collect();
    for some in all.chunks(30) {
        let puts = some.iter().map(|key| put(key, key.clone(), Condition::Any)).collect();
        assert!(store.commit(puts).await.unwrap());
    }
    for size in [1, 7, 40, 120, 121] {
        let (mut joined, mut after) = (Vec::new(), None);
        loop {
            let page = keys(store, &site.prefix, after.as_deref(), size).await;
            assert!(page.len() <= size);
            let is_last = page.len() < size;
            joined.extend(page);
            after = joined.last().cloned();
            if is_last {
                break;
            }
        }
        assert_eq!(joined, all, "by {size}");
    }
}

pub(crate) async fn many_values_are_read_at_once(site: Site) {
    let store = &*site.store;
    let mut asked = Vec::new();
    for number in 0..100 {
        let key = site.key(&format!("{number}"));
        if number % 3 != 0 {
            set(store, &key, key.clone()).await;
        }
        asked.push(key);
    }
    asked.push(asked[1].clone());
    let found = store.get(&asked).await.unwrap();
    assert_eq!(found.len(), asked.len());
    for (number, (key, entry)) in asked.iter().zip(found).enumerate() {
        let expected = (number % 3 != 0 || number == 100).then(|| Bytes::from(key.clone()));
        assert_eq!(entry.map(|it| it.value), expected, "{key}");
    }
    assert!(store.get(&[]).await.unwrap().is_empty());
}

pub(crate) async fn limits_are_what_is_taken(site: Site) {
    let store = &*site.store;
    let limits = store.limits();
    let (key, largest) = (site.key("large"), vec![b'x'; limits.value]);
    for condition in [Condition::Any, Condition::Absent] {
        let done = store.commit(vec![put(&key, largest.clone(), condition)]).await.unwrap();
        assert_eq!(done, condition == Condition::Any);
    }
    let entry = find(store, &key).await.unwrap();
    assert!(entry.value == largest);
    let again = put(&key, largest, Condition::Unchanged(entry.revision));
    assert!(store.commit(vec![again]).await.unwrap());
    is_refused(store.commit(vec![put(&key, vec![0; limits.value + 1], Condition::Any)]).await);

    let many =
        |count: usize| (0..count).map(|it| check(&site.key(&format!("{it}")), Condition::Absent)).collect();
    assert!(store.commit(many(limits.operations)).await.unwrap());
    is_refused(store.commit(many(limits.operations + 1)).await);

    // Memory and disks take more than this test wants to write.
    if limits.transaction <= 2 << 20 {
        let fill = |length: usize| {
            let names = ["filled 0", "filled 1"].map(|name| site.key(name));
            names.map(|name| put(&name, vec![b'x'; length], Condition::Any)).to_vec()
        };
        let weight = |length: usize| fill(length).iter().map(|it| store.weight(it)).sum::<usize>();
        let lengths: Vec<usize> = (0..limits.value).collect();
        let too_long = lengths.partition_point(|length| weight(*length) <= limits.transaction);
        assert!(store.commit(fill(too_long - 1)).await.unwrap());
        is_refused(store.commit(fill(too_long)).await);
    }
}

pub(crate) async fn what_is_no_transaction_is_refused(site: Site) {
    let store = &*site.store;
    let key = site.key("key");
    for no_key in ["", "\0", "a\0b"] {
        is_refused(store.commit(vec![put(no_key, "", Condition::Any)]).await);
        is_refused(store.get(&[no_key.to_owned()]).await);
    }
    is_refused(store.commit(vec![put(&key, "", Condition::Any), delete(&key, Condition::Any)]).await);
    assert_eq!(find(store, &key).await, None);
}
