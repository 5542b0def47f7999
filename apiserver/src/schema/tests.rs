//! What objects are refused for, in the words of kube-apiserver 1.34; `tests/differential` shows that they are.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Map, Value, json};

use super::*;
use crate::registry::Registry;

fn schema() -> Schema {
    let mut registry = Registry::default();
    registry.add("the test", include_str!("../../tests/differential/things.json")).unwrap();
    registry.find("example.com", "v1", "things").unwrap().1.schema.clone()
}

fn thing(spec: &Value) -> Map<String, Value> {
    json!({"spec": spec}).as_object().unwrap().clone()
}

fn errors(spec: &Value) -> Vec<String> {
    schema().validate(&thing(spec)).iter().map(ToString::to_string).collect()
}

#[test]
fn each_check_has_its_words() {
    for (spec, error) in [
        (json!({"text": "toolong"}), "spec.text: Too long: may not be more than 5 bytes"),
        (
            json!({"text": "UP"}),
            r#"spec.text: Invalid value: "UP": spec.text in body should match '^[a-z]+$'"#,
        ),
        (
            json!({"text": 5}),
            r#"spec.text: Invalid value: "integer": spec.text in body must be of type string: "integer""#,
        ),
        (json!({"choice": "r"}), r#"spec.choice: Unsupported value: "r": supported values: "p", "q""#),
        (
            json!({"number": 0}),
            "spec.number: Invalid value: 0: spec.number in body should be greater than or equal to 1",
        ),
        (
            json!({"number": 3}),
            "spec.number: Invalid value: 3: spec.number in body should be a multiple of 2",
        ),
        (json!({"ratio": 0}), "spec.ratio: Invalid value: 0: spec.ratio in body should be greater than 0"),
        (
            json!({"time": "x"}),
            r#"spec.time: Invalid value: "x": spec.time in body must be of type date-time: "x""#,
        ),
        (json!({"words": ["a", "b", "c", "d"]}), "spec.words: Too many: 4: must have at most 3 items"),
        (json!({"set": ["a", "a"]}), r#"spec.set[1]: Duplicate value: "a""#),
        (json!({"list": [{"name": "a"}, {"name": "a"}]}), r#"spec.list[1]: Duplicate value: {"name":"a"}"#),
        (json!({"list": [{}]}), "spec.list[0].name: Required value"),
        (
            json!({"either": true}),
            r#"spec.either: Invalid value: "boolean": spec.either in body must be of type integer,string: "boolean""#,
        ),
    ] {
        assert_eq!(errors(&spec), [error], "{spec}");
    }
    for spec in [
        json!({"either": 1}),
        json!({"maybe": null}),
        json!({"number": 2}),
        json!({"one": {"x": ""}}),
        json!({}),
    ] {
        assert_eq!(errors(&spec), [""; 0], "{spec}");
    }
    let one = errors(&json!({"one": {}}));
    assert_eq!(
        one[0],
        r#"<nil>: Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found none valid"#
    );
}

#[test]
fn what_was_wrong_before_and_did_not_change_is_let_pass() {
    let (old, same) = (
        json!({"text": "UP", "list": [{"name": "a", "value": 5}]}),
        json!({"text": "UP", "list": [{"name": "b"}, {"name": "a", "value": 5}]}),
    );
    assert_eq!(schema().validate(&thing(&old)).len(), 2);
    assert_eq!(schema().validate_update(&thing(&same), &thing(&old)), []);
    let worse = json!({"text": "UPPER", "list": [{"name": "a", "value": 6}]});
    assert_eq!(schema().validate_update(&thing(&worse), &thing(&old)).len(), 2);
}

#[test]
fn a_body_of_wrong_items_is_answered_by_a_bounded_status() {
    let list: Vec<Value> = (0..100_000).map(|it| json!({"name": it})).collect();
    let started = std::time::Instant::now();
    assert_eq!(errors(&json!({"list": list})).len(), 256);
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
}

#[test]
fn deep_values_are_walked_to_their_end() {
    let mut deep = json!("end");
    for _ in 0..120 {
        deep = json!({"a": deep});
    }
    let mut object = thing(&json!({"free": deep}));
    assert_eq!(schema().coerce(&mut object).unwrap().unknown, [""; 0]);
    schema().fill_defaults(&mut object);
    assert_eq!(schema().validate(&object), []);
}
