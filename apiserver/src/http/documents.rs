//! What the server says of itself: its groups, versions and resources, OpenAPI, its version. All of it is made once.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, IF_NONE_MATCH, VARY};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::ApiServer;
use super::answer::{Answer, Content};
use super::options::Query;
use super::status::Refusal;
use crate::present::accept::{self, Discovery};
use crate::present::discovery;
use crate::present::openapi::{Document, OpenApi};
use crate::registry::Registry;

/// The documents of a registry.
pub(super) struct Documents {
    openapi: OpenApi,
    aggregated: [Aggregated; 2],
    index: Value,
    version: Value,
}

/// Everything in one document, in a version of `apidiscovery.k8s.io`.
struct Aggregated {
    version: &'static str,
    json: Vec<u8>,
    etag: HeaderValue,
}

impl Documents {
    pub(super) fn new(registry: &Registry) -> Self {
        let aggregated = ["v2", "v2beta1"].map(|version| {
            let json = line(&discovery::aggregated(registry, version));
            let etag = quoted(&discovery::etag(&json));
            Aggregated { version, json, etag }
        });
        Self { openapi: OpenApi::new(registry), aggregated, index: index(registry), version: version() }
    }
}

impl ApiServer {
    /// A path that is no resource.
    pub(super) fn document(&self, path: &str, head: &Parts) -> Result<Answer, Refusal> {
        let parts: Vec<&str> = path.split('/').filter(|it| !it.is_empty()).collect();
        let known = self.known_document(&parts, head);
        match known {
            Some(_) if !matches!(head.method, Method::GET | Method::HEAD) => Err(Refusal::wrong_method()),
            Some(answer) => answer,
            None => Err(Refusal::no_path()),
        }
    }

    fn known_document(&self, parts: &[&str], head: &Parts) -> Option<Result<Answer, Refusal>> {
        let documents = &self.documents;
        let accept = accept::header(&head.headers);
        let plain = |value: Option<Value>| {
            let value = value?;
            Some(match accept::plain(accept) {
                Ok(encoding) => Ok(Answer::json(line(&value)).encoded(encoding)),
                Err(error) => Err(Refusal::not_acceptable(error.to_string())),
            })
        };
        match parts {
            [] => plain(Some(documents.index.clone())),
            ["version"] => Some(Ok(Answer::json(line(&documents.version)))),
            // Where there is no cluster every namespace is there. `kubectl` looks, when an object in it is not.
            ["api", "v1", "namespaces", name] if self.namespaces.is_none() => plain(Some(namespace(name))),
            ["apis"] => Some(self.groups(accept, &head.headers)),
            ["apis", group] => plain(discovery::group(&self.registry, group)),
            ["apis", group, version] => plain(discovery::resource_list(&self.registry, group, version)),
            ["openapi", "v2"] => Some(openapi(documents.openapi.v2(), accept, &head.headers)),
            ["openapi", "v3"] => Some(openapi(documents.openapi.root(), accept, &head.headers)),
            ["openapi", "v3", rest @ ..] => {
                let document = documents.openapi.v3(&rest.join("/"))?;
                let mut answer = openapi(document, accept, &head.headers);
                if let Ok(answer) = &mut answer {
                    answer.headers.insert(VARY, HeaderValue::from_static("Accept"));
                    if Query::parse(head.uri.query()).text("hash") == Some(&*document.etag) {
                        keep_for_ever(&mut answer.headers);
                    }
                }
                Some(answer)
            }
            _ => None,
        }
    }

    /// `/apis`, in one of its two forms.
    fn groups(&self, accept: Option<&str>, headers: &HeaderMap) -> Result<Answer, Refusal> {
        let negotiated = accept::discovery(accept);
        let (form, encoding) = negotiated.map_err(|error| Refusal::not_acceptable(error.to_string()))?;
        let found = match form {
            Discovery::Plain => None,
            Discovery::Aggregated(version) => {
                self.documents.aggregated.iter().find(|it| it.version == version)
            }
        };
        let Some(found) = found else {
            return Ok(Answer::json(line(&discovery::group_list(&self.registry))).encoded(encoding));
        };
        let mut answer = unless_known(&found.etag, headers, || found.json.clone());
        let media_type =
            format!("application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList", found.version);
        if let Ok(media_type) = HeaderValue::from_str(&media_type) {
            answer.headers.insert(CONTENT_TYPE, media_type);
        }
        answer.headers.insert(VARY, HeaderValue::from_static("Accept"));
        answer.headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
        Ok(answer)
    }
}

/// A document of OpenAPI. Protobuf is not spoken: who takes nothing else gets 406 without a body, and asks for JSON.
fn openapi(document: &Document, accept: Option<&str>, headers: &HeaderMap) -> Result<Answer, Refusal> {
    if !accept::takes_json(accept) {
        return Err(Refusal::Text(StatusCode::NOT_ACCEPTABLE, String::new(), None));
    }
    Ok(unless_known(&quoted(&document.etag), headers, || document.json.to_vec()))
}

/// The document, or 304 if the caller has it already.
fn unless_known(etag: &HeaderValue, headers: &HeaderMap, json: impl FnOnce() -> Vec<u8>) -> Answer {
    let known = headers.get_all(IF_NONE_MATCH).into_iter().filter_map(|it| it.to_str().ok());
    let is_known = known.flat_map(|it| it.split(',')).any(|it| it.trim().as_bytes() == etag.as_bytes());
    let mut answer =
        if is_known { Answer::new(StatusCode::NOT_MODIFIED, Content::Nothing) } else { Answer::json(json()) };
    answer.headers.insert(ETAG, etag.clone());
    answer
}

/// What is asked for by its hash never changes.
fn keep_for_ever(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(365 * 24);
    let expires = expires.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(expires) = HeaderValue::from_str(&expires) {
        headers.insert(EXPIRES, expires);
    }
}

fn quoted(etag: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{etag}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

fn line(value: &Value) -> Vec<u8> {
    let mut json = value.to_string().into_bytes();
    json.push(b'\n');
    json
}

fn namespace(name: &str) -> Value {
    json!({
        "kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}, "spec": {}, "status": {"phase": "Active"},
    })
}

/// `/`: every path that is no resource.
fn index(registry: &Registry) -> Value {
    let mut paths: Vec<String> =
        ["/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
            .map(str::to_owned)
            .to_vec();
    for resource in registry.iter() {
        paths.push(format!("/apis/{}", resource.group));
        paths.extend(resource.versions.iter().map(|it| format!("/apis/{}/{}", resource.group, it.name)));
    }
    paths.sort();
    paths.dedup();
    json!({ "paths": paths })
}

/// `/version`. Clients compare the numbers with their own; they are those of the Kubernetes whose behaviour this is.
fn version() -> Value {
    json!({
        "major": "1",
        "minor": "34",
        "gitVersion": concat!("v1.34.0+larder.", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, platform()),
    })
}

/// As Go calls it.
fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
