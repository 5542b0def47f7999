//! Laws of server-side apply, on random configurations. That its outcomes are those of Kubernetes is what `tests/differential` shows.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::LazyLock;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::object::Object;
use crate::registry::Registry;
use crate::rules::Part;

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let mut registry = Registry::default();
    registry.add("the test", include_str!("../../tests/differential/things.json")).unwrap();
    registry
});

fn context() -> Context<'static> {
    let (resource, version) = REGISTRY.find("example.com", "v1", "things").unwrap();
    Context { resource, version, part: Part::Main, now: "2024-01-01T00:00:00Z".parse().unwrap() }
}

fn thing(spec: Value) -> Object {
    let object =
        json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": spec});
    Object(object.as_object().unwrap().clone())
}

fn applied(live: Option<&Object>, spec: &Value, manager: &str, force: bool) -> Result<Object, ApplyError> {
    apply(&context(), live, &thing(spec.clone()), manager, force)
}

fn letter() -> impl Strategy<Value = String> {
    "[a-c]"
}

fn pair() -> impl Strategy<Value = Value> {
    btree_map(prop_oneof![Just("a".to_owned()), Just("b".to_owned())], letter().prop_map(Value::from), 1..3)
        .prop_map(|it| Value::Object(it.into_iter().collect()))
}

fn items() -> impl Strategy<Value = Value> {
    btree_map(letter(), letter(), 1..4).prop_map(|it| {
        it.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>().into()
    })
}

fn maybe(
    name: &'static str,
    value: impl Strategy<Value = Value> + 'static,
) -> BoxedStrategy<Option<(String, Value)>> {
    proptest::option::of(value.prop_map(move |it| (name.to_owned(), it))).boxed()
}

/// A configuration of some of the fields; what is empty is left out, since Kubernetes has no null for it.
fn spec() -> impl Strategy<Value = Value> {
    let set = proptest::collection::btree_set(letter(), 1..4)
        .prop_map(|it| it.into_iter().collect::<Vec<_>>().into());
    let fields = vec![
        maybe("text", letter().prop_map(Value::from)),
        maybe("set", set),
        maybe("list", items()),
        maybe(
            "map",
            btree_map(letter(), pair(), 1..3).prop_map(|it| Value::Object(it.into_iter().collect())),
        ),
        maybe("whole", pair()),
        maybe("words", vec(letter(), 1..3).prop_map(Value::from)),
        maybe(
            "free",
            btree_map(letter(), pair(), 1..3).prop_map(|it| Value::Object(it.into_iter().collect())),
        ),
    ];
    fields.prop_map(|it| Value::Object(it.into_iter().flatten().collect::<Map<_, _>>()))
}

/// Whether everything that a configuration says stands in an object.
fn holds(object: &Value, config: &Value) -> bool {
    match (object, config) {
        (Value::Object(object), Value::Object(config)) => {
            config.iter().all(|(name, value)| object.get(name).is_some_and(|it| holds(it, value)))
        }
        (Value::Array(object), Value::Array(config)) => {
            config.iter().all(|value| object.iter().any(|it| holds(it, value)))
        }
        _ => object == config,
    }
}

fn owners(object: &Object) -> Vec<String> {
    let entries = object.metadata().unwrap().get("managedFields").and_then(Value::as_array);
    entries.into_iter().flatten().map(|it| it["manager"].as_str().unwrap().to_owned()).collect()
}

/// An object without what defaults put in.
fn spec_of(object: &Object) -> Value {
    let mut spec = object.0.get("spec").cloned().unwrap_or(json!({}));
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("given");
        spec.retain(|_, it| !it.is_null());
    }
    if spec.is_null() { json!({}) } else { spec }
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(first in spec(), second in spec()) {
        let live = applied(None, &first, "one", false).unwrap();
        let once = applied(Some(&live), &second, "two", true).unwrap();
        let twice = applied(Some(&once), &second, "two", false).unwrap();
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn what_is_applied_by_force_stands_there(first in spec(), second in spec()) {
        let live = applied(None, &first, "one", false).unwrap();
        let object = applied(Some(&live), &second, "two", true).unwrap();
        prop_assert!(holds(&spec_of(&object), &second), "{object:?}");
    }

    #[test]
    fn what_nobody_else_has_is_taken_out_with_its_owner(first in spec(), second in spec()) {
        let live = applied(None, &first, "one", false).unwrap();
        let Ok(both) = applied(Some(&live), &second, "two", false) else { return Ok(()) };
        let rest = applied(Some(&both), &json!({}), "one", false).unwrap();
        prop_assert_eq!(spec_of(&rest), spec_of(&applied(None, &second, "two", false).unwrap()));
    }

    #[test]
    fn a_conflict_changes_nothing_and_force_ends_it(first in spec(), second in spec()) {
        let live = applied(None, &first, "one", false).unwrap();
        match applied(Some(&live), &second, "two", false) {
            Ok(object) => prop_assert!(holds(&spec_of(&object), &first) && holds(&spec_of(&object), &second)),
            Err(ApplyError::Conflicts(conflicts)) => {
                prop_assert!(!conflicts.is_empty() && conflicts.iter().all(|it| it.manager == "\"one\""));
                prop_assert!(applied(Some(&live), &second, "two", true).is_ok());
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn who_updates_owns_what_it_changed_and_nobody_else_does(first in spec(), second in spec()) {
        let live = applied(None, &first, "one", false).unwrap();
        let mut new = thing(second.clone());
        new.metadata_mut().insert("managedFields".to_owned(), live.metadata().unwrap()["managedFields"].clone());
        context().version.schema.fill_defaults(&mut new.0);
        update(&context(), Some(&live), &mut new, "two");
        // Whoever applies against what the update has set meets it.
        prop_assert_eq!(owners(&new).contains(&"two".to_owned()), spec_of(&live) != spec_of(&new) && adds(&spec_of(&live), &spec_of(&new)));
    }

    #[test]
    fn sets_are_written_and_read(paths in vec(vec(step(), 1..4), 0..8)) {
        let set = set_of(&paths);
        prop_assert_eq!(&FieldSet::from_json(&set.to_json()).unwrap(), &set);
        prop_assert_eq!(set.paths().iter().cloned().collect::<std::collections::BTreeSet<_>>(), paths.into_iter().collect());
    }

    #[test]
    fn sets_obey_the_laws_of_sets(a in vec(vec(step(), 1..4), 0..8), b in vec(vec(step(), 1..4), 0..8)) {
        let (a, b) = (set_of(&a), set_of(&b));
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        prop_assert!(a.difference(&b).intersection(&b).is_empty());
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)).paths(), a.paths());
    }

    #[test]
    fn no_managed_fields_break_a_write(fields in "[{}:,fkvi.\"a0\\[\\]]{0,40}", operation in "Apply|Update|x") {
        let fields = serde_json::from_str::<Value>(&fields).unwrap_or_else(|_| json!({fields: {}}));
        let entry = json!({"manager": "m", "operation": operation, "apiVersion": "example.com/v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
        let mut live = thing(json!({"text": "a"}));
        live.metadata_mut().insert("managedFields".to_owned(), json!([entry]));
        let _ = applied(Some(&live), &json!({"text": "b"}), "two", true);
        let mut new = live.clone();
        update(&context(), Some(&live), &mut new, "two");
    }

    #[test]
    fn no_patch_breaks_the_patcher(patch in "[{}:,\"aop/testcy0\\[\\]]{0,60}") {
        let mut document = json!({"a": [1, {"b": 2}]});
        let _ = json_patch(&mut document, patch.as_bytes());
        let _ = merge_patch(&mut document, patch.as_bytes());
    }
}

/// Whether a value has something that the other has not, or has otherwise.
fn adds(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => new.iter().any(|(name, value)| match old.get(name) {
            None => true,
            // The list and the map that are one value each.
            Some(old) if matches!(name.as_str(), "words" | "whole") => old != value,
            Some(old) => adds(old, value),
        }),
        (Value::Array(old), Value::Array(new)) => new.iter().any(|it| !old.contains(it)),
        _ => old != new,
    }
}

fn step() -> impl Strategy<Value = Element> {
    prop_oneof![
        "[a-z./]{1,3}".prop_map(Element::Field),
        (letter(), 0..3_i64).prop_map(|(name, value)| Element::Key(vec![(name, value.into())])),
        letter().prop_map(|it| Element::Value(it.into())),
        (0..3_i64).prop_map(Element::Index),
    ]
}

fn set_of(paths: &[Path]) -> FieldSet {
    let mut set = FieldSet::default();
    paths.iter().for_each(|it| set.insert(it));
    set
}

#[test]
fn conflicts_are_worded_as_kubernetes_words_them() {
    let live =
        applied(None, &json!({"text": "a", "list": [{"name": "x", "value": "1"}]}), "one", false).unwrap();
    let error = applied(Some(&live), &json!({"text": "b"}), "two", false).unwrap_err();
    assert_eq!(error.to_string(), "Apply failed with 1 conflict: conflict with \"one\": .spec.text");
    let both = json!({"text": "b", "list": [{"name": "x", "value": "2"}]});
    let error = applied(Some(&live), &both, "two", false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .spec.text\n- .spec.list[name=\"x\"].value"
    );
}

#[test]
fn owners_of_any_number_are_dealt_with_in_time() {
    let start = std::time::Instant::now();
    let entry = |it: usize| {
        let set = json!({"f:spec": {"f:map": {format!("f:{it}"): {"f:a": {}}}, "f:text": {}}});
        json!({"manager": it.to_string(), "operation": "Update", "apiVersion": "example.com/v1", "fieldsType": "FieldsV1", "fieldsV1": set})
    };
    let map =
        |value: &str| Value::Object((0..5000).map(|it| (it.to_string(), json!({"a": value}))).collect());
    let mut live = thing(json!({"text": "a", "map": map("x")}));
    live.metadata_mut().insert("managedFields".to_owned(), (0..5000).map(entry).collect());
    live.metadata_mut().insert("uid".to_owned(), "u".into());
    let mut new = thing(json!({"text": "b", "map": map("y")}));
    update(&context(), Some(&live), &mut new, "m");
    assert_eq!(owners(&new), ["m"]);
    let error = applied(Some(&live), &json!({"text": "b", "map": map("y")}), "m", false).unwrap_err();
    assert!(matches!(error, ApplyError::Conflicts(conflicts) if conflicts.len() == 10_000));
    assert!(applied(Some(&live), &json!({"text": "b", "map": map("y")}), "m", true).is_ok());
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn the_manager_is_the_agent_if_none_is_said() {
    assert_eq!(manager_or_agent("m", "kubectl/v1"), "m");
    assert_eq!(manager_or_agent("", "kubectl/v1 (linux)"), "kubectl");
    assert_eq!(manager_or_agent("", "a\u{1}b"), "ab");
    assert_eq!(manager_or_agent("", &"ä".repeat(100)).len(), 128);
    assert_eq!(manager_or_agent("", ""), "");
}

#[test]
fn patches_are_bounded() {
    let many: Vec<Value> = (0..10_001).map(|_| json!({"op": "test", "path": "", "value": {}})).collect();
    let mut document = json!({});
    assert_eq!(
        json_patch(&mut document, json!(many).to_string().as_bytes()),
        Err(PatchError::TooMany { most: 10_000, count: 10_001 })
    );
    assert_eq!(json_patch(&mut document, json!(many[1..]).to_string().as_bytes()), Ok(Vec::new()));
    // Each copy doubles the document: 40 of them would make a terabyte of it.
    let double: Vec<Value> =
        (0..40).map(|it| json!({"op": "copy", "from": "", "path": format!("/{it}")})).collect();
    let mut document = json!({"a": "x"});
    assert!(matches!(
        json_patch(&mut document, json!(double).to_string().as_bytes()),
        Err(PatchError::Failed(_))
    ));
    let mut document = json!({"a": vec![0; 1_000_000]});
    let first: Vec<Value> = (0..10_000).map(|_| json!({"op": "add", "path": "/a/0", "value": 0})).collect();
    assert!(matches!(
        json_patch(&mut document, json!(first).to_string().as_bytes()),
        Err(PatchError::Failed(_))
    ));
    let mut document = json!({"a": 1});
    assert!(matches!(merge_patch(&mut document, b"[]"), Err(PatchError::Malformed(_))));
    assert!(matches!(json_patch(&mut document, b"{}"), Err(PatchError::Malformed(_))));
    assert!(matches!(json_patch(&mut document, br#"[{"op":1,"path":"/a"}]"#), Err(PatchError::Malformed(_))));
}
