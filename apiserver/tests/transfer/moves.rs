//! In and out in one go, with everything that an object can have.

use std::num::NonZeroU32;
use std::time::Duration;

use larder_apiserver::store::Key;
use larder_apiserver::transfer::Options;
use larder_harness::need;
use serde_json::{Value, json};

use super::clients::{Informer, Writers};
use super::reports::GROUP;
use super::site::{Site, options};

const KEPT: &str = "/apis/wgpolicyk8s.io/v1alpha2/namespaces/default/policyreports";

/// Objects that nobody changes: with finalizers, owners, fields that no schema knows, a manager that applied them, in another namespace, of the
/// cluster.
async fn seed(site: &Site) -> Vec<String> {
    let mut paths = Vec::new();
    for number in 0..12 {
        let object = json!({
            "apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport",
            "metadata": {
                "name": format!("kept-{number}"), "labels": {"kept": "yes"},
                "finalizers": if number % 3 == 0 { json!(["example.com/held"]) } else { json!([]) },
                "ownerReferences": if number % 2 == 0 {
                    json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": format!("uid-{number}")}])
                } else { json!([]) },
            },
            "summary": {"pass": number},
        });
        site.send("POST", KEPT, &object).await.unwrap();
        paths.push(format!("{KEPT}/kept-{number}"));
    }
    let object = json!({
        "apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "ClusterPolicyReport", "metadata": {"name": "kept"},
        "summary": {"fail": 3},
    });
    let path = "/apis/wgpolicyk8s.io/v1alpha2/clusterpolicyreports";
    site.send("POST", path, &object).await.unwrap();
    paths.push(format!("{path}/kept"));
    paths
}

/// An object as clients see it, without what may change on the way.
async fn read(site: &Site, path: &str, may_change: &[&str]) -> Value {
    let mut object = site.get(path).await.unwrap();
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in may_change {
        metadata.remove(*field);
    }
    // The server marks what it serves.
    metadata.remove("annotations");
    object
}

const IN: [&str; 1] = ["resourceVersion"];
const OUT: [&str; 5] = ["resourceVersion", "uid", "creationTimestamp", "generation", "managedFields"];

#[tokio::test(flavor = "multi_thread")]
async fn objects_go_in_and_out_while_clients_go_on() {
    let site = need!(Site::start().await);
    site.define().await;
    let paths = seed(&site).await;
    let mut before = Vec::new();
    for path in &paths {
        before.push(read(&site, path, &IN).await);
    }
    let (writers, informer) = (Writers::start(&site.client, 4), Informer::start(&site.client));
    writers.proceed(60).await;

    let transfer = site.transfer(options());
    transfer.bring_in(GROUP).await.unwrap();
    assert_eq!(site.in_etcd().await, 0);
    assert!(!site.has_entrance().await);
    for (path, before) in paths.iter().zip(&before) {
        assert_eq!(read(&site, path, &IN).await, *before);
    }
    writers.proceed(60).await;
    let progress = transfer.progress().borrow().clone();
    assert_eq!((progress.overruled, progress.stays), (0, 0), "{progress:?}");
    assert!(progress.removed >= paths.len() as u64, "{progress:?}");
    // Nothing is left to do.
    site.transfer(options()).bring_in(GROUP).await.unwrap();

    let transfer = site.transfer(options());
    transfer.take_out(GROUP).await.unwrap();
    assert!(site.is_local().await && !site.has_entrance().await);
    assert_eq!(site.in_store().await, Vec::<String>::new());
    for (path, mut before) in paths.iter().zip(before) {
        let metadata = before["metadata"].as_object_mut().unwrap();
        OUT.iter().for_each(|field| drop(metadata.remove(*field)));
        assert_eq!(read(&site, path, &OUT).await, before);
    }
    writers.proceed(60).await;
    site.transfer(options()).take_out(GROUP).await.unwrap();

    let (mut known, seen) = writers.stop().await;
    assert_eq!(seen.wrong, Vec::<String>::new());
    known.extend((0..12).map(|it| (format!("kept-{it}"), it)));
    informer.holds(&known).await;
    assert_eq!(*informer.lost.lock().unwrap(), Vec::<String>::new());
    assert_eq!(site.in_etcd().await, known.len() as u64 + 1);
    told(&seen);
}

/// What it was like for clients.
#[expect(clippy::print_stderr, reason = "figures for whoever asks with --nocapture")]
fn told(seen: &super::clients::Seen) {
    eprintln!("{} changes, {} to be sent again, {:?} the longest", seen.done, seen.later, seen.longest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_a_crd_is_simply_served_and_gets_one_on_its_way_out() {
    let site = need!(Site::start().await);
    site.transfer(options()).bring_in(GROUP).await.unwrap();
    let object = json!({
        "apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"name": "a"}, "summary": {"pass": 1},
    });
    super::reports::until("the aggregator", async || site.send("POST", KEPT, &object).await.is_ok()).await;
    site.transfer(options()).take_out(GROUP).await.unwrap();
    assert!(site.is_local().await);
    assert_eq!(read(&site, &format!("{KEPT}/a"), &[]).await["summary"]["pass"], 1);
    assert_eq!((site.in_etcd().await, site.in_store().await.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_etcd_does_not_take_stays_and_is_named() {
    let site = need!(Site::start().await);
    site.define().await;
    site.transfer(options()).bring_in(GROUP).await.unwrap();
    let object = |name: &str, length: usize| {
        json!({
            "apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"name": name},
            "results": [{"policy": "p", "message": "x".repeat(length)}],
        })
    };
    site.send("POST", KEPT, &object("large", 2 << 20)).await.unwrap();
    site.send("POST", KEPT, &object("small", 10)).await.unwrap();

    let transfer = site.transfer(options());
    let error = transfer.take_out(GROUP).await.unwrap_err();
    assert!(error.to_string().contains("1 objects"), "{error}");
    assert_eq!(transfer.progress().borrow().named[0].key, "default/large");
    // It is served as before.
    assert!(site.get(&format!("{KEPT}/large")).await.is_ok());
    site.send("POST", KEPT, &object("another", 10)).await.unwrap();

    let forced = Options { force: true, ..options() };
    for _ in 0..2 {
        assert!(site.transfer(forced).take_out(GROUP).await.is_err());
        let key = Key { namespace: "default".to_owned(), name: "large".to_owned() };
        assert!(site.larder.store.get("policyreports.wgpolicyk8s.io", &key).await.unwrap().is_some());
        assert!(site.is_local().await);
        assert_eq!(site.in_etcd().await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_change_is_not_held_up_by_the_rate() {
    let site = need!(Site::start().await);
    site.define().await;
    let writers = Writers::start(&site.client, 2);
    writers.proceed(20).await;
    site.transfer(options()).bring_in(GROUP).await.unwrap();
    // Far fewer than the writers change.
    let slow = Options { rate: NonZeroU32::MIN, ..options() };
    let transfer = site.transfer(slow);
    let moved = tokio::time::timeout(Duration::from_secs(90), transfer.take_out(GROUP)).await;
    moved.expect("it catches up").unwrap();
    let (known, seen) = writers.stop().await;
    assert_eq!(seen.wrong, Vec::<String>::new());
    assert_eq!(site.in_etcd().await, known.len() as u64);
}
