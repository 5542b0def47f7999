//! What was acknowledged is there, however the server ended.

use larder_harness::{Server, setup};
use serde_json::json;

async fn execute(server: &Server, statements: serde_json::Value) -> serde_json::Value {
    let answer = server.connect("owner").await.post("/execute", statements.to_string()).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.json()
}

async fn rows(server: &Server, sql: &str) -> serde_json::Value {
    let answer = server.connect("reader").await.post("/query", json!([sql]).to_string()).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.json()["results"][0]["rows"].clone()
}

#[tokio::test]
async fn an_acknowledged_write_survives_kill() {
    let mut server = setup!().start();
    execute(&server, json!(["CREATE TABLE jar (id INTEGER PRIMARY KEY, name TEXT, body BLOB)"])).await;
    let written =
        execute(&server, json!([["INSERT INTO jar VALUES (?, ?, ?)", i64::MAX, "ü🫙", {"$blob": "AP8="}]]))
            .await;
    server.kill();
    server.start_again();
    assert_eq!(rows(&server, "SELECT * FROM jar").await, json!([[i64::MAX, "ü🫙", {"$blob": "AP8="}]]));
    let next = execute(&server, json!(["DELETE FROM jar"])).await;
    assert!(next["seq"].as_u64() > written["seq"].as_u64(), "{next} after {written}");
}

#[tokio::test]
async fn a_stop_is_clean() {
    let mut server = setup!().start();
    execute(&server, json!(["CREATE TABLE jar (name TEXT)", "INSERT INTO jar VALUES ('plum')"])).await;
    assert_eq!(server.terminate().code(), Some(0));
    server.start_again();
    assert_eq!(rows(&server, "SELECT name FROM jar").await, json!([["plum"]]));
}

#[tokio::test]
async fn a_request_that_fails_leaves_nothing() {
    let server = setup!().start();
    execute(&server, json!(["CREATE TABLE jar (id INTEGER PRIMARY KEY)"])).await;
    let mut writer = server.connect("writer").await;
    let body =
        json!(["INSERT INTO jar VALUES (1)", {"sql": "INSERT INTO jar VALUES (?)", "many": [[2], [1]]}]);
    let answer = writer.post("/execute", body.to_string()).await;
    let reply = answer.json();
    assert_eq!(
        (answer.status, &reply["applied"], &reply["error"]["statement"]),
        (409, &json!(false), &json!(1))
    );
    assert_eq!(rows(&server, "SELECT count(*) FROM jar").await, json!([[0]]));
}
