//! Batches that write.

use std::sync::Arc;

use larder_client::database::Database;
use larder_client::wire::{Applied, Kind, Request, Statement, Value};

use super::{count, execute, failed, rows, table};

pub(crate) async fn a_batch_is_all_or_nothing(database: Arc<dyn Database>) {
    table(&*database).await;
    let insert = |a: i64| Statement::with("INSERT INTO t (a) VALUES (?)", [a.into()]);
    let response = database.execute(&Request::new([insert(1), insert(2)])).await.unwrap();
    assert_eq!(response.results.iter().map(|it| it.rows_affected).collect::<Vec<_>>(), [1, 1]);
    let error = failed(database.execute(&Request::new([insert(3), insert(2)])).await);
    assert_eq!(error.kind(), Some(Kind::Constraint), "{error}");
    assert_eq!(count(&*database, "t").await, 2);
}

pub(crate) async fn statements_stand_for_themselves_if_asked(database: Arc<dyn Database>) {
    table(&*database).await;
    let insert = |a: i64| Statement::with("INSERT INTO t (a) VALUES (?)", [a.into()]);
    let request = Request { atomic: Some(false), ..Request::new([insert(1), insert(1), insert(2)]) };
    let response = database.execute(&request).await.unwrap();
    let failed: Vec<bool> = response.results.iter().map(|it| it.error.is_some()).collect();
    assert_eq!(failed, [false, true, false]);
    assert_eq!(count(&*database, "t").await, 2);
}

pub(crate) async fn values_come_back_as_they_were(database: Arc<dyn Database>) {
    table(&*database).await;
    let values = [
        Value::Null,
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Real(-0.1),
        Value::Real(f64::INFINITY),
        Value::Text("ä' \u{0}\u{10ffff}; DROP TABLE t".to_owned()),
        Value::Text(String::new()),
        Value::Blob((0..=255).collect()),
        Value::Blob(Vec::new()),
    ];
    let insert = Statement::many("INSERT INTO t (b) VALUES (?)", values.iter().map(|it| vec![it.clone()]));
    database.execute(&Request::new([insert])).await.unwrap();
    let found = rows(&*database, "SELECT b FROM t ORDER BY a").await;
    assert_eq!(found, values.map(|it| vec![it]));
}

pub(crate) async fn what_is_expected_and_not_met_undoes_all(database: Arc<dyn Database>) {
    table(&*database).await;
    let insert = Statement::new("INSERT INTO t (a) VALUES (1)");
    let update = Statement::new("UPDATE t SET b = 1 WHERE a = 7").expecting(1);
    let error = failed(database.execute(&Request::new([insert, update])).await);
    assert_eq!(error.kind(), Some(Kind::Expectation), "{error}");
    assert!(matches!(error, larder_client::database::DatabaseError::Refused { applied: Applied::No, .. }));
    assert_eq!(count(&*database, "t").await, 0);
}

pub(crate) async fn a_row_that_is_returned(database: Arc<dyn Database>) {
    table(&*database).await;
    let insert = "INSERT INTO t (b) VALUES ('x') RETURNING a, b";
    let response = database.execute(&Request::new([Statement::new(insert)])).await.unwrap();
    assert_eq!(response.results[0].columns, ["a", "b"]);
    assert_eq!(response.results[0].rows, [[Value::Integer(1), Value::Text("x".to_owned())]]);
    assert!(response.seq > 0);
}

pub(crate) async fn refusals_have_their_kinds(database: Arc<dyn Database>) {
    table(&*database).await;
    for (sql, kind) in [
        ("SELEKT", Kind::Invalid),
        ("INSERT INTO nowhere VALUES (1)", Kind::Invalid),
        ("ATTACH 'x' AS y", Kind::Denied),
        ("INSERT INTO t (a) VALUES (1), (1)", Kind::Constraint),
    ] {
        let error = failed(database.execute(&Request::new([Statement::new(sql)])).await);
        assert_eq!(error.kind(), Some(kind), "{sql}: {error}");
        assert!(!error.may_pass());
    }
    let unbound =
        failed(database.execute(&Request::new([Statement::new("DELETE FROM t WHERE a = ?")])).await);
    assert!(unbound.blames_the_request(), "{unbound}");
}

pub(crate) async fn a_statement_runs_for_each_row(database: Arc<dyn Database>) {
    table(&*database).await;
    let insert =
        Statement::many("INSERT INTO t VALUES (?, ?)", (0..500_i64).map(|a| vec![a.into(), "b".into()]));
    let response = database.execute(&Request::new([insert])).await.unwrap();
    assert_eq!(response.results[0].rows_affected, 500);
    execute(&*database, "DELETE FROM t WHERE a >= 100").await;
    assert_eq!(count(&*database, "t").await, 100);
}

pub(crate) async fn writers_at_once_lose_nothing(database: Arc<dyn Database>) {
    table(&*database).await;
    execute(&*database, "INSERT INTO t VALUES (1, 0)").await;
    let writers: Vec<_> = (0..40)
        .map(|_| {
            let database = Arc::clone(&database);
            let update = Request::new([Statement::new("UPDATE t SET b = b + 1 WHERE a = 1")]);
            tokio::spawn(async move { database.execute(&update).await.unwrap() })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(rows(&*database, "SELECT b FROM t").await, [[Value::Integer(40)]]);
}
