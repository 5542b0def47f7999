//! Reports of every shape, and what only looks like one.

use serde_json::json;

use super::*;

fn rows(object: Value) -> Vec<ResultRow> {
    let Value::Object(object) = object else { panic!("no object") };
    extract(&object).0
}

/// `policy/rule namespace:kind/name severity result source@at`.
fn shown(object: Value) -> Vec<String> {
    let show = |it: ResultRow| {
        let ResultRow { policy, rule, kind, namespace, name, severity, result, source, at, .. } = it;
        let (severity, result) = (severity.name(), result.name());
        format!("{policy}/{rule} {namespace}:{kind}/{name} {severity} {result} {source}@{at}")
    };
    rows(object).into_iter().map(show).collect()
}

#[test]
fn a_policy_report() {
    let report = json!({
        "metadata": {"namespace": "ns", "name": "r", "creationTimestamp": "1970-01-01T00:01:40Z"},
        "scope": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "ns"},
        "results": [
            {"policy": "p", "rule": "a", "severity": "high", "result": "fail", "source": "kyverno", "scored": true,
             "category": "c", "message": "m", "timestamp": {"seconds": 7, "nanos": 9}, "properties": {"x": "y"}},
            {"policy": "p", "result": "pass", "timestamp": {"seconds": 0, "nanos": 0}},
            {"policy": "q", "resources": [
                {"kind": "Pod", "name": "one", "namespace": "other"}, {"kind": "Node", "name": "two"},
            ]},
        ],
    });
    assert_eq!(
        shown(report.clone()),
        [
            "p/a ns:Deployment/web high fail kyverno@7",
            "p/ ns:Deployment/web  pass @100",
            "q/ other:Pod/one   @100",
            "q/ ns:Node/two   @100",
        ]
    );
    let first = &rows(report)[0];
    assert_eq!((first.scored, first.category.as_str(), first.message.as_str()), (true, "c", "m"));
}

#[test]
fn an_open_report_has_a_source_of_its_own() {
    let report = json!({
        "metadata": {"name": "r"}, "source": "trivy", "scope": {"kind": "Node", "name": "n"},
        "results": [{"policy": "p", "source": ""}, {"policy": "p", "source": "other"}],
    });
    assert_eq!(shown(report), ["p/ :Node/n   trivy@0", "p/ :Node/n   other@0"]);
}

#[test]
fn an_ephemeral_report_is_about_its_owner() {
    let report = json!({
        "metadata": {"namespace": "ns"},
        "spec": {
            "owner": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"},
            "results": [{"policy": "p", "rule": "r", "result": "warn"}],
        },
    });
    assert_eq!(shown(report), ["p/r ns:Pod/p  warn @0"]);
    // A scope says it better, wherever it is.
    let report = json!({
        "scope": {"kind": "Job", "name": "j", "namespace": "k"},
        "spec": {"owner": {"kind": "Pod", "name": "p"}, "source": "s", "results": [{"policy": "p"}]},
    });
    assert_eq!(shown(report), ["p/ k:Job/j   s@0"]);
}

#[test]
fn what_is_no_report_has_no_rows() {
    for object in [
        json!({}),
        json!({"results": []}),
        json!({"results": {"policy": "p"}}),
        json!({"results": "policy"}),
        json!({"results": [null, 1, "p", [], {}, {"rule": "r"}, {"policy": ""}, {"policy": {"name": "p"}}, {"policy": 3}]}),
        json!({"spec": [{"results": [{"policy": "p"}]}]}),
        json!({"spec": {"results": {"policy": "p"}}}),
        json!({"status": {"results": [{"policy": "p"}]}}),
    ] {
        assert_eq!(shown(object.clone()), [""; 0], "{object}");
    }
}

#[test]
fn what_is_of_another_type_is_not_given() {
    let report = json!({
        "metadata": "m", "scope": [1], "source": {"a": 1}, "spec": null,
        "results": [7, {
            "policy": "p", "rule": 1, "severity": "awful", "result": ["fail"], "category": {}, "source": null,
            "scored": "yes", "message": [], "resources": [5, null], "timestamp": "2026-01-01T00:00:00Z",
        }],
    });
    assert_eq!(rows(report), [ResultRow { policy: "p".to_owned(), ..ResultRow::default() }]);
    let at = |timestamp: Value| rows(json!({"results": [{"policy": "p", "timestamp": timestamp}]}))[0].at;
    for odd in
        [json!({}), json!({"seconds": -5}), json!({"seconds": 1.5}), json!({"seconds": u64::MAX}), json!(7)]
    {
        assert_eq!(at(odd.clone()), 0, "{odd}");
    }
    let created = |text: &str| {
        rows(json!({"metadata": {"creationTimestamp": text}, "results": [{"policy": "p"}]}))[0].at
    };
    assert_eq!((created("1960-01-01T00:00:00Z"), created("yesterday"), created("")), (0, 0, 0));
}

#[test]
fn texts_are_cut_where_a_letter_ends() {
    let long = format!("{}ä", "x".repeat(TEXT - 1));
    let row = &rows(json!({"results": [{"policy": long, "message": "y".repeat(100_000)}]}))[0];
    assert_eq!((row.policy.len(), row.message.len()), (TEXT - 1, TEXT));
}

#[test]
fn long_lists_are_bounded_whatever_they_are_long_by() {
    let many = |count: usize, item: Value| {
        let Value::Object(object) = json!({"results": vec![item; count]}) else { unreachable!("an object") };
        let (rows, is_cut) = extract(&object);
        (rows.len(), is_cut)
    };
    assert_eq!(many(ROWS, json!({"policy": "p"})), (ROWS, false));
    assert_eq!(many(ROWS + 1, json!({"policy": "p"})), (ROWS, true));
    let resources = |count: usize| json!({"policy": "p", "resources": vec![json!({"kind": "Pod"}); count]});
    assert_eq!(many(1, resources(ROWS + 1)), (ROWS, true));
    assert_eq!(many(3, resources(ROWS / 2)), (ROWS, true));
    let (rows, is_cut) = many(ROWS, json!({"policy": "p", "message": "m".repeat(10_000)}));
    assert!(is_cut && rows * TEXT <= BYTES && rows > BYTES / TEXT / 2, "{rows}");
}
