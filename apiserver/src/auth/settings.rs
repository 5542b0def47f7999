//! What a cluster says of its front proxies and client CAs: the ConfigMap `kube-system/extension-apiserver-authentication`.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderName;
use rustls::crypto::CryptoProvider;

use super::front_proxy::FrontProxy;
use super::trust::{Bundle, Trust};

/// The ConfigMap's data, read.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    client_ca: Option<String>,
    proxy_ca: Option<String>,
    allowed_names: Vec<String>,
    user_headers: Vec<HeaderName>,
    uid_headers: Vec<HeaderName>,
    group_headers: Vec<HeaderName>,
    extra_prefixes: Vec<String>,
}

impl Settings {
    /// Reads the data of the ConfigMap.
    ///
    /// # Errors
    /// A list is no JSON array of texts, or a header has a name that none can have.
    pub fn read(data: &BTreeMap<String, String>) -> Result<Self, String> {
        let text = |key: &str| data.get(key).filter(|it| !it.trim().is_empty()).cloned();
        Ok(Self {
            client_ca: text("client-ca-file"),
            proxy_ca: text("requestheader-client-ca-file"),
            allowed_names: list(data, "requestheader-allowed-names")?,
            user_headers: headers(data, "requestheader-username-headers")?,
            uid_headers: headers(data, "requestheader-uid-headers")?,
            group_headers: headers(data, "requestheader-group-headers")?,
            extra_prefixes: list(data, "requestheader-extra-headers-prefix")?
                .iter()
                .map(|it| it.to_ascii_lowercase())
                .collect(),
        })
    }

    /// What is to be trusted by these settings.
    ///
    /// # Errors
    /// A bundle of CAs is none.
    pub fn trust(&self, provider: &Arc<CryptoProvider>) -> Result<Trust, String> {
        let bundle = |pem: &Option<String>, key: &str| {
            let read = |pem: &String| Bundle::from_pem(pem.as_bytes(), Arc::clone(provider));
            pem.as_ref().map(read).transpose().map_err(|error| format!("{key}: {error}"))
        };
        let proxy = bundle(&self.proxy_ca, "requestheader-client-ca-file")?;
        Ok(Trust {
            clients: bundle(&self.client_ca, "client-ca-file")?,
            front_proxy: proxy.map(|authorities| FrontProxy {
                authorities,
                allowed_names: self.allowed_names.clone(),
                user_headers: self.user_headers.clone(),
                uid_headers: self.uid_headers.clone(),
                group_headers: self.group_headers.clone(),
                extra_prefixes: self.extra_prefixes.clone(),
            }),
        })
    }
}

fn list(data: &BTreeMap<String, String>, key: &str) -> Result<Vec<String>, String> {
    let Some(text) = data.get(key).filter(|it| !it.is_empty()) else { return Ok(Vec::new()) };
    serde_json::from_str(text).map_err(|error| format!("{key}: {error}"))
}

fn headers(data: &BTreeMap<String, String>, key: &str) -> Result<Vec<HeaderName>, String> {
    let name = |it: &String| it.parse().map_err(|_| format!("{key}: {it:?} is no name of a header"));
    list(data, key)?.iter().map(name).collect()
}
