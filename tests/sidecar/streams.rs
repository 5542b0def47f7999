//! Answers that are longer than one buffer.

use http::Method;
use larder_harness::setup;

/// More rows than the buffers between the server and its reader hold, and then an overflow.
const BREAKS_OFF: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200000) \
                          SELECT abs(-9223372036854775807 - (i = 200000)) FROM n";

#[tokio::test]
async fn a_stream_that_breaks_off_says_why() {
    let server = setup!().start();
    let mut reader = server.connect("reader").await;
    for _ in 0..5 {
        let headers = [("accept", "application/x-ndjson"), ("content-type", "text/plain")];
        let answer = reader.send(Method::POST, "/query", &headers, BREAKS_OFF).await.unwrap();
        let last: serde_json::Value = serde_json::from_str(answer.text().lines().last().unwrap()).unwrap();
        assert_eq!((answer.status, &last["error"]["message"]), (200, &"integer overflow".into()));
    }
}

#[tokio::test]
async fn a_stream_without_a_place_for_errors_is_cut() {
    let server = setup!().start();
    for accept in ["text/csv", "application/json"] {
        let headers = [("accept", accept), ("content-type", "text/plain")];
        let answer = server.connect("reader").await.send(Method::POST, "/query", &headers, BREAKS_OFF).await;
        assert!(answer.is_err(), "{accept}");
    }
}
