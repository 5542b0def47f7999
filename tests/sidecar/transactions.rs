//! Transactions are the server's, and what a statement takes does not depend on how it is written or who wrote it before.

use larder_harness::{Server, setup};
use serde_json::json;

async fn with_table() -> Server {
    let server = setup!().start();
    let create = r#"["CREATE TABLE jar (id INTEGER PRIMARY KEY, name TEXT)", "INSERT INTO jar (name) VALUES ('fig')"]"#;
    let created = server.connect("owner").await.post("/execute", create).await;
    assert_eq!(created.status, 200, "{:?}", created.body);
    server
}

async fn count(server: &Server) -> serde_json::Value {
    let answer = server.connect("reader").await.post("/query", r#"["SELECT count(*) FROM jar"]"#).await;
    answer.json()["results"][0]["rows"][0][0].clone()
}

/// The server has compiled these itself, on the same connection.
#[tokio::test]
async fn the_servers_own_statements_are_not_for_callers() {
    let server = with_table().await;
    let mut admin = server.connect("admin").await;
    for sql in [
        "COMMIT",
        "ROLLBACK",
        "BEGIN IMMEDIATE",
        "SAVEPOINT request",
        "SAVEPOINT statement",
        "RELEASE request",
        "ROLLBACK TO request",
    ] {
        for atomic in [true, false] {
            let body = json!({"statements": ["INSERT INTO jar (name) VALUES ('x')", sql, "SELECT nothing"], "atomic": atomic});
            let answer = admin.post("/execute", body.to_string()).await;
            let error = if atomic {
                answer.json()["error"].clone()
            } else {
                answer.json()["results"][1]["error"].clone()
            };
            assert_eq!(error["code"], "STATEMENT_REFUSED", "{sql}, {atomic}: {:?}", answer.body);
            let undo = admin.post("/execute", r#"["DELETE FROM jar WHERE name = 'x'"]"#).await.json();
            assert_eq!(undo["results"][0]["rows_affected"], json!(if atomic { 0 } else { 1 }), "{sql}");
        }
    }
    assert_eq!(count(&server).await, 1);
    let mut reader = server.connect("reader").await;
    for sql in ["BEGIN", "COMMIT"] {
        reader.post("/query", r#"["SELECT 1", "SELECT 2"]"#).await;
        assert_eq!(
            reader.post("/query", json!([sql]).to_string()).await.code(),
            "STATEMENT_REFUSED",
            "{sql}"
        );
    }
}

#[tokio::test]
async fn blanks_around_a_statement_change_nothing() {
    let server = with_table().await;
    let mut writer = server.connect("writer").await;
    for sql in
        ["DROP TABLE jar", " DROP TABLE jar", "DROP TABLE jar ", "\nDROP TABLE jar\n", "DROP TABLE jar"]
    {
        let answer = writer.post("/execute", json!([sql]).to_string()).await;
        assert_eq!(answer.code(), "ROLE_INSUFFICIENT", "{sql:?}");
    }
    for (sql, id) in
        [("INSERT INTO jar (name) VALUES ('nut')", 2), (" INSERT INTO jar (name) VALUES ('nut')", 3)]
    {
        let answer = writer.post("/execute", json!([sql]).to_string()).await;
        assert_eq!(answer.json()["results"][0]["last_insert_id"], id, "{sql:?}");
    }
    assert_eq!(count(&server).await, 3);
}

#[tokio::test]
async fn a_statement_is_described_the_same_twice() {
    let server = with_table().await;
    let mut reader = server.connect("reader").await;
    let answer = reader.post("/describe", r#"["DELETE FROM jar", "DELETE FROM jar"]"#).await.json();
    assert_eq!(answer["results"][0], answer["results"][1]);
    assert_eq!(answer["results"][1]["role"], "writer");
}

/// CSV has no place for an error, so an answer that may hold one is not given in it.
#[tokio::test]
async fn no_failure_looks_like_an_empty_result() {
    let server = with_table().await;
    let mut writer = server.connect("writer").await;
    let headers = [("accept", "text/csv"), ("content-type", "text/plain")];
    let answer = writer
        .send(http::Method::POST, "/execute?atomic=false", &headers, "INSERT INTO jar VALUES (1, 'again')")
        .await
        .unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (400, "OPTION_INVALID"));
}

#[tokio::test]
async fn the_data_directory_may_be_reached_by_a_link() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("disk")).unwrap();
    std::os::unix::fs::symlink(home.path().join("disk"), home.path().join("link")).unwrap();
    let server = setup!().data(home.path().join("link/data")).start();
    assert_eq!(server.connect("reader").await.get("/query?q=SELECT%201").await.status, 200);
}
