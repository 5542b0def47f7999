//! The real one.

use std::time::Duration;

use http_body_util::BodyExt as _;
use kube::client::Body;
use larder_harness::Kubernetes;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

use crate::request::{Answer, Request, Verb};

pub(crate) struct Real {
    client: kube::Client,
}

const PATH: &str = "/apis/example.com/v1/namespaces/default/things";

impl Real {
    pub(crate) async fn new(kubernetes: &Kubernetes) -> Self {
        let url = format!("https://{}", kubernetes.address()).parse().unwrap();
        let mut config = kube::Config::new(url);
        let authority = CertificateDer::from_pem_file(kubernetes.ca()).unwrap();
        config.root_cert = Some(vec![authority.to_vec()]);
        config.auth_info.token = Some(std::fs::read_to_string(kubernetes.token()).unwrap().into());
        Self { client: kube::Client::try_from(config).unwrap() }
    }

    /// Makes a resource known, and waits until it is served.
    pub(crate) async fn serve(&self, document: &Value) {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let made = self.send("POST", path, "application/json", &document.to_string()).await;
        assert!(matches!(made.code, 201 | 409), "{made:?}");
        let (spec, deadline) = (&document["spec"], tokio::time::Instant::now() + Duration::from_secs(30));
        let text = |it: &Value| it.as_str().unwrap().to_owned();
        let version = text(&spec["versions"][0]["name"]);
        let list = format!("/apis/{}/{version}/{}", text(&spec["group"]), text(&spec["names"]["plural"]));
        loop {
            let namespace = self.get("/api/v1/namespaces/default", "application/json").await;
            let list = self.get(&list, "application/json").await;
            if namespace.code == 200 && list.code == 200 {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{namespace:?} {list:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Gets a path in a representation.
    pub(crate) async fn get(&self, path: &str, accept: &str) -> Answer {
        let request = http::Request::get(path).header("accept", accept).body(Body::empty()).unwrap();
        self.answer(request).await
    }

    pub(crate) async fn ask(&self, request: &Request) -> Answer {
        let Request { verb, name, status, manager, force, validation, .. } = request;
        let one = format!("{PATH}/{name}{}", if *status { "/status" } else { "" });
        let force = if *force { "&force=true" } else { "" };
        let query = format!("?fieldManager={manager}&fieldValidation={validation}{force}");
        let body = self.with_version(&request.body, &one).await;
        let (method, path, kind) = match verb {
            Verb::Create => ("POST", format!("{PATH}{query}"), "application/json"),
            Verb::Get => ("GET", one, ""),
            Verb::Delete => ("DELETE", one, "application/json"),
            Verb::Replace => ("PUT", format!("{one}{query}"), "application/json"),
            Verb::JsonPatch => ("PATCH", format!("{one}{query}"), "application/json-patch+json"),
            Verb::MergePatch => ("PATCH", format!("{one}{query}"), "application/merge-patch+json"),
            Verb::Apply => ("PATCH", format!("{one}{query}"), "application/apply-patch+yaml"),
        };
        self.send(method, &path, kind, &body).await
    }

    async fn with_version(&self, body: &str, path: &str) -> String {
        if !body.contains("$VERSION") {
            return body.to_owned();
        }
        let object = self.send("GET", path, "", "").await.body;
        body.replace("$VERSION", object["metadata"]["resourceVersion"].as_str().unwrap_or("1"))
    }

    pub(crate) async fn send(&self, method: &str, path: &str, kind: &str, body: &str) -> Answer {
        let mut request = http::Request::builder().method(method).uri(path);
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        self.answer(request.body(Body::from(body.as_bytes().to_vec())).unwrap()).await
    }

    async fn answer(&self, request: http::Request<Body>) -> Answer {
        let response = self.client.send(request).await.unwrap();
        let warnings = response.headers().get_all("warning");
        let warnings = warnings.iter().map(|it| unquoted(it.to_str().unwrap())).collect();
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into());
        Answer { code, warnings, body }
    }
}

/// `299 - "text"` without what is around the text.
fn unquoted(header: &str) -> String {
    let text = header.split_once('"').map_or("", |it| it.1);
    text.strip_suffix('"').unwrap_or(text).replace("\\\"", "\"").replace("\\\\", "\\")
}
