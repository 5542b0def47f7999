//! The runner on an embedded engine, with versions made up for the purpose.

use std::sync::Arc;

use super::*;
use crate::database::Embedded;

const FIRST: Migration = Migration {
    version: 1,
    name: "first",
    sql: "-- why\nCREATE TABLE a (\n  x INTEGER -- inside\n);\n\nINSERT INTO a VALUES (1);\n",
};
const SECOND: Migration = Migration {
    version: 2,
    name: "second",
    sql: "-- compatible-from: 1\nALTER TABLE a ADD COLUMN y INTEGER;\n",
};
const THIRD: Migration = Migration { version: 3, name: "third", sql: "DROP TABLE a;" };

fn database() -> (tempfile::TempDir, Arc<Embedded>) {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Embedded::open(directory.path()).expect("a database");
    (directory, Arc::new(database))
}

async fn count(database: &Embedded, table: &str) -> Value {
    let count = Statement::new(format!("SELECT count(*) FROM {table}"));
    database.query(&Request::new([count])).await.expect("a table").results[0].rows[0][0].clone()
}

#[tokio::test]
async fn versions_are_applied_once_and_in_order() {
    let (_directory, database) = database();
    assert_eq!(apply(&*database, &[FIRST]).await.expect("applies"), 1);
    assert_eq!(apply(&*database, &[FIRST, SECOND]).await.expect("applies"), 2);
    assert_eq!(apply(&*database, &[FIRST, SECOND]).await.expect("is there"), 2);
    assert_eq!(count(&database, "a").await, Value::Integer(1));
    assert_eq!(count(&database, "schema_version").await, Value::Integer(2));
}

#[tokio::test]
async fn those_who_start_at_once_do_not_collide() {
    let (_directory, database) = database();
    let starts = (0..8).map(|_| {
        let database = Arc::clone(&database);
        tokio::spawn(async move { apply(&*database, &[FIRST, SECOND, THIRD]).await })
    });
    for start in starts.collect::<Vec<_>>() {
        assert_eq!(start.await.expect("ends").expect("applies"), 3);
    }
    assert_eq!(count(&database, "schema_version").await, Value::Integer(3));
}

#[tokio::test]
async fn a_version_that_fails_leaves_nothing() {
    let (_directory, database) = database();
    let broken =
        Migration { version: 2, name: "broken", sql: "CREATE TABLE b (x);\nINSERT INTO nowhere VALUES (1);" };
    assert!(matches!(apply(&*database, &[FIRST, broken]).await, Err(SchemaError::Database(_))));
    assert_eq!(count(&database, "schema_version").await, Value::Integer(1));
    assert_eq!(apply(&*database, &[FIRST, SECOND]).await.expect("goes on"), 2);
}

#[tokio::test]
async fn an_edited_version_is_refused() {
    let (_directory, database) = database();
    apply(&*database, &[FIRST]).await.expect("applies");
    let edited = Migration { sql: "CREATE TABLE a (x INTEGER, z INTEGER);", ..FIRST };
    let refused = apply(&*database, &[edited, SECOND]).await;
    assert!(
        matches!(&refused, Err(SchemaError::Altered { version: 1, name }) if name == "first"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_neighbour_goes_on_and_one_that_is_too_old_stops() {
    let (_directory, database) = database();
    apply(&*database, &[FIRST, SECOND]).await.expect("applies");
    assert_eq!(apply(&*database, &[FIRST]).await.expect("is declared compatible"), 2);
    apply(&*database, &[FIRST, SECOND, THIRD]).await.expect("applies");
    let refused = apply(&*database, &[FIRST, SECOND]).await;
    assert!(
        matches!(refused, Err(SchemaError::Newer { found: 3, compatible_from: 3, known: 2 })),
        "{refused:?}"
    );
}

#[test]
fn the_files_are_numbered_without_gaps() {
    let numbers: Vec<i64> = MIGRATIONS.iter().map(|it| it.version).collect();
    assert_eq!(numbers, (1..=MIGRATIONS.len() as i64).collect::<Vec<_>>());
    assert!(MIGRATIONS.iter().all(|it| it.compatible_from() <= it.version));
}
