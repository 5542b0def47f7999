//! The rules of writes, each by itself; that they are those of Kubernetes is what `tests/differential` shows.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};

use super::*;
use crate::registry::{Registry, Scope};

fn object(value: Value) -> Object {
    Object(value.as_object().unwrap().clone())
}

fn now() -> jiff::Timestamp {
    "2024-05-06T07:08:09.5Z".parse().unwrap()
}

fn registry() -> Registry {
    Registry::builtin()
}

#[test]
fn a_new_object_is_what_the_server_says_it_is() {
    let registry = registry();
    let (resource, version) = registry.find("hiveinternal.openshift.io", "v1alpha1", "clustersyncs").unwrap();
    let mut new = object(json!({
        "metadata": {"name": "a", "uid": "mine", "resourceVersion": "5", "deletionTimestamp": "x", "selfLink": "x"},
        "spec": {}, "status": {"controlledByReplica": 1}
    }));
    assert_eq!(set_namespace(&mut new, resource.scope, "n"), Ok(()));
    begin_create(&mut new, version, now(), "theirs");
    let metadata = json!({
        "name": "a", "namespace": "n", "uid": "theirs", "generation": 1, "creationTimestamp": "2024-05-06T07:08:09Z"
    });
    assert_eq!(new, object(json!({"metadata": metadata, "spec": {}})));
    assert_eq!(check_create(&new, resource, version, true), []);
}

#[test]
fn a_namespace_is_put_in_or_has_to_be_the_same() {
    let put = |said: Value, scope, asked| {
        let mut it = object(json!({"metadata": {"namespace": said}}));
        set_namespace(&mut it, scope, asked).map(|()| it.meta("namespace").map(str::to_owned))
    };
    assert_eq!(put(json!(""), Scope::Namespaced, "n"), Ok(Some("n".to_owned())));
    assert_eq!(put(json!("n"), Scope::Namespaced, "n"), Ok(Some("n".to_owned())));
    assert_eq!(put(json!("n"), Scope::Cluster, ""), Ok(None));
    assert!(put(json!("m"), Scope::Namespaced, "n").is_err());
}

#[test]
fn generated_names_end_in_five_letters() {
    let mut number = 0;
    let mut random = || {
        number += 1;
        number
    };
    assert_eq!(generated_name("base-", &mut random), "base-cdfgh");
    assert_eq!(generated_name(&"a".repeat(100), &mut random).len(), 63);
    assert_eq!(generated_name(&"ä".repeat(100), || 0), format!("{}bbbbb", "ä".repeat(29)));
    assert_eq!(generated_name("", || u32::MAX).len(), 5);
}

fn stored(more: Value) -> Object {
    let mut it = object(json!({
        "apiVersion": "g/v1", "kind": "K", "spec": {"a": 1}, "status": {"s": 1},
        "metadata": {"name": "a", "uid": "u", "generation": 4, "creationTimestamp": "2024-01-01T00:00:00Z"}
    }));
    for (name, value) in more.as_object().unwrap() {
        it.metadata_mut().insert(name.clone(), value.clone());
    }
    it
}

#[test]
fn the_generation_is_raised_by_what_is_no_metadata_and_no_status() {
    let registry = registry();
    let (_, with_status) = registry.find("hiveinternal.openshift.io", "v1alpha1", "clustersyncs").unwrap();
    let (_, without) = registry.find("openreports.io", "v1alpha1", "reports").unwrap();
    let generation = |version, part, change: fn(&mut Object)| {
        let (old, mut new) =
            (stored(json!({})), stored(json!({"generation": 99, "uid": "", "creationTimestamp": "x"})));
        new.metadata_mut().remove("uid");
        change(&mut new);
        begin_update(&mut new, &old, version, part);
        assert_eq!(
            (new.meta("uid"), new.meta("creationTimestamp")),
            (Some("u"), Some("2024-01-01T00:00:00Z"))
        );
        (super::generation(&new), new.0["status"]["s"].as_i64())
    };
    let spec: fn(&mut Object) = |it| it.0["spec"]["a"] = json!(2);
    let status: fn(&mut Object) = |it| it.0["status"]["s"] = json!(2);
    let label: fn(&mut Object) = |it| _ = it.metadata_mut().insert("labels".to_owned(), json!({"a": "b"}));
    assert_eq!(generation(with_status, Part::Main, spec), (5, Some(1)));
    assert_eq!(generation(with_status, Part::Main, status), (4, Some(1)));
    assert_eq!(generation(with_status, Part::Status, status), (4, Some(2)));
    assert_eq!(generation(with_status, Part::Status, spec), (4, Some(1)));
    assert_eq!(generation(without, Part::Main, status), (5, Some(2)));
    assert_eq!(generation(without, Part::Main, label), (4, Some(1)));
}

#[test]
fn times_of_owners_alone_are_no_change() {
    let managed =
        |time: &str| json!({"managedFields": [{"manager": "m", "operation": "Update", "time": time}]});
    let old = stored(managed("1"));
    let mut new = stored(managed("2"));
    assert_eq!(effect(&mut new, &old), Effect::None);
    assert_eq!(new, old);
    new.0["spec"]["a"] = json!(2);
    assert_eq!(effect(&mut new, &old), Effect::Write);
}

#[test]
fn an_object_goes_with_its_last_finalizer() {
    let remove = DeleteOptions::default();
    assert_eq!(delete(&stored(json!({})), &remove, now()), Ok(Deletion::Remove));
    let held = stored(json!({"finalizers": ["example.com/a"]}));
    let Ok(Deletion::Mark(marked)) = delete(&held, &remove, now()) else { panic!("it is held") };
    assert_eq!(marked.meta("deletionTimestamp"), Some("2024-05-06T07:08:09Z"));
    assert_eq!(super::generation(&marked), 5);
    assert_eq!(delete(&marked, &remove, now()), Ok(Deletion::Waiting));
    let mut freed = marked.clone();
    freed.metadata_mut().remove("finalizers");
    assert_eq!(effect(&mut freed, &marked), Effect::Delete);
    let mut kept = held.clone();
    kept.metadata_mut().remove("finalizers");
    assert_eq!(effect(&mut kept, &held), Effect::Write);
}

#[test]
fn dependents_are_a_matter_of_finalizers() {
    let after = |finalizers: Value, options: Value| {
        let options: DeleteOptions = serde_json::from_value(options).unwrap();
        match delete(&stored(json!({"finalizers": finalizers})), &options, now()).unwrap() {
            Deletion::Mark(it) => finalizers_of(&it),
            Deletion::Remove => vec!["removed".to_owned()],
            Deletion::Waiting => vec!["waiting".to_owned()],
        }
    };
    assert_eq!(after(json!([]), json!({"propagationPolicy": "Foreground"})), [FOREGROUND]);
    assert_eq!(after(json!([]), json!({"propagationPolicy": "Orphan"})), [ORPHAN]);
    assert_eq!(after(json!([]), json!({"orphanDependents": true})), [ORPHAN]);
    assert_eq!(after(json!(["orphan"]), json!({"orphanDependents": false})), ["removed"]);
    assert_eq!(
        after(json!(["orphan", "a/b"]), json!({"propagationPolicy": "Foreground"})),
        ["a/b", FOREGROUND]
    );
    assert_eq!(after(json!(["foregroundDeletion"]), json!({})), [FOREGROUND]);
}

fn finalizers_of(object: &Object) -> Vec<String> {
    finalizers(object)
}

#[test]
fn preconditions_have_to_hold() {
    let check = |preconditions: Value| {
        let options: DeleteOptions = serde_json::from_value(json!({"preconditions": preconditions})).unwrap();
        delete(&stored(json!({"resourceVersion": "7"})), &options, now())
    };
    assert_eq!(check(json!({"uid": "u", "resourceVersion": "7"})), Ok(Deletion::Remove));
    assert_eq!(
        check(json!({"uid": "v"})),
        Err("the UID in the precondition (v) does not match the UID in record (u). The object might have been deleted and then \
             recreated"
            .to_owned())
    );
    assert!(
        check(json!({"resourceVersion": "6"})).unwrap_err().contains("The object might have been modified")
    );
}

#[test]
fn metadata_of_any_size_is_judged_in_time() {
    let start = std::time::Instant::now();
    let owner = |it: usize| json!({"apiVersion": "", "kind": "", "name": "", "uid": it.to_string(), "controller": true});
    let owners: Vec<Value> = (0..5_000).map(owner).collect();
    let finalizers: Vec<String> = (0..20_000).map(|it| format!("a b{it}")).collect();
    let metadata =
        json!({"name": "a", "namespace": "n", "ownerReferences": owners, "finalizers": finalizers});
    let mut new = object(json!({"metadata": metadata}));
    assert!(check(&new, Scope::Namespaced).len() <= 100);
    let old = stored(json!({"deletionTimestamp": "x", "finalizers": new.0["metadata"]["finalizers"]}));
    assert_eq!(drop_repeated_owners(&mut new, ""), None);
    assert_eq!(finalizer_warnings(&new, Some(&old)), [""; 0]);
    let registry = registry();
    let (resource, version) = registry.find("openreports.io", "v1alpha1", "reports").unwrap();
    let _ = check_update(&new, &old, resource, version, Part::Main, true);
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn a_million_labels_are_answered_by_a_few_errors() {
    let labels: serde_json::Map<String, Value> =
        (0..200_000).map(|it| (format!("a b{it}"), json!("x"))).collect();
    let object = object(json!({"metadata": {"name": "a", "namespace": "n", "labels": labels}}));
    assert!(check(&object, Scope::Namespaced).len() <= 100);
}
