//! What is not moved, and why.

use larder_apiserver::transfer::{Options, TransferError};
use larder_harness::need;
use serde_json::json;

use super::reports::GROUP;
use super::site::{Site, options};

const REPORTS: &str = "/apis/wgpolicyk8s.io/v1alpha2/namespaces/default/policyreports";

pub(crate) async fn refused(site: &Site) -> String {
    match site.transfer(options()).bring_in(GROUP).await {
        Err(error @ TransferError::Refused { .. }) => error.to_string(),
        other => panic!("it was not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crd_is_left_alone_whose_clients_would_be_left_behind() {
    let site = need!(Site::start().await);
    site.define_reports_as(|document| {
        let mut further = document["spec"]["versions"][0].clone();
        further["name"] = "v1".into();
        document["spec"]["versions"].as_array_mut().unwrap().push(further);
    })
    .await;
    let reason = refused(&site).await;
    assert!(reason.contains("serves v1, which Larder does not"), "{reason}");
    assert!(site.is_local().await && !site.has_entrance().await);
    let forced = Options { force: true, ..options() };
    site.transfer(forced).bring_in(GROUP).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_left_alone_that_others_are_served_in() {
    let site = need!(Site::start().await);
    site.define_reports_as(|document| {
        document["metadata"]["name"] = "others.wgpolicyk8s.io".into();
        document["spec"]["names"] =
            json!({"plural": "others", "singular": "other", "kind": "Other", "listKind": "OtherList"});
    })
    .await;
    site.define().await;
    let reason = refused(&site).await;
    assert!(reason.contains("others.wgpolicyk8s.io"), "{reason}");
    assert!(site.is_local().await && !site.has_entrance().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_back_if_the_aggregator_does_not_reach_the_server() {
    let mut site = need!(Site::start().await);
    site.define().await;
    let object = json!({
        "apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"name": "a"}, "summary": {"pass": 1},
    });
    site.send("POST", REPORTS, &object).await.unwrap();
    let port = std::mem::replace(&mut site.larder.backend.port, 1);
    let reason = refused(&site).await;
    assert!(reason.contains("does not reach Larder"), "{reason}");
    assert!(site.is_local().await);
    super::reports::until("an answer", async || site.get(&format!("{REPORTS}/a")).await.is_ok()).await;

    site.larder.backend.port = port;
    site.transfer(options()).bring_in(GROUP).await.unwrap();
    assert!(site.get(&format!("{REPORTS}/a")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_to_a_server_that_would_not_be_believed() {
    let mut site = need!(Site::start().await);
    site.larder.doubt = Some("it is signed by none of the CAs".to_owned());
    // Whether there are CRDs or not.
    for defines in [false, true] {
        if defines {
            site.define().await;
        }
        let reason = refused(&site).await;
        assert!(reason.contains("larder.default.svc: it is signed by none of the CAs"), "{reason}");
        let services = site.get("/apis/apiregistration.k8s.io/v1/apiservices").await.unwrap();
        assert!(!services.to_string().contains("caBundle"), "{services}");
    }
}
