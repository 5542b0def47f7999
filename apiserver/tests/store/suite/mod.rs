//! What the store does on every database: the same tests for each, which `on!` makes for a function that opens one.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

pub(crate) mod lists;
pub(crate) mod results;
pub(crate) mod watches;
pub(crate) mod writes;

use std::sync::Arc;
use std::time::Duration;

use larder_apiserver::object::Object;
use larder_apiserver::store::{
    At, Draft, Key, ListQuery, Revision, Selection, Store, StoreError, StoreOptions, Stored,
};
use larder_apiserver::watch::{Event, Watch};
use larder_client::database::Database;
use serde_json::{Value, json};

/// Makes the tests: each opens a database and hands it over.
macro_rules! on {
    ($open:path) => {
        $crate::suite::tests!($open, writes: [
            an_object_comes_back_as_it_was, what_is_there_is_not_made_again, only_what_is_expected_is_replaced,
            revisions_come_in_the_order_of_commits, writers_at_once_get_revisions_of_their_own,
            a_database_without_tables_is_prepared_by_whoever_comes_first,
        ]);
        $crate::suite::tests!($open, lists: [
            keys_are_in_the_order_of_their_bytes, selectors_mean_what_kubernetes_means, requirements_are_joined,
            the_index_of_terms_follows_and_is_not_believed, pages_stay_at_their_revision,
            the_past_is_shown_as_it_was, what_follows_is_counted, pages_of_large_objects_are_short,
            moments_that_cannot_be_shown, a_list_goes_on_where_its_snapshot_ends,
        ]);
        $crate::suite::tests!($open, watches: [
            every_change_is_told_once, transitions_of_a_selection, what_is_there_comes_first,
            from_now_on_and_from_the_future, a_watch_of_the_past_joins_the_present, two_stores_tell_each_others_changes,
            who_is_too_late_is_told_so_and_harms_nobody, encodings_are_made_once, bookmarks_lose_nothing,
            many_may_begin_together,
        ]);
        $crate::suite::tests!($open, results: [
            rows_follow_their_objects, filters_and_pages_leave_out_nothing, counts_are_those_of_the_rows,
            no_answer_is_out_of_date, whoever_is_stopped_wherever_rows_are_right,
            the_log_waits_for_rows_but_not_for_ever, who_cannot_wait_is_told_how_far_it_is,
            large_reports_go_in_bounded_batches, views_say_the_same,
        ]);
    };
}

macro_rules! tests {
    ($open:path, $room:ident: [$($name:ident),* $(,)?]) => {
        mod $room {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let (_home, database) = $open();
                $crate::suite::$room::$name(database).await;
            })*
        }
    };
}

pub(crate) use {on, tests};

pub(crate) const RESOURCE: &str = "reports.example.com";

/// Remembers everything.
pub(crate) async fn store(database: &Arc<dyn Database>) -> Store {
    Store::open(Arc::clone(database), StoreOptions::default()).await.unwrap()
}

/// Remembers so many changes.
pub(crate) async fn forgetful(database: &Arc<dyn Database>, changes: u64) -> Store {
    let options = StoreOptions { history: Duration::ZERO, changes };
    Store::open(Arc::clone(database), options).await.unwrap()
}

pub(crate) fn key(text: &str) -> Key {
    let (namespace, name) = text.split_once('/').unwrap_or(("", text));
    Key { namespace: namespace.to_owned(), name: name.to_owned() }
}

/// An object with labels (`a=1,b=2`) and something else in it.
pub(crate) fn draft(place: &str, labels: &str, spec: Value) -> Draft {
    let key = key(place);
    let labels: serde_json::Map<String, Value> = labels
        .split(',')
        .filter_map(|it| it.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let fields = spec["owner"].as_str().map(|it| ("spec.owner".to_owned(), it.to_owned()));
    let Value::Object(object) = json!({
        "apiVersion": "example.com/v1", "kind": "Report", "spec": spec,
        "metadata": {"namespace": key.namespace, "name": key.name, "labels": labels, "resourceVersion": "1"},
    }) else {
        unreachable!("it is an object")
    };
    let uid = format!("uid-of-{place}");
    Draft { key, uid, version: "v1".to_owned(), object: Object(object), fields: fields.into_iter().collect() }
}

pub(crate) async fn create(store: &Store, place: &str, labels: &str) -> Stored {
    store.create(RESOURCE, &draft(place, labels, json!({}))).await.unwrap()
}

pub(crate) fn all() -> ListQuery {
    ListQuery { selection: Selection::default(), at: At::Latest, after: None, limit: None }
}

pub(crate) fn at(revision: Revision) -> ListQuery {
    ListQuery { at: At::Exactly(revision), ..all() }
}

/// `key@revision` of what a list shows.
pub(crate) async fn listed(store: &Store, query: &ListQuery) -> Result<Vec<String>, StoreError> {
    let mut list = store.list(RESOURCE, query).await?;
    let mut found = Vec::new();
    while let Some(it) = list.next().await? {
        found.push(shown(&it));
    }
    Ok(found)
}

/// The same, page by page.
pub(crate) async fn paged(store: &Store, query: &ListQuery, limit: usize) -> Result<Vec<String>, StoreError> {
    let mut query = ListQuery { limit: Some(limit), ..query.clone() };
    let mut found = Vec::new();
    loop {
        let page = store.page(RESOURCE, &query).await?;
        assert!(page.items.len() <= limit);
        found.extend(page.items.iter().map(shown));
        query.at = At::Exactly(page.revision);
        query.after = page.next;
        if query.after.is_none() {
            return Ok(found);
        }
        assert!(!page.items.is_empty(), "a page that says that more follow has something");
    }
}

pub(crate) fn shown(stored: &Stored) -> String {
    format!("{}@{}", stored.key, stored.revision)
}

pub(crate) fn names(stored: &[Stored]) -> Vec<String> {
    stored.iter().map(|it| it.key.to_string()).collect()
}

/// `+key@revision`, `~…`, `-…`, or `=revision` at the end of what there was.
pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Added(told) => format!("+{}", shown(&told.stored)),
        Event::Modified(told) => format!("~{}", shown(&told.stored)),
        Event::Deleted(told) => format!("-{}", shown(&told.stored)),
        Event::InitialEnd(revision) => format!("={revision}"),
    }
}

pub(crate) async fn told(watch: &mut Watch, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(event(&next(watch).await.unwrap()));
    }
    events
}

pub(crate) async fn next(watch: &mut Watch) -> Result<Event, StoreError> {
    let next = tokio::time::timeout(Duration::from_secs(20), watch.next()).await;
    next.expect("an event comes")
}

/// What a call has to fail with.
pub(crate) fn failed<T>(result: Result<T, StoreError>) -> StoreError {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error,
    }
}
