//! Reads, whole and as streams.

use std::sync::Arc;

use larder_client::database::Database;
use larder_client::wire::{Kind, Request, Statement, Value};

use super::{count, execute, failed, numbers, table};

pub(crate) async fn statements_of_a_read_see_one_snapshot(database: Arc<dyn Database>) {
    table(&*database).await;
    let writer = Arc::clone(&database);
    let writing = tokio::spawn(async move {
        for a in 0..50_i64 {
            let insert = Statement::with("INSERT INTO t (a) VALUES (?)", [a.into()]);
            writer.execute(&Request::new([insert])).await.unwrap();
        }
    });
    let twice =
        Request::new([Statement::new("SELECT count(*) FROM t"), Statement::new("SELECT count(*) FROM t")]);
    while !writing.is_finished() {
        let results = database.query(&twice).await.unwrap().results;
        assert_eq!(results[0].rows, results[1].rows);
    }
    writing.await.unwrap();
    assert_eq!(count(&*database, "t").await, 50);
}

pub(crate) async fn rows_stream_in_order(database: Arc<dyn Database>) {
    let mut stream = database.stream(&numbers(20_000)).await.unwrap();
    for expected in 1..=20_000 {
        assert_eq!(stream.next().await.unwrap(), Some(vec![Value::Integer(expected)]));
    }
    assert_eq!(stream.next().await.unwrap(), None);
    assert_eq!(stream.next().await.unwrap(), None);
}

pub(crate) async fn a_stream_that_is_dropped_ends(database: Arc<dyn Database>) {
    table(&*database).await;
    // More than the connections that there are: each has to come back.
    for _ in 0..40 {
        let mut stream = database.stream(&numbers(100_000_000)).await.unwrap();
        assert!(stream.next().await.unwrap().is_some());
    }
    execute(&*database, "INSERT INTO t (a) VALUES (1)").await;
}

pub(crate) async fn a_stream_fails_where_its_statement_does(database: Arc<dyn Database>) {
    let error = failed(database.stream(&Request::new([Statement::new("SELECT * FROM nowhere")])).await);
    assert_eq!(error.kind(), Some(Kind::Invalid), "{error}");
    // It fails at row 60,000, long after it began.
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
               SELECT i, CASE WHEN i < 60000 THEN '' ELSE json('{') END FROM n";
    let mut stream = database.stream(&Request::new([Statement::new(sql)])).await.unwrap();
    let mut count = 0;
    let error = loop {
        match stream.next().await {
            Ok(Some(_)) => count += 1,
            Ok(None) => panic!("looks whole"),
            Err(error) => break error,
        }
    };
    assert!(count < 60_000, "{count} rows, then {error}");
}

pub(crate) async fn large_rows_stream(database: Arc<dyn Database>) {
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8) SELECT i, zeroblob(4194304) FROM n";
    let mut stream = database.stream(&Request::new([Statement::new(sql)])).await.unwrap();
    let mut bytes = 0;
    while let Some(row) = stream.next().await.unwrap() {
        let Value::Blob(blob) = &row[1] else { panic!("{row:?}") };
        bytes += blob.len();
    }
    assert_eq!(bytes, 32 << 20);
}

pub(crate) async fn nothing_is_written_by_a_read(database: Arc<dyn Database>) {
    table(&*database).await;
    let insert = Request::new([Statement::new("INSERT INTO t (a) VALUES (1)")]);
    let error = failed(database.query(&insert).await);
    assert_eq!(error.kind(), Some(Kind::Denied), "{error}");
    assert_eq!(count(&*database, "t").await, 0);
}

pub(crate) async fn a_read_ends_at_its_deadline(database: Arc<dyn Database>) {
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    let request = Request { timeout_ms: Some(50), ..Request::new([Statement::new(endless)]) };
    let error = failed(database.query(&request).await);
    assert_eq!(error.kind(), Some(Kind::Deadline), "{error}");
}

pub(crate) async fn slow_readers_get_all(database: Arc<dyn Database>) {
    let mut stream = database.stream(&numbers(100_000)).await.unwrap();
    let mut sum = 0;
    while let Some(row) = stream.next().await.unwrap() {
        let Value::Integer(number) = row[0] else { panic!("{row:?}") };
        sum += number;
        if number % 10_000 == 0 {
            // Others read and write meanwhile.
            assert_eq!(super::rows(&*database, "SELECT 1").await, [[Value::Integer(1)]]);
        }
    }
    assert_eq!(sum, 100_000 * 100_001 / 2);
}
