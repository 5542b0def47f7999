//! What each role may do: all that the former may, and one thing more.

use http::Method;
use larder_harness::{ROLES, Server, setup};

/// Requests in the order of the roles that they take; the last of them is the admin's.
const TAKES: [(&str, &str, &str, &str); 8] = [
    ("reader", "POST", "/query", r#"["SELECT count(*) FROM jar"]"#),
    ("reader", "GET", "/query?q=SELECT%201", ""),
    ("reader", "POST", "/describe", r#"["SELECT * FROM jar"]"#),
    ("writer", "POST", "/execute", r#"["INSERT INTO jar (name) VALUES ('plum')"]"#),
    ("writer", "POST", "/db/execute", r#"["DELETE FROM jar"]"#),
    ("owner", "POST", "/execute", r#"["CREATE INDEX IF NOT EXISTS by_name ON jar (name)"]"#),
    (
        "owner",
        "POST",
        "/execute",
        r#"["ALTER TABLE jar ADD COLUMN year INTEGER", "ALTER TABLE jar DROP COLUMN year"]"#,
    ),
    ("admin", "GET", "/backup", ""),
];

async fn with_table() -> Server {
    let server = setup!().start();
    let create = r#"["CREATE TABLE jar (id INTEGER PRIMARY KEY, name TEXT)"]"#;
    let created = server.connect("owner").await.post("/execute", create).await;
    assert_eq!(created.status, 200, "{:?}", created.body);
    server
}

fn rank(role: &str) -> usize {
    ROLES.iter().position(|it| *it == role).unwrap()
}

#[tokio::test]
async fn each_role_does_what_the_former_does() {
    let server = with_table().await;
    for role in ROLES {
        let mut connection = server.connect(role).await;
        for (needed, method, path, body) in TAKES {
            let method: Method = method.parse().unwrap();
            let headers: &[_] = if body.is_empty() { &[] } else { &[("content-type", "application/json")] };
            let answer = connection.send(method, path, headers, body).await.unwrap();
            let may = rank(role) >= rank(needed);
            // rqlite's dialect says 200 and puts the refusal of a statement beside it.
            let refused = answer.status == 403 || answer.json_or_null()["results"][0]["error"].is_string();
            assert_eq!(refused, !may, "{role}: {path} {body}: {} {:?}", answer.status, answer.body);
            assert!(
                refused || answer.status == 200,
                "{role}: {path} {body}: {} {:?}",
                answer.status,
                answer.body
            );
        }
    }
}

/// What is sent to the reading end is read only, for every role.
#[tokio::test]
async fn nobody_writes_by_a_query() {
    let server = with_table().await;
    for role in ROLES {
        let mut connection = server.connect(role).await;
        for sql in [
            "INSERT INTO jar (name) VALUES ('x')",
            "DROP TABLE jar",
            "PRAGMA user_version = 7",
            "VACUUM",
            "BEGIN",
        ] {
            let answer = connection.post("/query", serde_json::json!([sql]).to_string()).await;
            assert!((400..500).contains(&answer.status), "{role}: {sql}: {}", answer.status);
            assert_eq!(answer.json()["applied"], false);
        }
        let answer = connection.post("/query", r#"["SELECT count(*) FROM jar"]"#).await;
        assert_eq!(answer.json()["results"][0]["rows"], serde_json::json!([[0]]));
    }
}
