//! The harness's certificates and client, against a server of a few lines.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use larder_harness::{Authority, Connection, Pair, trusting};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

fn demanding_certificates(dir: &Path, pair: &Pair) -> ServerConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from_pem_file(&pair.cert).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
    let mut config = builder.with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let line = format!("{:?} {} {} ", request.version(), request.method(), request.uri().path());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let status = if body.is_empty() { 200 } else { 201 };
    let answer = [line.as_bytes(), &body].concat();
    Ok(Response::builder().status(status).body(Full::new(answer.into())).unwrap())
}

/// A server for as long as the test runs.
async fn start(config: ServerConfig) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let builder = auto::Builder::new(TokioExecutor::new());
            tokio::spawn(async move {
                builder.serve_connection(TokioIo::new(stream), service_fn(echo)).await.is_ok()
            });
        }
    });
    url
}

async fn stage() -> (TempDir, Authority, String) {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("test");
    std::fs::write(dir.path().join("ca.crt"), authority.pem()).unwrap();
    let pair = authority.server(dir.path(), "server");
    let url = start(demanding_certificates(dir.path(), &pair)).await;
    (dir, authority, url)
}

#[tokio::test]
async fn speaks_both_versions_of_http() {
    let (dir, authority, url) = stage().await;
    let pair = authority.client("reader.test", dir.path(), "reader");
    for (alpn, version) in [(None, "HTTP/1.1"), (Some(b"h2".to_vec()), "HTTP/2.0")] {
        let mut tls = trusting(&dir.path().join("ca.crt"), Some(&pair));
        tls.alpn_protocols.extend(alpn);
        let mut connection = Connection::open(&url, Some(tls)).await.unwrap();
        let answer = connection.get("/a?b").await;
        assert_eq!((answer.status, answer.text()), (200, &*format!("{version} GET /a ")));
        let answer = connection.post("/c", "{}").await;
        assert_eq!((answer.status, answer.text()), (201, &*format!("{version} POST /c {{}}")));
    }
}

/// Whether a request over a connection with this certificate is answered.
async fn is_answered(dir: &Path, url: &str, pair: Option<&Pair>) -> bool {
    let Ok(mut connection) = Connection::open(url, Some(trusting(&dir.join("ca.crt"), pair))).await else {
        return false;
    };
    connection.send(http::Method::GET, "/", &[], "").await.is_ok()
}

#[tokio::test]
async fn certificates_are_what_they_say() {
    let (dir, authority, url) = stage().await;
    let dir = dir.path();
    assert!(is_answered(dir, &url, Some(&authority.client("spiffe://a/b", dir, "good"))).await);
    assert!(!is_answered(dir, &url, None).await);
    assert!(!is_answered(dir, &url, Some(&authority.expired_client("reader.test", dir, "expired"))).await);
    assert!(!is_answered(dir, &url, Some(&authority.server(dir, "not-a-client"))).await);
    let other = Authority::new("test");
    assert!(!is_answered(dir, &url, Some(&other.client("reader.test", dir, "foreign"))).await);
}
