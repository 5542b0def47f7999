//! What the tests share: a server, a namespace each, and requests in few words.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use http::Method;
use larder_harness::{Answer, ApiServer, ApiServerSetup, Coming, Connection};
use serde_json::{Value, json};

/// How long anything may take that happens at once.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A server with the resource `things.example.com`.
pub(crate) fn setup() -> ApiServerSetup {
    let resources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apiserver/resources");
    larder_harness::apiserver!().args(["--resources".into(), resources.into_os_string()])
}

/// The server that tests of this process share.
pub(crate) fn shared() -> Arc<ApiServer> {
    static SHARED: Mutex<Weak<ApiServer>> = Mutex::new(Weak::new());
    let mut current = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = current.upgrade() {
        return server;
    }
    let server = Arc::new(setup().start());
    *current = Arc::downgrade(&server);
    server
}

/// A client with a namespace of its own.
pub(crate) struct World {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) namespace: String,
    connection: Connection,
}

impl World {
    /// On the shared server.
    pub(crate) async fn new() -> Self {
        Self::on(shared()).await
    }

    /// On a server of the test's own.
    pub(crate) async fn on(server: Arc<ApiServer>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let namespace = format!("ns-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let connection = server.connect().await;
        Self { server, namespace, connection }
    }

    /// `…/namespaces/NS/things` and what is behind it.
    pub(crate) fn things(&self, rest: &str) -> String {
        format!("/apis/example.com/v1/namespaces/{}/things{rest}", self.namespace)
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Answer {
        self.connection.send(method, path, headers, body.into()).await.unwrap()
    }

    pub(crate) async fn post(&mut self, path: &str, object: &Value) -> Answer {
        self.send(Method::POST, path, &[JSON], object.to_string()).await
    }

    pub(crate) async fn put(&mut self, path: &str, object: &Value) -> Answer {
        self.send(Method::PUT, path, &[JSON], object.to_string()).await
    }

    pub(crate) async fn merge(&mut self, path: &str, patch: &Value) -> Answer {
        self.send(Method::PATCH, path, &[MERGE], patch.to_string()).await
    }

    pub(crate) async fn apply(&mut self, name: &str, manager: &str, config: &Value) -> Answer {
        let path = self.things(&format!("/{name}?fieldManager={manager}"));
        self.send(Method::PATCH, &path, &[APPLY], config.to_string()).await
    }

    pub(crate) async fn delete(&mut self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }

    /// Makes a thing and gives back how it is.
    pub(crate) async fn make(&mut self, object: &Value) -> Value {
        let made = self.post(&self.things(""), object).await;
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()
    }

    /// How a thing is.
    pub(crate) async fn thing(&mut self, name: &str) -> Value {
        let found = self.get(&self.things(&format!("/{name}"))).await;
        assert_eq!(found.status, 200, "{}", found.text());
        found.json()
    }

    /// Begins to watch the things of the namespace, on a connection of its own.
    pub(crate) async fn watch(&self, query: &str) -> Watcher {
        self.watch_with(&self.things(&format!("?watch=true&{query}")), &[]).await
    }

    pub(crate) async fn watch_with(&self, path: &str, headers: &[(&str, &str)]) -> Watcher {
        let mut connection = self.server.connect().await;
        let coming = connection.open_stream(path, headers).await.unwrap();
        assert_eq!(coming.status, 200);
        Watcher { coming, _connection: connection }
    }
}

pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
pub(crate) const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");
pub(crate) const JSON_PATCH: (&str, &str) = ("content-type", "application/json-patch+json");
pub(crate) const APPLY: (&str, &str) = ("content-type", "application/apply-patch+yaml");
pub(crate) const TABLE: (&str, &str) = (
    "accept",
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
);

/// A thing of this name and color.
pub(crate) fn thing(name: &str, color: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": name}, "spec": {"color": color}})
}

/// A thing with labels.
pub(crate) fn labelled(name: &str, labels: &Value) -> Value {
    let mut thing = thing(name, "red");
    thing["metadata"]["labels"] = labels.clone();
    thing
}

/// `metadata.resourceVersion` as a number.
pub(crate) fn revision(object: &Value) -> u64 {
    let text = object["metadata"]["resourceVersion"].as_str().unwrap_or_else(|| panic!("no revision: {object}"));
    assert!(!text.starts_with('0'), "{text}");
    text.parse().unwrap()
}

/// The names of a list's items.
pub(crate) fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap_or_else(|| panic!("no list: {list}"));
    items.iter().map(|it| it["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// The code and the reason of a Status.
pub(crate) fn reason(answer: &Answer) -> (u16, String) {
    let status = answer.json();
    assert_eq!(status["kind"], "Status", "{status}");
    assert_eq!(status["apiVersion"], "v1");
    assert_eq!(status["status"], "Failure");
    assert_eq!(status["code"], answer.status);
    (answer.status, status["reason"].as_str().unwrap_or_default().to_owned())
}

/// The message of a Status.
pub(crate) fn message(answer: &Answer) -> String {
    answer.json()["message"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

/// A watch.
pub(crate) struct Watcher {
    pub(crate) coming: Coming,
    _connection: Connection,
}

impl Watcher {
    /// The next event; `None` at the end.
    pub(crate) async fn event(&mut self) -> Option<Value> {
        let line = tokio::time::timeout(SOON, self.coming.line()).await.expect("an event").unwrap()?;
        Some(serde_json::from_slice(&line).unwrap())
    }

    /// The next event's type, and its object's name.
    pub(crate) async fn next(&mut self) -> (String, String) {
        let event = self.event().await.expect("an event");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }

    /// As [`Watcher::next`], compared.
    pub(crate) async fn expect(&mut self, kind: &str, name: &str) -> Value {
        let event = self.event().await.expect("an event");
        assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!(kind), &json!(name)), "{event}");
        event["object"].clone()
    }
}
