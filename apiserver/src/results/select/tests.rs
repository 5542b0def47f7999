//! How SQLite plans what is asked: by index, and without sorting rows.

use larder_client::database::{Database, Embedded};
use larder_client::schema;
use larder_client::wire::Request;

use super::*;
use crate::results::{Outcome, Severity};

async fn plan(statement: Statement) -> Vec<String> {
    let home = tempfile::tempdir().expect("a directory");
    let database = Embedded::open(home.path()).expect("a database");
    schema::prepare(&database).await.expect("tables");
    let explain = Statement { sql: format!("EXPLAIN QUERY PLAN {}", statement.sql), ..statement };
    let response = database.query(&Request::new([explain])).await.expect("a plan");
    let rows = response.results.into_iter().flat_map(|it| it.rows);
    rows.map(|row| match &row[3] {
        Value::Text(line) => line.clone(),
        other => panic!("{other:?}"),
    })
    .collect()
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|it| it.to_string()).collect()
}

#[tokio::test]
async fn every_list_is_read_off_an_index_in_its_order() {
    let all = Filter::default;
    for (filter, index, condition, branches) in [
        (all(), "result_by_severity", "severity=? AND result=?", 36),
        (Filter::failing(), "result_by_severity", "severity=? AND result=?", 12),
        (Filter { since: Some(7), ..Filter::failing() }, "result_by_severity", "severity=? AND result=?", 12),
        (
            Filter { severity_at_least: Some(Severity::High), results: vec![Outcome::Fail], ..all() },
            "result_by_severity",
            "severity=? AND result=?",
            2,
        ),
        (Filter { policies: texts(1), ..all() }, "result_by_policy", "policy=? AND result=?", 6),
        (
            Filter {
                policies: texts(2),
                rules: texts(2),
                severities: vec![Severity::Low],
                ..Filter::failing()
            },
            "result_by_policy",
            "policy=? AND result=?",
            4,
        ),
        (
            Filter { namespaces: texts(1), policies: texts(20), ..all() },
            "result_by_namespace",
            "namespace=? AND result=?",
            6,
        ),
        (
            Filter {
                names: texts(3),
                kinds: texts(1),
                reports: texts(1),
                namespaces: texts(1),
                ..Filter::failing()
            },
            "result_by_name",
            "name=?",
            3,
        ),
        (
            Filter { sources: texts(1), categories: texts(1), names: texts(9), ..all() },
            "result_by_severity",
            "severity=?",
            36,
        ),
    ] {
        for after in [None, Some(Place { at: 1, object: 2, position: 3 })] {
            let plan = plan(list(&filter, after.as_ref(), 100)).await;
            let by_index = format!("SEARCH r USING INDEX {index} ({condition}");
            let found: Vec<_> = plan.iter().filter(|it| it.starts_with(&by_index)).collect();
            assert_eq!(found.len(), branches, "{filter:?}: {plan:#?}");
            let is_bounded = |it: &&&String| it.contains("at<") || it.contains("(at,object,position)<");
            assert!(after.is_none() || found.iter().all(|it| is_bounded(&it)), "{filter:?}: {plan:#?}");
            assert!(
                !plan.iter().any(|it| it.contains("TEMP B-TREE") || it.starts_with("SCAN r")),
                "{plan:#?}"
            );
        }
    }
}

#[tokio::test]
async fn counts_read_an_index_where_one_has_it_all() {
    for (filter, groups, index) in [
        (Filter::default(), [Group::Policy, Group::Result], "SCAN r USING COVERING INDEX result_by_policy"),
        (
            Filter::default(),
            [Group::Namespace, Group::Result],
            "SCAN r USING COVERING INDEX result_by_namespace",
        ),
        (
            Filter::default(),
            [Group::Severity, Group::Result],
            "SCAN r USING COVERING INDEX result_by_severity",
        ),
        (
            Filter { policies: texts(1), ..Filter::failing() },
            [Group::Policy, Group::Namespace],
            "SEARCH r USING INDEX result_by_policy (policy=? AND result=?)",
        ),
        (
            Filter { namespaces: texts(1), ..Filter::default() },
            [Group::Namespace, Group::Policy],
            "SEARCH r USING COVERING INDEX result_by_namespace (namespace=?)",
        ),
    ] {
        let plan = plan(counts(&filter, &groups, None, 10)).await;
        assert!(plan.iter().any(|it| it == index), "{filter:?} by {groups:?}: {plan:#?}");
    }
}
