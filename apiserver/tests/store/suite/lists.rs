//! Lists: of the present and of the past, whole and in pages.

use std::sync::Arc;

use larder_apiserver::store::{At, ListQuery, Requirement, Selection, Store, StoreError, Test};
use larder_client::database::Database;
use larder_client::wire::{Request, Statement, Value};
use serde_json::json;

use super::{RESOURCE, all, at, create, draft, failed, forgetful, key, listed, names, paged, shown, store};

pub(crate) async fn keys_are_in_the_order_of_their_bytes(database: Arc<dyn Database>) {
    let store = store(&database).await;
    for place in ["a/z", "a-b/a", "b/a", "a/a", "A/a", "a/a-a", "a/a.a"] {
        create(&store, place, "").await;
    }
    let page = store.page(RESOURCE, &all()).await.unwrap();
    assert_eq!(names(&page.items), ["A/a", "a-b/a", "a/a", "a/a-a", "a/a.a", "a/z", "b/a"]);
    assert_eq!(page.revision, store.revision().await.unwrap());
    assert!(page.next.is_none());
    let empty = store.page("others.example.com", &all()).await.unwrap();
    assert!(empty.items.is_empty() && empty.next.is_none() && empty.remaining.is_none());
}

fn test(key: &str, test: Test) -> Requirement {
    Requirement { key: key.to_owned(), test }
}

fn values(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// Selections, and the last letters of the names that they select.
fn selections() -> Vec<(Selection, &'static str)> {
    let labels = |labels: Vec<Requirement>| Selection { labels, ..Selection::default() };
    let field = |path: &str, equal, value: &str| Selection {
        fields: vec![(path.to_owned(), equal, value.to_owned())],
        ..Selection::default()
    };
    let in_a = |selection| Selection { namespace: Some("a".to_owned()), ..selection };
    let named = |namespace: Option<&str>, name: &str| Selection {
        namespace: namespace.map(ToOwned::to_owned),
        name: Some(name.to_owned()),
        ..Selection::default()
    };
    let many: Vec<String> = (0..20).map(|it| it.to_string()).collect();
    let too_many: Vec<String> = (0..600).map(|it| it.to_string()).collect();
    // As many as a query of a URL may hold, and the last decides.
    let one_more = |last: Requirement, others: &dyn Fn(usize) -> Requirement| {
        labels((0..300).map(others).chain([last]).collect())
    };
    let other = |number: usize| format!("other{number}");
    let hundred: Vec<String> = (0..100).map(|it| it.to_string()).collect();
    vec![
        (Selection::default(), "abcdef"),
        (in_a(Selection::default()), "abcd"),
        (labels(vec![test("x", Test::In(values(&["1"])))]), "ac"),
        (labels(vec![test("x", Test::In(values(&["1", "2", "1", "none"])))]), "abce"),
        (labels(vec![test("x", Test::In(vec![]))]), ""),
        (labels(vec![test("x", Test::In(many.clone()))]), "abce"),
        (labels(vec![test("x", Test::In(too_many.clone()))]), "abce"),
        (labels(vec![test("x", Test::NotIn(values(&["1"])))]), "bdef"),
        (labels(vec![test("x", Test::NotIn(too_many))]), "df"),
        (labels(vec![test("example.com/y.z", Test::Exists)]), "abf"),
        (labels(vec![test("example.com/y.z", Test::Absent)]), "cde"),
        (in_a(labels(vec![test("example.com/y.z", Test::Exists)])), "ab"),
        (in_a(labels(vec![test("example.com/y.z", Test::Absent)])), "cd"),
        (labels(vec![test("x", Test::Greater(1))]), "be"),
        (labels(vec![test("x", Test::Less(2))]), "ac"),
        (labels(vec![test("x", Test::In(values(&["1"]))), test("example.com/y.z", Test::Exists)]), "a"),
        (labels(vec![test("x", Test::In(values(&["1"]))), test("x", Test::In(values(&["1", "2"])))]), "ac"),
        (
            labels(vec![
                test("x", Test::In(values(&["2"]))),
                test("example.com/y.z", Test::In(values(&["", "q"]))),
            ]),
            "b",
        ),
        (labels(vec![test("x", Test::Exists), test("x", Test::NotIn(many))]), ""),
        (in_a(labels(vec![test("x", Test::In(values(&["2"])))])), "b"),
        (field("spec.owner", true, "me"), "ae"),
        (field("spec.owner", false, "me"), "bcdf"),
        (field("spec.owner", true, ""), "bcd"),
        (in_a(field("spec.owner", true, "me")), "a"),
        (field("metadata.name", false, "d"), "abcef"),
        (field("metadata.namespace", true, "b"), "f"),
        (field("spec.none", true, "x"), ""),
        (named(Some("a"), "c"), "c"),
        (named(Some("b"), "c"), ""),
        (named(None, "c"), "c"),
        (named(None, "f"), "f"),
        (Selection { labels: vec![test("x", Test::In(values(&["2"])))], ..named(None, "c") }, ""),
        (Selection { labels: vec![test("x", Test::In(values(&["1"])))], ..named(Some("a"), "c") }, "c"),
        (
            one_more(test("x", Test::In(values(&["1"]))), &|it| {
                test(&other(it), Test::NotIn(values(&["1"])))
            }),
            "ac",
        ),
        (one_more(test("x", Test::Absent), &|it| test(&other(it), Test::Absent)), "df"),
        (
            one_more(test("x", Test::NotIn(values(&["1"]))), &|it| {
                test(&other(it), Test::In(values(&["1"])))
            }),
            "",
        ),
        (one_more(test("x", Test::NotIn(values(&["1"]))), &|_| test("x", Test::Exists)), "be"),
        (
            one_more(test("x", Test::In((0..8).map(|it| it.to_string()).collect())), &|_| {
                test("x", Test::In(hundred.clone()))
            }),
            "abce",
        ),
        (
            Selection {
                fields: (0..300)
                    .map(|_| ("spec.owner".to_owned(), true, "me".to_owned()))
                    .chain([("metadata.name".to_owned(), false, "a".to_owned())])
                    .collect(),
                ..Selection::default()
            },
            "e",
        ),
    ]
}

pub(crate) async fn selectors_mean_what_kubernetes_means(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let me = || json!({"owner": "me"});
    let mut made = Vec::new();
    for (place, labels, spec) in [
        ("a/a", "x=1,example.com/y.z=", me()),
        ("a/b", "x=2,example.com/y.z=q", json!({})),
        ("a/c", "x=1", json!({})),
        ("a/d", "", json!({"owner": ""})),
        ("a-a/e", "x=2", me()),
        ("b/f", "example.com/y.z=r", json!({"owner": "you"})),
    ] {
        made.push(store.create(RESOURCE, &draft(place, labels, spec)).await.unwrap());
    }
    let then = store.revision().await.unwrap();
    check(&store, &all()).await;
    check(&store, &at(then)).await;
    // Everything is another way now, and the past is as it was.
    for (index, it) in made.iter().enumerate() {
        match index % 3 {
            0 => drop(store.delete(RESOURCE, &it.key, it.revision).await.unwrap()),
            1 => {
                let other = draft(&it.key.to_string(), "x=7,example.com/y.z=z", json!({"owner": "z"}));
                let other = store.update(RESOURCE, &other, it.revision).await.unwrap();
                store.update(RESOURCE, &draft(&it.key.to_string(), "", me()), other.revision).await.unwrap();
            }
            _ => {}
        }
    }
    create(&store, "a/a", "x=1").await;
    create(&store, "a/new", "x=1,example.com/y.z=q").await;
    check(&store, &at(then)).await;
}

/// Labels of the objects that [`requirements_are_joined`] selects from.
const LABELS: [&[(&str, &str)]; 6] = [
    &[],
    &[("x", "1")],
    &[("x", "2"), ("y", "1")],
    &[("x", ""), ("y", "2")],
    &[("y", "1")],
    &[("x", "1"), ("y", "2")],
];

fn requirements() -> Vec<Requirement> {
    let mut requirements = Vec::new();
    for key in ["x", "y"] {
        for some in [&["1"][..], &["2"], &["", "1"], &["1", "2", "1"]] {
            requirements.push(test(key, Test::In(values(some))));
            requirements.push(test(key, Test::NotIn(values(some))));
        }
        requirements.extend([test(key, Test::Exists), test(key, Test::Absent), test(key, Test::Greater(1))]);
    }
    requirements
}

fn meets(requirement: &Requirement, labels: &[(&str, &str)]) -> bool {
    let value = labels.iter().find(|it| it.0 == requirement.key).map(|it| it.1);
    let is_in = |values: &[String]| value.is_some_and(|it| values.iter().any(|one| one == it));
    match &requirement.test {
        Test::In(values) => is_in(values),
        Test::NotIn(values) => !is_in(values),
        Test::Exists => value.is_some(),
        Test::Absent => value.is_none(),
        Test::Greater(bound) => value.and_then(|it| it.parse().ok()).is_some_and(|it: i64| it > *bound),
        Test::Less(bound) => value.and_then(|it| it.parse().ok()).is_some_and(|it: i64| it < *bound),
    }
}

/// Every requirement with every other one, those too that contradict each other.
pub(crate) async fn requirements_are_joined(database: Arc<dyn Database>) {
    let store = store(&database).await;
    for (name, labels) in LABELS.iter().enumerate() {
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        create(&store, &format!("a/{name}"), &labels.join(",")).await;
    }
    for one in requirements() {
        for other in requirements() {
            let labels = vec![one.clone(), other.clone()];
            let met = |it: &&[(&str, &str)]| labels.iter().all(|one| meets(one, it));
            let expected = LABELS.iter().filter(|it| met(it)).count();
            let selection = Selection { labels: labels.clone(), ..Selection::default() };
            let found = listed(&store, &ListQuery { selection, ..all() }).await.unwrap();
            assert_eq!(found.len(), expected, "{labels:?}: {found:?}");
        }
    }
}

/// Hashes are where terms say, after whatever writes; and who is found by a hash alone, as happens where two are the same, is not selected.
pub(crate) async fn the_index_of_terms_follows_and_is_not_believed(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let mut there = Vec::new();
    for name in ["a/a", "a/b", "a/c", "a/d"] {
        there.push(create(&store, name, "x=1,y=1").await);
    }
    for (stored, labels) in there.iter().zip(["x=1,y=1", "x=1,z=2", ""]) {
        let change = draft(&stored.key.to_string(), labels, json!({"owner": "me"}));
        store.update(RESOURCE, &change, stored.revision).await.unwrap();
    }
    store.delete(RESOURCE, &there[3].key, there[3].revision).await.unwrap();
    let count = |sql: &'static str| {
        let database = Arc::clone(&database);
        async move {
            let response = database.query(&Request::new([Statement::new(sql)])).await.unwrap();
            response.results[0].rows[0][0].clone()
        }
    };
    let terms = "SELECT count(*) FROM object o, json_each(o.terms)";
    let indexed = "SELECT count(*) FROM term t JOIN object o ON o.id = t.object JOIN json_each(o.hashes) h ON h.value = t.hash";
    for sql in [terms, indexed, "SELECT count(*) FROM term"] {
        assert_eq!(count(sql).await, Value::Integer(7), "{sql}");
    }
    let all_of_all = "INSERT OR IGNORE INTO term SELECT t.hash, o.id FROM term t, object o";
    database.execute(&Request::new([Statement::new(all_of_all)])).await.unwrap();
    for (name, value, expected) in [("x", "1", 2), ("y", "1", 1), ("z", "2", 1), ("y", "2", 0)] {
        let labels = vec![test(name, Test::In(values(&[value])))];
        let query = ListQuery { selection: Selection { labels, ..Selection::default() }, ..all() };
        assert_eq!(listed(&store, &query).await.unwrap().len(), expected, "{name}={value}");
        assert_eq!(paged(&store, &query, 1).await.unwrap().len(), expected, "{name}={value}");
    }
}

async fn check(store: &Store, query: &ListQuery) {
    for (selection, expected) in selections() {
        let query = ListQuery { selection, ..query.clone() };
        let letters = |found: &[String]| {
            let mut letters: Vec<char> =
                found.iter().filter_map(|it| it.split('@').next()?.chars().last()).collect();
            letters.sort_unstable();
            letters.into_iter().collect::<String>()
        };
        let found = listed(store, &query).await.unwrap();
        assert_eq!(letters(&found), expected, "{query:?}");
        for limit in [1, 2, 5] {
            assert_eq!(paged(store, &query, limit).await.unwrap(), found, "{limit} of {query:?}");
        }
    }
}

pub(crate) async fn pages_stay_at_their_revision(database: Arc<dyn Database>) {
    let store = store(&database).await;
    for it in 0..60 {
        create(&store, &format!("a/{it:02}"), "x=1").await;
    }
    let expected = listed(&store, &all()).await.unwrap();
    let first = store.page(RESOURCE, &ListQuery { limit: Some(10), ..all() }).await.unwrap();
    let mut found: Vec<String> = first.items.iter().map(shown).collect();
    let (mut after, mut count) = (first.next, 0);
    while let Some(last) = after {
        for _ in 0..7 {
            count += 11;
            write_something(&store, &format!("a/{:02}", count % 70), count).await;
        }
        let query = ListQuery { after: Some(last), limit: Some(7), ..at(first.revision) };
        let page = store.page(RESOURCE, &query).await.unwrap();
        assert_eq!(page.revision, first.revision);
        found.extend(page.items.iter().map(shown));
        after = page.next;
    }
    assert_eq!(found, expected);
    assert_ne!(listed(&store, &all()).await.unwrap(), expected);
}

async fn write_something(store: &Store, place: &str, count: usize) {
    match store.get(RESOURCE, &key(place)).await.unwrap() {
        None => drop(create(store, place, "x=2").await),
        Some(it) if count.is_multiple_of(3) => {
            store.delete(RESOURCE, &it.key, it.revision).await.unwrap();
        }
        Some(it) => {
            let other = draft(place, "x=3", json!({"n": count}));
            store.update(RESOURCE, &other, it.revision).await.unwrap();
        }
    }
}

pub(crate) async fn the_past_is_shown_as_it_was(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let mut moments = vec![(store.revision().await.unwrap(), Vec::new())];
    let mut there: Vec<Option<u64>> = vec![None; 4];
    for step in 0..40_usize {
        let place = format!("a/{}", step % 4);
        let slot = &mut there[step % 4];
        let revision = match *slot {
            Some(revision) if step % 5 == 0 => {
                *slot = None;
                store.delete(RESOURCE, &key(&place), revision).await.unwrap()
            }
            Some(revision) => {
                let it = draft(&place, "", json!({"step": step}));
                *slot.insert(store.update(RESOURCE, &it, revision).await.unwrap().revision)
            }
            None => *slot.insert(create(&store, &place, "").await.revision),
        };
        let objects = there.iter().enumerate();
        let objects = objects.filter_map(|(it, at)| at.map(|at| format!("a/{it}@{at}")));
        moments.push((revision, objects.collect::<Vec<_>>()));
    }
    for (revision, expected) in moments {
        assert_eq!(listed(&store, &at(revision)).await.unwrap(), expected);
        assert_eq!(paged(&store, &at(revision), 1).await.unwrap(), expected);
    }
}

pub(crate) async fn what_follows_is_counted(database: Arc<dyn Database>) {
    let store = store(&database).await;
    for place in ["a/a", "a/b", "a/c", "a/d", "b/a", "b/b"] {
        create(&store, place, "x=1").await;
    }
    let then = store.revision().await.unwrap();
    let counts = |query: ListQuery| {
        let store = store.clone();
        async move { store.page(RESOURCE, &query).await.unwrap().remaining }
    };
    let first = |query: ListQuery| ListQuery { limit: Some(2), ..query };
    let in_a = Selection { namespace: Some("a".to_owned()), ..Selection::default() };
    for query in [all(), at(then)] {
        assert_eq!(counts(first(query.clone())).await, Some(4));
        assert_eq!(counts(ListQuery { after: Some(key("a/b")), ..first(query.clone()) }).await, Some(2));
        assert_eq!(counts(ListQuery { selection: in_a.clone(), ..first(query.clone()) }).await, Some(2));
        assert_eq!(counts(ListQuery { after: Some(key("a/d")), ..first(query) }).await, None);
    }
    let labels = vec![test("x", Test::Exists)];
    let selected = Selection { labels, ..Selection::default() };
    assert_eq!(counts(ListQuery { selection: selected, ..first(all()) }).await, None);
    for (place, then) in [("a/c", "delete"), ("a/d", "replace"), ("b/b", "delete")] {
        let it = store.get(RESOURCE, &key(place)).await.unwrap().unwrap();
        store.delete(RESOURCE, &it.key, it.revision).await.unwrap();
        if then == "replace" {
            create(&store, place, "").await;
        }
    }
    create(&store, "c/c", "").await;
    assert_eq!(counts(first(all())).await, Some(3));
    assert_eq!(counts(first(at(then))).await, Some(4));
    assert_eq!(counts(ListQuery { selection: in_a, ..first(at(then)) }).await, Some(2));
}

pub(crate) async fn pages_of_large_objects_are_short(database: Arc<dyn Database>) {
    let store = store(&database).await;
    for it in 0..6 {
        let large = json!({"text": "x".repeat(3 << 20), "it": it});
        store.create(RESOURCE, &draft(&format!("a/{it}"), "", large)).await.unwrap();
    }
    let page = store.page(RESOURCE, &ListQuery { limit: Some(500), ..all() }).await.unwrap();
    assert!((1..6).contains(&page.items.len()), "{}", page.items.len());
    assert_eq!(page.next, page.items.last().map(|it| it.key.clone()));
    assert_eq!(page.remaining, Some(6 - page.items.len() as u64));
    assert_eq!(paged(&store, &all(), 500).await.unwrap(), listed(&store, &all()).await.unwrap());
}

pub(crate) async fn moments_that_cannot_be_shown(database: Arc<dyn Database>) {
    let store = forgetful(&database, 2).await;
    let early = create(&store, "a/a", "").await.revision;
    for it in 0..5 {
        create(&store, &format!("b/{it}"), "").await;
    }
    let latest = store.revision().await.unwrap();
    assert_eq!(listed(&store, &at(early)).await.unwrap().len(), 1);
    assert!(matches!(failed(listed(&store, &at(latest + 1)).await), StoreError::Future { .. }));
    let made_up = listed(&store, &at(early - 1)).await;
    assert!(matches!(failed(made_up), StoreError::Expired { .. }), "nobody has given that revision");
    store.compact().await.unwrap();
    assert!(
        matches!(failed(listed(&store, &at(early)).await), StoreError::Expired { asked, .. } if asked == early)
    );
    assert_eq!(listed(&store, &at(latest)).await.unwrap().len(), 6);
    let oldest = match failed(listed(&store, &at(early)).await) {
        StoreError::Expired { oldest, .. } => oldest,
        error => panic!("{error}"),
    };
    assert_eq!(listed(&store, &at(oldest)).await.unwrap().len(), 4, "what is kept reaches back to there");

    let waiting = ListQuery { at: At::AtLeast(latest + 1), ..all() };
    let (found, written) = tokio::join!(listed(&store, &waiting), create(&store, "c/a", ""));
    assert!(written.revision > latest);
    assert_eq!(found.unwrap().len(), 7);
    let never = ListQuery { at: At::AtLeast(1 << 60), ..all() };
    assert!(
        matches!(failed(listed(&store, &never).await), StoreError::Future { asked, .. } if asked == 1 << 60)
    );
}

pub(crate) async fn a_list_goes_on_where_its_snapshot_ends(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let text: String = (0..30_000_u64).map(|it| (it.wrapping_mul(0x9e37_79b9) >> 7).to_string()).collect();
    for it in 0..40 {
        let large = json!({"text": text, "it": it});
        store.create(RESOURCE, &draft(&format!("a/{it:02}"), "x=1", large)).await.unwrap();
    }
    let expected = listed(&store, &all()).await.unwrap();
    let mut list = store.list(RESOURCE, &all()).await.unwrap();
    let mut found = vec![shown(&list.next().await.unwrap().unwrap())];
    // So much is written meanwhile that the database wants the snapshot gone.
    for it in 0..400 {
        let there = store.get(RESOURCE, &key(&format!("a/{:02}", it % 40))).await.unwrap().unwrap();
        let other = draft(&there.key.to_string(), "x=2", json!({"text": text, "again": it}));
        store.update(RESOURCE, &other, there.revision).await.unwrap();
    }
    while let Some(it) = list.next().await.unwrap() {
        found.push(shown(&it));
    }
    assert_eq!(found, expected);
}
