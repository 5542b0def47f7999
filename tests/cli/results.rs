//! Results of policy reports from the command line, of a database in which an API server's store has put reports.

use std::sync::Arc;

use larder_apiserver::object::Object;
use larder_apiserver::store::{Draft, Key, Store, StoreOptions};
use larder_client::{Credentials, Sidecar};
use larder_harness::{Server, setup};
use serde_json::{Value as Json, json};

use crate::reports::objects;
use crate::served::{fails, run_as, succeeds};

async fn store(server: &Server) -> Store {
    let pair = server.pair("owner");
    let credentials = Credentials::from_files(server.home().join("ca.crt"), pair.cert, pair.key).unwrap();
    let sidecar = Sidecar::new(server.url().parse().unwrap(), credentials).unwrap();
    Store::open(Arc::new(sidecar), StoreOptions::default()).await.unwrap()
}

/// A report of one result.
fn report(namespace: &str, name: &str, policy: &str, result: &str, second: u32) -> Draft {
    let Json::Object(object) = json!({
        "metadata": {"namespace": namespace, "name": name},
        "scope": {"kind": "Deployment", "name": "web"},
        "results": [{
            "policy": policy, "rule": "r", "result": result, "severity": "high", "timestamp": {"seconds": second},
        }],
    }) else {
        unreachable!("it is an object")
    };
    let key = Key { namespace: namespace.to_owned(), name: name.to_owned() };
    let uid = format!("{namespace}-{name}");
    Draft { key, uid, version: "v1".to_owned(), object: Object(object), fields: Vec::new() }
}

fn put(server: &Server, reports: &[Draft]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = store(server).await;
        for it in reports {
            store.create("policyreports.wgpolicyk8s.io", it).await.unwrap();
        }
    });
}

fn results(server: &Server, arguments: &[&str]) -> Vec<Json> {
    objects(&succeeds(server, "writer", &[&["reports", "results"], arguments].concat()))
}

#[test]
fn what_fails_where_since_when() {
    let server = setup!().start();
    fails(&server, "reader", &["reports", "results"], 1, "no API server");
    put(
        &server,
        &[
            report("a", "1", "nonroot", "fail", 100),
            report("a", "2", "nonroot", "fail", 300),
            report("b", "1", "nonroot", "pass", 200),
            report("b", "2", "limits", "fail", 400),
        ],
    );
    // Whoever may not write is not told what is out of date.
    let behind = "being made anew: 0 of 4";
    fails(&server, "reader", &["reports", "results", "--timeout", "1"], 1, behind);

    let all = results(&server, &[]);
    let reports: Vec<_> =
        all.iter().map(|it| format!("{}/{}", it["report_namespace"], it["report"])).collect();
    assert_eq!(reports, [r#""b"/"2""#, r#""a"/"2""#, r#""b"/"1""#, r#""a"/"1""#], "the newest come first");
    assert_eq!(all[3]["at"], "1970-01-01T00:01:40Z");
    assert_eq!((&all[0]["kind"], &all[0]["namespace"]), (&"Deployment".into(), &"b".into()));
    assert_eq!(objects(&succeeds(&server, "reader", &["reports", "results"])), all);

    let failing = results(&server, &["--result", "fail,error", "--count-by", "policy,namespace"]);
    let expected = json!({
        "count": 2, "since": "1970-01-01T00:01:40Z", "latest": "1970-01-01T00:05:00Z",
        "policy": "nonroot", "namespace": "a",
    });
    assert_eq!((failing.len(), &failing[0]), (2, &expected));
    let twice = succeeds(&server, "reader", &["reports", "results", "--count-by", "policy,policy"]);
    assert_eq!(twice.matches(r#""policy":"#).count(), twice.lines().count(), "{twice}");
    let narrow = [
        "--policy",
        "nonroot,limits",
        "-n",
        "b",
        "--since",
        "1970-01-01T00:03:30Z",
        "--min-severity",
        "high",
    ];
    assert_eq!(results(&server, &narrow), all[..1]);

    let first = run_as(&server, "reader", &["reports", "results", "--limit", "3"], "");
    assert_eq!((first.code, objects(&first.out)), (0, all[..3].to_vec()));
    let after = first.err.split_whitespace().nth(3).unwrap().trim_end_matches(',');
    assert_eq!(results(&server, &["--after", after]), all[3..], "{}", first.err);
    for (wrong, said) in [
        (&["--after", "nonsense"][..], "another page"),
        (&["--count-by", "policy", "--after", after], "another page"),
        (&["--result", "odd"], "invalid value"),
    ] {
        fails(&server, "writer", &[&["reports", "results"], wrong].concat(), 2, said);
    }
}
