//! Changes, commit by commit.

use std::sync::Arc;

use larder_client::database::{Change, Database};
use larder_client::wire::{Request, Statement};

use super::{execute, failed, table};

pub(crate) async fn commits_are_told_in_order(database: Arc<dyn Database>) {
    let mut changes = database.changes(None).await.unwrap();
    let begin = changes.seen();
    table(&*database).await;
    execute(&*database, "CREATE TABLE u (a)").await;
    let both = [Statement::new("INSERT INTO t (a) VALUES (1)"), Statement::new("INSERT INTO u VALUES (1)")];
    let written = database.execute(&Request::new(both)).await.unwrap();
    execute(&*database, "DELETE FROM u").await;

    let mut told = Vec::new();
    while told.len() < 4 {
        told.push(changes.next().await.unwrap().unwrap());
    }
    assert!(told[0].schema && told[1].schema, "{told:?}");
    assert_eq!(
        told[2],
        Change { seq: written.seq, tables: vec!["t".to_owned(), "u".to_owned()], schema: false }
    );
    assert_eq!(told[3].tables, ["u"]);
    assert!(begin < told[0].seq && told.windows(2).all(|pair| pair[0].seq < pair[1].seq), "{told:?}");
    assert_eq!(changes.seen(), told[3].seq);
}

pub(crate) async fn a_watch_goes_on_where_it_was(database: Arc<dyn Database>) {
    table(&*database).await;
    let insert = Request::new([Statement::new("INSERT INTO t (b) VALUES (1)")]);
    let first = database.execute(&insert).await.unwrap().seq;
    let second = database.execute(&insert).await.unwrap().seq;
    let mut changes = database.changes(Some(first)).await.unwrap();
    assert_eq!(changes.next().await.unwrap().unwrap().seq, second);
    // One that comes while it is waited for.
    let writer = Arc::clone(&database);
    let third = tokio::spawn(async move { writer.execute(&insert).await.unwrap().seq });
    assert_eq!(changes.next().await.unwrap().unwrap().seq, third.await.unwrap());
}

pub(crate) async fn a_commit_that_is_not_known_is_gone(database: Arc<dyn Database>) {
    table(&*database).await;
    let error = failed(database.changes(Some(1 << 40)).await);
    assert!(error.is_gone() && !error.may_pass(), "{error}");
}
