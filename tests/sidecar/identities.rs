//! Who is let in: a certificate of the right authority, in its time, with a grant.

use http::{Method, header};
use larder_harness::{Authority, Pair, STRANGER, Server, setup};
use std::time::Duration;

/// Whether a client with this certificate gets an answer at all. TLS 1.3 tells a client of its refused certificate
/// only when it reads.
async fn is_answered(server: &Server, pair: Option<&Pair>) -> bool {
    let Ok(mut connection) = server.connect_with(pair).await else { return false };
    connection
        .send(Method::GET, "/version", &[(header::ACCEPT.as_str(), "application/json")], "")
        .await
        .is_ok()
}

#[tokio::test]
async fn a_good_certificate_without_a_grant_is_refused_by_name() {
    let server = setup!().start();
    let mut connection = server.connect(STRANGER).await;
    for path in ["/query?q=SELECT%201", "/status", "/backup", "/db/query?q=SELECT%201"] {
        let answer = connection.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "IDENTITY_NOT_GRANTED"), "{path}");
    }
    let _ = server.log().wait_for("stranger.test", Duration::from_secs(30));
}

#[tokio::test]
async fn other_certificates_get_no_answer() {
    let server = setup!().start();
    let home = server.home();
    let stranger = Authority::new("larder test");
    assert!(is_answered(&server, Some(&server.pair("reader"))).await);
    assert!(!is_answered(&server, None).await);
    assert!(!is_answered(&server, Some(&stranger.client("reader.test", home, "foreign"))).await);
    assert!(
        !is_answered(&server, Some(&server.authority().expired_client("reader.test", home, "expired"))).await
    );
    assert!(!is_answered(&server, Some(&server.authority().server(home, "not-a-client"))).await);
}

#[tokio::test]
async fn a_uri_is_an_identity() {
    let uri = "spiffe://cluster.local/ns/reports/sa/controller";
    let server = setup!().arg("--grant").arg(format!("reader={uri}")).start();
    let pair = server.authority().client(uri, server.home(), "uri");
    let answer = server.connect_with(Some(&pair)).await.unwrap().get("/query?q=SELECT%201").await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
}

#[tokio::test]
async fn probes_want_no_certificate_and_give_no_sql() {
    let server = setup!().start();
    for path in ["/livez", "/readyz", "/healthz", "/metrics"] {
        assert_eq!(server.probe(path).await.status, 200, "{path}");
    }
    for path in ["/query?q=SELECT%201", "/version", "/backup", "/status"] {
        assert_eq!(server.probe(path).await.status, 404, "{path}");
    }
}
