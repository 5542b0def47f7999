//! What is worth writing down.

use serde_json::{Value, json};

use crate::request::{Request, Verb, thing};

/// All requests, in order.
pub(crate) fn all() -> Vec<Request> {
    let mut requests = wrong_specs();
    requests.extend(wrong_metadata());
    requests.extend(unknown_fields());
    requests.extend(lives());
    requests.extend(applied());
    requests
}

fn create(name: &str, fields: Value) -> Request {
    Request::new(Verb::Create, name, &thing(name, fields))
}

fn apply(name: &str, fields: Value) -> Request {
    Request::new(Verb::Apply, name, &thing(name, fields))
}

/// One thing that is wrong each: the order of several is not fixed in Go.
fn wrong_specs() -> Vec<Request> {
    let specs = [
        json!({"text": "toolong"}),
        json!({"text": ""}),
        json!({"text": "UP"}),
        json!({"text": 5}),
        json!({"text": ["a"]}),
        json!({"text": {"a": 1}}),
        json!({"text": true}),
        json!({"choice": "r"}),
        json!({"number": 0}),
        json!({"number": 10}),
        json!({"number": 3}),
        json!({"number": 2.5}),
        json!({"number": 2.0}),
        json!({"ratio": 0}),
        json!({"ratio": -1.5}),
        json!({"flag": "yes"}),
        json!({"time": "yesterday"}),
        json!({"time": 5}),
        json!({"time": {"a": 1}}),
        json!({"time": true}),
        json!({"address": "1.2.3"}),
        json!({"either": true}),
        json!({"either": {"a": 1}}),
        json!({"either": 1.5}),
        json!({"maybe": null}),
        json!({"given": null}),
        json!({"flag": null}),
        json!({"words": ["a", "b", "c", "d"]}),
        json!({"words": "a"}),
        json!({"words": [null]}),
        json!({"set": ["a", "b", "a", "a"]}),
        json!({"list": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}),
        json!({"list": [{"value": "a"}]}),
        json!({"ports": [{"port": 1}, {"port": 1, "protocol": "TCP"}]}),
        json!({"ports": [{"port": 1}, {"port": 1, "protocol": "UDP"}]}),
        json!({"map": {"k": {"a": 1}}}),
        json!({"map": {"k": "x"}}),
        json!({"nested": {}}),
        json!({"nested": {"deep": 1}}),
        json!({"one": {}}),
        json!({"one": {"x": "", "y": ""}}),
        json!({"one": {"x": ""}}),
        json!({"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "labels": {"a b": "c"}}}}),
        json!({"template": {"kind": "Pod"}}),
        json!({"template": {"apiVersion": "v1", "kind": 5}}),
        json!({"template": {"apiVersion": "a/b/c", "kind": "Pod"}}),
        json!({"template": {"apiVersion": "a/", "kind": "Pod"}}),
        json!({"template": {"apiVersion": "", "kind": "Pod"}}),
        json!({"template": {"apiVersion": "v 1", "kind": "Pod"}}),
        json!({"template": {"apiVersion": "A.b/v1", "kind": "Pod"}}),
        json!({"template": {"apiVersion": "v1", "kind": "p o d"}}),
        json!({"template": {"apiVersion": "v1", "kind": "1pod"}}),
        json!({"template": {"apiVersion": "v1", "kind": ""}}),
        json!({"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "N S"}}}),
        json!({"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "ns", "name": "N"}}}),
        json!({"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "N S"}}}),
        json!({"big": 9_223_372_036_854_775_807_i64}),
        json!({"big": 9_223_372_036_854_775_808_u64}),
        json!({"big": 1e30}),
        json!({"big": 1e18}),
        json!({"big": 9_007_199_254_740_991_f64}),
        json!({"ratio": 1e20}),
        json!({"ratio": 1e21}),
        json!({"ratio": 1e-7}),
        json!({"big": -9.3e18}),
        json!({"big": -9_223_372_036_854_775_808_i64}),
        json!({"either": 1e30}),
        json!({"ratio": 1e30}),
        json!({"link": "http://x/%zz"}),
        json!({"link": "http://x/%41"}),
        json!({"link": "http://x:y/"}),
        json!({"link": "http://[::1/"}),
        json!({"link": "http://[::1]:80/a?b=%zz"}),
        json!({"link": "http://[fe80::1%25en0]/"}),
        json!({"link": "http://x%41/"}),
        json!({"link": "http://x%20y/"}),
        json!({"link": "http://x y/"}),
        json!({"link": "http://x<y/"}),
        json!({"link": "http://u:p@x/"}),
        json!({"link": "http://u{p@x/"}),
        json!({"link": "http://u%zz@x/"}),
        json!({"link": "/a b"}),
        json!({"link": "/a%zz"}),
        json!({"link": "//host/%zz"}),
        json!({"link": "//host:x/"}),
        json!({"link": "a:b"}),
        json!({"link": "a:/b%"}),
        json!({"link": ":a"}),
        json!({"link": "1a:b"}),
        json!({"link": "a:"}),
        json!({"link": "*"}),
        json!({"link": "a"}),
        json!({"link": ""}),
        json!({"link": "http://x/#a"}),
        json!({"link": "http://"}),
        json!({"link": "http://x:/"}),
        json!({"link": "mailto:a@b"}),
        json!("text"),
        json!(null),
        json!({"text": "<&>\u{1}\n\"\\ä"}),
    ];
    let numbered = specs.into_iter().enumerate();
    numbered.map(|(number, spec)| create(&format!("spec-{number}"), json!({"spec": spec}))).collect()
}

fn wrong_metadata() -> Vec<Request> {
    let long = "a".repeat(64);
    let metadata = [
        json!({"labels": {"a": 1}}),
        json!({"labels": {"a b": "x"}}),
        json!({"labels": {"a": "b c"}}),
        json!({"labels": {"a": null}}),
        json!({"labels": {long.as_str(): "x"}}),
        json!({"labels": {"a": long.as_str()}}),
        json!({"labels": "x"}),
        json!({"labels": {}}),
        json!({"annotations": {"a b": "x"}}),
        json!({"annotations": {"A": "x"}}),
        json!({"annotations": {"a": "x".repeat(300 << 10)}}),
        json!({"finalizers": ["x y"]}),
        json!({"finalizers": ["example.com/ok"]}),
        json!({"finalizers": ["orphan", "foregroundDeletion"]}),
        json!({"finalizers": ["plain"]}),
        json!({"finalizers": ["dotted.name"]}),
        json!({"finalizers": "x"}),
        json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": ""}]}),
        json!({"ownerReferences": [{"apiVersion": "", "kind": "Pod", "name": "x", "uid": "u"}]}),
        json!({"ownerReferences": [{"apiVersion": "a/b/c", "kind": "Pod", "name": "x", "uid": "u"}]}),
        json!({"ownerReferences": [{"apiVersion": "a/", "kind": "Pod", "name": "x", "uid": "u"}]}),
        json!({"ownerReferences": [{"apiVersion": "/v1", "kind": "Pod", "name": "x", "uid": "u"}]}),
        json!({"ownerReferences": [{"apiVersion": 1}]}),
        json!({"ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u", "controller": true},
            {"apiVersion": "v1", "kind": "Pod", "name": "y", "uid": "v", "controller": true}
        ]}),
        json!({"ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"},
            {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"}
        ]}),
        json!({"generation": "x"}),
        json!({"generation": 7}),
        json!({"uid": "mine", "selfLink": "/x", "creationTimestamp": "2024-01-01T00:00:00Z"}),
        json!({"creationTimestamp": "x"}),
        json!({"name": "UPPER"}),
        json!({"name": "a.b-c"}),
        json!({"name": ""}),
        json!({"name": 5}),
        json!({"namespace": "other"}),
        json!({"namespace": "default"}),
        json!({"managedFields": [{"operation": "x"}]}),
        json!({"bar": 1}),
    ];
    let numbered = metadata.into_iter().enumerate();
    numbered.map(|(number, it)| create(&format!("metadata-{number}"), json!({"metadata": it}))).collect()
}

fn unknown_fields() -> Vec<Request> {
    let text = r#"{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"NAME","x":1},"top":1,
        "spec":{"z":1,"text":"a","text":"b","list":[{"name":"a","q":1}],"map":{"k":{"q":1}},"free":{"any":{"thing":1}}}}"#;
    let of = |name: &str| create(name, json!({})).text(&text.replace("NAME", name));
    vec![of("unknown-a"), of("unknown-b").strict(), Request { validation: "Ignore", ..of("unknown-c") }]
}

/// What happens to one object in its life.
fn lives() -> Vec<Request> {
    let replace = |fields| Request::new(Verb::Replace, "life", &thing("life", fields));
    let versioned = |fields: Value| {
        let mut body = thing("life", fields);
        body["metadata"]["resourceVersion"] = "$VERSION".into();
        Request::new(Verb::Replace, "life", &body)
    };
    let merge = |body| Request::new(Verb::MergePatch, "life", &body);
    let json_patch = |body| Request::new(Verb::JsonPatch, "life", &body);
    let get = || Request::new(Verb::Get, "life", &Value::Null);
    let delete = |body| Request::new(Verb::Delete, "life", &body);
    vec![
        get(),
        replace(json!({})),
        merge(json!({})),
        delete(json!({})),
        create(
            "life",
            json!({"spec": {"text": "a", "list": [{"name": "a", "value": "1"}]}, "status": {"phase": "New"}}),
        ),
        create("life", json!({})),
        get(),
        replace(json!({"spec": {"text": "b"}})),
        versioned(json!({"metadata": {"name": "other"}})),
        versioned(json!({"spec": {"text": "b", "given": "y"}})).by("second"),
        versioned(json!({"spec": {"text": "b", "given": "y"}})).by("third"),
        merge(json!({"spec": {"text": "c", "map": {"k": {"a": "1"}}}})).by("second"),
        merge(json!({"spec": {"map": {"k": {"a": null}}}})).by("third"),
        merge(json!({"spec": {"map": null}})).by("third"),
        merge(json!({"spec": {"unknown": 1}})),
        merge(json!({"metadata": {"labels": {"a": "b"}}})),
        merge(json!({"metadata": {"resourceVersion": "1"}})),
        merge(json!({"metadata": {"generation": 99, "creationTimestamp": null, "uid": null}})),
        merge(json!({"spec": {"text": "TOO LONG"}})),
        json_patch(json!([{"op": "replace", "path": "/spec/text", "value": "d"}])),
        json_patch(json!([{"op": "test", "path": "/spec/text", "value": "x"}])),
        json_patch(json!([{"op": "remove", "path": "/spec/none"}])),
        json_patch(
            json!([{"op": "add", "path": "/spec/words", "value": ["a"]}, {"op": "copy", "from": "/spec/words", "path": "/spec/set"}]),
        ),
        json_patch(json!([{"op": "replace", "path": "/metadata/labels", "value": {"a": "b"}}])),
        json_patch(json!([{"op": "test", "path": "/spec/nope", "value": null}])),
        json_patch(json!([{"op": "remove", "path": "/spec/words/-1"}])),
        json_patch(json!([{"op": "replace", "path": "/spec/words/-1", "value": "x"}])),
        json_patch(json!([{"op": "add", "path": "/spec/words/00", "value": "b"}])),
        json_patch(json!([{"op": "add", "path": "/spec/words/-1", "value": "c"}])),
        json_patch(json!([{"op": "copy", "from": "/spec/nope", "path": "/spec/given"}])),
        json_patch(json!([{"op": "copy", "from": "/spec/text", "path": "/spec/map"}])),
        json_patch(json!([{"op": "move", "from": "/spec/words", "path": "/spec/set"}])),
        json_patch(json!([{"op": "add", "path": "spec/text", "value": "d"}])),
        json_patch(json!([{"op": "add", "path": "/spec/a~2", "value": 1}])),
        json_patch(json!([{"op": "add", "path": "/metadata/labels/a~1b", "value": "c"}])),
        json_patch(json!([{"op": "add", "path": "/metadata/labels/a~01b", "value": "c"}])),
        json_patch(json!([{"op": "add", "path": "/metadata/labels/a~", "value": "c"}])),
        json_patch(json!([{"op": "remove", "path": "/metadata/labels/~2"}])),
        json_patch(json!([{"op": "remove", "path": ""}])),
        json_patch(json!([{"op": "add", "path": "", "value": {}}])),
        json_patch(json!([{"op": "nonsense", "path": "/spec"}])),
        json_patch(json!([{"path": "/spec"}])),
        json_patch(json!([{"op": "remove"}])),
        json_patch(json!([{"op": "move", "path": "/spec/text"}])),
        json_patch(json!([{"op": 1, "path": "/spec"}])),
        json_patch(json!([{"op": "add", "path": {}}])),
        json_patch(json!([1])),
        json_patch(json!([null])),
        json_patch(json!({})),
        json_patch(json!([])),
        json_patch(Value::Null).text("null"),
        json_patch(json!([{"op": "add", "path": "/spec/text", "value": "d", "zz": 1}])),
        json_patch(Value::Null)
            .text(r#"[{"op": "add", "op": "add", "path": "/spec/text", "value": {"a": 1}}]"#),
        json_patch(Value::Null)
            .text(r#"[{"op": "add", "path": "/spec/text", "value": "d", "path": "/spec/text"}]"#),
        merge(Value::Null).text("null"),
        merge(json!([])),
        merge(json!({"status": {"phase": "Done"}, "spec": {"text": "e"}})).status().by("controller"),
        merge(json!({"status": {"phase": "Lost"}})).status(),
        merge(json!({"status": {"count": "x"}})).status(),
        merge(json!({"status": {"conditions": [{"type": 1}]}})).status(),
        merge(json!({"status": {"conditions": [{"status": "True"}]}})).status(),
        merge(json!({"status": 5})).status(),
        versioned(json!({"status": {"phase": "Done", "count": 3}, "metadata": {"labels": {"x": "y"}}}))
            .status()
            .by("controller"),
        merge(json!({"status": {"phase": "New"}})),
        get(),
        merge(json!({"metadata": {"finalizers": ["example.com/a", "example.com/b"]}})),
        delete(json!({})),
        delete(json!({})),
        merge(json!({"metadata": {"finalizers": ["example.com/a", "example.com/c"]}})),
        merge(json!({"metadata": {"finalizers": ["example.com/a"]}})),
        merge(json!({"metadata": {"finalizers": null}})),
        get(),
        create("life", json!({})),
        delete(json!({"propagationPolicy": "Foreground"})),
        get(),
        delete(json!({"propagationPolicy": "Background"})),
        get(),
        create("life", json!({})),
        delete(json!({"propagationPolicy": "Orphan"})),
        merge(json!({"metadata": {"finalizers": []}})),
        create("life", json!({"metadata": {"finalizers": ["foregroundDeletion"]}})),
        delete(json!({})),
        merge(json!({"metadata": {"managedFields": []}})),
        merge(json!({"metadata": {"finalizers": []}})),
    ]
}

fn applied() -> Vec<Request> {
    let merge = |body| Request::new(Verb::MergePatch, "applied", &body);
    let apply = |fields| apply("applied", fields);
    let last = r#"{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"annotations":{},"name":"csa","namespace":"default"},"spec":{"text":"a"}}"#;
    let csa = |fields: Value| Request::new(Verb::Apply, "csa", &thing("csa", fields)).by("kubectl");
    vec![
        apply(json!({"spec": {"text": "a", "map": {"k": {"a": "1"}}, "list": [{"name": "a", "value": "1"}], "set": ["x", "y"]}})).by("one"),
        apply(json!({"spec": {"text": "a", "map": {"k": {"a": "1"}}, "list": [{"name": "a", "value": "1"}], "set": ["x", "y"]}})).by("one"),
        apply(json!({"spec": {"text": "b"}})).by("two"),
        apply(json!({"spec": {"text": "b", "map": {"k": {"a": "2", "b": "3"}}, "list": [{"name": "a", "value": "2"}]}})).by("two"),
        apply(json!({"spec": {"text": "a"}})).by("two"),
        apply(json!({"spec": {"text": "b"}})).by("two").force(),
        apply(json!({"spec": {"set": ["y", "z"], "list": [{"name": "b"}, {"name": "a", "labels": {"l": "m"}}]}})).by("two"),
        apply(json!({"spec": {}})).by("one"),
        apply(json!({})).by("two"),
        apply(json!({"spec": {"whole": {"a": "1"}, "words": ["a"], "ports": [{"port": 1}, {"port": 1, "protocol": "UDP"}]}})).by("one"),
        apply(json!({"spec": {"whole": {"b": "1"}, "words": ["b"]}})).by("two"),
        apply(json!({"spec": {"whole": {"b": "1"}, "words": ["b"]}})).by("two").force(),
        apply(json!({"spec": {"ports": [{"port": 1, "comment": "x"}]}})).by("two"),
        merge(json!({"spec": {"whole": {"a": "3"}}})).by("editor"),
        apply(json!({"spec": {"whole": {"b": "1"}, "words": ["b"]}})).by("two"),
        apply(json!({"status": {"phase": "New"}})).by("one"),
        apply(json!({"status": {"phase": "New"}})).by("one").status(),
        apply(json!({"status": {"phase": "Done"}})).by("two").status(),
        apply(json!({"spec": {"unknown": 1}})).by("one"),
        apply(json!({"spec": {"free": {"a": {"b": [1, 2], "c": "d"}}, "either": 5, "maybe": null}})).by("one"),
        apply(json!({"spec": {"free": {"a": {"b": [1], "c": "d"}}}})).by("two"),
        apply(json!({"spec": {"free": {"a": {"e": "f"}}}})).by("two"),
        apply(json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["example.com/x"], "ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"}]}})).by("three"),
        apply(json!({"metadata": {"labels": {"a": "c"}}})).by("four"),
        apply(json!({"metadata": {"managedFields": []}})).by("four"),
        apply(json!({"spec": {"text": "TOO LONG"}})).by("one").force(),
        merge(json!({"metadata": {"managedFields": [{}]}})),
        apply(json!({"spec": {"text": "z"}})).by("five"),
        Request::new(Verb::Apply, "applied", &json!({"apiVersion": "example.com/v2", "kind": "Thing", "metadata": {"name": "applied"}})),
        Request::new(Verb::Apply, "nulls", &thing("nulls", json!({"spec": {"text": null}}))),
        Request::new(Verb::Apply, "nulls", &thing("nulls", json!({"spec": {"maybe": null, "given": null}}))),
        Request::new(Verb::Apply, "nulls", &thing("nulls", json!({"spec": {"text": null, "map": null, "words": null, "flag": null}}))),
        Request::new(Verb::Apply, "nulls", &thing("nulls", json!({"spec": {"list": [{"name": "a", "value": null}]}}))),
        Request::new(Verb::Apply, "nulls", &thing("nulls", json!({"metadata": {"labels": null}, "spec": {"map": {"a": null}}}))),
        Request::new(Verb::Apply, "nulls", &thing("nulls", json!({"spec": null}))),
        Request::new(Verb::Apply, "meta", &thing("meta", json!({"metadata": {"creationTimestamp": null, "uid": null}, "spec": {"text": "a"}}))),
        Request::new(Verb::Apply, "meta", &thing("meta", json!({"metadata": {"creationTimestamp": null, "finalizers": null}, "spec": {"text": "b"}}))),
        Request::new(Verb::Apply, "meta", &thing("meta", json!({"metadata": {"labels": {"a": null}}}))),
        Request::new(Verb::Apply, "meta", &thing("meta", json!({"metadata": {"labels": {}, "annotations": {}}}))),
        Request::new(Verb::Apply, "meta", &thing("meta", json!({"metadata": {"generation": 7}}))),
        Request::new(Verb::Apply, "meta", &thing("meta", json!({"metadata": {"foo": 1}}))),
        Request::new(Verb::Apply, "meta", &thing("meta", json!({"metadata": {"ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u", "controller": null}]}}))),
        // From client-side apply to server-side apply.
        Request::new(Verb::Create, "csa", &thing("csa", json!({"spec": {"text": "a", "choice": "p"}, "metadata": {"annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": last}}}))).by("kubectl-client-side-apply"),
        csa(json!({"spec": {"text": "b", "choice": "q"}})),
        csa(json!({"spec": {"text": "b"}})),
        csa(json!({"spec": {"text": "c"}})).by("other"),
        // Many who update.
        create("many", json!({})),
    ]
    .into_iter()
    .chain((0..14).map(|number| {
        let managers = ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9", "m10", "m11", "m12", "m13"];
        let labels = json!({"metadata": {"labels": {format!("l{number}"): "x"}}});
        Request::new(Verb::MergePatch, "many", &labels).by(managers[number])
    }))
    .collect()
}
