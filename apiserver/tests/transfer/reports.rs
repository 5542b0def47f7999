//! The objects that are moved, as a client reaches them, and how many of them etcd has.

use std::time::Duration;

use http::Request;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client, Config};
use larder_harness::Kubernetes;
use serde_json::{Value, json};

pub(crate) const GROUP: &str = "wgpolicyk8s.io";

pub(crate) fn reports(client: &Client, namespace: &str, version: &str) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: GROUP.to_owned(),
        version: version.to_owned(),
        api_version: format!("{GROUP}/{version}"),
        kind: "PolicyReport".to_owned(),
        plural: "policyreports".to_owned(),
    };
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// How many objects of the group etcd has.
pub(crate) async fn in_etcd(kubernetes: &Kubernetes) -> u64 {
    use base64::Engine as _;
    let code = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let body = json!({
        "key": code(&format!("/registry/{GROUP}/")), "range_end": code(&format!("/registry/{GROUP}0")),
        "count_only": true,
    });
    let client = Client::try_from(Config::new(kubernetes.etcd().parse().unwrap())).unwrap();
    let request = Request::post("/v3/kv/range").body(body.to_string().into_bytes()).unwrap();
    let answer: Value = client.request(request).await.unwrap();
    answer["count"].as_str().map_or(0, |it| it.parse().unwrap())
}

/// Waits until something is so, for a minute at most.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let looked = tokio::time::timeout(Duration::from_secs(60), async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(looked.await.is_ok(), "{what} does not come");
}
