//! What is special to a Lease, on the part of a kube-apiserver that keeps them: create, read, and update of the resource version that was
//! read. Unlike the real one it lets a test see and change what stands there, and replace the token.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use larder_client::migrate::leadership::{Hold, Lease, Seat as _};
use serde_json::{Value, json};
use tempfile::TempDir;

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/larder/leases";

/// Leases of one namespace.
pub(crate) struct Leases {
    address: SocketAddr,
    home: TempDir,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    leases: BTreeMap<String, Value>,
    version: u64,
    token: String,
}

impl Leases {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let leases = Self { address, home: tempfile::tempdir().unwrap(), state: Arc::default() };
        leases.replace_token("first");
        let state = Arc::clone(&leases.state);
        tokio::spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        leases
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn token(&self) -> PathBuf {
        self.home.path().join("token")
    }

    fn replace_token(&self, token: &str) {
        self.state.lock().unwrap().token = format!("Bearer {token}");
        std::fs::write(self.token(), format!("{token}\n")).unwrap();
    }

    fn lease(&self, holder: &str) -> Lease {
        let endpoint = format!("http://{}", self.address).parse().unwrap();
        Lease::new(endpoint, None, Some(self.token()), ("larder", "seat"), holder, Duration::from_secs(1))
            .unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        let version = state.version.to_string();
        let lease = state.leases.get_mut("seat").unwrap();
        change(lease);
        lease["metadata"]["resourceVersion"] = version.into();
    }

    fn read(&self) -> Value {
        self.state.lock().unwrap().leases["seat"].clone()
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|it| it.to_bytes()).unwrap_or_default();
    let shown = head.headers.get("authorization").map(|it| it.to_str().unwrap().to_owned());
    let mut state = state.lock().unwrap();
    let (status, value) = if shown.as_deref() == Some(&*state.token) {
        state.answer(&head.method, head.uri.path(), serde_json::from_slice(&body).ok())
    } else {
        status(401, "Unauthorized")
    };
    let body = Full::from(value.to_string());
    Ok(Response::builder().status(status).header("content-type", "application/json").body(body).unwrap())
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let name = path.strip_prefix(PATH).map(|it| it.trim_start_matches('/').to_owned());
        match (method, name, body) {
            (&Method::POST, Some(_), Some(lease)) => {
                let name = lease["metadata"]["name"].as_str().unwrap().to_owned();
                if self.leases.contains_key(&name) {
                    return status(409, "already exists");
                }
                (StatusCode::CREATED, self.write(name, lease))
            }
            (&Method::GET, Some(name), _) => match self.leases.get(&name) {
                Some(lease) => (StatusCode::OK, lease.clone()),
                None => status(404, "not found"),
            },
            (&Method::PUT, Some(name), Some(lease)) => {
                let version = |lease: &Value| lease["metadata"]["resourceVersion"].clone();
                match self.leases.get(&name) {
                    None => status(404, "not found"),
                    Some(before) if version(before) != version(&lease) => status(409, "was modified"),
                    Some(_) => (StatusCode::OK, self.write(name, lease)),
                }
            }
            _ => status(400, "no such call"),
        }
    }

    fn write(&mut self, name: String, mut lease: Value) -> Value {
        self.version += 1;
        lease["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.leases.insert(name, lease.clone());
        lease
    }
}

fn status(code: u16, message: &str) -> (StatusCode, Value) {
    (StatusCode::from_u16(code).unwrap(), json!({"kind": "Status", "message": message, "code": code}))
}

#[tokio::test]
async fn a_lease_is_written_as_client_go_writes_it() {
    let leases = Leases::start();
    assert_eq!(leases.lease("a").take().await.unwrap(), Hold::Ours);
    let lease = leases.read();
    let (spec, time) = (&lease["spec"], lease["spec"]["renewTime"].as_str().unwrap());
    assert_eq!((&spec["holderIdentity"], &spec["leaseDurationSeconds"]), (&json!("a"), &json!(1)));
    assert_eq!((&spec["leaseTransitions"], &spec["acquireTime"]), (&json!(0), &json!(time)));
    // 2006-01-02T15:04:05.000000Z
    assert!(time.len() == 27 && time.ends_with('Z') && time.as_bytes()[19] == b'.', "{time}");

    leases.change(|lease| lease["metadata"]["labels"] = json!({"theirs": "kept"}));
    leases.lease("a").leave().await.unwrap();
    let lease = leases.read();
    assert_eq!(
        (&lease["spec"]["holderIdentity"], &lease["spec"]["leaseDurationSeconds"]),
        (&json!(""), &json!(1))
    );
    assert_eq!(lease["metadata"]["labels"]["theirs"], "kept");
    assert_eq!(leases.lease("b").take().await.unwrap(), Hold::Ours);
    assert_eq!(leases.read()["spec"]["leaseTransitions"], 1);
}

#[tokio::test]
async fn the_clock_of_the_other_does_not_count() {
    let leases = Leases::start();
    leases.lease("a").take().await.unwrap();
    leases.change(|lease| lease["spec"]["renewTime"] = "2001-01-01T00:00:00.000000Z".into());
    let b = leases.lease("b");
    let theirs = Hold::Theirs(Some("a".to_owned()));
    // It looks long expired; it was renewed just now, as far as anybody can tell.
    assert_eq!(b.take().await.unwrap(), theirs);
    tokio::time::sleep(Duration::from_millis(700)).await;
    leases.change(|lease| lease["spec"]["renewTime"] = "2001-01-01T00:00:01.000000Z".into());
    assert_eq!(b.take().await.unwrap(), theirs);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(b.take().await.unwrap(), theirs);
    // Somebody who writes beside the spec does not renew it.
    leases.change(|lease| lease["metadata"]["labels"] = json!({"a": "b"}));
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(b.take().await.unwrap(), Hold::Ours);
}

#[tokio::test]
async fn a_token_is_read_again_when_it_was_replaced() {
    let leases = Leases::start();
    let a = leases.lease("a");
    assert_eq!(a.take().await.unwrap(), Hold::Ours);
    leases.replace_token("second");
    assert_eq!(a.take().await.unwrap(), Hold::Ours);
    std::fs::write(leases.token(), "third").unwrap();
    assert_eq!(a.take().await.unwrap_err().0, "Unauthorized (status 401 Unauthorized)");
    std::fs::remove_file(leases.token()).unwrap();
    assert!(a.ask().await.unwrap_err().0.contains("token: No such file"));
}
