//! The client against a server that speaks just enough of a sidecar: TLS, connections, errors, streams.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use larder_client::database::{Database, DatabaseError};
use larder_client::wire::encode::{Encoder, Msgpack, MsgpackStream, Trailer};
use larder_client::wire::{self, Column, Statement, StatementResult, Value};
use larder_client::{Credentials, Endpoint, Error, Event, Options, Reason, Sidecar};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A CA with the files of one client.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    files: TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { issuer, files: TempDir::new().unwrap() };
        authority.issue_client();
        authority
    }

    fn issue(&self, name: &str) -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key)
    }

    /// Writes `ca.crt`, `client.crt` and `client.key`; a second call replaces the pair.
    fn issue_client(&self) {
        let (certificate, key) = self.issue("client");
        std::fs::write(self.path("ca.crt"), self.issuer.pem()).unwrap();
        std::fs::write(self.path("client.crt"), certificate).unwrap();
        std::fs::write(self.path("client.key"), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.files.path().join(name)
    }

    fn credentials(&self) -> Credentials {
        Credentials::from_files(self.path("ca.crt"), self.path("client.crt"), self.path("client.key"))
            .unwrap()
    }

    fn server_config(&self, protocols: &[&str]) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
        let (certificate, key) = self.issue("127.0.0.1");
        let chain = rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![chain], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        config
    }
}

/// What the server saw.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<(http::request::Parts, Bytes)>>,
    client: Mutex<Vec<u8>>,
    /// Writes whose answers are still to be lost.
    losses: AtomicUsize,
}

struct Server {
    address: SocketAddr,
    seen: Arc<Seen>,
    /// Dropping it closes the connections.
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(config: rustls::ServerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let task = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), seen.clone()));
        Self { address, seen, task }
    }

    /// Closes every connection and listens again at the same address.
    async fn restart(&mut self, config: rustls::ServerConfig) {
        self.task.abort();
        assert!((&mut self.task).await.unwrap_err().is_cancelled());
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.task = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), self.seen.clone()));
    }

    fn endpoint(&self) -> Endpoint {
        format!("https://{}", self.address).parse().unwrap()
    }

    fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, seen: Arc<Seen>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let (acceptor, seen) = (acceptor.clone(), seen.clone());
        connections.spawn(async move {
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            seen.connections.fetch_add(1, Ordering::SeqCst);
            *seen.client.lock().unwrap() = tls.get_ref().1.peer_certificates().unwrap()[0].to_vec();
            let service = service_fn(|request| answer(request, seen.clone()));
            let _ =
                auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tls), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, seen: Arc<Seen>) -> std::io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let Ok(body) = body.collect().await else { return Ok(Response::default()) };
    seen.requests.lock().unwrap().push((head.clone(), body.to_bytes()));
    let accept = head.headers.get("accept").unwrap().to_str().unwrap().to_owned();
    let (status, media_type, body) = match path.as_str() {
        "/execute"
            if seen
                .losses
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1))
                .is_ok() =>
        {
            return Err(std::io::Error::other("lost"));
        }
        "/execute" => (200, accept, changed()),
        "/query" => (200, accept, rows(seen.requests.lock().unwrap().last().unwrap())),
        "/slow" => std::future::pending().await,
        "/garbled" => (502, "text/html".to_owned(), b"<h1>Bad gateway</h1>".to_vec()),
        "/restore" => (200, "application/json".to_owned(), b"{}".to_vec()),
        _ => (409, "application/json".to_owned(), REFUSAL.as_bytes().to_vec()),
    };
    let response = Response::builder().status(status).header("content-type", media_type);
    Ok(response.body(body.into()).unwrap())
}

const REFUSAL: &str = r#"{"error":{"code":"SQLITE_CONSTRAINT_UNIQUE","message":"UNIQUE constraint failed: t.a",
    "statement":1,"offset":null,"retryable":false},"applied":false,"request_id":"r1"}"#;

fn changed() -> Vec<u8> {
    let (mut out, mut encoder) = (Vec::new(), Msgpack::default());
    encoder.start(&mut out);
    let result = StatementResult { rows_affected: 3, last_insert_id: Some(7), ..Default::default() };
    encoder.changed(&mut out, 0, &result);
    encoder.finish(&mut out, &Trailer { seq: 12, ..Trailer::default() });
    out
}

/// A stream whose end depends on the SQL: whole, cut off, aborted, or with failures between.
fn rows((_, body): &(http::request::Parts, Bytes)) -> Vec<u8> {
    let request = wire::Request::from_msgpack(body).unwrap();
    let (mut out, mut encoder) = (Vec::new(), MsgpackStream::default());
    let failure = |code: &'static str| wire::Error::new(wire::Kind::Deadline, code, "its time was up");
    encoder.start(&mut out);
    if request.statements[0].sql == "failures" {
        encoder.failed(&mut out, 0, &failure("FIRST"));
        encoder.failed(&mut out, 1, &failure("SECOND"));
        encoder.finish(&mut out, &Trailer { errors: 2, ..Trailer::default() });
        return out;
    }
    encoder.columns(&mut out, 0, &[Column { name: "a".into(), type_name: "blob".into() }]);
    for index in 0..3_u8 {
        encoder.row(&mut out, &vec![Value::Blob(vec![index; 100_000])]);
    }
    match request.statements[0].sql.as_str() {
        "cut" => out.truncate(out.len() - 10),
        "aborted" => encoder.abort(&mut out, &failure("DEADLINE")),
        _ => {
            encoder.end(&mut out, 3, 0.5);
            encoder.finish(&mut out, &Trailer { seq: 9, time: 0.75, ..Trailer::default() });
        }
    }
    out
}

fn request(sql: &str) -> wire::Request {
    wire::Request::new([Statement::new(sql)])
}

async fn events(sidecar: &Sidecar, sql: &str) -> (Vec<Event>, Option<Error>) {
    let mut stream = sidecar.query_stream(&request(sql)).await.unwrap();
    let mut events = Vec::new();
    loop {
        match stream.next().await {
            Ok(Some(event)) => events.push(event),
            Ok(None) => return (events, None),
            Err(error) => return (events, Some(error)),
        }
    }
}

async fn over(protocols: &[&str]) -> (Authority, Server, Sidecar) {
    let authority = Authority::new("one");
    let server = Server::start(authority.server_config(protocols)).await;
    let sidecar = Sidecar::new(server.endpoint(), authority.credentials()).unwrap();
    (authority, server, sidecar)
}

#[tokio::test]
async fn calls_share_a_connection_in_both_protocols() {
    for protocols in [&["h2"][..], &["http/1.1"]] {
        let (_authority, server, sidecar) = over(protocols).await;
        for _ in 0..20 {
            let response = sidecar.execute(&request("INSERT INTO t VALUES (1)")).await.unwrap();
            assert_eq!((response.results[0].rows_affected, response.seq), (3, 12));
        }
        // A call may come before the connection of the last one is back; then there are two of HTTP/1.1.
        assert!(server.connections() <= if protocols == ["h2"] { 1 } else { 2 }, "{protocols:?}");
        let version = server.seen.requests.lock().unwrap()[0].0.version;
        assert_eq!(version == http::Version::HTTP_2, protocols == ["h2"]);
    }
}

#[tokio::test]
async fn many_calls_at_once_open_one_http2_connection() {
    let (_authority, server, sidecar) = over(&["h2", "http/1.1"]).await;
    let calls: Vec<_> = (0..32)
        .map(|_| {
            let sidecar = sidecar.clone();
            tokio::spawn(async move { sidecar.execute(&request("INSERT")).await.unwrap() })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn rows_arrive_one_by_one() {
    for protocols in [&["h2"][..], &["http/1.1"]] {
        let (_authority, _server, sidecar) = over(protocols).await;
        let (events, error) = events(&sidecar, "whole").await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(
            events[0],
            Event::Columns { statement: 0, names: vec!["a".into()], types: vec!["blob".into()] }
        );
        assert_eq!(events[2], Event::Row(vec![Value::Blob(vec![1; 100_000])]));
        let trailer = Some(Trailer { seq: 9, time: 0.75, ..Trailer::default() });
        assert_eq!(events[4], Event::End { rows: 3, time: 0.5, trailer });
        assert_eq!(events.len(), 5);
    }
}

#[tokio::test]
async fn an_answer_that_is_not_whole_never_looks_whole() {
    let (_authority, _server, sidecar) = over(&["h2"]).await;
    let (_, error) = events(&sidecar, "cut").await;
    assert!(matches!(error, Some(Error::Broken(_))), "{error:?}");
    let (rows, error) = events(&sidecar, "aborted").await;
    let Some(Error::Refused { reply, .. }) = error else { panic!("{error:?}") };
    assert_eq!((rows.len(), &*reply.error.code), (4, "DEADLINE"));
    let (rows, error) = events(&sidecar, "failures").await;
    let codes = rows.iter().filter_map(|it| if let Event::Failed(it) = it { Some(&*it.code) } else { None });
    assert_eq!(codes.collect::<Vec<_>>(), ["FIRST", "SECOND"]);
    assert!(error.is_none(), "{error:?}");
}

#[tokio::test]
async fn refusals_carry_the_reply_and_other_errors_do_not_pretend() {
    let (_authority, _server, sidecar) = over(&["h2"]).await;
    let Err(Error::Refused { status, reply }) = sidecar.get("/nowhere").await else { panic!() };
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!((&*reply.error.code, reply.error.statement), ("SQLITE_CONSTRAINT_UNIQUE", Some(1)));
    let error = sidecar.get("/garbled").await.unwrap_err();
    assert!(matches!(&error, Error::Broken(text) if text.contains("502")), "{error}");
}

#[tokio::test]
async fn certificates_that_do_not_fit_are_unreachable() {
    let (authority, server, _) = over(&["h2"]).await;
    let other = Authority::new("two");
    let of = |ca: &Authority, client: &Authority| {
        let files = (ca.path("ca.crt"), client.path("client.crt"), client.path("client.key"));
        Sidecar::new(server.endpoint(), Credentials::from_files(files.0, files.1, files.2).unwrap()).unwrap()
    };
    let untrusted = of(&other, &authority).execute(&request("x")).await.unwrap_err();
    assert!(unreachable_by_tls(&untrusted, "none of the given CAs"), "{untrusted}");
    let unknown = of(&authority, &other).execute(&request("x")).await.unwrap_err();
    assert!(unreachable_by_tls(&unknown, "UnknownCA"), "{unknown}");
}

fn unreachable_by_tls(error: &Error, part: &str) -> bool {
    matches!(error, Error::Unreachable { reason: Reason::Tls(_), .. }) && error.to_string().contains(part)
}

#[tokio::test]
async fn nobody_there_and_nobody_answering() {
    let authority = Authority::new("one");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Endpoint = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    let quick = Options {
        connect: Duration::from_millis(50),
        answer: Duration::from_millis(50),
        ..Options::default()
    };

    // Accepted by the kernel, but no handshake ever comes.
    let silent = Sidecar::new(endpoint.clone(), authority.credentials()).unwrap().with_options(quick);
    let error = silent.execute(&request("x")).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { reason: Reason::Timeout(_), .. }), "{error}");
    drop(listener);
    let error = silent.execute(&request("x")).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { reason: Reason::Connect(_), .. }), "{error}");

    let server = Server::start(authority.server_config(&["h2"])).await;
    let options = Options { connect: Duration::from_secs(5), ..quick };
    let slow = Sidecar::new(server.endpoint(), authority.credentials()).unwrap().with_options(options);
    let error = slow.get("/slow").await.unwrap_err();
    assert!(matches!(error, Error::Unanswered { reason: Reason::Timeout(_), .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_came_back_is_found_again() {
    for protocols in [&["h2"][..], &["http/1.1"]] {
        let (authority, mut server, sidecar) = over(protocols).await;
        sidecar.execute(&request("x")).await.unwrap();
        server.restart(authority.server_config(protocols)).await;
        // A read is repeated on a new connection; nothing has to be known about how the old one ended.
        let (rows, error) = events(&sidecar, "whole").await;
        assert_eq!((rows.len(), error.is_none()), (5, true));
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_sent_again_under_its_key() {
    for protocols in [&["h2"][..], &["http/1.1"]] {
        let (_authority, server, sidecar) = over(protocols).await;
        server.seen.losses.store(2, Ordering::SeqCst);
        let response = Database::execute(&sidecar, &request("INSERT")).await.unwrap();
        assert_eq!(response.seq, 12);
        // As often as it takes, and not for ever.
        server.seen.losses.store(100, Ordering::SeqCst);
        let error = Database::execute(&sidecar, &request("INSERT")).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Unanswered(_)), "{error}");
        let seen = server.seen.requests.lock().unwrap();
        let keys: Vec<_> = seen.iter().map(|it| it.0.headers["idempotency-key"].clone()).collect();
        let attempts = Options::default().retry.attempts as usize;
        // A connection that served before may be stale, so each attempt may be two.
        assert!((3 + attempts..=3 + 2 * attempts).contains(&keys.len()), "{}", keys.len());
        assert!(keys[..3].iter().all(|key| *key == keys[0]));
        assert!(keys[3..].iter().all(|key| *key == keys[3]) && keys[3] != keys[0]);
    }
}

#[tokio::test]
async fn the_sidecars_own_calls_are_sent_once() {
    let (_authority, server, sidecar) = over(&["h2"]).await;
    server.seen.losses.store(1, Ordering::SeqCst);
    let error = sidecar.execute(&request("INSERT")).await.unwrap_err();
    assert!(matches!(error, Error::Unanswered { .. }), "{error}");
    assert_eq!(server.seen.requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_new_pair_on_disk_is_used_by_the_next_connection() {
    let (authority, mut server, sidecar) = over(&["h2"]).await;
    events(&sidecar, "whole").await;
    let first = server.seen.client.lock().unwrap().clone();

    // Half a pair is not used: the last good one stays.
    std::fs::write(authority.path("client.key"), "garbage").unwrap();
    server.restart(authority.server_config(&["h2"])).await;
    events(&sidecar, "whole").await;
    assert_eq!(server.connections(), 2);
    assert_eq!(*server.seen.client.lock().unwrap(), first);

    authority.issue_client();
    server.restart(authority.server_config(&["h2"])).await;
    events(&sidecar, "whole").await;
    assert_ne!(*server.seen.client.lock().unwrap(), first);
}

#[tokio::test]
async fn large_bodies_are_sent_as_they_are_on_loopback() {
    let (_authority, server, sidecar) = over(&["h2"]).await;
    let large = wire::Request::new([Statement::with("x", [Value::Text("y".repeat(100_000))])]);
    sidecar.execute(&large).await.unwrap();
    let seen = server.seen.requests.lock().unwrap();
    assert!(seen[0].0.headers.get("content-encoding").is_none());
    assert_eq!(wire::Request::from_msgpack(&seen[0].1).unwrap(), large);
}

#[tokio::test]
async fn a_file_is_sent_as_it_is_read() {
    for protocols in [&["h2"][..], &["http/1.1"]] {
        let (_authority, server, sidecar) = over(protocols).await;
        let bytes: Vec<u8> = (0..300_000_u32).map(|it| it as u8).collect();
        let reader = std::io::Cursor::new(bytes.clone());
        sidecar.upload("/restore", "application/vnd.sqlite3", reader, 300_000).await.unwrap();
        let seen = server.seen.requests.lock().unwrap();
        assert_eq!((&seen[0].0.method, &seen[0].1[..]), (&Method::POST, &bytes[..]));
    }
}

#[test]
fn credentials_name_the_file_that_is_wrong() {
    let authority = Authority::new("one");
    std::fs::write(authority.path("empty"), "").unwrap();
    let of = |ca: &Path, certificate: &Path, key: &Path| {
        Credentials::from_files(ca, certificate, key).unwrap_err()
    };
    let (ca, certificate, key) =
        (authority.path("ca.crt"), authority.path("client.crt"), authority.path("client.key"));
    let other = authority.path("empty");
    assert!(of(&other, &certificate, &key).to_string().contains("no certificate"));
    assert!(of(&ca, &other, &key).to_string().contains("no certificate"));
    assert!(of(&ca, &certificate, &other).to_string().contains("no private key"));
    assert!(of(&ca, &certificate, &authority.path("missing")).to_string().contains("missing"));
    let (_, strange) = authority.issue("other");
    std::fs::write(&other, strange.serialize_pem()).unwrap();
    assert!(of(&ca, &certificate, &other).to_string().contains("empty"), "a key of another certificate");
}
