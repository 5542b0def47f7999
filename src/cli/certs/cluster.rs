//! Secrets of Kubernetes, as far as certificates need them: read one, make one, replace the one that was read.
//!
//! A Secret is touched only if it carries our mark, so that no name given by mistake destroys somebody else's. A replacement
//! holds only if nobody changed the Secret since it was read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use http::{Method, StatusCode};
use larder_client::kubernetes::Api;
use larder_client::{Credentials, Endpoint};
use serde_json::{Value, json};

/// How long an answer may take, and be. Kubernetes itself limits Secrets to a megabyte.
const BOUNDS: (Duration, usize) = (Duration::from_secs(30), 4 << 20);
/// By this label we know a Secret for ours.
const OURS: (&str, &str) = ("app.kubernetes.io/managed-by", "larder-certs");

/// Which API server, and where in it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ClusterArgs {
    /// The API server [default: that of the cluster that this pod is in]
    #[arg(long, value_name = "URL", requires_all = ["kube_ca", "kube_token", "namespace"])]
    kube_url: Option<String>,
    /// The CA that signed the API server's certificate, PEM
    #[arg(long, value_name = "FILE", requires = "kube_url")]
    kube_ca: Option<PathBuf>,
    /// A file with the token to show to the API server
    #[arg(long, value_name = "FILE", requires = "kube_url")]
    kube_token: Option<PathBuf>,
    /// The Secrets' namespace [default: that of this pod]
    #[arg(long, value_name = "NAME", value_parser = object_name)]
    namespace: Option<String>,
}

impl ClusterArgs {
    /// The Secrets of the namespace that is meant. Nothing is asked yet.
    pub(super) fn secrets(self) -> anyhow::Result<Namespace> {
        let named = (self.kube_url, self.kube_ca, self.kube_token, self.namespace);
        let (api, namespace) = match named {
            (Some(url), Some(ca), token, Some(namespace)) => {
                let endpoint: Endpoint = url.parse()?;
                (Api::new(endpoint, Some(Credentials::trusting(ca)?), token)?, namespace)
            }
            (_, _, _, namespace) => {
                let (api, own) = Api::in_pod().context("outside a cluster give --kube-url")?;
                (api, namespace.unwrap_or(own))
            }
        };
        Ok(Namespace { api, namespace })
    }
}

/// A name of a Secret or a namespace: part of a path, so nothing else passes.
pub(crate) fn object_name(text: &str) -> Result<String, String> {
    let plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-' || it == '.';
    let ends = |it: Option<char>| it.is_some_and(|it| it.is_ascii_alphanumeric());
    let is_name = text.chars().all(plain) && ends(text.chars().next()) && ends(text.chars().last());
    if is_name && text.len() <= 253 && text != "ca" {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is no name that Kubernetes takes"))
    }
}

/// The Secrets of a namespace.
pub(super) struct Namespace {
    api: Api,
    namespace: String,
}

/// A Secret of ours, as it stands or as it is to be made.
pub(super) struct Secret {
    name: String,
    /// As it was read; `None` if there is none yet.
    read: Option<Value>,
    /// Its contents.
    pub(super) data: BTreeMap<String, Vec<u8>>,
}

impl Secret {
    /// Text under a key, if there is any.
    pub(super) fn text(&self, key: &str) -> anyhow::Result<Option<&str>> {
        let utf8 = |bytes| std::str::from_utf8(bytes).with_context(|| format!("{}: {key}", self.name));
        self.data.get(key).map(|bytes| utf8(bytes.as_slice())).transpose()
    }

    fn object(&self, namespace: &str) -> Value {
        let data: BTreeMap<_, _> =
            self.data.iter().map(|(key, bytes)| (key, STANDARD.encode(bytes))).collect();
        let mut object = self.read.clone().unwrap_or_else(|| {
            let kind = if self.data.contains_key("tls.key") { "kubernetes.io/tls" } else { "Opaque" };
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "type": kind,
                "metadata": { "name": self.name, "namespace": namespace, "labels": { OURS.0: OURS.1 } },
            })
        });
        object["data"] = json!(data);
        object
    }
}

impl Namespace {
    /// The Secret of this name, empty if there is none.
    pub(super) async fn read(&self, name: &str) -> anyhow::Result<Secret> {
        let (status, object) = self.call(Method::GET, &format!("/{name}"), None).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(Secret { name: name.to_owned(), read: None, data: BTreeMap::new() });
        }
        ensure!(status == StatusCode::OK, "cannot read the Secret {name}: {}", refusal(status, &object));
        ensure!(
            object["metadata"]["labels"][OURS.0] == OURS.1,
            "the Secret {name} is somebody else's (no label {}={}): remove it, or choose another name",
            OURS.0,
            OURS.1
        );
        let mut data = BTreeMap::new();
        for (key, value) in object["data"].as_object().into_iter().flatten() {
            let bytes = value.as_str().and_then(|text| STANDARD.decode(text).ok());
            data.insert(
                key.clone(),
                bytes.with_context(|| format!("the Secret {name}: {key} is no base64"))?,
            );
        }
        Ok(Secret { name: name.to_owned(), read: Some(object), data })
    }

    /// Gives a Secret these contents; says whether that changed it.
    pub(super) async fn write(
        &self,
        mut secret: Secret,
        data: BTreeMap<String, Vec<u8>>,
    ) -> anyhow::Result<bool> {
        if secret.read.is_some() && secret.data == data {
            return Ok(false);
        }
        secret.data = data;
        let object = secret.object(&self.namespace);
        let (method, path) = match secret.read {
            Some(_) => (Method::PUT, format!("/{}", secret.name)),
            None => (Method::POST, String::new()),
        };
        match self.call(method, &path, Some(&object)).await? {
            (StatusCode::OK | StatusCode::CREATED, _) => Ok(true),
            (StatusCode::CONFLICT, _) => {
                bail!("somebody else changed the Secret {} meanwhile: run this again", secret.name)
            }
            (status, answer) => {
                bail!("cannot write the Secret {}: {}", secret.name, refusal(status, &answer))
            }
        }
    }

    async fn call(
        &self,
        method: Method,
        name: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let path = format!("/api/v1/namespaces/{}/secrets{name}", self.namespace);
        Ok(self.api.call(method, path, body, BOUNDS).await?)
    }
}

fn refusal(status: StatusCode, answer: &Value) -> String {
    format!("{} (status {status})", answer["message"].as_str().unwrap_or("no reason given"))
}
