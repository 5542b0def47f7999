//! How SQLite plans what is asked: by index, and without sorting.

use larder_client::database::{Database, Embedded};
use larder_client::schema;
use larder_client::wire::{Args, Request};

use super::*;
use crate::store::{At, Key, Requirement};

struct Planner {
    _home: tempfile::TempDir,
    database: Embedded,
}

impl Planner {
    async fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let database = Embedded::open(home.path()).expect("a database");
        schema::prepare(&database).await.expect("tables");
        Self { _home: home, database }
    }

    /// The lines of the plan of one statement.
    async fn plan(&self, statement: Statement) -> Vec<String> {
        let Args::One(_) = &statement.args else { panic!("it runs once") };
        let explain = Statement { sql: format!("EXPLAIN QUERY PLAN {}", statement.sql), ..statement };
        let response = self.database.query(&Request::new([explain])).await.expect("a plan");
        let rows = response.results.into_iter().flat_map(|it| it.rows);
        rows.map(|row| match &row[3] {
            Value::Text(line) => line.clone(),
            other => panic!("{other:?}"),
        })
        .collect()
    }

    /// The plan of a list; it never sorts, and never reads a whole table.
    async fn of(&self, selection: Selection, at: Option<Revision>) -> String {
        let query = ListQuery { selection, at: At::Latest, after: Some(Key::from("a/a")), limit: Some(500) };
        let drivers = drivers("r", &query.selection);
        let select = Select { resource: "r", query: &query, at, driver: drivers.first(), counts: true };
        let rows = self.plan(select.rows(query.limit)).await;
        let standing = self.plan(select.standing()).await;
        for line in rows.iter().chain(&standing) {
            assert!(!line.contains("TEMP B-TREE"), "{line} of {rows:#?}");
            assert!(!line.starts_with("SCAN") || line.ends_with("SCAN revision"), "{line} of {rows:#?}");
        }
        rows.join("\n")
    }
}

fn label(key: &str, test: Test) -> Selection {
    let labels = vec![Requirement { key: key.to_owned(), test }];
    Selection { labels, ..Selection::default() }
}

fn values(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn every_list_is_read_off_an_index() {
    let planner = Planner::new().await;
    let in_a = |it| Selection { namespace: Some("a".to_owned()), ..it };
    let named = |it| Selection { name: Some("n".to_owned()), ..it };
    let by_key = "SEARCH o USING INDEX sqlite_autoindex_object_1 (resource=? AND key>?";
    let by_term = "SEARCH o USING INDEX sqlite_autoindex_object_1 (resource=? AND key=?)\nLIST SUBQUERY";
    let all = Selection::default;
    for (selection, first) in [
        (all(), by_key),
        (in_a(all()), by_key),
        (named(all()), by_key),
        (named(in_a(all())), "SEARCH o USING INDEX sqlite_autoindex_object_1 (resource=? AND key=?)"),
        (label("x", Test::In(values(&["1"]))), by_term),
        (in_a(label("x", Test::In(values(&["1"])))), by_term),
        (label("x", Test::In(values(&["1", "2"]))), by_term),
        (label("x", Test::NotIn(values(&["1"]))), by_key),
        (label("x", Test::Exists), by_key),
        (label("x", Test::Absent), by_key),
        (in_a(label("x", Test::Exists)), by_key),
        (label("x", Test::Greater(3)), by_key),
        (Selection { fields: vec![("spec.x".to_owned(), true, "1".to_owned())], ..all() }, by_term),
    ] {
        for at in [None, Some(7)] {
            let plan = planner.of(selection.clone(), at).await;
            assert!(plan.contains(first), "{selection:?}: {plan}");
            let by_log = "SEARCH c USING INDEX change_by_key (resource=? AND key";
            assert_eq!(plan.contains(by_log), at.is_some(), "{selection:?}: {plan}");
        }
    }
}

#[tokio::test]
async fn a_probe_reads_indexes_alone() {
    let planner = Planner::new().await;
    let selection =
        Selection { namespace: Some("a".to_owned()), ..label("x", Test::In(values(&["1", "2"]))) };
    let probes = probe("r", &selection, &drivers("r", &selection));
    let expected = [
        "SEARCH t USING PRIMARY KEY (hash=?)",
        "SEARCH o USING COVERING INDEX sqlite_autoindex_object_1 (resource=? AND key>? AND key<?)",
    ];
    assert_eq!(probes.len(), expected.len());
    for (statement, expected) in probes.into_iter().zip(expected) {
        let plan = planner.plan(statement).await.join("\n");
        assert!(plan.contains(expected), "{plan}");
    }
}

#[test]
fn the_least_is_gone_through() {
    let one = |it: &str| drivers("r", &label("x", Test::In(values(&[it])))).remove(0);
    let many = COLLECTED + 1;
    for (counts, expected) in [
        ([7, 5, 100], Some("b")),
        ([7, 50, many], Some("a")),
        ([many, COLLECTED, many], Some("b")),
        // No more is found without.
        ([7, 5, 5], None),
        // Their keys are too many to be held.
        ([many, many, many], None),
    ] {
        let chosen = choose(vec![one("a"), one("b")], &counts);
        assert_eq!(chosen, expected.map(one), "{counts:?}");
    }
    assert_eq!(choose(Vec::new(), &[7]), None);
}
