//! What one request could learn of another, or do to it, through the connection that they share.

use larder_wire::{Role, Statement, Value, code};
use std::time::Duration;

use crate::bench::{Bench, Outcome, Request};

async fn bench(schema: &[&str]) -> (tempfile::TempDir, Bench) {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::open(directory.path(), |_| {});
    assert!(bench.alone(Request::sql(schema.iter().copied())).await.is_ok());
    (directory, bench)
}

const JAR: &str = "CREATE TABLE jar (id INTEGER PRIMARY KEY, name TEXT UNIQUE)";

#[tokio::test]
async fn the_rowid_and_the_changes_of_a_neighbour_are_not_seen() {
    let (_directory, bench) = bench(&[JAR]).await;
    let insert = Request::sql(["INSERT INTO jar VALUES (41, 'a'), (42, 'b')"]);
    let ask = Request::sql(["SELECT last_insert_rowid()", "SELECT changes()"]);
    for ask in [ask.clone(), ask.each_for_itself()] {
        let outcomes = bench.together(vec![insert.clone(), ask.clone()]).await;
        assert_eq!([outcomes[1].value(0), outcomes[1].value(1)], [Value::Integer(0), Value::Integer(0)]);
        let outcome = bench.alone(ask).await;
        assert_eq!([outcome.value(0), outcome.value(1)], [Value::Integer(0), Value::Integer(0)]);
        assert!(bench.alone(Request::sql(["DELETE FROM jar"])).await.is_ok());
    }
}

#[tokio::test]
async fn ones_own_changes_are_seen() {
    let (_directory, bench) = bench(&[JAR]).await;
    let request = Request::sql(["INSERT INTO jar VALUES (7, 'a'), (8, 'b')", "SELECT 1", "SELECT changes()"]);
    for (request, rowids) in [(request.clone(), (7, 8)), (request.each_for_itself(), (9, 10))] {
        let sql = format!(
            "INSERT INTO jar VALUES ({}, 'x{}'), ({}, 'y{}')",
            rowids.0, rowids.0, rowids.1, rowids.1
        );
        let mut request = request;
        request.statements[0] = Statement::new(sql);
        assert_eq!(bench.alone(request).await.value(2), Value::Integer(2));
    }
}

#[tokio::test]
async fn deferred_foreign_keys_end_with_the_request() {
    let schema =
        ["CREATE TABLE parent (id INTEGER PRIMARY KEY)", "CREATE TABLE child (parent REFERENCES parent)"];
    let (_directory, bench) = bench(&schema).await;
    let defer = Request::sql(["PRAGMA defer_foreign_keys = ON"]);
    let orphan = Request::sql(["INSERT INTO child VALUES (1)", "INSERT INTO parent VALUES (1)"]);
    let explain = Request::sql(["EXPLAIN PRAGMA defer_foreign_keys = ON"]);
    let misused = Request::of([Statement::with("PRAGMA defer_foreign_keys = ON", [1.into()])]);
    for setting in [defer.clone(), defer.each_for_itself(), explain, misused] {
        let outcomes = bench.together(vec![setting.clone(), orphan.clone()]).await;
        assert_eq!(outcomes[1].code(), Some("SQLITE_CONSTRAINT_FOREIGNKEY"), "{setting:?}");
        let outcomes =
            bench.together(vec![setting.clone(), Request::sql(["SELECT 1"]), orphan.clone()]).await;
        assert_eq!(outcomes[2].code(), Some("SQLITE_CONSTRAINT_FOREIGNKEY"), "{setting:?} cached");
    }
}

#[tokio::test]
async fn a_statement_keeps_the_role_that_it_takes() {
    let (_directory, bench) = bench(&[JAR]).await;
    let set = |sql: &str| Request::sql([sql]);
    assert!(bench.alone(set("PRAGMA user_version = 5")).await.is_ok());
    for sql in [
        "PRAGMA user_version = 5",
        " PRAGMA user_version = 5",
        "PRAGMA user_version = 5\n",
        "\tPRAGMA user_version = 5 ",
    ] {
        let outcome = bench.alone(set(sql).by(Role::Writer)).await;
        assert_eq!(outcome.code(), Some(code::ROLE_INSUFFICIENT), "{sql:?}");
        let outcomes = bench.together(vec![set(sql), set(sql).by(Role::Writer)]).await;
        assert_eq!(outcomes[1].code(), Some(code::ROLE_INSUFFICIENT), "{sql:?}");
    }
}

/// The texts of the server's own statements are no secret.
#[tokio::test]
async fn the_servers_own_statements_are_refused_from_outside() {
    let (_directory, bench) = bench(&[JAR]).await;
    let keyed = Request::sql(["SELECT changes()"]).keyed("k", 0);
    assert!(bench.alone(keyed.clone()).await.is_ok() && bench.alone(keyed).await.replayed);
    for sql in [
        "COMMIT",
        " COMMIT",
        "ROLLBACK",
        "BEGIN IMMEDIATE",
        "SAVEPOINT request",
        "SAVEPOINT statement",
        "RELEASE request",
        "RELEASE statement",
        "ROLLBACK TO request",
        "ROLLBACK TO statement",
        "DELETE FROM _larder_state WHERE false",
        "SELECT fingerprint, answer FROM _larder_idempotency WHERE identity = ?1 AND key = ?2",
    ] {
        let insert =
            |name: &str| Request::of([Statement::with("INSERT INTO jar (name) VALUES (?)", [name.into()])]);
        let args = if sql.contains('?') { vec!["test".into(), "k".into()] } else { Vec::new() };
        let request = Request::of([Statement::with(sql, args)]);
        for request in [request.clone(), request.each_for_itself()] {
            let outcomes = bench.together(vec![insert(sql), request, insert("after")]).await;
            assert_eq!(outcomes[1].code(), Some(code::STATEMENT_REFUSED), "{sql}: {:?}", outcomes[1]);
            assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{sql}: {outcomes:?}");
            let deleted = bench.alone(Request::sql(["DELETE FROM jar"])).await;
            assert_eq!(deleted.changed(0), 2, "{sql}");
        }
    }
}

/// What a statement changes is judged by the schema that it runs under, even if that was changed and changed back.
#[tokio::test]
async fn watchers_learn_of_the_right_tables() {
    let schema = [
        JAR,
        "CREATE TABLE log (what)",
        "CREATE TRIGGER jar_log AFTER INSERT ON jar BEGIN INSERT INTO log VALUES (1); END",
    ];
    let (_directory, bench) = bench(&schema).await;
    let insert = "INSERT INTO jar (name) VALUES (hex(randomblob(8)))";
    for spoiled in ["SELECT nothing", "INSERT OR ROLLBACK INTO jar VALUES (1, 1), (1, 1)"] {
        for keyed in [false, true] {
            let request = Request::sql(["DROP TRIGGER jar_log", insert, spoiled]);
            let request = if keyed { request.keyed(spoiled, 0) } else { request };
            let _ = bench.together(vec![Request::sql(["SELECT 1"]), request]).await;
            let mut changes = bench.engine.feed().subscribe(None).unwrap();
            for sql in [insert, &format!("  {insert}"), insert] {
                assert!(bench.alone(Request::sql([sql])).await.is_ok());
                let change = changes.next().await.unwrap().unwrap().pop().unwrap();
                let mut tables: Vec<&str> = change.tables.iter().map(|it| &**it).collect();
                tables.sort_unstable();
                assert_eq!(tables, ["jar", "log"], "{sql:?} after {spoiled}");
            }
        }
    }
}

#[tokio::test]
async fn a_changed_schema_is_seen_by_the_next_in_the_group() {
    let (_directory, bench) = bench(&[JAR]).await;
    let insert = |n: i64| {
        Request::of([Statement::with(
            "INSERT INTO jar (name) VALUES (?) RETURNING *",
            [n.to_string().into()],
        )])
    };
    let outcomes = bench
        .together(vec![
            insert(1),
            Request::sql(["ALTER TABLE jar ADD COLUMN year INTEGER DEFAULT 7"]),
            insert(2),
            Request::sql(["DROP TABLE jar"]),
            insert(3),
            Request::sql([JAR]),
            insert(4),
        ])
        .await;
    let width = |outcome: &Outcome| {
        outcome.result.as_ref().unwrap()[0].as_ref().unwrap().rows.as_ref().unwrap().columns.len()
    };
    assert_eq!((width(&outcomes[0]), width(&outcomes[2]), width(&outcomes[6])), (2, 3, 2));
    assert_eq!(outcomes[4].code(), Some("SQLITE_ERROR"));
}

#[tokio::test]
async fn numbers_and_versions_of_the_refused_are_not_left() {
    let (_directory, bench) =
        bench(&["CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, n)"]).await;
    let refused = Request::sql([
        "INSERT INTO counted (n) VALUES (1), (2)",
        "PRAGMA user_version = 9",
        "PRAGMA application_id = 9",
        "SELECT nothing",
    ]);
    let ask = Request::sql([
        "INSERT INTO counted (n) VALUES (3) RETURNING id",
        "PRAGMA user_version",
        "PRAGMA application_id",
    ]);
    let outcomes = bench.together(vec![refused, ask]).await;
    assert_eq!([0, 1, 2].map(|it| outcomes[1].value(it)), [1, 0, 0].map(Value::Integer));
}

#[tokio::test]
async fn temporary_objects_are_nobodys() {
    let (_directory, bench) = bench(&[JAR]).await;
    for sql in [
        "CREATE TEMP TABLE t (a)",
        "CREATE TABLE temp.t (a)",
        "CREATE TEMP VIEW v AS SELECT 1",
        "CREATE TEMP TRIGGER g AFTER INSERT ON jar BEGIN SELECT 1; END",
        "CREATE TEMP TABLE t AS SELECT 1",
    ] {
        let outcomes = bench
            .together(vec![Request::sql([sql]), Request::sql(["SELECT count(*) FROM temp.sqlite_schema"])])
            .await;
        assert_eq!(outcomes[0].code(), Some(code::STATEMENT_REFUSED), "{sql}");
    }
}

#[tokio::test]
async fn a_repetition_in_the_same_group_is_answered_and_not_done() {
    let (_directory, bench) = bench(&[JAR]).await;
    let insert = Request::sql(["INSERT INTO jar (name) VALUES ('a') RETURNING id"]).keyed("k", 1);
    let other = Request::sql(["INSERT INTO jar (name) VALUES ('b')"]).keyed("k", 2);
    let lost = Request::sql(["INSERT OR ROLLBACK INTO jar VALUES (1, 'x'), (1, 'y')"]).keyed("lost", 1);
    let outcomes =
        bench.together(vec![insert.clone(), insert.clone(), other, lost.clone(), lost, insert]).await;
    assert_eq!(
        outcomes.iter().map(|it| it.replayed).collect::<Vec<_>>(),
        [false, true, false, false, false, true]
    );
    assert_eq!(outcomes[0].result, outcomes[5].result);
    assert_eq!(outcomes[2].code(), Some(code::IDEMPOTENCY_MISMATCH));
    assert_eq!(outcomes[4].code(), outcomes[3].code());
}

/// A row that does not fit into memory must not end the thread that all writes need.
#[tokio::test]
async fn a_row_beyond_the_memory_is_an_error() {
    let (_directory, bench) = bench(&[JAR]).await;
    let wide = format!("SELECT {}", vec!["zeroblob(16000000)"; 60].join(", "));
    let before = Request::sql(["INSERT INTO jar (name) VALUES ('before')"]);
    let wide = Request::sql([wide.as_str()]);
    let outcomes = bench
        .together(vec![
            before,
            wide.clone(),
            Request::sql(["INSERT INTO jar (name) VALUES ('after')"]),
            wide.each_for_itself(),
        ])
        .await;
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
    assert!(!outcomes[1].is_ok() && !outcomes[3].is_ok(), "{outcomes:?}");
    let deleted = bench.alone(Request::sql(["DELETE FROM jar"])).await;
    assert_eq!(deleted.changed(0), 2);
}

/// Compiling what is nested deeply takes time too.
#[tokio::test]
async fn compiling_ends_at_the_deadline() {
    let (_directory, bench) = bench(&["CREATE VIEW v0 AS SELECT 1 AS a"]).await;
    for n in 1..40 {
        let view = format!("CREATE VIEW v{n} AS SELECT DISTINCT x.a FROM v{m} x, v{m} y LIMIT 5", m = n - 1);
        assert!(bench.alone(Request::sql([view.as_str()])).await.is_ok());
    }
    let started = std::time::Instant::now();
    let outcome = bench.alone(Request::sql(["SELECT * FROM v39"]).within(Duration::from_millis(300))).await;
    assert!(!outcome.is_ok());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}: {outcome:?}", started.elapsed());
}
