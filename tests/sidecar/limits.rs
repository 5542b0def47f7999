//! What one request may take.

use larder_harness::setup;
use serde_json::json;

/// Two bytes of JSON become a value of two dozen.
#[tokio::test]
async fn values_count_as_what_they_take_in_memory() {
    let server = setup!().args(["--max-body", "2MiB", "--body-memory", "2MiB"]).start();
    let mut owner = server.connect("owner").await;
    owner.post("/execute", r#"["CREATE TABLE jar (id INTEGER)"]"#).await;
    let insert =
        |rows: usize| json!([{"sql": "INSERT INTO jar VALUES (?)", "many": vec![[7]; rows]}]).to_string();
    for path in ["/execute", "/query", "/describe"] {
        let answer = owner.post(path, insert(300_000)).await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "BODY_TOO_LARGE"), "{path}");
    }
    let rqlite = json!(vec!["SELECT 1"; 9_000]).to_string();
    for _ in 0..3 {
        let answer = owner.post("/execute", insert(10_000)).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        let answer = owner.post("/db/query", rqlite.clone()).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
    }
}
